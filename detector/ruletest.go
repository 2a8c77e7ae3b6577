package detector

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
	"go.yaml.in/yaml/v3"
)

// Test is one test of a rule: flows in, alerts out.
type Test struct {
	// Name says what is tried.
	Name string `yaml:"name"`
	// Base is what all flows have in common.
	Base FlowSpec `yaml:"base"`
	// Flows are made from these, and run in the order of their times.
	Flows []FlowSpec `yaml:"flows"`
	// Expect lists the alerts that must be opened; none: silence.
	Expect []Expectation `yaml:"expect"`
}

// FlowSpec describes one flow, or many alike.
type FlowSpec struct {
	// At is when the first comes, from the beginning of the test.
	At time.Duration
	// Every is the time between one and the next.
	Every time.Duration
	// Jitter moves each of those by up to this share of it, either way.
	Jitter float64
	// Repeat is how many there are; 1 when 0.
	Repeat int
	// Vary counts a field up, by one for each flow, and begins again after so
	// many: the last part of an address, a port.
	Vary []FieldSpec
	// Fields are set to a value, or to each of several in turn.
	Fields []FieldSpec

	line, column int
}

// FieldSpec is a field of a flow and the values that it takes in turn.
type FieldSpec struct {
	Name   string
	Values []string
	node   *yaml.Node
}

// Expectation is an alert that must be opened.
type Expectation struct {
	// Entity it is about.
	Entity string `yaml:"entity"`
	// Severity that it reaches at its highest; any when 0.
	Severity Severity `yaml:"severity"`
	// Within is the time from the beginning of the test in which it must be
	// opened; any when 0.
	Within Duration `yaml:"within"`
}

// UnmarshalYAML reads at, every, repeat, jitter, vary, and fields by name.
func (s *FlowSpec) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return nodeError(n, "a flow is a mapping of fields")
	}
	s.line, s.column = n.Line, n.Column
	words := []string{"at", "every", "repeat", "jitter", "vary"}
	v := newVocabulary()
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		var err error
		switch key.Value {
		case "at":
			s.At, err = parseDuration(value.Value)
		case "every":
			s.Every, err = parseDuration(value.Value)
		case "repeat":
			err = value.Decode(&s.Repeat)
		case "jitter":
			err = value.Decode(&s.Jitter)
		case "vary":
			for j := 0; j+1 < len(value.Content); j += 2 {
				name, count := value.Content[j], value.Content[j+1]
				if _, ok := v.byName[name.Value]; !ok {
					return nodeError(name, "unknown field %q%s", name.Value, suggestion(name.Value, v.names))
				}
				s.Vary = append(s.Vary, FieldSpec{name.Value, []string{count.Value}, count})
			}
		default:
			if _, ok := v.byName[key.Value]; !ok {
				return nodeError(key, "unknown field %q%s", key.Value, suggestion(key.Value, append(slices.Clone(v.names), words...)))
			}
			f := FieldSpec{Name: key.Value, node: key}
			if value.Kind == yaml.SequenceNode {
				for _, x := range value.Content {
					f.Values = append(f.Values, x.Value)
				}
			} else {
				f.Values = []string{value.Value}
			}
			if len(f.Values) == 0 {
				return nodeError(value, "%s: an empty list", key.Value)
			}
			s.Fields = append(s.Fields, f)
		}
		if err != nil {
			return nodeError(value, "%s: %v", key.Value, err)
		}
	}
	if s.Repeat < 0 || s.Repeat > 1_000_000 {
		return nodeError(n, "repeat: %d is not between 1 and 1000000", s.Repeat)
	}
	return nil
}

// TestResult is the outcome of one test of a rule.
type TestResult struct {
	Rule, Test string
	// Diff says line by line what was got (-) and what was expected (+);
	// empty when the test passed.
	Diff []string
	// Flows is how many flows were run.
	Flows int
	// Err is why the test could not be run.
	Err error
}

// Passed reports whether the rule did what its test expects.
func (r TestResult) Passed() bool { return r.Err == nil && len(r.Diff) == 0 }

// TestRules runs the tests of rules, each rule by itself, in both stages, as
// the pipeline would. A rule without tests fails: nothing says what it is for.
func TestRules(rules []*Rule) []TestResult {
	var results []TestResult
	for _, r := range rules {
		if len(r.Tests) == 0 {
			results = append(results, TestResult{Rule: r.ID, Err: fmt.Errorf("has no tests: add one that must alert, and a near miss that must not")})
		}
		for i := range r.Tests {
			results = append(results, runTest(r, &r.Tests[i]))
		}
	}
	return results
}

// testBegin is a Monday, 09:00 UTC: tests have a fixed time, too.
var testBegin = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC).UnixMilli()

