package detector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// swapped lets a test put a restored processor in the place of a running one.
type swapped struct{ stream.Processor }

// restore replaces the processor by a fresh one with the state of the old.
func (s *swapped) restore(t testing.TB, fresh stream.Processor) {
	t.Helper()
	for g := range kafka.Groups {
		state := s.AppendState(nil, g)
		if err := fresh.LoadState(g, state); err != nil {
			t.Fatal(err)
		}
		if again := fresh.AppendState(nil, g); string(again) != string(state) {
			t.Fatalf("state of group %d changed by a restore (-got, +want)\n- %x\n+ %x", g, again, state)
		}
	}
	s.Processor = fresh
}

// driver runs both stages in one process.
type driver struct {
	t           testing.TB
	d           *Detector
	first       *swapped
	second      *swapped
	one, two    *stream.Local
	alerts      []string
	parts       []stream.Output
	refused     []string
	flows       int
	lastTick    int64
	latest      int64
	restoreRate float64
	random      *rand.Rand
}

func newDriver(t testing.TB, d *Detector) *driver {
	x := &driver{t: t, d: d, first: &swapped{d.NewProcessor()}, second: &swapped{d.NewMergeProcessor()}, random: rand.New(rand.NewPCG(1, 1))}
	x.two = stream.NewLocal(stream.Stage{Name: kafka.StageMerge, New: func() stream.Processor { return x.second }}, x.out, nil)
	x.one = stream.NewLocal(stream.Stage{Name: kafka.StageDetector, New: func() stream.Processor { return x.first }}, x.out,
		func(tick schemas.Tick) error { return x.two.Push(nil, tick.Append(nil)) })
	return x
}

func (x *driver) out(o stream.Output) error {
	switch o.Topic {
	case kafka.TopicAlerts:
		x.alerts = append(x.alerts, string(o.Key)+" "+string(o.Value))
	case kafka.TopicMerge:
		x.parts = append(x.parts, o)
		return x.two.Push(o.Key, o.Value)
	case kafka.TopicDeadLetter:
		for _, h := range o.Headers {
			if h.Key == "reason" {
				x.refused = append(x.refused, string(h.Value))
			}
		}
	}
	return nil
}

func (x *driver) flow(f *flow) {
	x.t.Helper()
	if x.random.Float64() < x.restoreRate {
		x.first.restore(x.t, x.d.NewProcessor())
		x.second.restore(x.t, x.d.NewMergeProcessor())
	}
	x.flows++
	x.latest = max(x.latest, f.StreamTime)
	if err := x.one.Push(stream.AddressKey(nil, f.Flow.Realm, f.Flow.SourceIPAddress), f.Append(nil)); err != nil {
		x.t.Fatal(err)
	}
}

func (x *driver) tick(at int64) {
	x.t.Helper()
	x.lastTick = max(x.lastTick, at)
	tick := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "test", Of: 1, Time: x.lastTick}}}
	if err := x.one.Push(nil, tick.Append(nil)); err != nil {
		x.t.Fatal(err)
	}
}

// end lets time go on until everything has closed.
func (x *driver) end() { x.tick(max(x.latest, x.lastTick) + 70*24*3600*1000) }

// mixture is what the tests of the shipped rules have that alerts, and some
// of what must not, at once, and out of order by up to two seconds.
func mixture(t testing.TB, seed uint64, limit int) (flows []*flow, least []int64) {
	rules, err := LoadRules(RulesConfig{})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 2))
	n := uint64(0)
	for _, r := range rules {
		for _, test := range r.Tests {
			if len(test.Expect) == 0 && random.IntN(3) > 0 {
				continue
			}
			more, err := test.flows()
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range more {
				if i >= limit {
					break
				}
				n++
				f.Flow.FlowId[15], f.Flow.FlowId[14], f.Flow.FlowId[13] = byte(n), byte(n>>8), byte(n>>16)
				flows = append(flows, f)
			}
		}
	}
	order := make(map[*flow]int64, len(flows))
	for _, f := range flows {
		order[f] = f.StreamTime + random.Int64N(2000)
	}
	slices.SortStableFunc(flows, func(a, b *flow) int { return int(order[a] - order[b]) })
	// least[i] is what no flow from i on lies below: ticks may say so much.
	least = make([]int64, len(flows)+1)
	least[len(flows)] = math.MaxInt64
	for i := len(flows) - 1; i >= 0; i-- {
		least[i] = min(least[i+1], flows[i].StreamTime)
	}
	return flows, least
}

