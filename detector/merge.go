package detector

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/weir-flow/weir/internal/stream"
)

// pendingKeys bounds the keys and times in a group whose parts wait for the
// watermark; beyond it the oldest are merged early.
const pendingKeys = 16384

// merged is a program in the second stage.
type merged struct {
	*program
	table      *table // of its keys, or of its population
	candidates *table
	scope      scope
	late       prometheus.Counter
}

// merger is the second stage: it merges the parts of a key.
type merger struct {
	base
	merged  []*merged // by rule id
	byHash  map[uint64]*program
	pending *table
	part    part
	value   []byte
}

func newMerger(l life, programs []*program) *merger {
	s := &merger{base: base{life: l}, byHash: make(map[uint64]*program)}
	s.pending = s.addTable(&table{name: "parts", keys: pendingKeys})
	s.pending.fire = s.release
	s.pending.evict = func(c *stream.Context, g *group, e *entry) { s.release(c, g, e, e.lastSeen+1) }
	slices.SortFunc(programs, func(a, b *program) int { return strings.Compare(a.ID, b.ID) })
	for _, p := range programs {
		lapse := func(c *stream.Context, g *group, e *entry, t int64) { s.lapse(c, g, p, e, t) }
		m := &merged{program: p, late: l.metrics.late.WithLabelValues(p.ID)}
		switch p.stage {
		case oneStage:
			continue
		case twoStage:
			m.scope.aggregates = p.aggregates
			m.table = s.addTable(&table{name: p.ID, hash: p.hash, keys: p.keys, rules: []*program{p}, aggregates: p.aggregates, fire: lapse})
		case populated:
			m.scope.aggregates = p.population.aggregates
			m.table = s.addTable(&table{name: p.ID + " population", hash: p.hash, keys: p.keys, rules: []*program{p},
				aggregates: p.population.aggregates, fire: lapse})
			m.candidates = s.addTable(&table{name: p.ID + " candidates", hash: p.hash, keys: p.keys, rules: []*program{p}, fire: lapse})
		}
		s.merged = append(s.merged, m)
		s.byHash[p.hash] = p
	}
	return s
}

// Decode reads a part.
func (s *merger) Decode(_, value []byte) (stream.Meta, error) {
	x, unknown, err := decodePart(value, s.byHash)
	if err != nil {
		return stream.Meta{}, err
	}
	s.metrics.unknownParts.Add(float64(unknown))
	s.part, s.value = x, value
	return stream.Meta{StreamTime: x.streamTime}, nil
}

// Apply keeps the part until the watermark has passed its time. Parts of one
// key come from many key groups of many partitions, in an order that depends
// on where ticks stood; merged by time, they give the same whatever it was.
func (s *merger) Apply(c *stream.Context) (changed bool, err error) {
	x, g := &s.part, s.group(c.Group)
	s.key = binary.BigEndian.AppendUint64(append(s.key[:0], x.key...), uint64(x.streamTime))
	e := g.find(s.pending, s.key)
	if e == nil {
		e = g.add(c, s.pending, string(s.key), x.internal, x.streamTime)
		// Others of this very time may still come when the watermark is at it.
		g.schedule(e, x.streamTime+1)
	}
	own := e.own()
	own.raw = append(own.raw, bytes.Clone(s.value))
	return true, nil
}

// release merges the parts of one key and time, and judges what they touched.
func (s *merger) release(c *stream.Context, g *group, pending *entry, at int64) {
	g.drop(pending)
	slices.SortFunc(pending.raw, bytes.Compare)
	parts := make([]part, 0, len(pending.raw))
	for _, value := range pending.raw {
		// What is of a rule that is gone by now is left out.
		if x, _, err := decodePart(value, s.byHash); err == nil {
			parts = append(parts, x)
		}
	}
	for _, m := range s.merged {
		m.merge(g, parts, at-1, s, c)
	}
}

// merge adds the rule's partials to the entry of their key, and judges that,
// or the candidates among them.
func (m *merged) merge(g *group, parts []part, t int64, s *merger, c *stream.Context) {
	p := m.program
	var home *entry
	var hits int64
	var name string
	for i := range parts {
		for _, q := range parts[i].partials {
			if q.rule == p && q.cells != nil {
				if e := m.add(g, &parts[i], q, t, s, c); e != nil {
					home, name = e, parts[i].name
					hits += q.hits
				}
			}
		}
	}
	if p.stage == twoStage {
		if home != nil {
			m.scope.cells = home.cells
			s.judge(c, p, home, &m.scope, p.condition(&m.scope), t, hits, func() origin { return origin{entityName: name} })
			s.plan(g, p, home)
		}
		return
	}
	for i := range parts {
		for _, q := range parts[i].partials {
			if q.rule == p && q.candidate != nil {
				m.consider(g, &parts[i], q, t, s, c)
			}
		}
	}
}

// add merges the cells of a partial into the entry of its key; nil when its
// window has closed.
func (m *merged) add(g *group, x *part, q *partial, t int64, s *merger, c *stream.Context) *entry {
	p := m.program
	e := g.find(m.table, []byte(x.key))
	if e == nil {
		if (x.time/p.pane+p.panes)*p.pane <= t {
			m.late.Inc()
			return nil
		}
		e = g.add(c, m.table, x.key, x.internal, x.time)
	}
	pane, ok := p.admit(e, x.time)
	if !ok {
		m.late.Inc()
		return nil
	}
	if e.cells == nil {
		e.cells, e.since, e.hits = newCells(m.scope.aggregates), x.time, 0
	}
	for i, cell := range e.cells {
		cell.merge(m.scope.aggregates[i], q.cells[i], pane)
	}
	e.lastSeen, e.since = max(e.lastSeen, x.time), min(e.since, x.time)
	e.hits += q.hits
	for _, id := range q.samples {
		e.sample(id)
	}
	g.schedule(e, p.windowEnd(e))
	return e
}

// consider judges a candidate by its population.
func (m *merged) consider(g *group, x *part, q *partial, t int64, s *merger, c *stream.Context) {
	p, k := m.program, q.candidate
	home := g.find(m.table, []byte(x.key))
	if home == nil || home.cells == nil {
		return // its population was evicted: nothing is known, nothing is claimed
	}
	s.key = append(append(s.key[:0], x.key...), k.key...)
	m.scope.cells, m.scope.observed = home.cells, k.observed
	holds := p.population.condition(&m.scope)
	e := g.find(m.candidates, s.key)
	if e == nil {
		if !holds {
			return
		}
		e = g.add(c, m.candidates, string(s.key), k.internal, x.time)
		e.own().home = x.key
	}
	before := e.hits
	e.pane = max(e.pane, k.pane)
	e.since, e.lastSeen = k.since, max(e.lastSeen, x.time)
	e.hits, e.samples = q.hits, q.samples
	own := e.own()
	own.observed, own.evidence = k.observed, k.evidence
	s.judge(c, p, e, &m.scope, holds, t, max(0, q.hits-before), func() origin { return k.origin })
	s.plan(g, p, e)
}
