package generator

import (
	"slices"
	"time"
)

// attack files an attack's truth: one expected alert for each entity.
func (p *plan) attack(e Event, rule string, entities ...endpoint) {
	for _, x := range entities {
		e.Expect = append(e.Expect, Expectation{rule, x.addr.addr()})
	}
	p.truth = append(p.truth, e)
}

// internalTarget is any address of the enterprise that unsampled exporters
// see traffic to; most are not in use.
func (p *plan) internalTarget(r random) endpoint {
	switch x := r.IntN(10); {
	case x < 5:
		return endpoint{addr: v4(v4bits(10, 10, 0, 0) | uint32(r.between(1, 1<<13))), zone: hqEast}
	case x < 7:
		return endpoint{addr: v4(v4bits(10, 11, 0, 0) | uint32(r.between(1, 1<<12))), zone: hqWest}
	case x < 8:
		return endpoint{addr: v4(v4bits(10, 20, 8, 0) | uint32(r.between(1, 1<<11))), zone: dataCentre}
	}
	return endpoint{addr: v4(v4bits(10, 40, 0, 0) | uint32(r.between(1, 1<<12))), zone: branchA}
}

func (p *plan) horizontalScan(r random) {
	attacker := p.cast(r, p.ent.workstationsEast, p.ent.workstationsWest)
	port := uint16(22)
	if r.chance(50) {
		port = pick(r, []uint16{23, 3389, 5900, 6379, 8080})
	}
	// Neighbouring addresses in random order, of a headquarters or branch net.
	base, z := v4bits(10, 40, 0, 0), branchA
	if r.chance(50) {
		base, z = v4bits(10, 10, 0, 0), hqEast
	}
	count := int(r.between(260, 700))
	var targets []endpoint
	for _, i := range r.Perm(count) {
		targets = append(targets, endpoint{addr: v4(base + 256 + uint32(i)), zone: z})
	}
	from, to := p.window(r, r.between(3*60_000, 7*60_000))
	p.spread(r, from, to, count, func(i int, at int64, emit func(*conversation)) {
		c := probe(r, attacker, targets[i], port, at, 5, 14)
		emit(&c)
	})
	e := p.event("horizontal-scan", Attack, "A workstation looks for one open port on a whole network.", from, to, []endpoint{attacker}, targets)
	e.Ports = []uint16{port}
	p.attack(e, RuleHorizontalScan, attacker)
}

// worm: patient zero scans, gets into others, and those do as it does.
func (p *plan) worm(r random) {
	const port = 445
	scanning := p.scaled(20*60_000, 33)
	pause := func() int64 { return r.between(scanning/8, scanning/3) }
	type infected struct {
		host            endpoint
		parent          int
		at, from, until int64 // when it was infected, when it scans
	}
	zeroFrom, _ := p.window(r, scanning+3*(scanning/3+scanning/10)+60_000)
	hosts := []infected{{host: p.cast(r, p.ent.workstationsEast), parent: -1, at: zeroFrom, from: zeroFrom}}
	// Two by patient zero, one by the first of them, one by that one: depth 3.
	for _, parent := range []int{0, 0, 1, 3} {
		in := hosts[parent]
		h := infected{host: p.cast(r, p.ent.workstationsEast, p.ent.workstationsWest, p.ent.workstationsA), parent: parent}
		h.at = in.from + pause()
		h.from = h.at + r.between(scanning/40, scanning/12)
		hosts = append(hosts, h)
	}
	var lineage []Infection
	var everyone []endpoint
	last := int64(0)
	for i := range hosts {
		h := &hosts[i]
		h.until = h.from + scanning
		last = max(last, h.until)
		everyone = append(everyone, h.host)
		// Thousands of attempts: two a second, but at least 1,500 in all.
		count := max(scanning*2/1000, 1500)
		p.spread(r, h.from, h.until, int(count), func(_ int, at int64, emit func(*conversation)) {
			c := probe(r, h.host, p.internalTarget(r), port, at, 1, 9)
			emit(&c)
		})
		step := Infection{Host: h.host.addr.addr(), At: ms(h.at), Scans: ms(h.from)}
		if h.parent >= 0 {
			parent := hosts[h.parent].host
			addr := parent.addr.addr()
			step.Parent = &addr
			p.script(h.at-4000, func(at int64, emit func(*conversation)) int64 {
				c := talk(parent, h.host, tcp, ephemeral(r), port)
				c.start, c.rtt, c.length = at, 2, 3800
				c.exchange(r.between(180_000, 240_000), r.between(3000, 6000))
				emit(&c)
				return 0
			})
		}
		lineage = append(lineage, step)
	}
	slices.SortStableFunc(lineage, func(a, b Infection) int { return a.At.Compare(b.At) })
	e := p.event("worm-445", Attack, "A worm spreads from patient zero over 445, three generations deep.", zeroFrom, last, everyone, everyone[1:])
	e.Ports, e.Infections, e.MayFire = []uint16{port}, lineage, []string{RuleHorizontalScan}
	p.attack(e, RuleWormSpread, everyone...)
}

