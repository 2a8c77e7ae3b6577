package generator

// Near misses are part of the ordinary traffic of every run that is long
// enough for them: what a careless rule would take for an attack. Two more,
// scan-to-mail and the job queue on 9001, are everyday activities.
func (p *plan) nearMisses() {
	p.timekeeping()
	p.updateChecks()
	p.cameraReports()
	p.monitoring()
	p.jobQueue()
	p.scanToMail()
	if p.end-p.start >= nearMissMinimum {
		p.vulnerabilityScan()
		p.newsletterRun()
		p.backupRun()
		p.flashCrowd()
	}
}

// nearMissMinimum is the shortest window (ms) that has those near misses that
// happen once; the perpetual ones are in every run.
const nearMissMinimum = 20 * 60 * 1000

// members numbers the hosts of several groups through.
func members(groups ...group) []endpoint {
	var out []endpoint
	for _, g := range groups {
		for i := range g.size {
			out = append(out, g.at(i))
		}
	}
	return out
}

// ntp is one query for the time, always of the same size.
func ntp(from, to endpoint, at int64, rtt int64, sourcePort uint16) conversation {
	c := talk(from, to, udp, sourcePort, 123)
	c.start, c.rtt, c.length = at, rtt, rtt
	c.datagrams(1, 76, 1, 76)
	return c
}

func (p *plan) timekeeping() {
	r := newRandom(p.cfg.Seed, "ntp")
	clients := members(append([]group{p.ent.applications, p.ent.databases}, append(p.ent.printers, p.ent.cameras...)...)...)
	p.clockwork(r, len(clients), 2_048_000, func(h int, at int64, emit func(*conversation)) {
		c := ntp(clients[h], ntp1, at, 1, 123)
		emit(&c)
	})
	pool := p.world.timePool
	p.clockwork(r, 2*len(pool), 128_000, func(h int, at int64, emit func(*conversation)) {
		from := ntp1
		if h >= len(pool) {
			from = ntp2
		}
		c := ntp(from, pool[h%len(pool)], at, 18+int64(h), 123)
		emit(&c)
	})
	e := p.event("ntp", NearMiss, "Two time servers ask four servers on the Internet every 128 seconds to the millisecond.",
		p.start, p.end, []endpoint{ntp1, ntp2}, pool)
	e.Protocol, e.Ports, e.MustNotFire = "udp", []uint16{123}, []string{RuleBeacon}
	p.truth = append(p.truth, e)
}

// updateChecks: a tenth of the workstations run an agent that asks for
// updates every fifteen minutes, with the same few octets.
func (p *plan) updateChecks() {
	r := newRandom(p.cfg.Seed, "updates")
	var agents []endpoint
	for _, g := range []group{p.ent.workstationsEast, p.ent.workstationsWest, p.ent.workstationsA} {
		for i := 20; i < g.size; i += 7 {
			agents = append(agents, g.at(i))
		}
	}
	u := p.world.updates
	p.clockwork(r, len(agents), 900_000, func(h int, at int64, emit func(*conversation)) {
		c := talk(agents[h], u.host, tcp, ephemeral(r), 443)
		c.start, c.rtt, c.length = at, 22, 180
		c.exchange(860, 5120)
		c.meta = metadata{kind: tlsMeta, name: u.name, version: 0x0304, ja3: p.world.ja3[0]}
		emit(&c)
	})
	e := p.event("update-check", NearMiss, "Agents on many workstations ask one vendor for updates every fifteen minutes, always alike.",
		p.start, p.end, agents, []endpoint{u.host})
	e.Ports, e.MustNotFire = []uint16{443}, []string{RuleBeacon}
	p.truth = append(p.truth, e)
}

