// Package decode turns export datagrams into flow records: NetFlow v1, v5, v7
// and v9, IPFIX over UDP, and sFlow v5.
//
// Each template is compiled once to a plan (width and target per field), and
// records are decoded through it straight into one reused FlowRecord: nothing
// is allocated per record. goflow2 parses the templates, one at a time and
// only after their extent was checked, because it allocates what a length
// field asks for; it has no part on the data path, where boxing costs it
// several hundred allocations a datagram.
//
// A datagram never costs more than a small multiple of its size, whatever its
// length fields claim, and all state has a cap.
package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/schemas"
)

// Identity is what the configuration says of an exporter.
type Identity struct {
	// Name of the exporter, empty when it has none.
	Name string
	// Realm of its addresses.
	Realm string
	// SamplingInterval overrides what the exporter says; 0 does not.
	SamplingInterval int64
	// Configured: the address is named by the configuration.
	Configured bool
}

// Limits bound the state of one Decoder.
type Limits struct {
	// Exporters, by source address. Above it the one that has been idle for
	// longest makes room when it has been so for ten minutes; otherwise the
	// newcomer's datagrams are decoded without memory of one another.
	Exporters int
	// Domains per exporter (observation domains, source ids, engines, agents).
	Domains int
	// Templates per domain.
	Templates int
	// Names per exporter and kind: applications, interfaces, samplers.
	Names int
	// PendingBytes held for data whose template has not come, in all; an
	// exporter gets at most a quarter.
	PendingBytes int
}

// DefaultLimits are generous for a large site and small against abuse.
func DefaultLimits() Limits {
	return Limits{Exporters: 4096, Domains: 256, Templates: 1024, Names: 8192, PendingBytes: 8 << 20}
}

// Config of a Decoder.
type Config struct {
	Limits Limits
	// Identify returns what is configured for an address; it is called once
	// per exporter and agent. Nil: nothing is.
	Identify func(netip.Addr) Identity
	// DefaultSampling is the interval where the exporter does not say one.
	DefaultSampling int64
	// Stats to count in, shared by decoders; nil: own ones.
	Stats *Stats
}

// Header is what a datagram says of itself before its records.
type Header struct {
	Protocol schemas.ExportProtocol
	// Source of the datagram, Exporter's identity (they differ in sFlow).
	Source, Exporter netip.Addr
	Domain           uint32
	// ExportTime in ms since the epoch; 0: the protocol carries none.
	ExportTime int64
	// Uptime of the exporter in ms (v1 to v9, sFlow).
	Uptime uint32
	// Arrival in ms since the epoch.
	Arrival int64
}

// Kind of an event.
type Kind string

// The kinds of events.
const (
	KindOptions  Kind = "options"
	KindCounters Kind = "counters"
)

// Handler takes what is decoded. Everything it is given is valid until it
// returns; strings and bytes alias the datagram.
type Handler interface {
	// Begin is called once per datagram with a readable header.
	Begin(*Header)
	// Flow is called per flow. StreamTime and the collector's own fields are
	// not set.
	Flow(*schemas.FlowRecord)
	// Event is called per options record and per counters sample; the fields
	// are in Extra.
	Event(Kind, *schemas.FlowRecord)
	// Reject is called when a datagram or a part of it cannot be decoded.
	Reject(*Error)
}

// Decoder decodes the datagrams of one goroutine.
type Decoder struct {
	cfg   Config
	table *ie.Table
	stats *Stats

	exporters map[netip.Addr]*exporter
	overflow  *exporter
	pending   pendingRing

	// The datagram being decoded.
	h        Handler
	hdr      Header
	exporter *exporter
	domain   *domain
	data     []byte
	budget   int // records this datagram may still yield
	idHash   [2]uint64
	sequence uint32
	records  uint32 // data records decoded, for the sequence
	unknown  bool   // some could not be counted

	base    schemas.FlowRecord // what all records of the datagram share
	rec     schemas.FlowRecord
	answers []schemas.DNSAnswer
	s       scratch
	option  optionValue
	arena   []byte
}

// New returns a decoder with the given table of elements.
func New(cfg Config, table *ie.Table) *Decoder {
	if cfg.Identify == nil {
		cfg.Identify = func(netip.Addr) Identity { return Identity{} }
	}
	if cfg.DefaultSampling < 1 {
		cfg.DefaultSampling = 1
	}
	if cfg.Stats == nil {
		cfg.Stats = new(Stats)
	}
	d := &Decoder{cfg: cfg, table: table, stats: cfg.Stats, exporters: make(map[netip.Addr]*exporter)}
	d.pending.limit = cfg.Limits.PendingBytes
	d.overflow = newExporter(netip.Addr{}, Identity{})
	return d
}

// Stats returns the counters of the decoder, which it may share.
func (d *Decoder) Stats() *Stats { return d.stats }

