package detector

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// life is what both stages know of the life of alerts.
type life struct {
	pace, reopen int64 // ms
	metrics      *metrics
}

// base is what both stages share as processors.
type base struct {
	life
	groups [kafka.Groups]*group
	tables []*table
	key    []byte // scratch
}

func (b *base) addTable(t *table) *table {
	t.index = len(b.tables)
	t.evicted = b.metrics.evicted.WithLabelValues(t.name).Inc
	b.tables = append(b.tables, t)
	return t
}

func (b *base) group(i int) *group {
	if b.groups[i] == nil {
		b.groups[i] = &group{tables: make([]tableState, len(b.tables))}
	}
	return b.groups[i]
}

// NextTimer returns the earliest timer of a group.
func (b *base) NextTimer(group int) int64 { return b.groups[group].next() }

// Advance does what is due at the watermark.
func (b *base) Advance(c *stream.Context) {
	if g := b.groups[c.Group]; g != nil {
		g.advance(c, c.Watermark)
	}
}

// AppendState appends the state of a group.
func (b *base) AppendState(dst []byte, group int) []byte {
	return appendState(dst, b.groups[group], b.tables)
}

// LoadState replaces the state of a group.
func (b *base) LoadState(group int, state []byte) error {
	g, err := loadState(state, b.tables)
	if err != nil {
		return fmt.Errorf("key group %d: %w", group, err)
	}
	b.groups[group] = g
	return nil
}

func appendKey(dst []byte, realm string, key []func([]byte, *flow) []byte, f *flow) []byte {
	dst = appendBytes(dst, realm)
	for _, k := range key {
		dst = k(dst, f)
	}
	return dst
}

func addTo(cells []cell, as []*aggregate, f *flow, pane int64) {
	for i, a := range as {
		if a.where == nil || a.where(f) {
			cells[i].add(a, f, pane)
		}
	}
}

// admit moves an entry's window to a time and returns the pane of it; not ok
// when that lies before the window.
func (p *program) admit(e *entry, t int64) (pane int64, ok bool) {
	if p.session {
		return 0, true
	}
	pane = t / p.pane
	if e.cells == nil && e.observed == nil || pane > e.pane {
		e.pane = pane
		for _, c := range e.cells {
			c.expire(pane - p.panes + 1)
		}
	}
	return pane, pane > e.pane-p.panes
}

// watched is a program in the first stage, with where its state is and what
// counts it.
type watched struct {
	*program
	table               *table
	place               int // in the table's rules
	scope               scope
	matched, suppressed prometheus.Counter
	late                prometheus.Counter
}

// processor is the first stage: it sees the flows of an initiator together.
type processor struct {
	base
	index   *index
	watched map[*program]*watched
	flow    schemas.EnrichedFlow
	size    int
	scratch []byte
}

func newProcessor(l life, programs []*program) *processor {
	s := &processor{base: base{life: l}, watched: make(map[*program]*watched)}
	slices.SortFunc(programs, func(a, b *program) int { return strings.Compare(a.ID, b.ID) })
	shared := make(map[string]*table)
	for _, p := range programs {
		w := &watched{program: p, scope: scope{aggregates: p.aggregates},
			matched: l.metrics.matched.WithLabelValues(p.ID), suppressed: l.metrics.suppressed.WithLabelValues(p.ID), late: l.metrics.late.WithLabelValues(p.ID)}
		s.watched[p] = w
		if p.stage != twoStage {
			w.table = s.addTable(&table{name: p.ID, hash: p.hash, keys: p.keys, rules: []*program{p}, aggregates: p.aggregates,
				fire: func(c *stream.Context, g *group, e *entry, t int64) { s.lapse(c, g, p, e, t) }})
			continue
		}
		var spec strings.Builder
		for _, k := range p.Key {
			fmt.Fprintf(&spec, "%d:%s,", len(k.Value), k.Value)
		}
		fmt.Fprintf(&spec, "%s %d", p.Entity, p.slice)
		name := "slices " + spec.String()
		t := shared[name]
		if t == nil {
			t = s.addTable(&table{name: name, hash: xxhash.Sum64String(name), keys: p.keys})
			t.fire = func(c *stream.Context, g *group, e *entry, at int64) {
				s.send(c, e, at)
				g.drop(e)
			}
			t.evict = func(c *stream.Context, _ *group, e *entry) { s.send(c, e, e.lastSeen) }
			shared[name] = t
		}
		w.table, w.place = t, len(t.rules)
		t.rules = append(t.rules, p)
	}
	s.index = newIndex(programs)
	return s
}

// Decode reads an enriched flow.
func (s *processor) Decode(_, value []byte) (stream.Meta, error) {
	if err := s.flow.Unmarshal(value); err != nil {
		return stream.Meta{}, fmt.Errorf("enriched flow: %w", err)
	}
	s.size = len(value)
	return stream.Meta{StreamTime: s.flow.StreamTime}, nil
}

