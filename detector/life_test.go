package detector

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// counting is a rule whose alert's life is easy to follow.
const counting = `
id: counting
version: 1
name: Counting
severity: low
filter: protocol == "tcp"
key: [initiator.address]
window: {tumbling: 10s}
quiet: 20s
aggregates:
  flows: {count: true}
  ports: {top: responder.port}
condition: flows >= 3
escalate:
  - {when: flows >= 50, severity: high}
`

func tcpFlow(at int64, from string, port int32) *flow {
	f := &flow{StreamTime: testBegin + at}
	f.Flow.Realm, f.Flow.ProtocolIdentifier = "default", 6
	f.Flow.SourceIPAddress = netip.MustParseAddr(from)
	f.Flow.DestinationIPAddress = netip.MustParseAddr("192.0.2.7")
	f.Flow.DestinationTransportPort = port
	f.Flow.FlowId[0] = byte(at)
	f.Initiator.Internal = true
	f.ConnectionState = schemas.ConnectionStateCLOSED
	return f
}

// lives shows what became of the alerts, one line a revision.
func lives(t *testing.T, alerts []string) (lines []string) {
	t.Helper()
	for _, a := range alerts {
		var d document
		if err := json.Unmarshal([]byte(a[strings.IndexByte(a, ' ')+1:]), &d); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s %d %s %s count %d", d.Timestamp[14:19], d.Weir.Alert.State, d.Weir.Alert.Revision, d.Event.Kind, d.Weir.Alert.Severity, d.Weir.Alert.Count))
	}
	return lines
}

func TestLife(t *testing.T) {
	x := newDriver(t, newTestDetector(t, parse(t, counting)))
	add := func(at int64) { x.flow(tcpFlow(at, "10.0.0.1", 80)) }
	for i := range int64(3) { // opens with the third
		add(i * 1000)
	}
	for i := range int64(8) { // ten flows, but the pace holds the update back
		add(3000 + i)
	}
	x.tick(testBegin + 3500)
	add(21_000) // below the threshold: quiet goes on
	x.tick(testBegin + 40_000)
	// Closed 20 s after the last flow that found it true (3.007 s).
	for i := range int64(3) { // comes back within a day
		add(100_000 + i)
	}
	for i := range int64(50) { // a rise of severity does not wait
		add(101_000 + i)
	}
	x.tick(testBegin + 200_000)
	x.end()
	want := []string{
		"00:02 open 1 alert low count 3",
		"00:23 closed 2 event low count 12",
		"01:40 reopened 3 event low count 15",
		"01:41 updated 4 alert high count 62",
		"02:01 closed 5 event high count 65",
	}
	if got := lives(t, x.alerts); !slices.Equal(got, want) {
		t.Errorf("(-got, +want)\n- %s\n+ %s", strings.Join(got, "\n- "), strings.Join(want, "\n+ "))
	}
	for _, a := range x.alerts {
		if key := a[:strings.IndexByte(a, ' ')]; key != "default/10.0.0.1" {
			t.Errorf("key %q, want realm/entity", key)
		}
	}
}

// An update that had to wait comes at its time, traffic or not.
func TestUpdateWaitsForThePace(t *testing.T) {
	x := newDriver(t, newTestDetector(t, parse(t, strings.Replace(counting, "quiet: 20s", "quiet: 5m", 1))))
	for i := range int64(12) {
		x.flow(tcpFlow(i*100, "10.0.0.1", 80))
	}
	x.end()
	want := []string{
		"00:00 open 1 alert low count 3",
		"01:00 updated 2 event low count 12",
		"05:01 closed 3 event low count 12",
	}
	if got := lives(t, x.alerts); !slices.Equal(got, want) {
		t.Errorf("(-got, +want)\n- %s\n+ %s", strings.Join(got, "\n- "), strings.Join(want, "\n+ "))
	}
}

// A day later it is another alert.
func TestNewAlertAfterReopenTime(t *testing.T) {
	x := newDriver(t, newTestDetector(t, parse(t, counting)))
	const day = 25 * 3600 * 1000
	for i := range int64(6) {
		x.flow(tcpFlow(i/3*day+i, "10.0.0.1", 80))
	}
	x.end()
	ids := make(map[string]bool)
	for _, a := range x.alerts {
		var d document
		if err := json.Unmarshal([]byte(a[strings.IndexByte(a, ' ')+1:]), &d); err != nil {
			t.Fatal(err)
		}
		ids[d.Event.ID] = true
	}
	if len(ids) != 2 {
		t.Errorf("%d alert ids, want 2: %v", len(ids), lives(t, x.alerts))
	}
}

// Every alert of the shipped rules is what its published schema says.
func TestAlertsFollowTheSchema(t *testing.T) {
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(schemas.AlertSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("alert.json", text); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("alert.json")
	if err != nil {
		t.Fatal(err)
	}
	flows, _ := mixture(t, 1, 2500)
	x := newDriver(t, newTestDetector(t))
	for _, f := range flows {
		x.flow(f)
	}
	x.tick(flows[len(flows)-1].StreamTime)
	x.end()
	seen := make(map[string]bool)
	for _, a := range x.alerts {
		value := a[strings.IndexByte(a, ' ')+1:]
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%v\n%s", err, value)
		}
		var d document
		if err := json.Unmarshal([]byte(value), &d); err != nil {
			t.Fatal(err)
		}
		seen[d.Rule.ID] = true
	}
	if len(seen) != 6 {
		t.Errorf("alerts of %v, want of all six rules", seen)
	}
}