// cameraReports: cameras call their vendor every ten minutes.
func (p *plan) cameraReports() {
	r := newRandom(p.cfg.Seed, "cameras")
	cameras := members(p.ent.cameras...)
	v := p.world.telemetry
	p.clockwork(r, len(cameras), 600_000, func(h int, at int64, emit func(*conversation)) {
		c := talk(cameras[h], v.host, tcp, ephemeral(r), 443)
		c.start, c.rtt, c.length = at, 35, 260
		c.exchange(1210, 940)
		c.meta = metadata{kind: tlsMeta, name: v.name, version: 0x0303, ja3: p.world.ja3[5]}
		emit(&c)
	})
	e := p.event("camera-report", NearMiss, "Every camera calls its vendor every ten minutes.", p.start, p.end, cameras, []endpoint{v.host})
	e.Ports, e.MustNotFire = []uint16{443}, []string{RuleBeacon}
	p.truth = append(p.truth, e)
}

// monitoring pings sixty hosts every five minutes.
func (p *plan) monitoring() {
	r := newRandom(p.cfg.Seed, "monitoring")
	watched := append(members(p.ent.printers[0]), members(p.ent.applications)...)
	watched = watched[:min(60, len(watched))]
	p.clockwork(r, len(watched), 300_000, func(h int, at int64, emit func(*conversation)) {
		c := talk(monitor, watched[h], icmp, 0, 8<<8) // echo request; the answer is type 0
		c.start, c.rtt, c.length = at, 1, 2001
		c.datagrams(3, 84, 3, 84)
		emit(&c)
	})
	e := p.event("monitoring", NearMiss, "The network monitor pings sixty hosts every five minutes.", p.start, p.end, []endpoint{monitor}, watched)
	e.Protocol, e.Ports, e.MustNotFire = "icmp", []uint16{}, []string{RuleHorizontalScan}
	p.truth = append(p.truth, e)
}

func (p *plan) jobQueue() {
	g := p.ent.applications
	servers := members(g)[:min(6, g.size)]
	e := p.event("job-queue-9001", NearMiss, "Workstations use an internal job queue that listens on 9001, a port of Tor's.",
		p.start, p.end, nil, servers)
	e.Ports, e.MustNotFire = []uint16{9001}, []string{RuleTorUse}
	p.truth = append(p.truth, e)
}

func (p *plan) scanToMail() {
	e := p.event("scan-to-mail", NearMiss, "Printers send scanned pages by SMTP, to the one internal relay.",
		p.start, p.end, members(p.ent.printers...), []endpoint{mailRelay})
	e.Ports, e.MustNotFire = []uint16{25}, []string{RuleSpamSender}
	p.truth = append(p.truth, e)
}

// probe is one TCP connection attempt of a scanner to an internal address.
func probe(r random, from, to endpoint, port uint16, at int64, open, refusing int) conversation {
	c := talk(from, to, tcp, ephemeral(r), port)
	c.start, c.rtt = at, r.between(1, 4)
	switch x := r.IntN(100); {
	case x < open:
		c.exchange(r.between(40, 400), r.between(60, 900))
		c.length = r.between(5, 900)
	case x < open+refusing:
		c.refused()
	default:
		c.unanswered(r.between(1, 2))
	}
	return c
}

// vulnerabilityScan is done by the registered scanner.
func (p *plan) vulnerabilityScan() {
	r := newRandom(p.cfg.Seed, "vulnerability scan")
	ports := []uint16{22, 80, 135, 443, 445, 3389, 8080}
	from, to := p.window(r, p.scaled(35*60_000, 40))
	targets := members(p.ent.workstationsEast)
	targets = targets[:min(260, len(targets))]
	p.spread(r, from, to, len(targets)*len(ports), func(i int, at int64, emit func(*conversation)) {
		c := probe(r, scanner, targets[i/len(ports)], ports[i%len(ports)], at, 12, 45)
		emit(&c)
	})
	e := p.event("vulnerability-scanner", NearMiss, "The registered vulnerability scanner goes through the workstations' ports.",
		from, to, []endpoint{scanner}, targets)
	e.Ports, e.MustNotFire = ports, []string{RuleHorizontalScan, RuleWormSpread}
	p.truth = append(p.truth, e)
}

