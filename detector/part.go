package detector

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// partVersion is the first octet of a part; readers refuse others.
const partVersion = 1

// part is what the first stage sends to the second: what the flows of one key
// in one slice of time add to the aggregates of all rules on that key.
type part struct {
	streamTime int64
	// time of the slice's begin, or of the flow.
	time     int64
	key      string
	internal bool
	name     string // of the entity
	partials []*partial
}

// partial is what a part has for one rule.
type partial struct {
	rule    *program
	hash    uint64
	hits    int64
	samples []schemas.FlowId
	cells   []cell
	// candidate of a rule with a population: a key that met its condition.
	candidate *candidate
}

type candidate struct {
	key      string
	since    int64
	pane     int64
	internal bool
	observed []float64
	evidence []evidence
	origin   origin
}

func newCells(as []*aggregate) []cell {
	cells := make([]cell, len(as))
	for i, a := range as {
		cells[i] = a.kind.new()
	}
	return cells
}

func appendCells(dst []byte, cells []cell) []byte {
	for _, c := range cells {
		dst = c.append(dst)
	}
	return dst
}

func (r *reader) cells(as []*aggregate) []cell {
	cells := newCells(as)
	for _, c := range cells {
		c.load(r)
	}
	return cells
}

func appendPartial(dst []byte, x *partial) []byte {
	dst = binary.BigEndian.AppendUint64(dst, x.hash)
	var body []byte
	body = binary.AppendUvarint(body, uint64(x.hits))
	body = appendSamples(body, x.samples)
	body = appendBool(body, x.cells != nil)
	body = appendCells(body, x.cells)
	body = appendBool(body, x.candidate != nil)
	if k := x.candidate; k != nil {
		body = appendBytes(body, k.key)
		body = binary.AppendVarint(binary.AppendVarint(body, k.since), k.pane)
		body = appendBool(body, k.internal)
		body = appendEvidence(appendFloats(body, k.observed), k.evidence)
		body = appendOrigin(body, &k.origin)
	}
	return appendBytes(dst, body)
}

// partial reads one; nil when nobody knows its rule.
func (r *reader) partial(rules map[uint64]*program) *partial {
	x := &partial{hash: r.uint64()}
	body := reader{b: r.bytes()}
	if r.err != nil {
		return nil
	}
	p, ok := rules[x.hash]
	if !ok {
		return nil
	}
	x.rule = p
	as := p.aggregates
	if p.stage == populated {
		as = p.population.aggregates
	}
	x.hits = int64(body.uvarint())
	x.samples = body.samples()
	if body.bool() {
		x.cells = body.cells(as)
	}
	if body.bool() {
		k := &candidate{key: body.string(), since: body.varint(), pane: body.varint(), internal: body.bool()}
		k.observed, k.evidence, k.origin = body.floats(), body.evidence(), body.origin()
		if body.err == nil && (len(k.observed) != len(p.measures) || !validKey(k.key, len(p.key))) {
			body.fail(fmt.Errorf("candidate of another shape than rule %s", p.ID))
		}
		x.candidate = k
	}
	if body.err != nil {
		r.fail(fmt.Errorf("rule %s: %w", p.ID, body.err))
		return nil
	}
	return x
}

func (x *part) append(dst []byte) []byte {
	dst = append(dst, partVersion)
	dst = binary.AppendVarint(binary.AppendVarint(dst, x.streamTime), x.streamTime-x.time)
	dst = appendBytes(appendBool(appendBytes(dst, x.key), x.internal), x.name)
	dst = binary.AppendUvarint(dst, uint64(len(x.partials)))
	for _, p := range x.partials {
		dst = appendPartial(dst, p)
	}
	return dst
}

// decodePart reads a part. Partials of rules that are not known are left out
// and counted.
func decodePart(b []byte, rules map[uint64]*program) (x part, unknown int, err error) {
	r := reader{b: b}
	if v := r.byte(); v != partVersion {
		return x, 0, fmt.Errorf("merge part: version %d, this detector reads %d", v, partVersion)
	}
	x.streamTime = r.varint()
	x.time = x.streamTime - r.varint()
	x.key, x.internal, x.name = r.string(), r.bool(), r.string()
	for range r.count(9) {
		if p := r.partial(rules); p != nil {
			x.partials = append(x.partials, p)
		} else {
			unknown++
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Errorf("%d octets behind the end", len(r.b)))
	}
	if r.err == nil && !validKey(x.key, -1) {
		r.fail(fmt.Errorf("unreadable key"))
	}
	if r.err != nil {
		return x, 0, fmt.Errorf("merge part: %w", r.err)
	}
	return x, unknown, nil
}

// validKey reports whether a key can be taken apart into a realm and n values;
// -1: any number of at least one.
func validKey(key string, n int) bool {
	r := reader{b: []byte(key)}
	r.string()
	count := 0
	for len(r.b) > 0 && r.err == nil {
		r.item()
		count++
	}
	return r.err == nil && (count == n || n < 0 && count > 0)
}

// output addresses a part to the second stage by the text of its key.
func (x *part) output() stream.Output {
	realm, items := keyItems(x.key)
	var b strings.Builder
	b.WriteString(realm)
	for i, it := range items {
		if i == 0 {
			b.WriteByte('/')
		} else {
			b.WriteByte('|')
		}
		b.WriteString(it.String())
	}
	return stream.Output{Topic: kafka.TopicMerge, Key: []byte(b.String()), Value: x.append(nil)}
}
