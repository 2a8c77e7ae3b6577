package detector

import (
	"slices"
	"strings"

	"github.com/weir-flow/weir/internal/stream"
)

// merged is a program in the second stage.
type merged struct {
	*program
	table      *table // of its keys, or of its population
	candidates *table
	scope      scope
}

// merger is the second stage: it merges the parts of a key.
type merger struct {
	base
	merged map[*program]*merged
	byHash map[uint64]*program
	part   part
}

func newMerger(l life, programs []*program) *merger {
	s := &merger{base: base{life: l}, merged: make(map[*program]*merged), byHash: make(map[uint64]*program)}
	slices.SortFunc(programs, func(a, b *program) int { return strings.Compare(a.ID, b.ID) })
	for _, p := range programs {
		lapse := func(c *stream.Context, g *group, e *entry, t int64) { s.lapse(c, g, p, e, t) }
		m := &merged{program: p}
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
		s.merged[p] = m
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
	s.part = x
	return stream.Meta{StreamTime: x.streamTime}, nil
}

// Apply merges the part.
func (s *merger) Apply(c *stream.Context) (changed bool, err error) {
	x := &s.part
	if g := s.groups[c.Group]; g != nil && g.next() <= x.streamTime {
		changed = g.advance(c, x.streamTime)
	}
	for _, q := range x.partials {
		m, ok := s.merged[q.rule]
		if !ok {
			continue
		}
		changed = true
		e := s.merge(c, m, x, q)
		if q.candidate != nil {
			s.consider(c, m, x, q, e)
		}
	}
	return changed, nil
}

// merge adds a partial to the entry of its key, and judges that when its
// verdict is not a candidate's.
func (s *merger) merge(c *stream.Context, m *merged, x *part, q *partial) *entry {
	p, g := m.program, s.group(c.Group)
	e := g.find(m.table, []byte(x.key))
	if q.cells == nil {
		return e
	}
	if e == nil {
		if c.Delayed && (x.time/p.pane+p.panes)*p.pane <= c.Watermark {
			s.metrics.late.WithLabelValues(p.ID).Inc()
			return nil
		}
		e = g.add(c, m.table, x.key, x.internal, x.time)
	}
	pane, ok := p.admit(e, x.time)
	if !ok {
		s.metrics.late.WithLabelValues(p.ID).Inc()
		return e
	}
	if e.cells == nil {
		e.cells, e.since, e.hits = newCells(m.scope.aggregates), x.time, 0
	}
	for i, cell := range e.cells {
		cell.merge(m.scope.aggregates[i], q.cells[i], pane)
	}
	e.lastSeen, e.since = max(e.lastSeen, x.time), min(e.since, x.time)
	if p.stage == populated {
		g.schedule(e, p.windowEnd(e))
		return e
	}
	e.hits += q.hits
	for _, id := range q.samples {
		e.sample(id)
	}
	m.scope.cells = e.cells
	s.judge(c, p, e, &m.scope, p.condition(&m.scope), x.streamTime, q.hits, func() origin { return origin{entityName: x.name} })
	s.plan(g, p, e)
	return e
}

// consider judges a candidate by its population.
func (s *merger) consider(c *stream.Context, m *merged, x *part, q *partial, home *entry) {
	p, g, k := m.program, s.group(c.Group), q.candidate
	if home == nil || home.dropped || home.cells == nil {
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
		e.home = x.key
	}
	before := e.hits
	e.pane = max(e.pane, k.pane)
	e.since, e.lastSeen = k.since, max(e.lastSeen, x.time)
	e.hits, e.samples = q.hits, q.samples
	e.observed, e.evidence = k.observed, k.evidence
	s.judge(c, p, e, &m.scope, holds, x.streamTime, max(0, q.hits-before), func() origin { return k.origin })
	s.plan(g, p, e)
}
