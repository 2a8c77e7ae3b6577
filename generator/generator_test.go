package generator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-flow/weir/internal/capture"
)

func digest(t testing.TB, cfg Config) string {
	h := sha256.New()
	run(t, cfg, SinkFunc(func(d capture.Datagram) error {
		fmt.Fprintln(h, d.Time.UnixNano(), d.Source, d.Destination, len(d.Payload))
		h.Write(d.Payload)
		return nil
	}))
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestReproducible(t *testing.T) {
	one, again, other := digest(t, hour(7)), digest(t, hour(7)), digest(t, hour(8))
	if one != again {
		t.Error("the same configuration gave different datagrams")
	}
	if one == other {
		t.Error("different seeds gave the same datagrams")
	}
	a, err := New(hour(7))
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(hour(7))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.Truth(), b.Truth(), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
		t.Errorf("truth differs between runs of one seed\n%s", d)
	}
}

// TestScenariosAreIndependent: adding one changes nothing about the others.
func TestScenariosAreIndependent(t *testing.T) {
	find := func(scenarios ...string) Event {
		cfg := hour(4)
		cfg.Scenarios = scenarios
		g, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range g.Truth() {
			if e.Name == "ddos" {
				return e
			}
		}
		t.Fatal("no ddos in the truth")
		return Event{}
	}
	if d := cmp.Diff(find("all"), find("ddos"), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
		t.Errorf("ddos differs alone (+) and among all (-)\n%s", d)
	}
}

func TestFlowRateIsMet(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		hour int
		rate float64
	}{{1, 8, 400_000 / 21600.0}, {2, 22, 400_000 / 21600.0}, {3, 8, 100}} {
		cfg := DefaultConfig()
		cfg.Seed, cfg.FlowRate = c.seed, c.rate
		cfg.Start = cfg.Start.Add(time.Duration(c.hour-8) * time.Hour)
		g := run(t, cfg, SinkFunc(func(capture.Datagram) error { return nil }))
		got, want := float64(g.Stats().Records), c.rate*cfg.Duration.Seconds()
		if math.Abs(got/want-1) > 0.05 {
			t.Errorf("seed %d from %d o'clock: %.0f records, want %.0f within 5%%", c.seed, c.hour, got, want)
		}
	}
}

// TestSlicesAddUp: whatever an exporter's timeouts make of a conversation, the
// records' counters add up to it, and only the first has its SYN.
func TestSlicesAddUp(t *testing.T) {
	cfg := hour(1)
	r := newRandom(1, "slices")
	for range 300 {
		c := talk(endpoint{v4Parts(10, 10, 0, 2), hqEast, 0}, endpoint{v4Parts(10, 20, 0, 25), dataCentre, 0}, tcp, 1024, 25)
		c.start = cfg.Start.UnixMilli() + r.Int64N(60_000)
		c.exchange(r.heavy(500, 16), r.heavy(500, 16))
		c.rtt = r.between(1, 200)
		c.lasting(r.between(0, 400_000))
		w := newWorld()
		for _, e := range newExporters(cfg, w, cfg.Start.UnixMilli())[:4] {
			o := newOracle(t)
			var octets, packets uint64
			syns := 0
			o.record = func(_ netip.AddrPort, _ time.Time, d decoded) {
				octets += d.Octets + d.ReverseOctets
				packets += d.Packets + d.ReversePackets
				syns += int(d.Flags & syn / syn)
			}
			e.sink = o
			e.observe(&c)
			for s := cfg.Start.Unix() + 1; e.pending > 0; s++ {
				if err := e.tick(s, s == cfg.Start.Unix()+1); err != nil {
					t.Fatal(err)
				}
			}
			wantSyns := 2
			if e.biflow {
				wantSyns = 1
			}
			if octets != c.up.octets+c.down.octets || packets != c.up.packets+c.down.packets || syns != wantSyns {
				t.Fatalf("%s: %d octets, %d packets, %d SYNs of %+v", e.name, octets, packets, syns, c)
			}
		}
	}
}

// TestPeersAreKnown: every Internet peer is in the published networks, every
// other host in the enterprise's.
func TestPeersAreKnown(t *testing.T) {
	networks := Internet()
	cfg := hour(2)
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	inside := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	check := func(a netip.Addr, z zone, as uint32) {
		if z != internet {
			if !inside[0].Contains(a) && !inside[1].Contains(a) {
				t.Errorf("%v is in zone %s", a, zoneNames[z])
			}
			return
		}
		i := slices.IndexFunc(networks, func(n Network) bool { return n.Prefix.Contains(a) })
		if i < 0 || networks[i].AS != as {
			t.Errorf("%v of AS %d is in none of its networks", a, as)
		}
	}
	for _, a := range g.actors {
		a.advance(g.end, func(c *conversation) {
			check(c.client.addr(), c.clientZone, c.clientAS)
			check(c.server.addr(), c.serverZone, c.serverAS)
		})
	}
	for i, n := range networks {
		for _, m := range networks[:i] {
			if n.Prefix.Overlaps(m.Prefix) {
				t.Errorf("networks %v and %v overlap", n.Prefix, m.Prefix)
			}
		}
	}
}

