package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/weir-flow/weir/internal/kafka"
)

// toy counts values per key in windows of toyWindow ms, and puts out the
// count when a window closes and whenever it reaches ten. Small as it is, it
// has all that is hard about a processor: state, early output, timers.
type toy struct {
	groups [kafka.Groups]*toyGroup
	// of the record decoded last
	key  string
	time int64
	// keepLate counts records of windows that are closed too: their timers
	// lie in the past.
	keepLate bool
}

const toyWindow = 1000

type toyGroup struct{ windows []toyCount }

type toyCount struct {
	end   int64
	key   string
	count int64
}

// toyRecord is the value of a toy's input: upstream, boot, sequence, time.
func toyRecord(upstream string, boot, sequence, time int64) []byte {
	b := []byte{byte(len(upstream))}
	b = append(b, upstream...)
	b = binary.AppendVarint(b, boot)
	b = binary.AppendVarint(b, sequence)
	return binary.AppendVarint(b, time)
}

var errToy = errors.New("not a toy record")

func (p *toy) Decode(key, value []byte) (Meta, error) {
	if len(value) == 0 || len(value) < 1+int(value[0]) {
		return Meta{}, errToy
	}
	m := Meta{Upstream: string(value[1 : 1+value[0]])}
	b := value[1+value[0]:]
	for _, f := range []*int64{&m.Boot, &m.Sequence, &m.StreamTime} {
		v, n := binary.Varint(b)
		if n <= 0 {
			return Meta{}, errToy
		}
		*f, b = v, b[n:]
	}
	p.key, p.time = string(key), m.StreamTime
	if p.key == "panic in decode" {
		panic("as asked")
	}
	return m, nil
}

func (p *toy) Apply(c *Context) (bool, error) {
	if p.key == "panic" {
		panic("as asked")
	}
	g := p.groups[c.Group]
	if g == nil {
		g = &toyGroup{}
		p.groups[c.Group] = g
	}
	end := p.time - p.time%toyWindow + toyWindow
	if end <= c.Watermark && !p.keepLate {
		return false, nil // its window is closed
	}
	less := func(w toyCount) bool { return w.end > end || w.end == end && w.key >= p.key }
	i := sort.Search(len(g.windows), func(i int) bool { return less(g.windows[i]) })
	if i == len(g.windows) || g.windows[i].end != end || g.windows[i].key != p.key {
		g.windows = slices.Insert(g.windows, i, toyCount{end: end, key: p.key})
	}
	g.windows[i].count++
	if g.windows[i].count == 10 {
		p.put(c, "early", p.key, end, c.EmitTime(p.time))
	}
	return true, nil
}

func (p *toy) NextTimer(group int) int64 {
	if g := p.groups[group]; g != nil && len(g.windows) > 0 {
		return g.windows[0].end
	}
	return Never
}

func (p *toy) Advance(c *Context) {
	g := p.groups[c.Group]
	for len(g.windows) > 0 && g.windows[0].end <= c.Watermark {
		w := g.windows[0]
		if w.key == "panic in advance" {
			panic("as asked")
		}
		g.windows = g.windows[1:]
		p.put(c, fmt.Sprintf("closed at %d", w.count), w.key, w.end, c.Watermark)
	}
}

func (p *toy) put(c *Context, what, key string, end, at int64) {
	c.Emit(Output{
		Topic: kafka.TopicAlerts, Key: []byte(key), StreamTime: at,
		Value: fmt.Appendf(nil, "%s %s %d %d", what, key, end, at),
	})
}

func (p *toy) AppendState(dst []byte, group int) []byte {
	g := p.groups[group]
	if g == nil {
		return dst
	}
	for _, w := range g.windows {
		dst = binary.AppendVarint(dst, w.end)
		dst = binary.AppendVarint(dst, w.count)
		dst = append(dst, byte(len(w.key)))
		dst = append(dst, w.key...)
	}
	return dst
}

func (p *toy) LoadState(group int, b []byte) error {
	g := &toyGroup{}
	for len(b) > 0 {
		var w toyCount
		var n int
		w.end, n = binary.Varint(b)
		b = b[n:]
		w.count, n = binary.Varint(b)
		b = b[n:]
		w.key, b = string(b[1:1+b[0]]), b[1+b[0]:]
		g.windows = append(g.windows, w)
	}
	p.groups[group] = g
	return nil
}

func newToy() Processor { return &toy{} }