func newTestDetector(t testing.TB, rules ...*Rule) *Detector {
	t.Helper()
	d, err := New(DefaultConfig(), Dependencies{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// parse makes one rule of YAML.
func parse(t testing.TB, text string) *Rule {
	t.Helper()
	rules, err := ParseRules("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) != 1 {
		t.Fatalf("%d rules, want 1", len(rules))
	}
	return rules[0]
}

// Neither where ticks stand, nor whether state was written and read back in
// between, changes a byte of what is put out.
func TestTicksAndRestoresChangeNothing(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			flows, least := mixture(t, seed, 700)
			run := func(tickRate, restoreRate float64) []string {
				x := newDriver(t, newTestDetector(t))
				x.restoreRate = restoreRate
				x.random = rand.New(rand.NewPCG(seed, uint64(1000*tickRate)))
				for i, f := range flows {
					if x.random.Float64() < tickRate {
						x.tick(least[i])
					}
					x.flow(f)
				}
				x.tick(flows[len(flows)-1].StreamTime)
				x.end()
				if len(x.refused) > 0 {
					t.Fatalf("refused: %v", x.refused)
				}
				// Ticks may let time pass in one key group before or after a
				// flow of another: the order between groups is theirs.
				slices.Sort(x.alerts)
				return x.alerts
			}
			want := run(1, 0)
			if len(want) < 15 {
				t.Fatalf("only %d alerts: nothing to compare", len(want))
			}
			for _, rates := range [][2]float64{{0, 0}, {0.01, 0}, {0.3, 0}, {0.3, 0.002}, {0.01, 0.002}} {
				got := run(rates[0], rates[1])
				if !slices.Equal(got, want) {
					t.Errorf("ticks at %v, restores at %v: alerts differ\n%s", rates[0], rates[1], firstDifference(got, want))
				}
			}
		})
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			from := 0
			for from < min(len(g), len(w)) && g[from] == w[from] {
				from++
			}
			cut := func(s string) string { return s[max(0, min(from, len(s))-60):min(len(s), from+100)] }
			return fmt.Sprintf("alert %d (-got, +want) of %d and %d\n- %s\n+ %s", i, len(got), len(want), cut(g), cut(w))
		}
	}
	return "none"
}

// Parts come from many partitions: their order within the log of the second
// stage, between two ticks, changes nothing.
func TestOrderOfPartsChangesNothing(t *testing.T) {
	flows, _ := mixture(t, 1, 3000)
	x := newDriver(t, newTestDetector(t))
	for _, f := range flows {
		x.flow(f)
	}
	x.tick(x.latest)
	run := func(order []int) (alerts []string) {
		second := stream.NewLocal(stream.Stage{Name: kafka.StageMerge, New: x.d.NewMergeProcessor}, func(o stream.Output) error {
			alerts = append(alerts, string(o.Value))
			return nil
		}, nil)
		for _, i := range order {
			if err := second.Push(x.parts[i].Key, x.parts[i].Value); err != nil {
				t.Fatal(err)
			}
		}
		tick := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "test", Of: 1, Time: x.latest + 70*24*3600*1000}}}
		if err := second.Push(nil, tick.Append(nil)); err != nil {
			t.Fatal(err)
		}
		return alerts
	}
	order := make([]int, len(x.parts))
	for i := range order {
		order[i] = i
	}
	want := run(order)
	if len(want) < 4 {
		t.Fatalf("%d alerts of %d parts: nothing to compare", len(want), len(order))
	}
	for range 3 {
		if got := run(x.random.Perm(len(order))); !slices.Equal(got, want) {
			t.Errorf("alerts differ: %s", firstDifference(got, want))
		}
	}
}
