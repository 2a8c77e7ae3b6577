package decode

import (
	"net/netip"

	"github.com/weir-flow/weir/schemas"
)

// idleExporter is how long, in ms, an exporter must have been silent before a
// newcomer may take its place.
const idleExporter = 10 * 60 * 1000

// exporter is the state kept per source address.
type exporter struct {
	Exporter
	source   netip.Addr
	identity Identity
	domains  map[domainKey]*domain
	// Names from options tables: application by id, interface by index.
	applications map[uint64]application
	interfaces   map[uint32]string
	pendingBytes int
}

type application struct{ id, name string }

type domainKey struct {
	protocol schemas.ExportProtocol
	id       uint32
	agent    netip.Addr // sFlow
}

// domain is the scope of templates, sampling and sequence numbers.
type domain struct {
	id        uint32
	protocol  schemas.ExportProtocol
	identity  *Identity
	exporter  *exporter
	templates map[uint16]*template
	pending   map[uint16][]*pendingSet
	sampling  samplingTable
	initTime  int64 // systemInitTimeMilliseconds, 0 unknown
	seq       sequence
}

func newExporter(a netip.Addr, id Identity) *exporter {
	return &exporter{source: a, identity: id, domains: make(map[domainKey]*domain)}
}

func (d *Decoder) exporterOf(a netip.Addr, now int64) *exporter {
	if e := d.exporters[a]; e != nil {
		e.LastSeen = now
		return e
	}
	if len(d.exporters) >= d.cfg.Limits.Exporters && !d.evictExporter(now) {
		d.stats.Overflowed.Add(1)
		e := d.overflow
		*e = exporter{source: a, identity: d.cfg.Identify(a), domains: make(map[domainKey]*domain)}
		return e
	}
	e := newExporter(a, d.cfg.Identify(a))
	e.LastSeen = now
	d.exporters[a] = e
	d.stats.Exporters.Add(1)
	return e
}

// evictExporter looks at a few exporters, for a flood of new addresses must
// not make each datagram cost a walk over all, and drops the most idle one.
func (d *Decoder) evictExporter(now int64) bool {
	var oldest *exporter
	looked := 0
	for _, e := range d.exporters {
		if oldest == nil || e.LastSeen < oldest.LastSeen {
			oldest = e
		}
		if looked++; looked == 16 {
			break
		}
	}
	if oldest == nil || now-oldest.LastSeen < idleExporter {
		return false
	}
	for _, dom := range oldest.domains {
		d.lost(dom, dom.seq.flush())
		for id := range dom.pending {
			d.dropPending(dom, id)
		}
	}
	delete(d.exporters, oldest.source)
	d.stats.Exporters.Add(-1)
	d.stats.Evicted.Add(1)
	return true
}

// domainOf returns the domain of the datagram, nil when the cap is reached.
func (d *Decoder) domainOf(k domainKey) *domain {
	e := d.exporter
	dom := e.domains[k]
	if dom == nil {
		if len(e.domains) >= d.cfg.Limits.Domains {
			return nil
		}
		dom = &domain{id: k.id, protocol: k.protocol, exporter: e, identity: &e.identity}
		if k.agent.IsValid() && k.agent != e.source {
			// An agent named by the configuration keeps its name behind a relay.
			if id := d.cfg.Identify(k.agent); id.Configured {
				dom.identity = &id
			}
		}
		e.domains[k] = dom
	}
	return dom
}

// Exporters calls f with the counters of each exporter, until it returns
// false. It must not run at the same time as Datagram.
func (d *Decoder) Exporters(f func(netip.Addr, Exporter) bool) {
	for a, e := range d.exporters {
		if !f(a, e.Exporter) {
			return
		}
	}
}

func (d *Decoder) lost(dom *domain, n uint32) {
	if n > 0 {
		dom.exporter.Lost += uint64(n)
		d.stats.Protocol[dom.protocol].Lost.Add(uint64(n))
	}
}

// observe accounts the datagram's sequence number, which covers count units.
func (d *Decoder) observe(seq, count uint32, known bool) {
	lost, what := d.domain.seq.observe(seq, count, known)
	d.lost(d.domain, lost)
	switch what {
	case seqReset:
		d.stats.SequenceResets.Add(1)
	case seqLate:
		d.stats.Reordered.Add(1)
	}
}