func runTest(r *Rule, t *Test) TestResult {
	result := TestResult{Rule: r.ID, Test: t.Name}
	flows, err := t.flows()
	if err != nil {
		result.Err = locate(err, r.file, r.ID)
		return result
	}
	result.Flows = len(flows)
	d, err := New(DefaultConfig(), Dependencies{Rules: []*Rule{r}})
	if err != nil {
		result.Err = err
		return result
	}
	values, err := runLocal(d, flows)
	if err != nil {
		result.Err = err
		return result
	}
	got, err := openings(values)
	if err != nil {
		result.Err = err
		return result
	}
	result.Diff = compareAlerts(got, t.Expect)
	return result
}

// opening is an alert that was opened, and the highest severity it reached.
type opening struct {
	entity   string
	severity Severity
	after    time.Duration
	reason   string
}

func openings(values [][]byte) ([]opening, error) {
	var all []opening
	byID := make(map[string]int)
	for _, v := range values {
		var d document
		if err := json.Unmarshal(v, &d); err != nil {
			return nil, fmt.Errorf("alert: %w", err)
		}
		at, err := time.Parse(time.RFC3339, d.Timestamp)
		if err != nil {
			return nil, fmt.Errorf("alert: %w", err)
		}
		i, known := byID[d.Event.ID]
		if !known {
			i = len(all)
			byID[d.Event.ID] = i
			all = append(all, opening{entity: d.Weir.Alert.Entity, after: at.Sub(time.UnixMilli(testBegin)), reason: d.Event.Reason})
		}
		all[i].severity = max(all[i].severity, Severity(d.Event.Severity))
	}
	return all, nil
}

func compareAlerts(got []opening, want []Expectation) (diff []string) {
	want = slices.Clone(want)
	for _, g := range got {
		i := slices.IndexFunc(want, func(w Expectation) bool {
			return w.Entity == g.entity && (w.Severity == 0 || w.Severity == g.severity) &&
				(w.Within == 0 || g.after <= time.Duration(w.Within))
		})
		if i < 0 {
			diff = append(diff, fmt.Sprintf("- %s, %s, after %s: %s", g.entity, g.severity, g.after.Round(time.Second), g.reason))
			continue
		}
		want = slices.Delete(want, i, i+1)
	}
	for _, w := range want {
		line := "+ " + w.Entity
		if w.Severity != 0 {
			line += ", " + w.Severity.String()
		}
		if w.Within != 0 {
			line += ", within " + time.Duration(w.Within).String()
		}
		diff = append(diff, line)
	}
	return diff
}

// flows expands the specifications, in the order of stream time.
func (t *Test) flows() ([]*flow, error) {
	v := newVocabulary()
	var flows []*flow
	n := uint64(0)
	for si := range t.Flows {
		s := &t.Flows[si]
		at := s.At + t.Base.At
		random := rand.New(rand.NewPCG(uint64(si), 0)) // a test is the same every time
		for i := range max(1, s.Repeat, t.Base.Repeat) {
			n++
			f, err := s.flow(v, &t.Base, i, n, testBegin+at.Milliseconds())
			if err != nil {
				return nil, err
			}
			flows = append(flows, f)
			step := float64(s.Every)
			at += time.Duration(step + step*s.Jitter*(2*random.Float64()-1))
		}
	}
	slices.SortStableFunc(flows, func(a, b *flow) int { return int(min(1, max(-1, a.StreamTime-b.StreamTime))) })
	return flows, nil
}

func (s *FlowSpec) flow(v *vocabulary, base *FlowSpec, i int, n uint64, at int64) (*flow, error) {
	f := &flow{StreamTime: at}
	f.Flow.Realm = "default"
	f.Flow.StreamTime = at
	binary.BigEndian.PutUint64(f.Flow.FlowId[:], n)
	f.ConversationId = f.Flow.FlowId
	f.Flow.FlowStartMilliseconds, f.Flow.FlowEndMilliseconds = at, at
	f.Flow.ProtocolIdentifier, f.Flow.SamplingInterval = 6, 1
	f.Flow.SourceTransportPort = 32768 + int32(n%28000)
	f.Flow.SourceIPAddress = netip.AddrFrom4([4]byte{10, 0, 0, 1})
	f.Flow.DestinationIPAddress = netip.AddrFrom4([4]byte{10, 0, 0, 2})
	given := make(map[string]bool)
	for _, fields := range [][]FieldSpec{base.Fields, s.Fields} {
		for _, x := range fields {
			given[x.Name] = true
			if err := v.byName[x.Name].set(f, x.Values[i%len(x.Values)]); err != nil {
				return nil, nodeError(x.node, "%v", err)
			}
		}
	}
	for _, vary := range [][]FieldSpec{base.Vary, s.Vary} {
		for _, x := range vary {
			if err := v.vary(f, x, i); err != nil {
				return nil, err
			}
		}
	}
	complete(f, given)
	return f, nil
}

