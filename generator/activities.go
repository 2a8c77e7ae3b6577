package generator

// resolve asks one of the name servers.
func (d *everyday) resolve(who endpoint, what name, at int64) {
	c := query(d.random, who, what, at)
	d.emit(&c)
}

// query is a DNS query and its answer.
func query(r random, who endpoint, what name, at int64) conversation {
	server := dns1
	if r.chance(30) {
		server = dns2
	}
	c := talk(who, server, udp, ephemeral(r), 53)
	c.start, c.rtt = at, r.between(1, 30)
	c.length = c.rtt
	c.datagrams(1, r.between(58, 80), 1, r.between(90, 260))
	c.meta = metadata{kind: dnsMeta, name: what, status: 1, answers: uint8(r.between(1, 4))}
	switch r.IntN(10) {
	case 0, 1, 2:
		c.meta.status = 28 // AAAA
	case 3:
		c.meta.rcode, c.meta.answers = 3, 0 // NXDOMAIN
	}
	return c
}

// browse is a page visit by a workstation.
func (d *everyday) browse(at int64) {
	g, i := d.ent.anyWorkstation(d.random)
	d.visit(g, i, at)
}

func (d *everyday) guestBrowse(at int64) { d.visit(d.ent.guests, d.IntN(d.ent.guests.size), at) }

func (d *everyday) visit(g group, i int, at int64) {
	for range d.between(1, 3) {
		s := &d.world.sites[d.skewed(siteCount)]
		from, to := g.at(i), s.host
		if s.host6.as != 0 && g.v6 != 0 && d.chance(60) {
			from.addr, to = g.host6(i), s.host6
		}
		if d.chance(60) {
			d.resolve(g.at(i), s.name, at)
			at += d.between(5, 60)
			if d.chance(25) {
				d.recurse(s.name, at-4)
			}
		}
		for range d.between(1, 2) {
			c := d.fetch(from, to, s.name)
			c.start = at + d.between(0, 300)
			d.emit(&c)
		}
		at += d.between(200, 9000)
	}
}

// fetch is one connection to a web site: TLS, QUIC, or seldom plain HTTP.
func (d *everyday) fetch(from, to endpoint, host name) conversation {
	return fetch(d.random, d.world, from, to, host)
}

func fetch(r random, w *world, from, to endpoint, host name) conversation {
	port := uint16(443)
	kind := r.IntN(100)
	if kind < 10 {
		port = 80
	}
	c := talk(from, to, tcp, ephemeral(r), port)
	c.rtt = r.between(8, 140)
	if r.chance(1) { // a server that is down
		if r.chance(50) {
			c.refused()
		} else {
			c.unanswered(r.between(2, 4))
		}
		return c
	}
	c.exchange(r.heavy(700, 5), r.heavy(2500, 9))
	c.length = c.rtt*4 + r.heavy(200, 7)
	if r.chance(25) {
		c.lasting(r.between(10_000, 110_000)) // kept open
	}
	switch {
	case kind < 10:
		c.meta = metadata{kind: httpMeta, name: host, agent: pick(r, w.agents), target: pick(r, w.targets), status: 200}
		if r.chance(12) {
			c.meta.status = pick(r, []uint16{301, 304, 404, 500})
		}
	case kind < 30: // QUIC
		c.protocol, c.closed = udp, false
		c.up.flags, c.down.flags = 0, 0
		fallthrough
	default:
		c.meta = metadata{kind: tlsMeta, name: host, version: 0x0304, ja3: w.ja3[r.skewed(len(w.ja3))]}
		if r.chance(20) {
			c.meta.version = 0x0303
		}
	}
	return c
}

// recurse is a name server asking others.
func (d *everyday) recurse(what name, at int64) {
	c := talk(dns1, somebody(d.random), udp, ephemeral(d.random), 53)
	c.start, c.rtt = at, d.between(10, 90)
	c.length = c.rtt
	c.datagrams(1, d.between(60, 90), 1, d.between(100, 480))
	c.meta = metadata{kind: dnsMeta, name: what, status: 1, answers: 1}
	d.emit(&c)
}

// inside is a completed TCP connection between the enterprise's hosts.
func (d *everyday) inside(from, to endpoint, port uint16, up, down, ms, at int64) {
	c := talk(from, to, tcp, ephemeral(d.random), port)
	c.start, c.rtt, c.length = at, d.between(1, 9), ms
	c.exchange(up, down)
	c.lasting(ms)
	d.emit(&c)
}

func (d *everyday) workstation() endpoint {
	g, i := d.ent.anyWorkstation(d.random)
	return g.at(i)
}

func (d *everyday) readMail(at int64) {
	who := d.workstation()
	if d.chance(30) {
		d.resolve(who, d.world.queries[1], at-20)
	}
	if d.chance(15) {
		d.inside(who, mailStore, 587, d.heavy(3000, 9), d.between(400, 900), d.between(300, 4000), at)
		return
	}
	d.inside(who, mailStore, 993, d.between(600, 2500), d.heavy(2000, 9), d.between(500, 40_000), at)
}

// openFiles: everybody has two file servers.
func (d *everyday) openFiles(at int64) {
	g, i := d.ent.anyWorkstation(d.random)
	server := (i + d.IntN(2)) % fileServers
	if d.chance(30) {
		d.resolve(g.at(i), d.world.queries[2], at-20)
	}
	d.inside(g.at(i), fileServer(server), 445, d.heavy(4000, 9), d.heavy(9000, 11), d.between(2000, 160_000), at)
}