// Apply runs the rules over the flow.
func (s *processor) Apply(c *stream.Context) (changed bool, err error) {
	s.metrics.flowBytes.Add(float64(s.size))
	f, t := &s.flow, s.flow.StreamTime
	if g := s.groups[c.Group]; g != nil && g.next() <= t {
		changed = g.advance(c, t)
	}
	for _, p := range s.index.candidates(f) {
		if !p.filter(f) {
			continue
		}
		w := s.watched[p]
		if len(p.suppress) > 0 && p.suppressed(f, t) {
			w.suppressed.Inc()
			continue
		}
		w.matched.Inc()
		changed = true
		if p.stage == twoStage {
			s.slice(c, w, f, t)
		} else {
			s.window(c, w, f, t)
		}
	}
	return changed, nil
}

// window adds a flow to its key's window, and judges it.
func (s *processor) window(c *stream.Context, w *watched, f *flow, t int64) {
	p, g := w.program, s.group(c.Group)
	s.key = appendKey(s.key[:0], f.Flow.Realm, p.key, f)
	e := g.find(w.table, s.key)
	if e == nil {
		if c.Delayed && !p.session && (t/p.pane+p.panes)*p.pane <= c.Watermark {
			w.late.Inc()
			return
		}
		e = g.add(c, w.table, string(s.key), p.internal(f), t)
	}
	pane, ok := p.admit(e, t)
	if !ok {
		w.late.Inc()
		return
	}
	if e.cells == nil {
		e.cells, e.since, e.hits = newCells(p.aggregates), t, 0
	}
	addTo(e.cells, p.aggregates, f, pane)
	e.lastSeen, e.since = max(e.lastSeen, t), min(e.since, t)
	e.hits++
	e.sample(f.Flow.FlowId)
	w.scope.cells = e.cells
	holds := p.condition(&w.scope)
	if p.stage == populated {
		s.consult(c, w, e, f, t, holds)
		g.schedule(e, p.windowEnd(e))
		return
	}
	s.judge(c, p, e, &w.scope, holds, t, 1, func() origin { return originOf(p, f) })
	s.plan(g, p, e)
}

// consult makes a key known to the population when it is new, and sends it as
// a candidate while its condition holds.
func (s *processor) consult(c *stream.Context, w *watched, e *entry, f *flow, t int64, holds bool) {
	p := w.program
	announce := e.announced == 0 || t-e.announced >= p.pane*p.panes/2
	nominate := holds && (e.sent == 0 || t-e.sent >= p.slice)
	if !announce && !nominate {
		return
	}
	x := &partial{rule: p, hash: p.hash}
	if announce {
		e.announced = t
		x.cells = newCells(p.population.aggregates)
		addTo(x.cells, p.population.aggregates, f, 0)
	}
	if nominate {
		e.sent = t
		x.hits, x.samples = e.hits, e.samples
		x.candidate = &candidate{key: e.key, since: e.since, pane: e.pane, internal: e.internal,
			observed: observe(nil, p, e.cells), evidence: gather(p, e.cells), origin: originOf(p, f)}
	}
	if c.Replaying() {
		return
	}
	s.scratch = appendKey(s.scratch[:0], f.Flow.Realm, p.population.key, f)
	s.emit(c, &part{streamTime: c.EmitTime(t), time: t, key: string(s.scratch), internal: true, partials: []*partial{x}})
}

// slice adds a flow to its slice of time.
func (s *processor) slice(c *stream.Context, w *watched, f *flow, t int64) {
	p, g := w.program, s.group(c.Group)
	n := t / p.slice
	s.key = appendKey(s.key[:0], f.Flow.Realm, p.key, f)
	s.key = binary.BigEndian.AppendUint64(s.key, uint64(n))
	e := g.find(w.table, s.key)
	if e == nil {
		e = g.add(c, w.table, string(s.key), p.internal(f), t)
		own := e.own()
		e.pane, own.parts, own.home = n, make([]*partial, len(w.table.rules)), clone(p.entityName(f))
		g.schedule(e, (n+1)*p.slice)
	}
	e.lastSeen = max(e.lastSeen, t)
	x := e.parts[w.place]
	if x == nil {
		x = &partial{rule: p, hash: p.hash, cells: newCells(p.aggregates)}
		e.parts[w.place] = x
	}
	x.hits++
	if len(x.samples) == 0 {
		x.samples = append(x.samples, f.Flow.FlowId)
	}
	addTo(x.cells, p.aggregates, f, 0)
}

// send closes a slice and sends what it holds.
func (s *processor) send(c *stream.Context, e *entry, t int64) {
	if c.Replaying() {
		return
	}
	x := &part{streamTime: c.EmitTime(t), key: e.key[:len(e.key)-8], internal: e.internal, name: e.home}
	for _, q := range e.parts {
		if q != nil {
			x.time = e.pane * q.rule.slice
			x.partials = append(x.partials, q)
		}
	}
	s.emit(c, x)
}

func (s *processor) emit(c *stream.Context, x *part) {
	o := x.output()
	s.metrics.parts.Inc()
	s.metrics.partBytes.Add(float64(len(o.Key) + len(o.Value)))
	c.Emit(o)
}