// newsletterRun is sent by the registered newsletter server to everybody.
func (p *plan) newsletterRun() {
	r := newRandom(p.cfg.Seed, "newsletter")
	from, to := p.window(r, p.scaled(30*60_000, 40))
	var recipients []endpoint
	for i := range p.world.mx {
		recipients = append(recipients, p.world.mx[i].host)
	}
	p.spread(r, from, to, 2*mxCount, func(i int, at int64, emit func(*conversation)) {
		c := talk(newsletter, recipients[i%mxCount], tcp, ephemeral(r), 25)
		c.start, c.rtt = at, r.between(10, 120)
		c.exchange(r.between(38_000, 42_000), r.between(600, 900))
		c.length = c.rtt*12 + r.between(100, 2000)
		emit(&c)
	})
	e := p.event("newsletter", NearMiss, "The registered newsletter server sends to 700 mail exchangers.", from, to, []endpoint{newsletter}, recipients)
	e.Ports, e.MustNotFire = []uint16{25}, []string{RuleSpamSender}
	p.truth = append(p.truth, e)
}

// backupRun moves much data by night; the window is searched for two in the
// morning, and takes any time when it has none.
func (p *plan) backupRun() {
	r := newRandom(p.cfg.Seed, "backup")
	length := p.scaled(50*60_000, 50)
	from, to := p.window(r, length)
	lead := min(600_000, (p.end-p.start)/12)
	for at := p.start + lead; at+length < p.end; at += 60_000 {
		if t := microseconds(at * 1000).In(p.cfg.Start.Location()); t.Hour() == 2 {
			from, to = at, at+length
			break
		}
	}
	var sources []endpoint
	for i := range fileServers {
		sources = append(sources, fileServer(i))
	}
	sources = append(sources, members(p.ent.databases)[:min(24, p.ent.databases.size)]...)
	p.spread(r, from, from+length/2, len(sources), func(i int, at int64, emit func(*conversation)) {
		c := talk(backup, sources[i], tcp, ephemeral(r), 10_000)
		c.start = at
		c.exchange(r.heavy(2_000_000, 3), r.heavy(2_000_000_000, 3))
		c.lasting(r.between(length/8, length/2-1000))
		emit(&c)
	})
	p.script(from+1000, func(at int64, emit func(*conversation)) int64 {
		c := talk(backup, p.world.cloud.host, tcp, ephemeral(r), 443)
		c.start, c.rtt = at, 25
		c.exchange(20_000_000_000, 90_000_000)
		c.lasting(length - 2000)
		c.meta = metadata{kind: tlsMeta, name: p.world.cloud.name, version: 0x0304, ja3: p.world.ja3[1]}
		emit(&c)
		return 0
	})
	e := p.event("backup", NearMiss, "The nightly backup fetches gigabytes from the servers and sends a copy off site.", from, to, []endpoint{backup}, sources)
	e.Ports, e.MustNotFire = []uint16{10_000, 443}, []string{RuleHorizontalScan, RuleBeacon}
	p.truth = append(p.truth, e)
}

// flashCrowd: a news item brings thousands of visitors at once, and all their
// handshakes complete.
func (p *plan) flashCrowd() {
	r := newRandom(p.cfg.Seed, "flash crowd")
	from, to := p.window(r, p.scaled(5*60_000, 20))
	visitors := make([]endpoint, 2400)
	for i := range visitors {
		visitors[i] = somebody(r)
	}
	p.spread(r, from, to, 2*len(visitors), func(i int, at int64, emit func(*conversation)) {
		c := talk(pick(r, visitors), webNews, tcp, ephemeral(r), 443)
		c.start, c.rtt = at, r.between(10, 150)
		c.exchange(r.between(700, 2500), r.heavy(9000, 6))
		c.length = c.rtt*5 + r.between(100, 6000)
		c.meta = metadata{kind: tlsMeta, name: p.world.queries[0], version: 0x0304, ja3: pick(r, p.world.ja3)}
		emit(&c)
	})
	e := p.event("flash-crowd", NearMiss, "Thousands of visitors come to the news server within minutes; their handshakes complete.",
		from, to, visitors, []endpoint{webNews})
	e.Ports, e.MustNotFire = []uint16{443}, []string{RuleDDoSVictim}
	p.truth = append(p.truth, e)
}