func (d *everyday) logOn(at int64) {
	who := d.workstation()
	server := directory1
	if d.chance(40) {
		server = directory2
	}
	d.inside(who, server, 88, d.between(1400, 1800), d.between(1500, 1900), d.between(4, 60), at)
	d.inside(who, server, 389, d.between(900, 3000), d.heavy(1500, 4), d.between(20, 9000), at+d.between(30, 300))
}

func (d *everyday) application() endpoint {
	return d.ent.applications.at(d.skewed(d.ent.applications.size))
}

func (d *everyday) useApplication(at int64) {
	port := uint16(443)
	if d.chance(25) {
		port = 8080
	}
	who := d.workstation()
	if d.chance(30) {
		d.resolve(who, pick(d.random, d.world.queries), at-20)
	}
	d.inside(who, d.application(), port, d.heavy(900, 5), d.heavy(4000, 8), d.heavy(100, 8), at)
}

// useBatchService is a near miss for Tor: an internal job queue that happens
// to listen on 9001.
func (d *everyday) useBatchService(at int64) {
	g := d.ent.applications
	d.inside(d.workstation(), g.at(d.IntN(min(6, g.size))), 9001, d.heavy(600, 5), d.heavy(1200, 6), d.heavy(80, 7), at)
}

func (d *everyday) queryDatabase(at int64) {
	port := uint16(5432)
	if d.chance(40) {
		port = 1433
	}
	g := d.ent.databases
	d.inside(d.application(), g.at(d.skewed(g.size)), port, d.heavy(500, 6), d.heavy(2000, 10), d.heavy(30, 10), at)
}

// relayMail is the enterprise's mail, out through the relay, in through the
// exchanger.
func (d *everyday) relayMail(at int64) {
	m := &d.world.mx[d.skewed(mxCount)]
	from, to := mailRelay, m.host
	if d.chance(50) {
		from, to = m.host, mailIn
	} else if d.chance(70) {
		d.resolve(mailRelay, m.name, at-15)
	}
	c := talk(from, to, tcp, ephemeral(d.random), 25)
	c.start, c.rtt = at, d.between(10, 120)
	c.exchange(d.heavy(2500, 9), d.between(500, 1100))
	c.length = c.rtt*12 + d.between(100, 3000)
	d.emit(&c)
}

// publicVisit comes from the Internet to the public servers.
func (d *everyday) publicVisit(at int64) {
	to, host := webShop, d.world.queries[0]
	if d.chance(35) {
		to = webNews
	}
	from := somebody(d.random)
	for range d.between(1, 3) {
		c := fetch(d.random, d.world, from, to, host)
		c.start = at
		at += d.between(50, 4000)
		d.emit(&c)
	}
}

func (d *everyday) printPages(at int64) {
	ws := []group{d.ent.workstationsWest, d.ent.workstationsA, d.ent.workstationsB}
	k := d.IntN(3)
	printers := d.ent.printers[k]
	port := uint16(9100)
	if d.chance(40) {
		port = 631
	}
	i := d.IntN(ws[k].size)
	d.inside(ws[k].at(i), printers.at(i%printers.size), port, d.heavy(20_000, 7), d.between(300, 3000), d.between(800, 20_000), at)
}

// scanToMail is a near miss for spam: printers speak SMTP, to the relay only.
func (d *everyday) scanToMail(at int64) {
	g := pick(d.random, d.ent.printers)
	d.inside(g.at(d.IntN(g.size)), mailRelay, 25, d.heavy(60_000, 6), d.between(500, 900), d.between(500, 6000), at)
}

func (d *everyday) recordMotion(at int64) {
	g := pick(d.random, d.ent.cameras)
	d.inside(g.at(d.IntN(g.size)), recorder, 554, d.heavy(300_000, 4), d.between(2000, 9000), d.between(4000, 50_000), at)
}

// meet is a video conference: long, both ways, over UDP.
func (d *everyday) meet(at int64) {
	s := &d.world.sites[d.skewed(8)]
	c := talk(d.workstation(), s.host, udp, ephemeral(d.random), 3478)
	c.start, c.rtt = at, d.between(10, 60)
	ms := d.between(240_000, 1_500_000)
	c.datagrams(ms/20, d.between(500, 900), ms/20, d.between(600, 1000))
	c.length = ms
	d.emit(&c)
}

func (d *everyday) administer(at int64) {
	g := d.ent.workstationsEast
	d.inside(g.at(d.IntN(min(12, g.size))), d.application(), 22, d.heavy(4000, 6), d.heavy(6000, 7), d.between(5000, 900_000), at)
}

// noise is what the Internet sends to every public address: single probes,
// each from somebody else.
func (d *everyday) noise(at int64) {
	to := pick(d.random, []endpoint{webShop, webNews, newsletter, mailIn})
	c := talk(somebody(d.random), to, tcp, ephemeral(d.random), pick(d.random, []uint16{22, 23, 80, 445, 3389, 5060, 8080, 8443}))
	c.start, c.rtt = at, d.between(10, 150)
	if d.chance(30) {
		c.refused()
	} else {
		c.unanswered(1)
	}
	d.emit(&c)
}