func ms(t int64) time.Time { return time.UnixMilli(t).UTC() }

func (p *plan) spam(r random) {
	attacker := p.cast(r, p.ent.workstationsEast, p.ent.workstationsWest, p.ent.workstationsA)
	from, to := p.window(r, p.scaled(r.between(35*60_000, 50*60_000), 50))
	first := r.IntN(mxCount)
	exchangers := int(r.between(350, 450))
	at := func(i int) *site { return &p.world.mx[(first+i)%mxCount] }
	var victims []endpoint
	for i := range exchangers {
		victims = append(victims, at(i).host)
	}
	p.spread(r, from, to, int(r.between(1300, 1900)), func(i int, now int64, emit func(*conversation)) {
		m := at(r.IntN(exchangers))
		if r.chance(40) { // a lookup of the mail exchanger first
			q := query(r, attacker, m.name, now)
			q.meta.status = 15
			emit(&q)
		}
		c := talk(attacker, m.host, tcp, ephemeral(r), 25)
		c.start, c.rtt = now+r.between(40, 90), r.between(15, 140)
		switch x := r.IntN(100); {
		case x < 12:
			c.unanswered(r.between(2, 3))
		case x < 20:
			c.refused()
		case x < 45: // refused by the server's policy
			c.exchange(r.between(60, 200), r.between(200, 500))
			c.length = c.rtt * 5
		default:
			c.exchange(r.between(2800, 4200), r.between(500, 800))
			c.length = c.rtt * 12
		}
		emit(&c)
	})
	e := p.event("spam", Attack, "A workstation that is registered as no mail server sends spam to hundreds of mail exchangers.", from, to, []endpoint{attacker}, victims)
	e.Ports = []uint16{25}
	p.attack(e, RuleSpamSender, attacker)
}

func (p *plan) beacon(r random) {
	attacker := p.cast(r, p.ent.workstationsEast, p.ent.workstationsWest)
	server := somebody(r)
	port := pick(r, []uint16{443, 8443, 8080})
	host := p.world.add("sync." + randomLabel(r, 9) + ".example")
	total := p.end - p.start
	from := p.start + total/40 + r.Int64N(total/10)
	to := p.end - max(total/25, 60_000) - r.Int64N(total/20)
	p.script(from, func(at int64, emit func(*conversation)) int64 {
		c := talk(attacker, server, tcp, ephemeral(r), port)
		c.start, c.rtt = at, r.between(38, 46)
		c.exchange(r.between(610, 650), r.between(380, 410))
		c.length = r.between(250, 420)
		if port != 8080 {
			c.meta = metadata{kind: tlsMeta, name: host, version: 0x0303, ja3: p.world.ja3[3]}
		}
		emit(&c)
		if next := at + r.between(48_000, 72_000); next < to {
			return next
		}
		return 0
	})
	e := p.event("beacon", Attack, "A workstation calls a rare host every 60 seconds, give or take a fifth.", from, to, []endpoint{attacker}, []endpoint{server})
	e.Ports = []uint16{port}
	p.attack(e, RuleBeacon, attacker)
}

