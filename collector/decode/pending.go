package decode

import (
	"bytes"
	"slices"

	"github.com/weir-flow/weir/schemas"
)

// pendingSet is a data set whose template has not come, with all it needs to
// be decoded later as if it came now.
type pendingSet struct {
	domain   *domain
	template uint16
	body     []byte
	offset   int // of the body in its datagram
	base     schemas.FlowRecord
	header   Header
	idHash   [2]uint64
	gone     bool
}

// pendingRing bounds what is held; the oldest makes room.
type pendingRing struct {
	queue []*pendingSet
	live  int
	bytes int
	limit int
}

// pendingCost is what a held set takes beyond its octets.
const pendingCost = 2048

// hold keeps a data set. What the exporter's share or the limit cannot take
// is given up at once.
func (d *Decoder) hold(id uint16, body []byte, offset int) {
	cost := len(body) + pendingCost
	e := d.exporter
	if e == d.overflow || cost > d.pending.limit || e.pendingBytes+cost > d.pending.limit/4 {
		d.stats.Dropped.Add(1)
		d.reject(NoTemplate, id, offset)
		return
	}
	for d.pending.bytes+cost > d.pending.limit {
		d.evictPending()
	}
	p := &pendingSet{domain: d.domain, template: id, body: bytes.Clone(body), offset: offset, base: d.base, header: d.hdr, idHash: d.idHash}
	d.pending.queue = append(d.pending.queue, p)
	d.pending.live++
	d.pending.bytes += cost
	e.pendingBytes += cost
	if d.domain.pending == nil {
		d.domain.pending = make(map[uint16][]*pendingSet)
	}
	d.domain.pending[id] = append(d.domain.pending[id], p)
	d.stats.Held.Add(1)
	d.stats.HeldOctets.Add(int64(cost))
}

func (d *Decoder) forget(p *pendingSet) {
	p.gone = true
	cost := len(p.body) + pendingCost
	p.body = nil
	d.pending.bytes -= cost
	p.domain.exporter.pendingBytes -= cost
	d.stats.HeldOctets.Add(-int64(cost))
	d.pending.live--
	q := d.pending.queue
	for len(q) > 0 && q[0].gone {
		q[0] = nil
		q = q[1:]
	}
	// One set that waits for ever at the head must not keep all later ones.
	if len(q) > 64 && len(q) > 2*d.pending.live {
		q = slices.DeleteFunc(q, func(p *pendingSet) bool { return p.gone })
	}
	d.pending.queue = q
}

// evictPending gives up the oldest held set.
func (d *Decoder) evictPending() {
	p := d.pending.queue[0]
	sets := p.domain.pending[p.template]
	if len(sets) <= 1 {
		delete(p.domain.pending, p.template)
	} else {
		p.domain.pending[p.template] = sets[1:]
	}
	d.giveUp(p)
}

// dropPending gives up all that a domain holds for a template.
func (d *Decoder) dropPending(dom *domain, id uint16) {
	sets := dom.pending[id]
	delete(dom.pending, id)
	for _, p := range sets {
		d.giveUp(p)
	}
}

func (d *Decoder) giveUp(p *pendingSet) {
	d.forget(p)
	d.stats.Dropped.Add(1)
	d.stats.Rejected[NoTemplate].Add(1)
	p.domain.exporter.Rejected++
	if d.h != nil {
		d.h.Reject(&Error{Reason: NoTemplate, Source: p.header.Source, Version: versionOf(p.header.Protocol), Domain: p.domain.id, Template: p.template, Offset: p.offset})
	}
}

// release decodes what was held for a template that has just come, in the
// order it came. The situation of the current datagram is put back after.
func (d *Decoder) release(t *template) {
	sets := d.domain.pending[t.id]
	if len(sets) == 0 {
		return
	}
	delete(d.domain.pending, t.id)
	base, hdr, hash, budget, records, unknown := d.base, d.hdr, d.idHash, d.budget, d.records, d.unknown
	for _, p := range sets {
		body := p.body
		d.base, d.hdr, d.idHash, d.budget = p.base, p.header, p.idHash, len(body)/4+64
		d.forget(p)
		d.stats.Released.Add(1)
		d.dataSet(t, body, p.offset)
	}
	d.base, d.hdr, d.idHash, d.budget, d.records, d.unknown = base, hdr, hash, budget, records, unknown
}

func versionOf(p schemas.ExportProtocol) uint16 {
	if p == schemas.ExportProtocolIPFIX {
		return 10
	}
	return 9
}