// vary counts a field up from its value.
func (v *vocabulary) vary(f *flow, x FieldSpec, i int) error {
	var count int
	if err := x.node.Decode(&count); err != nil || count < 1 {
		return nodeError(x.node, "vary: %s: after how many to begin again is needed, a number", x.Name)
	}
	field := v.byName[x.Name]
	switch by := i % count; {
	case field.value.Address != nil:
		a := field.value.Address(f).As16()
		low := binary.BigEndian.Uint64(a[8:]) + uint64(by)
		if field.value.Address(f).Is4() {
			low = low&^0xffffffff | low&0xffffffff | 0xffff00000000
		}
		binary.BigEndian.PutUint64(a[8:], low)
		address := netip.AddrFrom16(a)
		if field.value.Address(f).Is4() {
			address = address.Unmap()
		}
		return field.set(f, address.String())
	case field.value.Int != nil:
		return field.set(f, fmt.Sprint(field.value.Int(f)+int64(by)))
	case field.value.String != nil:
		return field.set(f, fmt.Sprintf("%d%s", by, field.value.String(f)))
	}
	return nodeError(x.node, "vary: %s cannot be counted up", x.Name)
}

// complete sets what follows from other fields, and was not given.
func complete(f *flow, given map[string]bool) {
	isTCP := f.Flow.ProtocolIdentifier == 6
	if !given["state"] {
		f.ConnectionState = schemas.ConnectionStateANSWERED
		if isTCP {
			f.ConnectionState = schemas.ConnectionStateCLOSED
		}
	}
	if !given["answered"] {
		setState(f, int64(f.ConnectionState))
	}
	if !given["initiator.octets"] && !given["octets"] {
		f.InitiatorOctets, f.InitiatorPackets = 600, 5
		if f.Answered {
			f.ResponderOctets, f.ResponderPackets = 1800, 5
		} else {
			f.InitiatorOctets, f.InitiatorPackets = 60, 1
		}
	}
	if isTCP && !given["initiator.flags"] {
		f.InitiatorTcpControlBits = 0x02
		if f.Answered {
			f.InitiatorTcpControlBits, f.ResponderTcpControlBits = 0x1b, 0x1b
		}
	}
	if !given["initiator.internal"] {
		f.Initiator.Internal = f.Flow.SourceIPAddress.IsPrivate()
	}
	if !given["responder.internal"] {
		f.Responder.Internal = f.Flow.DestinationIPAddress.IsPrivate()
	}
	if !given["direction"] {
		f.NetworkDirection = "internal"
		switch {
		case f.Initiator.Internal && !f.Responder.Internal:
			f.NetworkDirection = "outbound"
		case !f.Initiator.Internal && f.Responder.Internal:
			f.NetworkDirection = "inbound"
		case !f.Initiator.Internal:
			f.NetworkDirection = "external"
		}
	}
}

// runLocal runs flows, in the order of stream time, through both stages, and
// returns the alerts' values. Time then goes on until everything has closed.
func runLocal(d *Detector, flows []*flow) (alerts [][]byte, err error) {
	take := func(next *stream.Local) func(stream.Output) error {
		return func(o stream.Output) error {
			switch {
			case o.Topic == kafka.TopicAlerts:
				alerts = append(alerts, o.Value)
			case o.Topic == kafka.TopicMerge && next != nil:
				return next.Push(o.Key, o.Value)
			case o.Topic == kafka.TopicDeadLetter:
				for _, h := range o.Headers {
					if h.Key == "reason" {
						return fmt.Errorf("refused: %s", h.Value)
					}
				}
			}
			return nil
		}
	}
	stages := d.Stages()
	second := stream.NewLocal(stages[1], take(nil), nil)
	first := stream.NewLocal(stages[0], take(second),
		func(t schemas.Tick) error { return second.Push(nil, t.Append(nil)) })
	tick := func(at int64) error {
		t := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "test", Of: 1, Time: at}}}
		return first.Push(nil, t.Append(nil))
	}
	last := int64(0)
	for _, f := range flows {
		key := stream.AddressKey(nil, f.Flow.Realm, f.Flow.SourceIPAddress)
		if err := first.Push(key, f.Append(nil)); err != nil {
			return nil, err
		}
		if f.StreamTime >= last+1000 {
			last = f.StreamTime
			if err := tick(last); err != nil {
				return nil, err
			}
		}
	}
	return alerts, tick(last + (62 * 24 * time.Hour).Milliseconds())
}
