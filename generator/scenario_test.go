package generator

import (
	"net/netip"
	"regexp"
	"slices"
	"testing"
	"time"
)

// played is what the traffic of a run says about one client.
type played struct {
	conversations []conversation
	servers       map[netip.Addr]bool
}

// play collects conversations by the client's address, and the metadata's
// names as strings.
func play(t *testing.T, cfg Config) (*Generator, map[netip.Addr]*played) {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	by := map[netip.Addr]*played{}
	for _, a := range g.actors {
		a.advance(g.end, func(c *conversation) {
			p := by[c.client.addr()]
			if p == nil {
				p = &played{servers: map[netip.Addr]bool{}}
				by[c.client.addr()] = p
			}
			p.conversations = append(p.conversations, *c)
			p.servers[c.server.addr()] = true
		})
	}
	return g, by
}

func (p *played) to(port uint16) (out []conversation) {
	for _, c := range p.conversations {
		if c.serverPort == port {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b conversation) int { return int(a.start - b.start) })
	return out
}

func servers(list []conversation) map[address]bool {
	out := map[address]bool{}
	for _, c := range list {
		out[c.server] = true
	}
	return out
}

func failed(c conversation) bool { return c.up.flags&ack == 0 }

// TestTruthIsInTheTraffic checks, for several seeds and windows, that each
// attack is what its rule looks for, and happened when and by whom the truth
// says.
func TestTruthIsInTheTraffic(t *testing.T) {
	for _, d := range []time.Duration{time.Hour, 6 * time.Hour} {
		for seed := range uint64(4) {
			cfg := hour(seed)
			cfg.Duration = d
			g, by := play(t, cfg)
			entities := map[netip.Addr]string{}
			for _, e := range g.Truth() {
				if e.Start.Before(cfg.Start) || e.End.After(cfg.Start.Add(d)) || e.End.Before(e.Start) {
					t.Errorf("%s is from %v to %v", e.Name, e.Start, e.End)
				}
				if e.Kind == NearMiss {
					if len(e.MustNotFire) == 0 || len(e.Expect) > 0 {
						t.Errorf("near miss %s: %+v", e.Name, e)
					}
					continue
				}
				if tail := cfg.Start.Add(d).Sub(e.End); tail < time.Minute {
					t.Errorf("%s ends %v before the window", e.Name, tail)
				}
				for _, x := range e.Expect {
					if old := entities[x.Entity]; old != "" {
						t.Errorf("%v is in both %s and %s", x.Entity, old, e.Name)
					}
					entities[x.Entity] = e.Name
				}
				t.Logf("%v seed %d: %s", d, seed, e.Name)
				examine(t, g, e, by)
			}
		}
	}
}

