package enricher

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weir-flow/weir/schemas"
)

// traffic returns a log of n records of few conversations, as several
// exporters and two collectors with some skew between them send it: both
// directions, slices, duplicates, reused ports, samples. Each collector's
// times rise, so that ticks can be true.
func traffic(rnd *rand.Rand, n int) []*schemas.FlowRecord {
	var log []*schemas.FlowRecord
	clock := map[string]int64{"c1": 0, "c2": 0}
	for i := range n {
		collector := []string{"c1", "c2"}[rnd.IntN(2)]
		clock[collector] += rnd.Int64N(400)
		// A collector is never far behind the other.
		clock[collector] = max(clock[collector], clock["c1"]-2000, clock["c2"]-2000)
		at := clock[collector]
		f := flow{
			proto: []int32{protoTCP, protoTCP, protoUDP, protoICMP, 47}[rnd.IntN(5)], at: at,
			start: at - rnd.Int64N(3000), octets: 40 + rnd.Int64N(1000), packets: 1 + rnd.Int64N(3),
			exporter: []string{"192.0.2.1", "192.0.2.2"}[rnd.IntN(2)], in: rnd.Int64N(2),
			collector: collector, sampling: []int64{0, 1, 1, 10}[rnd.IntN(4)],
		}
		f.end = f.start + rnd.Int64N(1000)
		a := fmt.Sprintf("10.0.0.%d:%d", rnd.IntN(4), 40000+rnd.IntN(2))
		b := fmt.Sprintf("203.0.113.%d:%d", rnd.IntN(2), []int{443, 53, 50000}[rnd.IntN(3)])
		f.src, f.dst = a, b
		if rnd.IntN(2) == 0 {
			f.src, f.dst = b, a
		}
		switch f.proto {
		case protoTCP:
			f.flags = []int32{syn, synack, full, rst, flagACK, 0}[rnd.IntN(6)]
		case protoICMP:
			f.icmp = 1<<16 | []int32{0, 8 << 8, 3<<8 | 1}[rnd.IntN(3)]
		}
		if rnd.IntN(10) == 0 {
			f.revOctets, f.revPackets = 10, 1
		}
		r := f.record(uint64(i + 1))
		if rnd.IntN(30) == 0 {
			r.SourceIPAddress = netip.Addr{} // not IP
		}
		log = append(log, r)
	}
	return log
}