func TestAssetsAndGroups(t *testing.T) {
	seen := map[netip.Addr]string{}
	for _, a := range Assets() {
		if old, ok := seen[a.Address]; ok {
			t.Errorf("%v is both %s and %s", a.Address, old, a.Name)
		}
		seen[a.Address] = a.Name
	}
	// The largest enterprise still fits its networks, and no two groups mix.
	groups := Groups()
	e := newEnterprise(MaxHosts)
	for _, g := range e.groups() {
		for _, i := range []int{0, g.size - 1} {
			a := g.host(i).addr()
			ok := slices.ContainsFunc(groups, func(x Group) bool { return x.Name == g.name && x.Prefix.Contains(a) })
			others := slices.ContainsFunc(groups, func(x Group) bool { return x.Name != g.name && x.Prefix.Contains(a) })
			if !ok || others || seen[a] != "" {
				t.Errorf("%v, host %d of %s, is outside its network, in another, or an asset", a, i, g.name)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`scenarios[0]: unknown scenario "beakon"; did you mean "beacon"?`:                        func(c *Config) { c.Scenarios = []string{"beakon"} },
		`scenarios[0]: unknown scenario "worm"; did you mean "worm-445"?`:                        func(c *Config) { c.Scenarios = []string{"worm"} },
		`There are: all, horizontal-scan, worm-445, spam, beacon, ddos, tor`:                     func(c *Config) { c.Scenarios = []string{"zzzzzzzzzzzz"} },
		`scenarios[1]: "tor" is named twice`:                                                     func(c *Config) { c.Scenarios = []string{"tor", "tor"} },
		`scenarios[0]: "beacon" needs a duration of at least 1h0m0s, not 30m0s`:                  func(c *Config) { c.Scenarios, c.Duration = []string{"beacon"}, 30*time.Minute },
		`scenarios: "all" does not fit in 30m0s; too long are worm-445 (45m0s), beacon (1h0m0s)`: func(c *Config) { c.Duration = 30 * time.Minute },
		`hosts: 10 is not from 300 to 50000`:                                                     func(c *Config) { c.Hosts = 10 },
		`duration: 1.5s is not whole seconds`:                                                    func(c *Config) { c.Duration, c.Scenarios = 1500*time.Millisecond, nil },
		`flow_rate: NaN is not`:                                                                  func(c *Config) { c.FlowRate = math.NaN() },
		`start: 1960-`:                                                                           func(c *Config) { c.Start = time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC) },
		`collector: invalid AddrPort is not`:                                                     func(c *Config) { c.Collector = netip.AddrPort{} },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
		if _, err := New(cfg); err == nil {
			t.Errorf("New took what Validate refuses: %s", want)
		}
	}
	unknown := new(UnknownScenarioError)
	cfg := DefaultConfig()
	cfg.Scenarios = []string{"nope"}
	if err := cfg.Validate(); !errors.As(err, &unknown) || unknown.Name != "nope" {
		t.Errorf("got %v, want an UnknownScenarioError", err)
	}
}

// TestRhythm: a working day is busy by day and quiet by night, in the time
// zone of the start.
func TestRhythm(t *testing.T) {
	cfg := DefaultConfig()
	zone := time.FixedZone("west", -8*3600)
	cfg.Start, cfg.Duration = time.Date(2026, 3, 3, 0, 0, 0, 0, zone), 24*time.Hour
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var hours [24]int
	everyday := g.actors[len(g.actors)-1].(*everyday)
	everyday.advance(g.end, func(c *conversation) {
		if c.clientZone == hqEast && c.start < g.end {
			hours[time.UnixMilli(c.start).In(zone).Hour()]++
		}
	})
	if hours[10] < 8*hours[3] || hours[14] < 3*hours[20] {
		t.Errorf("conversations by hour: %v", hours)
	}
}

func TestCancelledRun(t *testing.T) {
	g, err := New(hour(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err = g.Run(ctx, SinkFunc(func(capture.Datagram) error {
		if n++; n == 50 {
			cancel()
		}
		return nil
	}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestShortRun is the shortest run, with nothing but everyday life.
func TestShortRun(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Duration, cfg.Scenarios, cfg.Hosts = MinDuration, nil, MinHosts
	o := newOracle(t)
	g := run(t, cfg, o)
	if g.Stats().Records == 0 {
		t.Error("no records")
	}
}

func BenchmarkGenerate(b *testing.B) {
	cfg := DefaultConfig()
	cfg.FlowRate, cfg.Duration = 2000, time.Hour
	var records, octets uint64
	for b.Loop() {
		g := run(b, cfg, SinkFunc(func(d capture.Datagram) error {
			octets += uint64(len(d.Payload))
			return nil
		}))
		records += g.Stats().Records
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(octets)/float64(records), "octets/record")
}