func (p *plan) ddos(r random) {
	from, to := p.window(r, r.between(3*60_000, 5*60_000))
	sources := make([]endpoint, r.between(2500, 4000))
	for i := range sources {
		sources[i] = somebody(r)
	}
	p.spread(r, from, to, int(r.between(9000, 12_000)), func(_ int, at int64, emit func(*conversation)) {
		c := talk(pick(r, sources), webShop, tcp, uint16(r.between(1024, 65535)), 443)
		c.start, c.rtt = at, 1
		c.up = counters{packets: 1, octets: 40, flags: syn}
		if r.chance(45) { // while the backlog lasts; nobody acknowledges
			n := uint64(r.between(1, 3))
			c.down = counters{packets: n, octets: 44 * n, flags: syn | ack}
			c.length = int64(1<<(n-1)-1)*1000 + 1
		}
		emit(&c)
	})
	e := p.event("ddos", Attack, "Thousands of sources flood the shop with SYNs; no handshake completes.", from, to, sources, []endpoint{webShop})
	e.Ports = []uint16{443}
	p.attack(e, RuleDDoSVictim, webShop)
}

func (p *plan) tor(r random) {
	// The metadata exporter sees all of headquarters.
	user := p.cast(r, p.ent.workstationsEast, p.ent.workstationsWest)
	from, to := p.window(r, p.scaled(r.between(50*60_000, 80*60_000), 45))
	relays := torRelays()
	r.Shuffle(len(relays), func(i, j int) { relays[i], relays[j] = relays[j], relays[i] })
	var guards, directories, all []torRelay
	for _, t := range relays {
		if t.port == 9030 && len(directories) < 2 {
			directories = append(directories, t)
		} else if t.port != 9030 && len(guards) < 6 {
			guards = append(guards, t)
		}
	}
	all = append(append(all, directories...), guards...)
	const client = "e7d705a3286e19ea42f587b344ee6865"
	ja3 := p.world.add(client)
	connect := func(t torRelay, at, up, down, length int64, emit func(*conversation)) {
		c := talk(user, t.host, tcp, ephemeral(r), t.port)
		c.start, c.rtt = at, r.between(20, 90)
		c.exchange(up, down)
		c.lasting(length)
		if t.port == 9030 {
			c.meta = metadata{kind: httpMeta, name: p.world.add(t.host.addr.addr().String()), target: p.world.targets[0], agent: p.world.agents[3], status: 200}
		} else {
			c.meta = metadata{kind: tlsMeta, name: p.world.add("www." + randomLabel(r, int(r.between(10, 18))) + ".com"), version: 0x0303, ja3: ja3}
		}
		emit(&c)
	}
	// All at once at first, then circuits are renewed every few minutes.
	p.script(from, func(at int64, emit func(*conversation)) int64 {
		if at == from {
			for i, t := range directories {
				connect(t, at+int64(i)*900, r.between(400, 900), r.heavy(400_000, 2), r.between(900, 4000), emit)
			}
			for i, t := range guards[:4] {
				connect(t, at+2500+int64(i)*700, r.heavy(20_000, 4), r.heavy(90_000, 5), r.between(30_000, 100_000), emit)
			}
		} else {
			for i := range 2 {
				connect(pick(r, guards), at+int64(i)*1100, r.heavy(30_000, 5), r.heavy(200_000, 6), r.between(60_000, 240_000), emit)
			}
		}
		if next := at + r.between(100_000, 280_000); next < to {
			return next
		}
		return 0
	})
	var victims []endpoint
	var ports []uint16
	for _, t := range all {
		victims = append(victims, t.host)
		if !slices.Contains(ports, t.port) {
			ports = append(ports, t.port)
		}
	}
	e := p.event("tor", Attack, "A workstation uses Tor: directories, then guards with random server names.", from, to, []endpoint{user}, victims)
	e.Ports = ports
	p.attack(e, RuleTorUse, user)
}

// randomLabel is in the alphabet of base 32, as Tor's made-up names are.
func randomLabel(r random, length int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	b := make([]byte, length)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}