// run feeds a log. It ticks with a chance of one in ticks after each record,
// restarts the processor after every so many, and ends with time passing by.
func run(t testing.TB, log []*schemas.FlowRecord, rnd *rand.Rand, ticks, restart int, change func(*Config)) *driver {
	d := newDriver(t, change)
	d.wrap.every, d.crowd = restart, 3
	last := map[string]int64{}
	d.tick(-10000, "c1", "c2")
	for _, r := range log {
		d.pushRecord(r)
		last[r.CollectorId] = r.StreamTime
		if ticks > 0 && rnd.IntN(ticks) == 0 && len(last) == 2 {
			var tick schemas.Tick
			for _, c := range []string{"c1", "c2"} {
				tick.Upstreams = append(tick.Upstreams, schemas.Upstream{Id: c, Time: last[c]})
			}
			if err := d.local.Push(nil, tick.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.tick(1e9, "c1", "c2")
	return d
}

func sorted(d *driver) []string {
	var all []string
	for i, f := range d.out {
		all = append(all, fmt.Sprintf("%s %x", text(f), d.raw[i]))
	}
	slices.Sort(all)
	return all
}

// What goes out does not depend on how ticks are spaced, nor on where the
// processor was restored from its state; and every record that came in is a
// member of one enriched flow.
func TestSpacingAndRestartsDoNotMatter(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"roomy": nil,
		"tight": func(c *Config) { c.MaxHeld, c.MaxConnections = 2*1024, 3*1024 },
		"even":  func(c *Config) { c.MaxHeld, c.MaxConnections = 13*1024, 15*1024 },
		"short": func(c *Config) {
			c.StitchHold, c.IdleTimeout, c.WaitForDuplicates = time.Second, 3*time.Second, false
		},
		"none": func(c *Config) { c.StitchHold = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			evicted := 0.0
			for seed := range uint64(6) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				log := traffic(rnd, 500)
				base := run(t, log, rnd, 0, 0, change)
				want := sorted(base)
				checkMembers(t, log, base)
				evicted += value(t, base.e.metrics.bound)
				for _, way := range []struct{ ticks, restart int }{{1, 0}, {7, 0}, {50, 0}, {0, 1}, {5, 13}} {
					other := run(t, log, rnd, way.ticks, way.restart, change)
					if got := sorted(other); !slices.Equal(got, want) {
						t.Fatalf("seed %d, a tick in %d records, a restart in %d: %s", seed, way.ticks, way.restart, firstDifference(got, want))
					}
				}
			}
			if (name == "tight" || name == "even") && evicted == 0 {
				t.Error("no bound was met: the test shows nothing")
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
			return fmt.Sprintf("%d and %d outputs, first difference (-got, +want)\n- %s\n+ %s", len(got), len(want), g, w)
		}
	}
	return "equal"
}

func checkMembers(t *testing.T, log []*schemas.FlowRecord, d *driver) {
	t.Helper()
	members := map[schemas.FlowId]int{}
	for _, f := range d.out {
		counted := [2]int{}
		for _, m := range f.Members {
			members[m.FlowId]++
			if m.Role < schemas.MemberRoleDUPLICATE_FORWARD {
				counted[m.Role]++
			}
		}
		if counted[0] > 1 || counted[1] > 1 {
			t.Errorf("%s: %v members count in a direction", text(f), counted)
		}
		if counted[0]+counted[1] == 0 && (len(f.Members) != 1 || !f.Continuation || f.InitiatorOctets+f.ResponderOctets != 0) {
			t.Errorf("%s: nothing counts, and it is no late duplicate", text(f))
		}
	}
	for _, r := range log {
		if n := members[r.FlowId]; n != 1 {
			t.Errorf("record %s is a member of %d enriched flows", r.FlowId, n)
		}
	}
	if len(members) != len(log) {
		t.Errorf("members (-got, +want)\n- %d\n+ %d", len(members), len(log))
	}
	if n := value(t, d.e.metrics.members); n != float64(len(log)) {
		t.Errorf("weir_enricher_members_total (-got, +want)\n- %v\n+ %d", n, len(log))
	}
	if n := value(t, d.e.metrics.out); n != float64(len(d.out)) {
		t.Errorf("weir_enricher_flows_out_total (-got, +want)\n- %v\n+ %d", n, len(d.out))
	}
}

// Which direction's record came first changes neither id nor roles nor
// counters.
func TestOrderOfDirectionsDoesNotMatter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	essence := func(d *driver) string {
		if len(d.out) != 1 {
			t.Fatalf("%d enriched flows, want 1: %v", len(d.out), d.texts())
		}
		f := d.out[0]
		return fmt.Sprintf("%s %s %s>%s %d/%d|%d/%d %s %s", f.ConversationId, f.CommunityId, f.Flow.Source(), f.Flow.Destination(),
			f.InitiatorOctets, f.InitiatorPackets, f.ResponderOctets, f.ResponderPackets, f.ConnectionState, f.RoleConfidence)
	}
	for range 300 {
		pick := func() flow {
			return flow{
				start: rnd.Int64N(3), end: 5, octets: 1 + rnd.Int64N(3), packets: 1 + rnd.Int64N(2),
				flags: []int32{syn, synack, full, rst, flagACK, 0}[rnd.IntN(6)], sampling: 1 + rnd.Int64N(2),
				exporter: []string{"192.0.2.1", "192.0.2.2"}[rnd.IntN(2)],
			}
		}
		a, b := pick(), pick()
		a.src, a.dst = fmt.Sprintf("10.0.0.1:%d", 50000+rnd.IntN(2)), []string{"10.0.0.2:443", "10.0.0.2:50000"}[rnd.IntN(2)]
		b.src, b.dst = a.dst, a.src
		a.proto = []int32{protoTCP, protoUDP, 47}[rnd.IntN(3)]
		b.proto = a.proto
		one, two := newDriver(t, nil), newDriver(t, nil)
		one.push(a, b)
		two.push(b, a)
		one.tick(1e6)
		two.tick(1e6)
		if got, want := essence(two), essence(one); got != want {
			t.Errorf("%+v %+v (-got, +want)\n- %s\n+ %s", a, b, got, want)
		}
	}
}
