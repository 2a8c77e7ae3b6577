package enricher

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-flow/weir/enricher/communityid"
	"github.com/weir-flow/weir/schemas"
)

// IP protocols whose flows need a treatment of their own (IANA).
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	protoICMPv6  = 58
	protoSCTP    = 132
	protoUDPLite = 136
)

// TCP flags (RFC 9293).
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// conversationKey names a conversation, the same for both directions. Ends
// are in canonical order. For ICMP the ports are the pair of types and which
// end asks, so that pings both ways at once are two conversations.
type conversationKey struct {
	lo, hi         [16]byte
	loPort, hiPort uint16
	protocol       uint8
	realm          string
}

// compare orders keys; the order of eviction and of state on disk rests on it.
func (k *conversationKey) compare(o *conversationKey) int {
	if c := bytes.Compare(k.lo[:], o.lo[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(k.hi[:], o.hi[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(k.loPort, o.loPort), cmp.Compare(k.hiPort, o.hiPort),
		cmp.Compare(k.protocol, o.protocol), strings.Compare(k.realm, o.realm))
}

// A direction says where a record's packets came from.
type direction uint8

const (
	fromLo direction = iota
	fromHi
)

func (d direction) other() direction { return 1 - d }

const (
	icmpOneWay  = 0x8000 // in loPort: the type has no counterpart
	icmpUnknown = 0xffff // the exporter did not send the type
)

// keyOf returns the conversation of a record and the record's direction in
// it. The realm aliases the record's.
func keyOf(r *schemas.FlowRecord) (k conversationKey, d direction) {
	k.protocol, k.realm = uint8(r.ProtocolIdentifier), r.Realm
	src, dst := r.SourceIPAddress.As16(), r.DestinationIPAddress.As16()
	var srcPort, dstPort uint16
	switch k.protocol {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		srcPort, dstPort = uint16(r.SourceTransportPort), uint16(r.DestinationTransportPort)
	}
	k.lo, k.hi, k.loPort, k.hiPort = src, dst, srcPort, dstPort
	if c := bytes.Compare(src[:], dst[:]); c > 0 || c == 0 && srcPort > dstPort {
		k.lo, k.hi, k.loPort, k.hiPort = dst, src, dstPort, srcPort
		d = fromHi
	}
	if k.protocol == protoICMP || k.protocol == protoICMPv6 {
		k.loPort, k.hiPort = icmpPorts(r, d)
	}
	return k, d
}

// icmpType returns the type and code of a record.
func icmpType(r *schemas.FlowRecord) (typ, code uint16, ok bool) {
	switch {
	case r.IcmpSeen:
		return uint16(r.IcmpTypeCode) >> 8, uint16(r.IcmpTypeCode) & 0xff, true
	case r.SourceTransportPort == 0 && r.DestinationTransportPort != 0:
		// NetFlow's habit: type and code in place of the destination port.
		return uint16(r.DestinationTransportPort) >> 8, uint16(r.DestinationTransportPort) & 0xff, true
	}
	return 0, 0, false
}

func icmpPorts(r *schemas.FlowRecord, d direction) (pair, asker uint16) {
	typ, code, ok := icmpType(r)
	if !ok {
		return icmpUnknown, 0
	}
	answer, paired := communityid.Counterpart(uint8(r.ProtocolIdentifier), typ, code)
	if !paired {
		return icmpOneWay | typ, uint16(d)
	}
	if !icmpAsks(uint8(r.ProtocolIdentifier), typ) {
		d = d.other()
	}
	return min(typ, answer), uint16(d)
}

// icmpAsks reports whether a type that comes in pairs is the question.
func icmpAsks(protocol uint8, typ uint16) bool {
	if protocol == protoICMP {
		switch typ {
		case 8, 10, 13, 15, 17: // echo, router solicitation, timestamp, information, mask
			return true
		}
		return false
	}
	switch typ {
	case 128, 130, 133, 135, 139, 144:
		return true
	}
	return false
}

// id returns the id of a conversation that was first seen to start at a time
// in ms since the epoch. Its first half is the same whenever these ends talk,
// its second tells their conversations apart.
func (k *conversationKey) id(start int64) schemas.FlowId {
	lo := netip.AddrPortFrom(netip.AddrFrom16(k.lo), k.loPort)
	hi := netip.AddrPortFrom(netip.AddrFrom16(k.hi), k.hiPort)
	id := schemas.ConversationID(k.realm, int32(k.protocol), lo, hi)
	if k.protocol == protoICMP || k.protocol == protoICMPv6 {
		start ^= int64(k.loPort)<<48 | int64(k.hiPort)<<47
	}
	// A product by an odd number is a bijection: starts that differ give ids
	// that differ.
	second := binary.BigEndian.Uint64(id[8:]) ^ uint64(start)*0x9e3779b97f4a7c15
	binary.BigEndian.PutUint64(id[8:], second)
	return id
}

// conversation is what is remembered of one: who began it, how far it came,
// and the records of it that are being held.
type conversation struct {
	key conversationKey
	// lastSeen is the highest stream time of its records, lastEnd the latest
	// flow end; both in ms since the epoch.
	lastSeen, lastEnd int64
	// id, initiator and confidence are fixed when its first record goes out:
	// known.
	known      bool
	id         schemas.FlowId
	initiator  direction
	confidence schemas.RoleConfidence
	// What was seen of each direction so far, in what has gone out.
	flags   [2]uint16
	seen    [2]bool
	sampled bool
	// owner is, by direction, whose records have counted so far: what others
	// saw of that time is a duplicate, however late it comes.
	owner [2]coverage
	// parts are the records that are held, until deadline (stream time).
	parts    []part
	deadline int64

	position [2]int // in the two queues of its group
}

// coverage is the flow time that one exporter has accounted for; ms since the
// epoch. Zero: none.
type coverage struct {
	source     uint64
	start, end int64
}

// source tells exporters and their domains apart.
func (p *part) source() uint64 {
	var b [24]byte
	a := p.exporter.As16()
	copy(b[:], a[:])
	binary.BigEndian.PutUint64(b[16:], uint64(p.domain))
	return xxhash.Sum64(b[:])
}

// own notes that a part counts.
func (k *conversation) own(p *part) {
	source := p.source()
	note := func(d direction) {
		o := &k.owner[d]
		if o.source != source || o.end == 0 {
			*o = coverage{source: source, start: p.start}
		}
		o.start, o.end = min(o.start, p.start), max(o.end, p.end)
	}
	note(p.dir)
	if p.both {
		note(p.dir.other())
	}
}

// late reports a duplicate of what has gone out before.
func (k *conversation) late(p *part) bool {
	if !k.known {
		return false
	}
	source := p.source()
	owned := func(d direction) bool {
		o := k.owner[d]
		return o.end != 0 && o.source != source && overlap(o.start, o.end, p)
	}
	return owned(p.dir) && (!p.both || owned(p.dir.other()))
}

// overlap reports that a part fell into a time, as far as clocks tell.
func overlap(start, end int64, p *part) bool {
	return p.start <= end+clockSlack && start <= p.end+clockSlack
}

// forget makes room for another conversation between the same ends.
func (k *conversation) forget() {
	*k = conversation{key: k.key, lastSeen: k.lastSeen, position: k.position, parts: k.parts, deadline: k.deadline}
}

// finished reports that TCP took leave: what follows a SYN is another one.
func (k *conversation) finished() bool {
	return k.key.protocol == protoTCP && (k.flags[0]|k.flags[1])&(flagFIN|flagRST) != 0
}

// part is a held record: its bytes, and what decides about it.
type part struct {
	raw       []byte
	dir       direction
	duplicate bool
	delayed   bool
	// both: a biflow (RFC 5103), which has the two directions in itself.
	both bool
	// biflowDirection as exported (IE 239): 1 the source began, 2 it answered.
	biflowDirection int64

	flowID          schemas.FlowId
	exporter        netip.Addr
	domain          int64
	start, end      int64
	ingress, egress int64
	octets, packets int64
	sampling        int64
	flags           uint16
	reverseFlags    uint16
}

func (p *part) set(r *schemas.FlowRecord, d direction, delayed bool) {
	*p = part{
		raw: p.raw, dir: d, delayed: delayed,
		both:     r.ReverseOctetDeltaCount != 0 || r.ReversePacketDeltaCount != 0,
		flowID:   r.FlowId,
		exporter: r.ExporterAddress, domain: r.ObservationDomainId,
		start: r.FlowStartMilliseconds, end: r.FlowEndMilliseconds,
		ingress: r.IngressInterface, egress: r.EgressInterface,
		octets: r.OctetDeltaCount, packets: r.PacketDeltaCount,
		sampling: r.SamplingInterval,
		flags:    uint16(r.TcpControlBits), reverseFlags: uint16(r.ReverseTcpControlBits),
	}
	if p.start == 0 {
		p.start = r.StreamTime
	}
	p.end = max(p.end, p.start)
	for i := range r.Extra {
		if r.Extra[i].Name == "biflowDirection" && r.Extra[i].Value.Kind == schemas.ExtraLong {
			p.biflowDirection = r.Extra[i].Value.Long
		}
	}
}

// rate is one in how many packets was sampled; an exporter that does not say
// is taken to meter all.
func (p *part) rate() int64 { return max(p.sampling, 1) }

// relation of a record to one of the same direction that is held.
type relation uint8

const (
	slice     relation = iota // a later part of the flow
	duplicate                 // the same packets, metered again
)

// clockSlack is how far the clocks of two exporters may lie apart, in ms, for
// the same packets to be recognised.
const clockSlack = 1000

func relate(held, r *part) relation {
	switch {
	case held.flowID == r.flowID:
		// The same datagram by way of two collectors.
		return duplicate
	case held.exporter == r.exporter && held.domain == r.domain:
		// Metered at ingress and again at egress of one device.
		if held.start == r.start && held.end == r.end && held.octets == r.octets && held.packets == r.packets &&
			held.both == r.both {
			return duplicate
		}
	case overlap(held.start, held.end, r):
		return duplicate
	}
	return slice
}
