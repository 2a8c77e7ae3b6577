package generator

import (
	"net/netip"

	"github.com/weir-flow/weir/internal/capture"
)

// protocol is an export format.
type protocol uint8

const (
	netflow5 protocol = 5
	netflow9 protocol = 9
	ipfix    protocol = 10
)

const (
	// ringSeconds is how far ahead a flow's next export may lie: actors start
	// conversations at most startAhead after their tick, and no timeout is
	// above a minute.
	ringSeconds = 128
	startAhead  = 40_000 // ms
	// maxPayload keeps datagrams below the usual MTU.
	maxPayload = 1400
	// refresh is the seconds between templates and options.
	refresh = 60
)

// exporterSpec is what is configured on a device.
type exporterSpec struct {
	name     string
	source   netip.AddrPort
	protocol protocol
	domain   uint32 // source id or observation domain
	active   int64  // timeouts, ms
	inactive int64
	sampling uint64 // one packet in so many; 1 is all
	biflow   bool   // both directions in one record, RFC 5103
	metadata bool   // layer-7 elements
	queries  bool   // DNS elements, on biflows
	hop      int64  // ms that packets pass it later than where they start
	slot     int64  // µs after the second at which it sends
	uptime   int64  // ms since boot at the start of the run; -1 for random
}

// direction of a flow within its conversation.
type direction uint8

const (
	forward direction = iota
	reverse
	both
)

// flow is an entry of an exporter's flow cache.
type flow struct {
	conversation
	direction direction
	sliceFrom int64 // what is not exported yet begins here
}

// record is one flow record as the encoders take it.
type record struct {
	start, end       int64 // ms since the epoch
	src, dst         address
	srcAS, dstAS     uint32
	srcZone, dstZone zone
	srcPort, dstPort uint16
	protocol, tos    uint8
	counters
	reverse   counters // of a biflow
	endReason uint8    // flowEndReason, IE 136
	app       uint16   // port of the service, 0 when it has no name
	meta      *metadata
}

// flowEndReason values.
const (
	idleTimeout   = 1
	activeTimeout = 2
	endDetected   = 3
	forcedEnd     = 4
)

// exporter is one device: a flow cache and an encoder.
type exporter struct {
	exporterSpec
	world     *world
	collector netip.AddrPort
	sink      Sink
	random    random
	boot      int64 // ms since the epoch
	ring      [ringSeconds][]flow
	pending   int
	stats     ExporterStats

	now       int64 // second being exported
	templates []template
	byShape   [2][2][metaKinds]*template // IPv6, biflow, kind of metadata
	message   message
	sequence  uint32
}

// observe puts a conversation that passes the exporter into its cache.
func (e *exporter) observe(c *conversation) {
	if !c.client.is4() && e.protocol == netflow5 {
		return // v5 knows IPv4 alone
	}
	if e.biflow && c.down.packets > 0 {
		e.enter(c, both, c.start+e.hop)
		return
	}
	e.enter(c, forward, c.start+e.hop)
	if c.down.packets > 0 {
		e.enter(c, reverse, c.start+e.hop+min(c.rtt, c.length))
	}
}

func (e *exporter) enter(c *conversation, d direction, from int64) {
	f := flow{conversation: *c, direction: d, sliceFrom: from}
	e.schedule(&f)
}

// schedule files a flow under the second of its next export.
func (e *exporter) schedule(f *flow) {
	end := f.start + f.length + e.hop
	at := end
	switch {
	case end-f.sliceFrom > e.active:
		at = f.sliceFrom + e.active
	case !f.closed:
		at = end + e.inactive
	}
	slot := at/1000 + 1
	e.ring[slot%ringSeconds] = append(e.ring[slot%ringSeconds], *f)
	e.pending++
}

// tick exports what is due at a second.
func (e *exporter) tick(second int64, first bool) error {
	e.now = second
	e.message.sent = 0
	if first || second%refresh == 0 {
		if err := e.sendTemplates(); err != nil {
			return err
		}
	}
	slot := &e.ring[second%ringSeconds]
	due := *slot
	*slot = due[:0] // flows that go on enter other slots, never this one
	e.pending -= len(due)
	for i := range due {
		if err := e.export(&due[i], 0); err != nil {
			return err
		}
	}
	return e.flush()
}

// finish exports the whole cache, as a device does that shuts down in order.
func (e *exporter) finish(second int64) error {
	for i := range int64(ringSeconds) {
		slot := &e.ring[(second+i)%ringSeconds]
		for j := range *slot {
			if err := e.export(&(*slot)[j], second*1000); err != nil {
				return err
			}
		}
		*slot = nil
	}
	e.pending = 0
	return e.flush()
}

// export turns the due part of a flow into a record. With force (a time), all
// that lies before it is due, and nothing remains.
func (e *exporter) export(f *flow, force int64) error {
	end := f.start + f.length + e.hop
	to, reason := end, uint8(idleTimeout)
	if f.closed {
		reason = endDetected
	}
	if end-f.sliceFrom > e.active {
		to, reason = f.sliceFrom+e.active, activeTimeout
	}
	if force != 0 {
		to, reason = min(to, force), forcedEnd
	}
	var r record
	e.fill(&r, f, to, reason)
	if r.packets > 0 || r.reverse.packets > 0 {
		if err := e.encode(&r); err != nil {
			return err
		}
	}
	if to < end && force == 0 {
		f.sliceFrom = to
		e.schedule(f)
	}
	return nil
}

