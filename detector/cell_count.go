package detector

import (
	"encoding/binary"
	"slices"
)

type paneValue struct {
	pane  int64
	value int64
}

// counter sums integers: count, sum and rate.
type counter struct {
	panes []paneValue // ascending
	total int64
}

func (c *counter) add(a *aggregate, f *flow, pane int64) {
	switch {
	case a.number != nil:
		c.plus(pane, a.number(f))
	case a.test(f):
		c.plus(pane, 1)
	}
}

func (c *counter) plus(pane, n int64) {
	c.total += n
	i := len(c.panes)
	// Nearly always the newest pane; panes of other upstreams lag a little.
	for i > 0 && c.panes[i-1].pane > pane {
		i--
	}
	if i > 0 && c.panes[i-1].pane == pane {
		c.panes[i-1].value += n
		return
	}
	c.panes = slices.Insert(c.panes, i, paneValue{pane, n})
}

func (c *counter) merge(_ *aggregate, other cell, pane int64) {
	if o := other.(*counter); o.total != 0 {
		c.plus(pane, o.total)
	}
}

func (c *counter) expire(first int64) {
	n := 0
	for n < len(c.panes) && c.panes[n].pane < first {
		c.total -= c.panes[n].value
		n++
	}
	if n > 0 {
		c.panes = append(c.panes[:0], c.panes[n:]...)
	}
}

func (c *counter) value(a *aggregate, _ int) float64 { return float64(c.total) * a.scale }

func (c *counter) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.panes)))
	last := int64(0)
	for _, p := range c.panes {
		dst = binary.AppendVarint(binary.AppendVarint(dst, p.pane-last), p.value)
		last = p.pane
	}
	return dst
}

func (c *counter) load(r *reader) {
	n := r.count(2)
	*c = counter{}
	if n > 0 {
		c.panes = make([]paneValue, 0, n)
	}
	last := int64(0)
	for range n {
		last += r.varint()
		v := r.varint()
		c.panes = append(c.panes, paneValue{last, v})
		c.total += v
	}
}

// pair relates one counter to another: avg and ratio.
type pair struct{ part, all counter }

func (p *pair) add(a *aggregate, f *flow, pane int64) {
	p.all.plus(pane, 1)
	p.part.add(a, f, pane)
}

func (p *pair) merge(a *aggregate, other cell, pane int64) {
	o := other.(*pair)
	p.all.merge(a, &o.all, pane)
	p.part.merge(a, &o.part, pane)
}

func (p *pair) expire(first int64) { p.all.expire(first); p.part.expire(first) }

func (p *pair) value(*aggregate, int) float64 {
	if p.all.total == 0 {
		return 0
	}
	return float64(p.part.total) / float64(p.all.total)
}

func (p *pair) append(dst []byte) []byte { return p.part.append(p.all.append(dst)) }
func (p *pair) load(r *reader)           { p.all.load(r); p.part.load(r) }

// extreme keeps the greatest value of sign*x in each pane: min and max.
type extreme struct {
	sign  int64
	panes []paneValue // ascending
}

func (e *extreme) add(a *aggregate, f *flow, pane int64) { e.offer(pane, a.number(f)) }

func (e *extreme) offer(pane, v int64) {
	i := len(e.panes)
	for i > 0 && e.panes[i-1].pane > pane {
		i--
	}
	if i > 0 && e.panes[i-1].pane == pane {
		if e.sign*v > e.sign*e.panes[i-1].value {
			e.panes[i-1].value = v
		}
		return
	}
	e.panes = slices.Insert(e.panes, i, paneValue{pane, v})
}

func (e *extreme) merge(_ *aggregate, other cell, pane int64) {
	for _, p := range other.(*extreme).panes {
		e.offer(pane, p.value)
	}
}

func (e *extreme) expire(first int64) {
	e.panes = slices.DeleteFunc(e.panes, func(p paneValue) bool { return p.pane < first })
}

func (e *extreme) value(*aggregate, int) float64 {
	if len(e.panes) == 0 {
		return 0
	}
	v := e.panes[0].value
	for _, p := range e.panes[1:] {
		if e.sign*p.value > e.sign*v {
			v = p.value
		}
	}
	return float64(v)
}

func (e *extreme) append(dst []byte) []byte {
	return (&counter{panes: e.panes}).append(dst)
}

func (e *extreme) load(r *reader) {
	var c counter
	c.load(r)
	e.panes = c.panes
}
