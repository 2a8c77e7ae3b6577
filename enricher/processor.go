package enricher

import (
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// processor is the logic of one task: it joins the records of a conversation,
// and puts out what they make together with what is known of its ends.
type processor struct {
	e      *Enricher
	groups [kafka.Groups]*group

	// The record that was last decoded.
	record schemas.FlowRecord
	raw    []byte

	// Scratch of a release; slices keep their capacity.
	out    schemas.EnrichedFlow
	others []schemas.FlowRecord
	text   []byte
	encode []byte
	arena  []byte

	realms map[string]string
	spare  []*conversation
	parts  [][]part
}

var _ stream.Processor = (*processor)(nil)

// Bounds of what is kept for the next record instead of being left to the
// garbage collector.
const (
	maxSpare  = 4096
	maxRealms = 4096
	arenaSize = 64 << 10
)

// Decode implements stream.Processor. Errors are those of schemas.
func (p *processor) Decode(_, value []byte) (stream.Meta, error) {
	if err := p.record.Unmarshal(value); err != nil {
		return stream.Meta{}, err
	}
	p.raw = value
	r := &p.record
	return stream.Meta{StreamTime: r.StreamTime, Upstream: r.CollectorId, Boot: r.CollectorBoot, Sequence: r.CollectorSequence}, nil
}

// Apply implements stream.Processor.
func (p *processor) Apply(c *stream.Context) (changed bool, err error) {
	r, now := &p.record, p.record.StreamTime
	if !c.Replaying() {
		p.e.metrics.in.Inc()
		if c.Delayed {
			p.e.metrics.delayed.Inc()
		}
	}
	key, dir := keyOf(r)
	if !r.SourceIPAddress.IsValid() || !r.DestinationIPAddress.IsValid() {
		// Not IP: there are no ends to join by.
		p.releaseAlone(c, key, dir)
		return false, nil
	}
	g := p.groups[c.Group]
	if g == nil {
		g = newGroup()
		p.groups[c.Group] = g
	}
	p.sweep(c, g)
	k := g.conversations[key]
	if k == nil {
		k = p.admit(c, g, key, now)
	}

	var one part
	one.set(r, dir, c.Delayed)
	if len(k.parts) > 0 {
		switch {
		case now >= k.deadline:
			// Its time is over, and only the tick that says so is yet to come.
			p.release(c, g, k, c.EmitTime(k.deadline))
		case len(k.parts) == maxParts:
			p.countEarly(c, p.e.metrics.full)
			p.release(c, g, k, c.EmitTime(now))
		case !k.accepts(&one):
			p.countEarly(c, p.e.metrics.slices)
			p.release(c, g, k, c.EmitTime(now))
		}
	}
	if len(k.parts) == 0 && k.known && k.another(&one, now, p.e.idle) {
		k.forget()
	}
	// A duplicate of what has gone out waits for nothing.
	late := len(k.parts) == 0 && k.late(&one)
	one.duplicate = one.duplicate || late
	p.hold(g, k, &one, now)
	k.lastEnd = max(k.lastEnd, one.end)
	if now > k.lastSeen {
		k.lastSeen = now
		g.recent.update(now, k)
	}
	switch {
	case late || p.e.hold == 0 || k.deadline <= c.Watermark:
		p.release(c, g, k, c.EmitTime(now))
	case !p.e.wait && k.complete():
		p.release(c, g, k, c.EmitTime(now))
	case len(g.held.items) > p.e.maxHeld:
		p.countEarly(c, p.e.metrics.bound)
		p.evict(c, g, g.held.items[0].c, now)
	}
	return true, nil
}

func (p *processor) countEarly(c *stream.Context, m interface{ Inc() }) {
	if !c.Replaying() {
		m.Inc()
	}
}

// another reports that a record of the same ends begins another conversation.
func (k *conversation) another(r *part, now, idle int64) bool {
	return now-k.lastSeen >= idle ||
		r.dir == k.initiator && r.flags&flagSYN != 0 && r.start > k.lastEnd && k.finished() && !k.late(r)
}

// primaries returns the parts that count.
func (k *conversation) primaries() (ps primaries) {
	for i := range k.parts {
		if one := &k.parts[i]; !one.duplicate {
			ps[one.dir] = one
		}
	}
	return ps
}

// covers returns the part that has a direction in it, nil when none has.
func (ps primaries) covers(d direction) *part {
	if one := ps[d]; one != nil {
		return one
	}
	if one := ps[d.other()]; one != nil && one.both {
		return one
	}
	return nil
}

func (k *conversation) complete() bool {
	ps := k.primaries()
	return ps.covers(fromLo) != nil && ps.covers(fromHi) != nil
}

// accepts decides whether a record joins what is held: as the other direction
// or as a duplicate, which it marks. A later slice does not.
func (k *conversation) accepts(r *part) bool {
	if k.late(r) {
		r.duplicate = true
		return true
	}
	ps := k.primaries()
	same, other := ps.covers(r.dir), ps.covers(r.dir.other())
	if same == nil {
		if r.both && other != nil {
			// A biflow has what is held in it, seen by someone else.
			if relate(other, r) == slice {
				return false
			}
			other.duplicate = true
		}
		return true
	}
	if relate(same, r) == slice {
		return false
	}
	switch {
	case r.both && !same.both && other == nil, // it knows more
		r.both == same.both && r.rate() < same.rate(): // it counts better
		same.duplicate = true
	default:
		r.duplicate = true
	}
	return true
}

// hold puts a record to those that wait.
func (p *processor) hold(g *group, k *conversation, one *part, now int64) {
	first := len(k.parts) == 0
	if first && cap(k.parts) == 0 && len(p.parts) > 0 {
		k.parts = p.parts[len(p.parts)-1]
		p.parts = p.parts[:len(p.parts)-1]
	}
	n := len(k.parts)
	if n < cap(k.parts) {
		k.parts = k.parts[:n+1] // with the buffer that was there
	} else {
		k.parts = append(k.parts, part{})
	}
	raw := append(k.parts[n].raw[:0], p.raw...)
	k.parts[n] = *one
	k.parts[n].raw = raw
	if first {
		k.deadline = now + p.e.hold
		g.held.push(k.deadline, k)
	}
}

// admit begins a conversation, at the cost of the one that was not seen for
// longest when there are too many.
func (p *processor) admit(c *stream.Context, g *group, key conversationKey, now int64) *conversation {
	for len(g.recent.items) >= p.e.maxConversations {
		old := g.recent.items[0].c
		if len(old.parts) > 0 {
			p.countEarly(c, p.e.metrics.bound)
			p.evict(c, g, old, now)
		}
		p.countEarly(c, p.e.metrics.forgotten)
		p.drop(g, old)
	}
	key.realm = p.intern(key.realm)
	var k *conversation
	if n := len(p.spare); n > 0 {
		k = p.spare[n-1]
		p.spare = p.spare[:n-1]
	} else {
		k = &conversation{}
	}
	k.key, k.lastSeen = key, now
	g.add(k)
	return k
}

// intern returns a copy of a realm's name that outlives the record.
func (p *processor) intern(realm string) string {
	s, ok := p.realms[realm]
	if !ok {
		if len(p.realms) >= maxRealms {
			clear(p.realms)
		}
		s = string(append([]byte(nil), realm...))
		p.realms[s] = s
	}
	return s
}

func (p *processor) drop(g *group, k *conversation) {
	g.drop(k)
	if len(p.spare) < maxSpare {
		*k = conversation{}
		p.spare = append(p.spare, k)
	}
}

// evict releases a held conversation before its time. When its time is over
// by the record at hand, it gets the stream time that the timer would have
// given it: so it does not matter whether a tick came in between.
func (p *processor) evict(c *stream.Context, g *group, k *conversation, now int64) {
	p.release(c, g, k, c.EmitTime(min(k.deadline, max(now, c.Watermark))))
}

// sweep forgets conversations that are over by the watermark. Whoever is
// not swept yet is recognised by its age all the same.
func (p *processor) sweep(c *stream.Context, g *group) {
	for len(g.recent.items) > 0 && len(g.recent.items[0].c.parts) == 0 && g.recent.items[0].at+p.e.idle <= c.Watermark {
		p.drop(g, g.recent.items[0].c)
	}
}

// NextTimer implements stream.Processor.
func (p *processor) NextTimer(group int) int64 {
	if g := p.groups[group]; g != nil {
		return g.nextTimer()
	}
	return stream.Never
}

// Advance implements stream.Processor.
func (p *processor) Advance(c *stream.Context) {
	g := p.groups[c.Group]
	if g == nil {
		return
	}
	for g.nextTimer() <= c.Watermark {
		p.release(c, g, g.held.items[0].c, c.Watermark)
	}
	p.sweep(c, g)
}

// AppendState implements stream.Processor.
func (p *processor) AppendState(dst []byte, group int) []byte {
	if g := p.groups[group]; g != nil {
		return g.append(dst)
	}
	return dst
}

// LoadState implements stream.Processor. Errors are *StateError.
func (p *processor) LoadState(group int, state []byte) error {
	g, err := loadGroup(state, &p.record)
	if err != nil {
		return &StateError{Group: group, Err: err}
	}
	p.groups[group] = g
	return nil
}
