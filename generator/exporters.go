package generator

import "net/netip"

// newExporters makes the enterprise's five. Their addresses are the loopback
// interfaces of the devices; exporters sit inside address translation.
func newExporters(cfg Config, w *world, start int64) []*exporter {
	const day = 24 * 3600 * 1000
	r := newRandom(cfg.Seed, "exporters")
	specs := []exporterSpec{
		// The core is a v9 router: relative times, application and interface names.
		{name: "hq-core", protocol: netflow9, active: 60_000, inactive: 15_000, sampling: 1, uptime: -1},
		// The edge probe sees application data.
		{name: "hq-edge", protocol: ipfix, active: 60_000, inactive: 15_000, sampling: 1, metadata: true, hop: 1, uptime: -1},
		// The data centre's firewall reports both directions in one record.
		{name: "dc-firewall", protocol: ipfix, active: 60_000, inactive: 15_000, sampling: 1, biflow: true, queries: true, hop: 2, uptime: -1},
		// The uptime of this old router wraps in the middle of the window.
		{name: "branch-a", protocol: netflow5, active: 60_000, inactive: 15_000, sampling: 1, hop: 1, uptime: 1<<32 - cfg.Duration.Milliseconds()/2},
		{name: "branch-b", protocol: netflow9, active: 60_000, inactive: 15_000, sampling: 100, uptime: -1},
	}
	var out []*exporter
	for i, s := range specs {
		s.domain = uint32(i + 1)
		s.source = netip.AddrPortFrom(v4Parts(10, 255, 0, byte(i+1)).addr(), uint16(50001+i))
		s.slot = int64(i) * slotWidth
		if s.uptime < 0 {
			s.uptime = r.between(2*day, 40*day)
		}
		e := &exporter{exporterSpec: s, world: w, collector: cfg.Collector, boot: start - s.uptime,
			random: newRandom(cfg.Seed, s.name), sequence: r.Uint32() >> 4}
		e.message.buf = make([]byte, 0, 2048)
		e.stats = ExporterStats{Name: s.name, Address: s.source.String(), Protocol: protocolName(s.protocol), Sampling: s.sampling}
		e.prepare()
		out = append(out, e)
	}
	return out
}

// slotWidth is each exporter's share of the second, µs.
const slotWidth = 180_000

func protocolName(p protocol) string {
	switch p {
	case netflow5:
		return "netflow5"
	case netflow9:
		return "netflow9"
	}
	return "ipfix"
}

// route says who sees what. Traffic that only a switch sees has no exporter.
func (g *Generator) route() {
	core, edge, firewall, a, b := g.exporters[0], g.exporters[1], g.exporters[2], g.exporters[3], g.exporters[4]
	set := func(x, y []zone, path ...*exporter) {
		for _, i := range x {
			for _, j := range y {
				g.routes[i][j], g.routes[j][i] = path, path
			}
		}
	}
	hq := []zone{hqEast, hqWest, guest}
	servers := []zone{dataCentre, dmz}
	set(hq, hq, core)
	set(hq, servers, core, firewall)
	set(servers, servers, firewall)
	set([]zone{hqEast}, []zone{internet}, core, edge)
	set([]zone{hqWest, guest}, []zone{internet}, edge)
	set(servers, []zone{internet}, firewall, edge)
	set([]zone{branchA}, hq, a, core)
	set([]zone{branchA}, servers, a, firewall)
	set([]zone{branchA}, []zone{internet}, a)
	set([]zone{branchB}, hq, core)
	set([]zone{branchB}, servers, firewall)
	set([]zone{branchB}, []zone{internet}, b)
	set([]zone{branchA}, []zone{branchB}, a)
}

// Exporters returns the exporters' addresses in the datagrams, in the order
// of Stats.
func (g *Generator) Exporters() []netip.AddrPort {
	var out []netip.AddrPort
	for _, e := range g.exporters {
		out = append(out, e.source)
	}
	return out
}
