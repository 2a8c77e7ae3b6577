package detector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// windowed runs a cell over random values and panes, some of which come late,
// and calls check with what a window that ends in the newest pane holds.
func windowed(t *testing.T, kind string, a *aggregate, panes int64, values int, check func(c cell, inWindow []paneValue)) {
	t.Helper()
	kinds := aggregateKinds()
	a.kind = kinds[slices.IndexFunc(kinds, func(k *aggregateKind) bool { return k.name == kind })]
	a.scale = 1
	r := rand.New(rand.NewPCG(1, uint64(values)))
	c := a.kind.new()
	var all []paneValue
	newest := int64(1000)
	for range 3000 {
		if r.IntN(20) == 0 {
			newest += r.Int64N(panes)
			c.expire(newest - panes + 1)
		}
		pane := newest - r.Int64N(min(panes, 3))
		v := r.Int64N(int64(values))
		var f flow
		f.InitiatorOctets = v
		c.add(a, &f, pane)
		all = append(all, paneValue{pane, v})
		if r.IntN(50) > 0 {
			continue
		}
		var in []paneValue
		for _, x := range all {
			if x.pane > newest-panes {
				in = append(in, x)
			}
		}
		check(c, in)
		// What is written is what is read.
		state := c.append(nil)
		again := a.kind.new()
		again.load(&reader{b: state})
		if got := again.append(nil); string(got) != string(state) || again.value(a, 0) != c.value(a, 0) {
			t.Fatalf("%s: a restore changed it (-got, +want)\n- %x %v\n+ %x %v", kind, got, again.value(a, 0), state, c.value(a, 0))
		}
	}
}

func octets(f *flow) int64 { return f.InitiatorOctets }

func odd(f *flow) bool { return f.InitiatorOctets%2 == 1 }

// Against counting by hand what lies in the window.
func TestCellsAgainstBruteForce(t *testing.T) {
	sum := func(in []paneValue, f func(int64) float64) (s float64) {
		for _, x := range in {
			s += f(x.value)
		}
		return s
	}
	value := func(v int64) float64 { return float64(v) }
	oddness := func(v int64) float64 { return float64(v % 2) }
	extremeOf := func(in []paneValue, sign float64) float64 {
		best := math.Inf(-1)
		for _, x := range in {
			best = max(best, sign*float64(x.value))
		}
		return sign * best
	}
	for _, tc := range []struct {
		kind string
		a    *aggregate
		want func(in []paneValue) float64
	}{
		{"count", &aggregate{test: odd}, func(in []paneValue) float64 { return sum(in, oddness) }},
		{"sum", &aggregate{number: octets}, func(in []paneValue) float64 { return sum(in, value) }},
		{"avg", &aggregate{number: octets}, func(in []paneValue) float64 { return sum(in, value) / float64(len(in)) }},
		{"ratio", &aggregate{test: odd}, func(in []paneValue) float64 { return sum(in, oddness) / float64(len(in)) }},
		{"min", &aggregate{number: octets}, func(in []paneValue) float64 { return extremeOf(in, -1) }},
		{"max", &aggregate{number: octets}, func(in []paneValue) float64 { return extremeOf(in, 1) }},
	} {
		for _, panes := range []int64{1, 15} {
			windowed(t, tc.kind, tc.a, panes, 50, func(c cell, in []paneValue) {
				if got, want := c.value(tc.a, 0), tc.want(in); got != want {
					t.Fatalf("%s over %d panes (-got, +want)\n- %v\n+ %v", tc.kind, panes, got, want)
				}
			})
		}
	}
}

func encodeOctets(dst []byte, f *flow) []byte {
	return fmt.Appendf(append(dst, tagText, 8), "%08d", f.InitiatorOctets)
}

// Exact while small, near when large, sliding either way.
func TestDistinct(t *testing.T) {
	for _, values := range []int{40, 200, 100_000} {
		a := &aggregate{encode: encodeOctets}
		windowed(t, "distinct", a, 15, values, func(c cell, in []paneValue) {
			seen := make(map[int64]bool)
			for _, x := range in {
				seen[x.value] = true
			}
			got, want := c.value(a, 0), float64(len(seen))
			d := c.(*distinct)
			switch {
			case len(d.hashes) > distinctMax:
				t.Fatalf("%d hashes are kept, at most %d may be", len(d.hashes), distinctMax)
			case d.level == 0 && got != want:
				t.Fatalf("%d values: exact count (-got, +want)\n- %v\n+ %v", values, got, want)
			case math.Abs(got-want) > 0.35*want+16: // four standard deviations of a half-full sample
				t.Fatalf("%d values: estimate (-got, +want)\n- %v\n+ %v", values, got, want)
			}
			if values <= 200 && d.level != 0 {
				t.Fatalf("%d values were sampled", values)
			}
		})
	}
}