func examine(t *testing.T, g *Generator, e Event, by map[netip.Addr]*played) {
	t.Helper()
	entity := e.Expect[0].Entity
	within := func(list []conversation) {
		t.Helper()
		if len(list) == 0 {
			t.Errorf("%s: no traffic", e.Name)
			return
		}
		if list[0].start < e.Start.UnixMilli() || list[len(list)-1].start > e.End.UnixMilli()+2000 {
			t.Errorf("%s: traffic outside of %v to %v", e.Name, e.Start, e.End)
		}
		// Rules about scans do not hold under sampling.
		for _, x := range g.routes[list[0].clientZone][list[0].serverZone] {
			if x.sampling > 1 {
				t.Errorf("%s: seen by sampling exporter %s", e.Name, x.name)
			}
		}
	}
	switch e.Name {
	case "horizontal-scan":
		list := by[entity].to(e.Ports[0])
		list = slices.DeleteFunc(list, func(c conversation) bool {
			return c.start < e.Start.UnixMilli() || c.start > e.End.UnixMilli()
		})
		within(list)
		missed := 0
		for _, c := range list {
			if failed(c) {
				missed++
			}
		}
		if n := len(servers(list)); n < 150 || missed*10 < n*7 || missed == n {
			t.Errorf("scan of %d hosts, %d failed", n, missed)
		}
	case "worm-445":
		for i, x := range e.Expect {
			list := by[x.Entity].to(445)
			list = slices.DeleteFunc(list, func(c conversation) bool {
				return c.start < e.Start.UnixMilli() || c.start > e.End.UnixMilli()
			})
			within(list)
			if len(list) < 1500 || len(servers(list)) < 500 {
				t.Errorf("infected host %d: %d flows to %d hosts", i, len(list), len(servers(list)))
			}
		}
		depth := map[netip.Addr]int{}
		deepest := 0
		for _, step := range e.Infections {
			if step.Parent != nil {
				depth[step.Host] = depth[*step.Parent] + 1
				deepest = max(deepest, depth[step.Host])
				broke := slices.ContainsFunc(by[*step.Parent].to(445), func(c conversation) bool {
					return c.server.addr() == step.Host && c.down.packets >= 4 && c.up.packets >= 4 &&
						c.start < step.At.UnixMilli() && step.At.Before(step.Scans)
				})
				if !broke {
					t.Errorf("%v was not infected by %v", step.Host, *step.Parent)
				}
			}
		}
		if deepest < 3 {
			t.Errorf("worm of %d generations", deepest)
		}
	case "spam":
		list := by[entity].to(25)
		within(list)
		if len(list) < 1000 || len(servers(list)) < 300 {
			t.Errorf("%d mails to %d exchangers", len(list), len(servers(list)))
		}
		for _, a := range Assets() {
			if a.Address == entity {
				t.Errorf("the spammer is registered as %s", a.Name)
			}
		}
	case "beacon":
		var list []conversation
		for _, c := range by[entity].conversations {
			if c.server.addr() == e.Victims[0] {
				list = append(list, c)
			}
		}
		within(list)
		for i := range list[1:] {
			if gap := list[i+1].start - list[i].start; gap < 48_000 || gap > 72_000 {
				t.Errorf("beacon after %d ms", gap)
			}
		}
		if span := list[len(list)-1].start - list[0].start; span < (g.end-g.start)*2/3 {
			t.Errorf("beacon over %d ms of %d", span, g.end-g.start)
		}
		for client, p := range by {
			if client != entity && p.servers[e.Victims[0]] {
				t.Errorf("%v talks to the rare host as well", client)
			}
		}
	case "ddos":
		sources, flows, acknowledged := 0, 0, 0
		for client, p := range by {
			flooded := false
			for _, c := range p.conversations {
				if c.server.addr() != entity || c.start < e.Start.UnixMilli() || c.start > e.End.UnixMilli() {
					continue
				}
				flows++
				flooded = flooded || failed(c)
				if !failed(c) {
					acknowledged++
				}
			}
			if flooded && !inEnterprise(client) {
				sources++
			}
		}
		if sources < 2000 || flows < 8000 || acknowledged*20 > flows {
			t.Errorf("flood of %d flows from %d sources, %d acknowledged", flows, sources, acknowledged)
		}
	case "tor":
		relays := TorRelays()
		random := regexp.MustCompile(`^www\.[a-z2-7]{8,20}\.com$`)
		hit, disguised := map[netip.AddrPort]bool{}, 0
		var list []conversation
		for _, c := range by[entity].conversations {
			to := netip.AddrPortFrom(c.server.addr(), c.serverPort)
			if slices.Contains(relays, to) {
				hit[to] = true
				list = append(list, c)
				if c.meta.kind == tlsMeta && random.MatchString(g.world.get(c.meta.name)) {
					disguised++
				}
			}
		}
		within(list)
		if len(hit) < 4 || disguised < 4 {
			t.Errorf("tor over %d relays, %d with random names", len(hit), disguised)
		}
		if first := list[:4]; first[3].start-first[0].start > 60_000 {
			t.Errorf("tor starts with connections over %d ms", first[3].start-first[0].start)
		}
	default:
		t.Errorf("no examination for %s", e.Name)
	}
}

func inEnterprise(a netip.Addr) bool { return netip.MustParsePrefix("10.0.0.0/8").Contains(a) }

