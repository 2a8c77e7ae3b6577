package detector

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// stateVersion is the first octet of a group's state.
const stateVersion = 1

// appendState writes the state of a group. Tables carry the name and hash of
// what they belong to and their length, so that a changed rule starts afresh
// and the others keep theirs.
func appendState(dst []byte, g *group, tables []*table) []byte {
	if g == nil {
		return dst
	}
	begun := false
	for i, t := range tables {
		entries := g.tables[i].entries
		if len(entries) == 0 {
			continue
		}
		if !begun {
			dst, begun = append(dst, stateVersion), true
		}
		dst = appendBytes(dst, t.name)
		dst = binary.BigEndian.AppendUint64(dst, t.hash)
		var body []byte
		body = binary.AppendUvarint(body, uint64(len(entries)))
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			body = appendEntry(body, entries[key])
		}
		dst = appendBytes(dst, body)
	}
	return dst
}

func appendEntry(dst []byte, e *entry) []byte {
	dst = appendBool(appendBytes(dst, e.key), e.internal)
	for _, n := range []int64{e.lastSeen, e.since, e.pane, e.hits, e.sent, e.announced, e.due} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = appendSamples(dst, e.samples)
	dst = appendBool(dst, e.cells != nil)
	dst = appendCells(dst, e.cells)
	dst = appendBool(dst, e.alert != nil)
	if e.alert != nil {
		dst = e.alert.append(dst)
	}
	dst = appendBool(dst, e.observed != nil)
	if e.observed != nil {
		dst = appendEvidence(appendFloats(dst, e.observed), e.evidence)
	}
	dst = appendBytes(dst, e.home)
	n := 0
	for _, x := range e.parts {
		if x != nil {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, x := range e.parts {
		if x != nil {
			dst = appendPartial(dst, x)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.raw)))
	for _, value := range e.raw {
		dst = appendBytes(dst, value)
	}
	return dst
}

func (r *reader) entry(t *table) *entry {
	e := &entry{table: t, rare: &t.none, key: r.string(), internal: r.bool(), place: -1}
	for _, n := range []*int64{&e.lastSeen, &e.since, &e.pane, &e.hits, &e.sent, &e.announced, &e.due} {
		*n = r.varint()
	}
	e.samples = r.samples()
	if r.bool() {
		e.cells = r.cells(t.aggregates)
	}
	if r.bool() {
		e.alert = r.alert()
	}
	if r.bool() {
		own := e.own()
		own.observed, own.evidence = r.floats(), r.evidence()
	}
	if home := r.string(); home != "" {
		e.own().home = home
	}
	if n := r.count(9); n > 0 {
		e.own().parts = make([]*partial, len(t.rules))
		rules := byHash(t.rules)
		for range n {
			if x := r.partial(rules); x != nil {
				e.parts[slices.Index(t.rules, x.rule)] = x
			}
		}
	}
	for range r.count(1) {
		own := e.own()
		own.raw = append(own.raw, bytes.Clone(r.bytes()))
	}
	return e
}

func byHash(rules []*program) map[uint64]*program {
	m := make(map[uint64]*program, len(rules))
	for _, p := range rules {
		m[p.hash] = p
	}
	return m
}

// loadState replaces the state of a group.
func loadState(state []byte, tables []*table) (*group, error) {
	g := &group{tables: make([]tableState, len(tables))}
	if len(state) == 0 {
		return g, nil
	}
	r := reader{b: state}
	if v := r.byte(); v != stateVersion {
		return nil, fmt.Errorf("state of version %d, this detector reads %d", v, stateVersion)
	}
	for len(r.b) > 0 && r.err == nil {
		name, hash := r.string(), r.uint64()
		body := reader{b: r.bytes()}
		i := slices.IndexFunc(tables, func(t *table) bool { return t.name == name && t.hash == hash })
		if i < 0 || r.err != nil {
			continue // its rule was changed or is gone
		}
		t, s := tables[i], &g.tables[i]
		n := body.count(10)
		s.entries = make(map[string]*entry, n)
		for range n {
			e := body.entry(t)
			if body.err != nil {
				break
			}
			s.entries[e.key] = e
			if e.internal {
				s.internal++
			} else {
				s.external++
			}
			g.schedule(e, e.due)
		}
		if body.err != nil {
			return nil, fmt.Errorf("state of %s: %w", name, body.err)
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("state: %w", r.err)
	}
	return g, nil
}