// What slices add up to, merged in any order, is what one cell would have.
func TestMergeIsAddition(t *testing.T) {
	kinds := aggregateKinds()
	for _, name := range []string{"count", "sum", "avg", "ratio", "min", "max", "distinct"} {
		a := &aggregate{scale: 1, kind: kinds[slices.IndexFunc(kinds, func(k *aggregateKind) bool { return k.name == name })]}
		switch name {
		case "count", "ratio":
			a.test = odd
		case "distinct":
			a.encode = encodeOctets
		default:
			a.number = octets
		}
		r := rand.New(rand.NewPCG(7, 7))
		whole := a.kind.new()
		slicesOf := make(map[int64][]cell)
		for pane := range int64(10) {
			for range 4 {
				part := a.kind.new()
				for range r.IntN(200) {
					var f flow
					f.InitiatorOctets = r.Int64N(5000)
					whole.add(a, &f, pane)
					part.add(a, &f, 0)
				}
				slicesOf[pane] = append(slicesOf[pane], part)
			}
		}
		merged := a.kind.new()
		for _, i := range r.Perm(40) {
			merged.merge(a, slicesOf[int64(i/4)][i%4], int64(i/4))
		}
		if got, want := merged.append(nil), whole.append(nil); string(got) != string(want) {
			t.Errorf("%s (-got, +want)\n- %v\n+ %v", name, merged.value(a, 0), whole.value(a, 0))
		}
	}
}

// The commonest values are found among many rare ones.
func TestTop(t *testing.T) {
	a := &aggregate{encode: encodeOctets}
	r := rand.New(rand.NewPCG(3, 3))
	c := new(top)
	for i := range 20_000 {
		f := flow{InitiatorOctets: 1000 + r.Int64N(9000)}
		if i%5 < 2 {
			f.InitiatorOctets = int64(i % 5)
		}
		c.add(a, &f, int64(i/1000))
	}
	best := c.best(2)
	for i, it := range best {
		if v, err := decodeItem([]byte(it.value)); err != nil || v.text != fmt.Sprintf("%08d", i) || it.count < 4000 || it.count > 5000 {
			t.Errorf("place %d: %q %d times, %v", i, v, it.count, err)
		}
	}
	if len(c.items) > topMax {
		t.Errorf("%d values are followed, want at most %d", len(c.items), topMax)
	}
	if c.expire(1000); len(c.items) != 0 {
		t.Errorf("%d values are left behind the window", len(c.items))
	}
}

func beaconOf(n int, next func(i int) (after, size float64)) *beacon {
	a := &aggregate{pane: 3600_000, panes: 24,
		number: func(f *flow) int64 { return f.Flow.FlowStartMilliseconds }, size: octets}
	b := new(beacon)
	at := 1.7e12
	for i := range n {
		after, size := next(i)
		at += after * 1000
		f := flow{InitiatorOctets: int64(size)}
		f.Flow.FlowStartMilliseconds = int64(at)
		b.add(a, &f, int64(at)/3600_000)
	}
	return b
}