// TestNearMissesTempt: each near miss that happens once crosses the numbers
// that its rules use, and differs in what it is said to differ in.
func TestNearMissesTempt(t *testing.T) {
	cfg := hour(9)
	cfg.Duration = 6 * time.Hour
	g, by := play(t, cfg)
	names := map[string]Event{}
	for _, e := range g.Truth() {
		names[e.Name] = e
	}
	for _, n := range []string{"ntp", "update-check", "camera-report", "monitoring", "job-queue-9001", "scan-to-mail",
		"vulnerability-scanner", "newsletter", "backup", "flash-crowd"} {
		if _, ok := names[n]; !ok {
			t.Errorf("no near miss %q", n)
		}
	}
	if n := len(servers(by[scanner.addr.addr()].to(22))); n < 150 {
		t.Errorf("the vulnerability scanner tries %d hosts", n)
	}
	if n := len(servers(by[newsletter.addr.addr()].to(25))); n < 500 {
		t.Errorf("the newsletter goes to %d exchangers", n)
	}
	crowd, refused := map[address]bool{}, 0
	e := names["flash-crowd"]
	for _, p := range by {
		for _, c := range p.conversations {
			if c.server == webNews.addr && c.serverPort == 443 && c.start >= e.Start.UnixMilli() && c.start < e.End.UnixMilli() {
				crowd[c.client] = true
				if c.protocol == tcp && failed(c) {
					refused++
				}
			}
		}
	}
	if len(crowd) < 1800 || refused*20 > len(crowd) {
		t.Errorf("flash crowd of %d, %d refused", len(crowd), refused)
	}
	for _, c := range by[ntp1.addr.addr()].to(123)[:20] {
		if c.up.octets != 76 {
			t.Errorf("time query of %d octets", c.up.octets)
		}
	}
	batch := 0
	for _, p := range by {
		for _, c := range p.to(9001) {
			if c.clientZone != internet && c.serverZone == dataCentre {
				batch++
			}
		}
	}
	if batch < 100 {
		t.Errorf("the job queue on 9001 is used %d times", batch)
	}
}

// TestBenignDayIsBenign: without scenarios nobody but the registered hosts
// comes near what the rules count.
func TestBenignDayIsBenign(t *testing.T) {
	registered := map[netip.Addr]bool{}
	for _, a := range Assets() {
		registered[a.Address] = true
	}
	for seed := range uint64(3) {
		cfg := DefaultConfig()
		cfg.Seed, cfg.Scenarios = seed, nil
		g, by := play(t, cfg)
		w := g.world
		incomplete := map[address]int{}
		for client, p := range by {
			type spot struct {
				port   uint16
				window int64
			}
			failures := map[spot]map[address]bool{}
			mail, worm := map[address]bool{}, 0
			calls := map[address][]int64{}
			for _, c := range p.conversations {
				if c.protocol == tcp && failed(c) {
					k := spot{c.serverPort, c.start / 900_000}
					if failures[k] == nil {
						failures[k] = map[address]bool{}
					}
					failures[k][c.server] = true
					incomplete[c.server]++
				}
				switch c.serverPort {
				case 25, 465, 587:
					mail[c.server] = true
				case 445:
					worm++
				}
				if c.clientZone != internet && c.serverZone == internet && c.protocol == tcp {
					calls[c.server] = append(calls[c.server], c.start)
				}
			}
			if registered[client] {
				continue
			}
			for k, hosts := range failures {
				if len(hosts) > 8 {
					t.Errorf("seed %d: %v fails to reach %d hosts on port %d", seed, client, len(hosts), k.port)
				}
			}
			if inEnterprise(client) && len(mail) > 2 {
				t.Errorf("seed %d: %v sends mail to %d hosts", seed, client, len(mail))
			}
			if worm > 200 {
				t.Errorf("seed %d: %v makes %d connections to 445", seed, client, worm)
			}
			for server, at := range calls {
				if len(at) > 20 && server != w.updates.host.addr && server != w.telemetry.host.addr && regular(at) {
					t.Errorf("seed %d: %v calls %v %d times, regularly", seed, client, server.addr(), len(at))
				}
			}
		}
		for server, n := range incomplete {
			if n > 1500 {
				t.Errorf("seed %d: %v has %d incomplete handshakes", seed, server.addr(), n)
			}
		}
	}
}

// regular: half of the intervals are within a fifth of their median.
func regular(at []int64) bool {
	slices.Sort(at)
	var gaps []int64
	for i := range at[1:] {
		gaps = append(gaps, at[i+1]-at[i])
	}
	slices.Sort(gaps)
	median := gaps[len(gaps)/2]
	near := 0
	for _, g := range gaps {
		if g > median*4/5 && g < median*6/5 {
			near++
		}
	}
	return near*2 > len(gaps)
}