// Flows of spoofed sources evict one another, not the entities inside, and no
// group holds more than its budget.
func TestBudgets(t *testing.T) {
	r := parse(t, strings.Replace(counting, "severity: low", "severity: low\nkeys: 32", 1))
	p := newProcessor(life{60_000, 0, newMetrics(nil)}, newTestDetector(t, r).programs())
	apply := func(f *flow, group int) {
		p.flow = *f
		c := &stream.Context{Group: group, Watermark: -1 << 62}
		if _, err := p.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	inside := tcpFlow(0, "10.0.0.1", 80)
	apply(inside, 5)
	for i := range 10_000 {
		f := tcpFlow(int64(1+i%2000), netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}).String(), 80)
		f.Initiator.Internal = false
		apply(f, 5)
	}
	s := p.groups[5].tables[0]
	if s.external > 8 || s.internal != 1 || len(s.entries) != s.external+s.internal {
		t.Errorf("%d external and %d internal of %d, want at most 8 and 1", s.external, s.internal, len(s.entries))
	}
	if len(p.groups[5].heap) != len(s.entries) {
		t.Errorf("%d timers for %d entries: evicted ones stay behind", len(p.groups[5].heap), len(s.entries))
	}
	for i := range 100 {
		apply(tcpFlow(int64(3000+i), netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}).String(), 80), 5)
	}
	if s := p.groups[5].tables[0]; s.internal > 32 || s.external == 0 {
		t.Errorf("%d internal and %d external, want at most 32, and the external ones left alone", s.internal, s.external)
	}
}

// A changed rule starts afresh; the state of the others is theirs, and a
// changed threshold keeps what was counted.
func TestChangedRulesAndState(t *testing.T) {
	other := strings.Replace(counting, "id: counting", "id: other", 1)
	run := func(first, second []string) []string {
		var rules [2][]*Rule
		for i, texts := range [][]string{first, second} {
			for _, text := range texts {
				rules[i] = append(rules[i], parse(t, text))
			}
		}
		x := newDriver(t, newTestDetector(t, rules[0]...))
		x.flow(tcpFlow(0, "10.0.0.1", 80))
		x.flow(tcpFlow(1, "10.0.0.1", 80))
		after := newTestDetector(t, rules[1]...).NewProcessor()
		for g := range kafka.Groups {
			if err := after.LoadState(g, x.first.AppendState(nil, g)); err != nil {
				t.Fatal(err)
			}
		}
		x.first.Processor = after
		x.flow(tcpFlow(2, "10.0.0.1", 80))
		var opened []string
		for _, a := range x.alerts {
			var d document
			if err := json.Unmarshal([]byte(a[strings.IndexByte(a, ' ')+1:]), &d); err != nil {
				t.Fatal(err)
			}
			opened = append(opened, d.Rule.ID)
		}
		return opened
	}
	for _, tc := range []struct {
		name          string
		first, second []string
		want          []string
	}{
		{"nothing changed", []string{counting, other}, []string{counting, other}, []string{"counting", "other"}},
		{"a window changed", []string{counting, other}, []string{strings.Replace(counting, "tumbling: 10s", "tumbling: 20s", 1), other}, []string{"other"}},
		{"a rule is gone", []string{counting, other}, []string{other}, []string{"other"}},
		{"a rule is new", []string{other}, []string{counting, other}, []string{"other"}},
		{"a threshold changed", []string{strings.Replace(counting, ">= 3", ">= 9", 1)}, []string{counting}, []string{"counting"}},
	} {
		if got := run(tc.first, tc.second); !slices.Equal(got, tc.want) {
			t.Errorf("%s (-got, +want)\n- %v\n+ %v", tc.name, got, tc.want)
		}
	}
}

func TestSuppression(t *testing.T) {
	for expires, want := range map[string]int{"2026-01-05": 1, "2026-01-06": 0, "": 0} {
		r := parse(t, counting+"suppress:\n  - {when: responder.port == 80, reason: known, expires: \""+expires+"\"}\n")
		x := newDriver(t, newTestDetector(t, r))
		for i := range int64(3) {
			x.flow(tcpFlow(i, "10.0.0.1", 80))
		}
		if len(x.alerts) != want {
			t.Errorf("expires %q: %d alerts, want %d", expires, len(x.alerts), want)
		}
	}
}

// A record that makes a rule panic costs itself; what comes after is applied.
func TestPanicCostsOneRecord(t *testing.T) {
	d := newTestDetector(t, parse(t, counting))
	x := newDriver(t, d)
	p := x.first.Processor.(*processor)
	condition := p.tables[0].rules[0].filter
	for _, list := range p.index.rules {
		for _, program := range list {
			program.filter = func(f *flow) bool {
				if f.Flow.DestinationTransportPort == 666 {
					panic("boom")
				}
				return condition(f)
			}
		}
	}
	for _, port := range []int32{80, 666, 80, 80} {
		x.flow(tcpFlow(0, "10.0.0.1", port))
	}
	if len(x.refused) != 1 || !strings.Contains(x.refused[0], "boom") || len(x.alerts) != 1 {
		t.Errorf("%d alerts, refused %v; want 1 alert, and the one record refused", len(x.alerts), x.refused)
	}
}

// What is below every window is counted as late, and changes nothing.
func TestLateFlows(t *testing.T) {
	x := newDriver(t, newTestDetector(t, parse(t, counting)))
	x.flow(tcpFlow(60_000, "10.0.0.1", 80))
	x.tick(testBegin + 60_000)
	for i := range int64(5) {
		x.flow(tcpFlow(i, "10.0.0.1", 80))
		x.flow(tcpFlow(i, "10.0.0.2", 80))
	}
	if len(x.alerts) != 0 {
		t.Errorf("late flows raised %v", lives(t, x.alerts))
	}
}