// fill writes the record of a flow from its slice's beginning until to.
func (e *exporter) fill(r *record, f *flow, to int64, reason uint8) {
	*r = record{
		start: f.sliceFrom, end: to, endReason: reason,
		src: f.client, dst: f.server, srcAS: f.clientAS, dstAS: f.serverAS,
		srcZone: f.clientZone, dstZone: f.serverZone,
		srcPort: f.clientPort, dstPort: f.serverPort,
		protocol: f.protocol, tos: f.tos, app: service(f.serverPort),
		meta: &f.meta,
	}
	begin := f.start + e.hop
	if f.direction == reverse {
		begin += min(f.rtt, f.length)
	}
	length := f.start + f.length + e.hop - begin
	part := slice{f.sliceFrom - begin, to - begin, length}
	switch f.direction {
	case forward:
		r.counters = part.of(f.up)
	case reverse:
		r.counters = part.of(f.down)
		r.src, r.dst = r.dst, r.src
		r.srcAS, r.dstAS = r.dstAS, r.srcAS
		r.srcZone, r.dstZone = r.dstZone, r.srcZone
		r.srcPort, r.dstPort = r.dstPort, r.srcPort
		r.meta = &none
	case both:
		r.counters, r.reverse = part.of(f.up), part.of(f.down)
	}
	if e.sampling > 1 {
		e.sample(r)
	}
}

var none metadata

// slice is the part of a direction's life that a record covers, ms.
type slice struct{ from, to, length int64 }

// of returns the slice's share; the shares of all slices add up to the whole.
func (s slice) of(c counters) counters {
	if s.from == 0 && s.to == s.length || c.packets == 0 {
		return c
	}
	// Octets go with their packets, so that sizes stay what they are.
	packets := func(at int64) uint64 { return c.packets * uint64(min(at, s.length)) / uint64(s.length) }
	octets := func(packets uint64) uint64 { return c.octets * packets / c.packets }
	before, after := packets(s.from), packets(s.to)
	out := counters{packets: after - before, octets: octets(after) - octets(before), flags: c.flags}
	if s.from > 0 {
		out.flags &^= syn
	}
	if s.to < s.length {
		out.flags &^= fin | rst
	}
	return out
}

// sample keeps one packet in so many: of most flows nothing remains.
func (e *exporter) sample(r *record) {
	n := r.packets
	kept := n / e.sampling
	if e.random.Uint64N(e.sampling) < n%e.sampling {
		kept++
	}
	if kept == 0 {
		r.counters = counters{}
		return
	}
	r.octets = r.octets / n * kept
	r.packets = kept
	// The first packet, with its SYN, is among the kept ones as often as any.
	if e.random.Uint64N(n) >= kept {
		r.flags &^= syn
	}
	if e.random.Uint64N(n) >= kept {
		r.flags &^= fin | rst
	}
	span := r.end - r.start
	r.start += e.random.Int64N(span/2 + 1)
	if kept == 1 {
		r.end = r.start
	} else {
		r.end -= e.random.Int64N(span/4 + 1)
	}
}

// encode hands a record to the export format and counts it.
func (e *exporter) encode(r *record) error {
	e.stats.Records++
	e.stats.Packets += r.packets + r.reverse.packets
	e.stats.Octets += r.octets + r.reverse.octets
	if e.protocol == netflow5 {
		return e.encode5(r)
	}
	return e.encodeTemplated(r)
}

// uptimeAt is sysUpTime, which wraps after 49.7 days.
func (e *exporter) uptimeAt(ms int64) uint32 { return uint32(ms - e.boot) }

// send passes the finished message on.
func (e *exporter) send() error {
	at := e.now*1_000_000 + e.slot + min(int64(e.message.sent)*10, slotWidth-1)
	e.message.sent++
	e.stats.Datagrams++
	return e.sink.Emit(capture.Datagram{
		Time: microseconds(at), Source: e.source, Destination: e.collector, Payload: e.message.buf,
	})
}

// flush sends a message that holds records, however few.
func (e *exporter) flush() error {
	if e.message.count == 0 {
		return nil
	}
	if e.protocol == netflow5 {
		return e.finish5()
	}
	return e.finishTemplated()
}

// ifIndex of the interface towards a zone; the names are in the options.
func ifIndex(z zone) uint32 { return uint32(z) + 1 }

var zoneNames = [zones]string{"internet", "hq-east", "hq-west", "guest", "data-centre", "dmz", "branch-a", "branch-b"}

func vlan(z zone) uint16 { return 100 + 10*uint16(z) }

// nextHop is the neighbour on the interface towards a zone.
func nextHop(z zone) address { return v4Parts(10, 255, 1, byte(z)+1) }

// services that have an application name, by port.
var services = []struct {
	port uint16
	name string
}{
	{22, "ssh"}, {25, "smtp"}, {53, "dns"}, {80, "http"}, {88, "kerberos"}, {123, "ntp"}, {161, "snmp"},
	{389, "ldap"}, {443, "https"}, {445, "cifs"}, {554, "rtsp"}, {587, "submission"}, {631, "ipp"},
	{993, "imaps"}, {1433, "ms-sql"}, {3389, "rdp"}, {3478, "stun"}, {5432, "postgresql"}, {9100, "jetdirect"},
}

func service(port uint16) uint16 {
	for i := range services {
		if services[i].port == port {
			return port
		}
	}
	return 0
}
