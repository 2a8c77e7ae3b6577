package generator

import (
	"context"
	"fmt"

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

// margin is how long before the end of the window the last packet is sent;
// it covers the way to the last exporter.
const margin = 20 // ms

// observe shows a conversation to the exporters on its way.
func (g *Generator) observe(c *conversation) {
	if c.start >= g.end-margin {
		return
	}
	if c.start+c.length > g.end-margin {
		c.length = g.end - margin - c.start
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