func TestBeaconScore(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, tc := range []struct {
		name           string
		b              *beacon
		interval, size [2]float64 // bounds
		period         float64
	}{
		{"a clock", beaconOf(100, func(int) (float64, float64) { return 60, 500 }), [2]float64{1, 1}, [2]float64{1, 1}, 60},
		{"give or take a fifth", beaconOf(250, func(int) (float64, float64) { return 48 + 24*r.Float64(), 500 + 20*r.Float64() }), [2]float64{.85, .98}, [2]float64{.9, 1}, 60},
		// Exponential: Bowley is ln(4/3)/ln 3 = .262, the median deviation
		// .481/.693 of the median: (1-.262+1-.694)/2 = .52.
		{"at random", beaconOf(250, func(int) (float64, float64) { return 60 * r.ExpFloat64(), 500 * r.ExpFloat64() }), [2]float64{.4, .65}, [2]float64{.4, .65}, 0},
		// Two equally common intervals lie symmetric, but far from the median.
		{"two beats", beaconOf(250, func(i int) (float64, float64) { return []float64{10, 200}[i%2], 500 }), [2]float64{.3, .8}, [2]float64{1, 1}, 0},
	} {
		interval, size := tc.b.value(nil, 1), tc.b.value(nil, 2)
		if interval < tc.interval[0] || interval > tc.interval[1] || size < tc.size[0] || size > tc.size[1] {
			t.Errorf("%s: interval %.3f, want %v; size %.3f, want %v", tc.name, interval, tc.interval, size, tc.size)
		}
		if period := tc.b.value(nil, 5); tc.period != 0 && math.Abs(period-tc.period) > 3 {
			t.Errorf("%s: period %.1f s, want %.0f", tc.name, period, tc.period)
		}
	}
	// A whole day of a clock covers and fills the window.
	day := beaconOf(288, func(int) (float64, float64) { return 300, 500 })
	if score := day.value(nil, 0); score < .9 {
		t.Errorf("a clock over a day scores %.3f, want at least .9", score)
	}
	if n := len(day.events); n != beaconEvents {
		t.Errorf("%d events are kept, want %d", n, beaconEvents)
	}
	if few := beaconOf(3, func(int) (float64, float64) { return 60, 1 }); few.value(nil, 0) != 0 || few.value(nil, 6) != 3 {
		t.Errorf("three calls score %v", few.value(nil, 0))
	}
}

// Windows that are not sliding, and keys of several parts, by a rule's tests.
func TestSessionsAndTuples(t *testing.T) {
	r := parse(t, `
id: session
version: 1
name: Session
severity: low
filter: "true"
key: [initiator.address, responder.port]
entity: initiator.address
window: {session: 1m}
aggregates:
  flows: {count: true}
  pace: {rate: true, per: 1m}
  least: {min: octets}
condition: flows >= 5 and pace >= 5 and least >= 100
tests:
  - name: no gap is a minute long
    flows: [{every: 59s, repeat: 5, responder.port: 7, initiator.octets: 100}]
    expect: [{entity: 10.0.0.1}]
  - name: a gap ends it
    flows: [{every: 61s, repeat: 9, responder.port: 7, initiator.octets: 100}]
    expect: []
  - name: each port is a key
    flows: [{every: 1s, repeat: 8, responder.port: [7, 8], initiator.octets: 100}]
    expect: []
  - name: both ports
    flows: [{every: 1s, repeat: 10, responder.port: [7, 8], initiator.octets: 100}]
    expect: [{entity: 10.0.0.1}, {entity: 10.0.0.1}]
  - name: one is too small
    flows: [{every: 1s, repeat: 5, initiator.octets: [100, 99, 100]}]
    expect: []
`)
	for _, result := range TestRules([]*Rule{r}) {
		if !result.Passed() {
			t.Errorf("%s: %v %v", result.Test, result.Err, result.Diff)
		}
	}
}

// The index offers every rule whose filter could hold, and no rule that names
// other ports or protocols.
func TestIndex(t *testing.T) {
	programs := newTestDetector(t).programs()
	x := newIndex(programs)
	r := rand.New(rand.NewPCG(1, 9))
	for range 20_000 {
		f := tcpFlow(0, "10.0.0.1", r.Int32N(1<<16))
		if r.IntN(2) == 0 {
			f.Flow.DestinationTransportPort = []int32{25, 53, 135, 443, 445, 587, 9001}[r.IntN(7)]
		}
		f.Flow.ProtocolIdentifier = []int32{1, 6, 17, 47}[r.IntN(4)]
		f.Responder.Internal = r.IntN(2) == 0
		offered := x.candidates(f)
		for _, p := range programs {
			if p.filter(f) && !slices.Contains(offered, p) {
				t.Fatalf("%s was not offered protocol %d port %d", p.ID, f.Flow.ProtocolIdentifier, f.Flow.DestinationTransportPort)
			}
		}
	}
	web := tcpFlow(0, "10.0.0.1", 443)
	for _, p := range x.candidates(web) {
		if p.ID == "worm-spread" || p.ID == "spam-sender" {
			t.Errorf("%s was offered port 443", p.ID)
		}
	}
}
