package enricher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// Indexes of a group's queues in conversation.position.
const (
	byDeadline = iota
	byLastSeen
)

// group is the state of a key group.
type group struct {
	conversations map[conversationKey]*conversation
	held          queue // those with parts, by deadline
	recent        queue // all, by lastSeen
}

func newGroup() *group {
	return &group{
		conversations: map[conversationKey]*conversation{},
		held:          queue{which: byDeadline}, recent: queue{which: byLastSeen},
	}
}

// nextTimer returns the earliest deadline.
func (g *group) nextTimer() int64 {
	if len(g.held.items) == 0 {
		return stream.Never
	}
	return g.held.items[0].at
}

func (g *group) add(c *conversation) {
	g.conversations[c.key] = c
	g.recent.push(c.lastSeen, c)
	if len(c.parts) > 0 {
		g.held.push(c.deadline, c)
	}
}

func (g *group) drop(c *conversation) {
	delete(g.conversations, c.key)
	g.recent.remove(c)
}

// stateVersion is the first byte of a group's state.
const stateVersion = 1

// A StateError says that the state of a key group cannot be read.
type StateError struct {
	Group int
	Err   error
}

func (e *StateError) Error() string {
	return fmt.Sprintf("enricher: state of key group %d: %v; it was written by another version or is damaged: let the stage begin from the retained log", e.Group, e.Err)
}

func (e *StateError) Unwrap() error { return e.Err }

const (
	bitKnown = 1 << iota
	bitInitiatorHi
	bitSeenLo
	bitSeenHi
	bitSampled
)

const (
	bitDuplicate = 1 << iota
	bitDelayed
)

// append writes the group's state: version, then the conversations in the
// order of their keys. Numbers are varints, texts have their length before
// them.
func (g *group) append(dst []byte) []byte {
	if len(g.conversations) == 0 {
		return dst
	}
	all := make([]*conversation, 0, len(g.conversations))
	for _, c := range g.conversations {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *conversation) int { return a.key.compare(&b.key) })
	dst = append(dst, stateVersion)
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	for _, c := range all {
		dst = append(append(dst, c.key.lo[:]...), c.key.hi[:]...)
		dst = binary.BigEndian.AppendUint16(dst, c.key.loPort)
		dst = binary.BigEndian.AppendUint16(dst, c.key.hiPort)
		dst = append(dst, c.key.protocol)
		dst = appendBytes(dst, c.key.realm)
		dst = binary.AppendVarint(dst, c.lastSeen)
		dst = binary.AppendVarint(dst, c.lastEnd)
		var bits byte
		set := func(on bool, bit byte) {
			if on {
				bits |= bit
			}
		}
		set(c.known, bitKnown)
		set(c.initiator == fromHi, bitInitiatorHi)
		set(c.seen[fromLo], bitSeenLo)
		set(c.seen[fromHi], bitSeenHi)
		set(c.sampled, bitSampled)
		dst = append(dst, bits, byte(c.confidence))
		if c.known {
			dst = append(dst, c.id[:]...)
			for _, o := range c.owner {
				dst = binary.BigEndian.AppendUint64(dst, o.source)
				dst = binary.AppendVarint(dst, o.start)
				dst = binary.AppendVarint(dst, o.end)
			}
		}
		dst = binary.BigEndian.AppendUint16(dst, c.flags[0])
		dst = binary.BigEndian.AppendUint16(dst, c.flags[1])
		dst = binary.AppendUvarint(dst, uint64(len(c.parts)))
		if len(c.parts) == 0 {
			continue
		}
		dst = binary.AppendVarint(dst, c.deadline)
		for i := range c.parts {
			var bits byte
			if c.parts[i].duplicate {
				bits |= bitDuplicate
			}
			if c.parts[i].delayed {
				bits |= bitDelayed
			}
			dst = appendBytes(append(dst, bits), c.parts[i].raw)
		}
	}
	return dst
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// reader reads state; the first error sticks.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("it ends early")

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.err = cmpErr(r.err, errShort)
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (r *reader) byte() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err = cmpErr(r.err, errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.err = cmpErr(r.err, errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// maxParts bounds the records of one held flow: more than these exporters on
// one path are a loop, or a flood.
const maxParts = 16

// load reads what append wrote. scratch is overwritten.
func loadGroup(b []byte, scratch *schemas.FlowRecord) (*group, error) {
	g := newGroup()
	if len(b) == 0 {
		return g, nil
	}
	r := reader{b: b}
	if v := r.byte(); v != stateVersion {
		return nil, fmt.Errorf("format version %d is not %d", v, stateVersion)
	}
	var last *conversation
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		c := &conversation{}
		copy(c.key.lo[:], r.take(16))
		copy(c.key.hi[:], r.take(16))
		c.key.loPort, c.key.hiPort, c.key.protocol = r.uint16(), r.uint16(), r.byte()
		c.key.realm = string(r.take(r.uvarint()))
		c.lastSeen, c.lastEnd = r.varint(), r.varint()
		bits := r.byte()
		c.known, c.sampled = bits&bitKnown != 0, bits&bitSampled != 0
		c.seen = [2]bool{bits&bitSeenLo != 0, bits&bitSeenHi != 0}
		if bits&bitInitiatorHi != 0 {
			c.initiator = fromHi
		}
		c.confidence = schemas.RoleConfidence(r.byte())
		if c.known {
			copy(c.id[:], r.take(16))
			for i := range c.owner {
				c.owner[i] = coverage{r.uint64(), r.varint(), r.varint()}
			}
		}
		c.flags[0], c.flags[1] = r.uint16(), r.uint16()
		parts := r.uvarint()
		if parts > maxParts {
			return nil, fmt.Errorf("%d records in one held flow, more than %d", parts, maxParts)
		}
		if parts > 0 {
			c.deadline = r.varint()
		}
		for range parts {
			bits := r.byte()
			raw := r.take(r.uvarint())
			if r.err != nil {
				break
			}
			if err := scratch.Unmarshal(raw); err != nil {
				return nil, err
			}
			key, d := keyOf(scratch)
			if key != c.key {
				return nil, errors.New("a held record belongs to another conversation")
			}
			p := part{raw: slices.Clone(raw)}
			p.set(scratch, d, bits&bitDelayed != 0)
			p.duplicate = bits&bitDuplicate != 0
			c.parts = append(c.parts, p)
		}
		if r.err != nil {
			break
		}
		if last != nil && last.key.compare(&c.key) >= 0 {
			return nil, errors.New("its conversations are out of order")
		}
		if c.deadline == math.MaxInt64 || c.confidence > schemas.RoleConfidenceEXPORTED {
			return nil, errors.New("a value is out of range")
		}
		g.add(c)
		last = c
	}
	if r.err == nil && len(r.b) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(r.b))
	}
	return g, r.err
}