// Datagram decodes one datagram. arrival is in ms since the epoch. It never
// fails as a whole: what can be decoded is, the rest is rejected.
func (d *Decoder) Datagram(b []byte, source netip.Addr, arrival int64, h Handler) {
	if source = source.Unmap().WithZone(""); !source.IsValid() {
		source = netip.IPv4Unspecified() // a recording that does not name it
	}
	d.h, d.data = h, b
	d.arena = d.arena[:0]
	d.records, d.unknown = 0, false
	// The smallest record worth having takes a few octets: a template of one
	// octet must not turn a datagram into a hundred times its size.
	d.budget = len(b)/4 + 64
	d.hdr = Header{Source: source, Exporter: source, Arrival: arrival}
	d.stats.Datagrams.Add(1)
	d.stats.Octets.Add(uint64(len(b)))
	if len(b) < 4 {
		d.exporter, d.domain = nil, nil
		d.reject(TooShort, 0, 0)
		return
	}
	d.exporter = d.exporterOf(source, arrival)
	d.exporter.Datagrams++
	d.base = schemas.FlowRecord{
		ExporterAddress: source, ExporterSource: source,
		CollectionTimeMilliseconds: arrival,
	}
	switch version := binary.BigEndian.Uint16(b); {
	case version == 9:
		d.netflow9()
	case version == 10:
		d.ipfix()
	case version == 5:
		d.netflow5()
	case version == 7:
		d.netflow7()
	case version == 1:
		d.netflow1()
	case version == 0 && binary.BigEndian.Uint32(b) == 5:
		d.sflow5()
	default:
		d.reject(UnknownVersion, 0, 0)
	}
}

// Close settles what is pending: gaps that no late datagram filled, data whose
// template never came.
func (d *Decoder) Close() {
	for _, e := range d.exporters {
		for _, dom := range e.domains {
			d.lost(dom, dom.seq.flush())
		}
	}
	for d.pending.bytes > 0 {
		d.evictPending()
	}
}

// begin fixes what the records of the datagram share. The id of a record is a
// function of the exporter, the whole header (sequence and times in it) and
// the record's place.
func (d *Decoder) begin(p schemas.ExportProtocol, domain *domain, header []byte, sequence uint32) {
	d.domain, d.sequence = domain, sequence
	d.hdr.Protocol, d.hdr.Domain = p, domain.id
	b := &d.base
	b.ExportProtocol = p
	b.ObservationDomainId = int64(domain.id)
	b.ExportSequence = int64(sequence)
	b.ExportTimeMilliseconds = d.hdr.ExportTime
	b.ExporterAddress = d.hdr.Exporter
	b.ExporterName, b.Realm = domain.identity.Name, domain.identity.Realm
	var key [128]byte
	k := append(key[:0], byte(p))
	a := d.hdr.Exporter.As16()
	k = append(k, a[:]...)
	k = append(k, header...)
	d.idHash[0] = xxhash.Sum64(k)
	k = append(k, 'w')
	d.idHash[1] = xxhash.Sum64(k)
	d.stats.Protocol[p].Datagrams.Add(1)
	d.h.Begin(&d.hdr)
}

// record starts a record at an offset of the datagram.
func (d *Decoder) record(offset uint64) *schemas.FlowRecord {
	r := &d.rec
	labels, extra := r.MplsLabels[:0], r.Extra[:0]
	*r = d.base
	r.MplsLabels, r.Extra = labels, extra
	setID(&r.FlowId, d.idHash, offset)
	d.s.seen = 0
	return r
}

func setID(id *schemas.FlowId, h [2]uint64, n uint64) {
	binary.BigEndian.PutUint64(id[:8], mix(h[0]+n*0x9E3779B97F4A7C15))
	binary.BigEndian.PutUint64(id[8:], mix(h[1]^n*0xC2B2AE3D27D4EB4F))
}

// mix is the finalizer of splitmix64: a bijection, so places differ.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xBF58476D1CE4E5B9
	x ^= x >> 27
	x *= 0x94D049BB133111EB
	return x ^ x>>31
}

// flow hands on the record.
func (d *Decoder) flow() {
	d.stats.Protocol[d.hdr.Protocol].Flows.Add(1)
	d.exporter.Flows++
	if d.rec.SamplingAssumed {
		d.exporter.SamplingAssumed++
	}
	d.h.Flow(&d.rec)
}

func (d *Decoder) event(k Kind) {
	if k == KindOptions {
		d.stats.Options.Add(1)
	} else {
		d.stats.Counters.Add(1)
	}
	d.h.Event(k, &d.rec)
}

// spend takes one record from the datagram's budget.
func (d *Decoder) spend(offset int) bool {
	if d.budget == 0 {
		d.unknown = true
		d.reject(TooManyRecords, 0, offset)
		d.budget = -1
	}
	if d.budget < 0 {
		return false
	}
	d.budget--
	return true
}
