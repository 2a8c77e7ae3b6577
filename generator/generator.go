package generator

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-flow/weir/internal/capture"
)

// Sink takes the datagrams of a run in order of their time, which is when the
// exporter sends them. The payload is valid during the call only.
type Sink interface {
	Emit(d capture.Datagram) error
}

// SinkFunc makes a Sink of a function, such as a capture.Writer's Write.
type SinkFunc func(d capture.Datagram) error

// Emit calls the function.
func (f SinkFunc) Emit(d capture.Datagram) error { return f(d) }

// Generator plays one run. It is not safe for concurrent use.
type Generator struct {
	cfg       Config
	start     int64 // ms since the epoch, on a second
	end       int64
	world     *world
	actors    []actor
	truth     []Event
	exporters []*exporter
	routes    [zones][zones][]*exporter
	stats     Stats
	ran       bool
}

// actor makes conversations. It emits all that begin before until, which
// grows from call to call; they may begin up to startAhead later, too.
type actor interface {
	advance(until int64, emit func(*conversation))
}

// New validates the configuration and plans the run. Nothing is generated
// before Run.
func New(cfg Config) (*Generator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	g := &Generator{cfg: cfg, world: newWorld()}
	g.start = cfg.Start.Unix() * 1000
	g.end = g.start + cfg.Duration.Milliseconds()
	p := newPlan(cfg, g.world, g.start, g.end)
	g.actors, g.truth = p.actors, p.truth
	g.exporters = newExporters(cfg, g.world, g.start)
	g.route()

	// Everyday traffic fills what the rest leaves of the flow rate.
	planned := g.measure(newPlan(cfg, g.world, g.start, g.end).actors, g.end)
	wanted := cfg.FlowRate * cfg.Duration.Seconds()
	everyday := max(wanted-float64(planned), wanted/10)
	g.actors = append(g.actors, newEveryday(cfg, g.world, g.start, g.end, everyday/g.recordsPerEvent()))
	return g, nil
}

// Truth returns what happens in the run, attacks and near misses by start.
func (g *Generator) Truth() []Event { return g.truth }

// Stats returns what has been generated so far.
func (g *Generator) Stats() Stats {
	s := g.stats
	s.Exporters = nil
	for _, e := range g.exporters {
		s.Exporters = append(s.Exporters, e.stats)
		s.Datagrams += e.stats.Datagrams
		s.Records += e.stats.Records
	}
	return s
}

// Run generates the whole window into the sink. It ends early with ctx's
// error or the sink's. A Generator runs once.
func (g *Generator) Run(ctx context.Context, sink Sink) error {
	if g.ran {
		return fmt.Errorf("generate: this generator has run; make a new one with the same configuration to repeat it")
	}
	g.ran = true
	for _, e := range g.exporters {
		e.sink = sink
	}
	first, last := g.start/1000+1, g.end/1000
	for second := first; second <= last; second++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, a := range g.actors {
			a.advance(second*1000, g.observe)
		}
		for _, e := range g.exporters {
			err := e.tick(second, second == first)
			if err == nil && second == last {
				err = e.finish(last)
			}
			if err != nil {
				return fmt.Errorf("generate: %s: %w", e.name, err)
			}
		}
	}
	return nil
}

// edge is how long before the end of the window the last packet passes.
const edge = 20 // ms

// observe shows a conversation to the exporters on its way.
func (g *Generator) observe(c *conversation) {
	if c.start >= g.end-edge {
		return
	}
	if c.start+c.length > g.end-edge {
		c.length = g.end - edge - c.start
		c.closed = false
		c.up.flags &^= fin | rst
		c.down.flags &^= fin | rst
	}
	g.stats.Conversations++
	for _, e := range g.routes[c.clientZone][c.serverZone] {
		e.observe(c)
	}
}

// measure counts the records that actors will cause, without making them.
func (g *Generator) measure(actors []actor, until int64) uint64 {
	var n uint64
	count := func(c *conversation) { n += g.records(c) }
	for _, a := range actors {
		a.advance(until, count)
	}
	return n
}

// records is the number of flow records a conversation causes. A sampling
// exporter's few are left out.
func (g *Generator) records(c *conversation) uint64 {
	var n uint64
	for _, e := range g.routes[c.clientZone][c.serverZone] {
		slices := uint64(1 + max(c.length-1, 0)/e.active)
		switch {
		case e.sampling > 1, e.protocol == netflow5 && !c.client.is4():
		case e.biflow || c.down.packets == 0:
			n += slices
		default:
			n += 2 * slices
		}
	}
	return n
}

// recordsPerEvent is the mean of the everyday traffic, found by playing some.
func (g *Generator) recordsPerEvent() float64 {
	const events = 4000
	try := newEveryday(g.cfg, g.world, g.start, g.end, events)
	var n uint64
	try.play(events, func(c *conversation) { n += g.records(c) })
	return float64(n) / events
}

// Exporter addresses, as captures have them: the loopback interfaces of the
// devices.
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

func millis(d time.Duration) int64 { return d.Milliseconds() }
