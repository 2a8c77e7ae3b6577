package detector

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// samplesMax bounds the flow ids that an alert shows.
const samplesMax = 3

// entry is the state of one key of one table.
type entry struct {
	table *table
	key   string
	// internal tells which budget it counts in.
	internal bool
	// lastSeen is the greatest stream time of its records; since the first of
	// those its cells hold.
	lastSeen, since int64
	// pane is the newest pane of its cells; for slices the slice's number.
	pane int64
	// hits counts flows since the cells were empty.
	hits  int64
	cells []cell
	// samples are the latest flows.
	samples []schemas.FlowId
	alert   *alert
	// sent is when a candidate (a slice's rule: never), announced when the key
	// was last made known to the population.
	sent, announced int64
	*rare

	due     int64 // when something is to happen
	timer   int64 // where the heap has it: at or before due
	place   int   // in the heap, -1 when not in it
	dropped bool
}

// rare is what few entries have. The others share an empty one, so that a key
// of a window stays small.
type rare struct {
	// observed, evidence, home: of a candidate in the second stage, its
	// measures, its top values, and the key of its population. Of a slice,
	// home is the name of its entity.
	observed []float64
	evidence []evidence
	home     string
	// parts of a slice, one for each rule of its table.
	parts []*partial
	// raw are parts that wait for the watermark.
	raw [][]byte
}

// own returns the entry's own rare fields, to be written.
func (e *entry) own() *rare {
	if e.rare == &e.table.none {
		e.rare = new(rare)
	}
	return e.rare
}

// table holds the entries of one purpose: of a rule, or of the rules that
// share slices.
type table struct {
	index int
	name  string
	hash  uint64
	// keys bounds the entries in a group.
	keys int
	// fire does what is due at a time; it sets the next due, or drops.
	fire func(c *stream.Context, g *group, e *entry, t int64)
	// evict says goodbye to an entry for which there is no room.
	evict func(c *stream.Context, g *group, e *entry)
	// rules it serves: one, or all that share a slice.
	rules []*program
	// aggregates of the cells of its entries; none for slices and candidates.
	aggregates []*aggregate
	evicted    func()
	// none is shared by the entries without rare fields, and never written.
	none rare
}

// group is the state of a key group.
type group struct {
	tables []tableState
	heap   []*entry
}

type tableState struct {
	entries            map[string]*entry
	internal, external int
}

func (g *group) find(t *table, key []byte) *entry { return g.tables[t.index].entries[string(key)] }

// add makes an entry, and room for it.
func (g *group) add(c *stream.Context, t *table, key string, internal bool, now int64) *entry {
	s := &g.tables[t.index]
	if s.entries == nil {
		s.entries = make(map[string]*entry)
	}
	count, bound := &s.internal, t.keys
	if !internal {
		count, bound = &s.external, max(1, t.keys/4)
	}
	if *count >= bound {
		g.makeRoom(c, t, internal, bound)
	}
	*count++
	e := &entry{table: t, rare: &t.none, key: key, internal: internal, lastSeen: now, since: now, due: stream.Never, timer: stream.Never, place: -1}
	s.entries[key] = e
	return e
}

// makeRoom drops the sixteenth of a budget that was not seen for longest: by
// last-seen stream time, then by key, so that it is a function of the log.
func (g *group) makeRoom(c *stream.Context, t *table, internal bool, bound int) {
	s := &g.tables[t.index]
	var all []*entry
	for _, e := range s.entries {
		if e.internal == internal {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.lastSeen, b.lastSeen), cmp.Compare(a.key, b.key))
	})
	for _, e := range all[:max(1, bound/16)] {
		t.evicted()
		if t.evict != nil {
			t.evict(c, g, e)
		}
		g.drop(e)
	}
}

func (g *group) drop(e *entry) {
	if e.dropped {
		return
	}
	e.dropped = true
	s := &g.tables[e.table.index]
	delete(s.entries, e.key)
	if e.internal {
		s.internal--
	} else {
		s.external--
	}
	if e.place >= 0 {
		g.remove(e)
	}
}

// schedule sets when something is to happen to the entry. A later time leaves
// it where it is in the heap: most timers are put off by every flow, and only
// looked at when the old one comes.
func (g *group) schedule(e *entry, due int64) {
	e.due = due
	switch {
	case due == stream.Never:
		if e.place >= 0 {
			g.remove(e)
		}
	case e.place < 0:
		e.timer, e.place = due, len(g.heap)
		g.heap = append(g.heap, e)
		g.up(e.place)
	case due < e.timer:
		e.timer = due
		g.up(e.place)
	}
}

// next is the earliest timer.
func (g *group) next() int64 {
	if g == nil || len(g.heap) == 0 {
		return stream.Never
	}
	return g.heap[0].timer
}

// advance does what is due until t, in the order of time, table and key.
//
// It runs when the watermark passes, and before a record of time t is applied:
// whether a tick came between two records must not matter to what happens in
// between. A record that lies before a timer that has fired is below the
// watermark, or below a record of its own group; in both cases it would have
// met the same state without that tick.
func (g *group) advance(c *stream.Context, t int64) (fired bool) {
	for len(g.heap) > 0 && g.heap[0].timer <= t {
		e := g.heap[0]
		if e.due > e.timer {
			e.timer = e.due
			g.down(0)
			continue
		}
		at := e.due
		g.fire(c, e, at)
		fired = true
		if !e.dropped && e.place == 0 && e.timer != e.due {
			e.timer = e.due
			g.down(0)
		}
	}
	return fired
}

// fire runs what is due. An entry that does not get beyond its timer, or whose
// code panics, is dropped: it would be met again for ever.
func (g *group) fire(c *stream.Context, e *entry, at int64) {
	defer func() {
		if !e.dropped && e.due <= at {
			g.drop(e)
		}
	}()
	e.table.fire(c, g, e, at)
}

func (g *group) less(a, b *entry) bool {
	if a.timer != b.timer {
		return a.timer < b.timer
	}
	if a.table.index != b.table.index {
		return a.table.index < b.table.index
	}
	return a.key < b.key
}

func (g *group) swap(i, j int) {
	g.heap[i], g.heap[j] = g.heap[j], g.heap[i]
	g.heap[i].place, g.heap[j].place = i, j
}

func (g *group) up(i int) {
	for i > 0 && g.less(g.heap[i], g.heap[(i-1)/2]) {
		g.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (g *group) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(g.heap) {
			return
		}
		if child+1 < len(g.heap) && g.less(g.heap[child+1], g.heap[child]) {
			child++
		}
		if !g.less(g.heap[child], g.heap[i]) {
			return
		}
		g.swap(i, child)
		i = child
	}
}

func (g *group) remove(e *entry) {
	i := e.place
	last := len(g.heap) - 1
	g.swap(i, last)
	g.heap[last] = nil
	g.heap = g.heap[:last]
	e.place = -1
	if i < last {
		g.up(i)
		g.down(i)
	}
}

// sample notes a flow.
func (e *entry) sample(id schemas.FlowId) {
	if len(e.samples) == samplesMax {
		copy(e.samples, e.samples[1:])
		e.samples[samplesMax-1] = id
		return
	}
	e.samples = append(e.samples, id)
}

func appendSamples(dst []byte, ids []schemas.FlowId) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

func (r *reader) samples() []schemas.FlowId {
	n := r.count(16)
	if n > samplesMax {
		r.fail(errTruncated)
		return nil
	}
	var ids []schemas.FlowId
	for range n {
		ids = append(ids, schemas.FlowId(r.next(16)))
	}
	return ids
}
