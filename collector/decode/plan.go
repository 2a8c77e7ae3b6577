package decode

import (
	"net/netip"

	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/schemas"
)

// op is one step of a plan: a field, its width, and what it is for.
type op struct {
	name  string // of the extra
	pen   uint32
	id    uint16
	width uint16 // variable: 65535
	code  code
	typ   ie.Type
	prio  uint8
	keep  bool
	scope bool
}

// scratch is what a record says of itself that only finishing it can use.
type scratch struct {
	seen         seen
	start, end   int64 // ms, absolute; or uptime
	uptimeEnd    int64
	duration     int64 // ms
	initTime     int64
	observed     int64
	sampler      uint64
	space, every uint64
	size, of     uint64
	probability  float64
	application  uint64
	answers      uint64
	answerType   int32
	answerTTL    int64
}

type seen uint32

const (
	sawStart seen = 1 << iota
	sawEnd
	startUptime
	endUptime
	sawSampler
	sawInterval
	sawPacketInterval
	sawPacketSpace
	sawSize
	sawPopulation
	sawProbability
	sawApplication
	sawRcode
	sawResponse
	sawAnswerType
	sawAnswerTTL
	sawDuration
	sawInit
	sawObserved
)

// next takes the op's value off b. ok is false when b ends within it.
func (o *op) next(b []byte) (v, rest []byte, ok bool) {
	n := int(o.width)
	if n == variable {
		if len(b) < 1 {
			return nil, nil, false
		}
		if n = int(b[0]); n == 255 {
			if len(b) < 3 {
				return nil, nil, false
			}
			n = int(b[1])<<8 | int(b[2])
			b = b[3:]
		} else {
			b = b[1:]
		}
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// run decodes one record at the start of b into r and returns what is behind
// it. ok is false when b ends within the record.
func (d *Decoder) run(t *template, b []byte, r *schemas.FlowRecord) (rest []byte, ok bool) {
	s := &d.s
	for i := range t.ops {
		o := &t.ops[i]
		var v []byte
		if w := int(o.width); w != variable && w <= len(b) {
			v, b = b[:w], b[w:]
		} else if v, b, ok = o.next(b); !ok {
			return nil, false
		}
		switch o.code {
		case cSkip:
		case cOption:
			d.noteOption(o, v, &d.option)
			d.extra(o, v, r)
		case cSourceAddr:
			d.address(&r.SourceIPAddress, o, v, r)
		case cDestinationAddr:
			d.address(&r.DestinationIPAddress, o, v, r)
		case cSourcePort:
			r.SourceTransportPort = int32(u16(v))
		case cDestinationPort:
			r.DestinationTransportPort = int32(u16(v))
		case cProtocol:
			r.ProtocolIdentifier = int32(u8(v))
		case cFlags:
			r.TcpControlBits |= int32(u16(v))
		case cFlagsOr:
			r.TcpControlBits |= int32(u8(v))
		case cTos:
			r.IpClassOfService = int32(u8(v))
		case cDSCP:
			r.IpClassOfService = int32(u8(v)) << 2 & 0xFF
		case cIcmp:
			if c := int32(u16(v)); !r.IcmpSeen || r.IcmpTypeCode == 0 {
				r.IcmpTypeCode, r.IcmpSeen = c, true
			}
		case cIcmpType:
			if c := int32(u8(v)); !r.IcmpSeen || c != 0 {
				r.IcmpTypeCode, r.IcmpSeen = r.IcmpTypeCode&0xFF|c<<8, true
			}
		case cIcmpCode:
			if c := int32(u8(v)); !r.IcmpSeen || c != 0 {
				r.IcmpTypeCode, r.IcmpSeen = r.IcmpTypeCode&0xFF00|c, true
			}
		case cOctets:
			d.count(&r.OctetDeltaCount, o, v, r)
		case cPackets:
			d.count(&r.PacketDeltaCount, o, v, r)
		case cReverseOctets:
			d.count(&r.ReverseOctetDeltaCount, o, v, r)
		case cReversePackets:
			d.count(&r.ReversePacketDeltaCount, o, v, r)
		case cReverseFlags:
			r.ReverseTcpControlBits |= int32(u16(v))
		case cReverseFlagsOr:
			r.ReverseTcpControlBits |= int32(u8(v))
		case cDroppedOctets:
			d.count(&r.DroppedOctetDeltaCount, o, v, r)
		case cDroppedPackets:
			d.count(&r.DroppedPacketDeltaCount, o, v, r)
		case cIngress:
			r.IngressInterface = int64(u32(v))
		case cEgress:
			r.EgressInterface = int64(u32(v))
		case cDirection:
			r.FlowDirection, r.FlowDirectionSeen = int32(u8(v)), true
		case cSourceAS:
			r.BgpSourceAsNumber = int64(u32(v))
		case cDestinationAS:
			r.BgpDestinationAsNumber = int64(u32(v))
		case cNextHop:
			d.address(&r.IpNextHopAddress, o, v, r)
		case cBGPNextHop:
			d.address(&r.BgpNextHopAddress, o, v, r)
		case cSourcePrefix:
			r.SourcePrefixLength = max(r.SourcePrefixLength, int32(u8(v)))
		case cDestinationPrefix:
			r.DestinationPrefixLength = max(r.DestinationPrefixLength, int32(u8(v)))
		case cVlan:
			r.VlanId = int32(u16(v) & 0xFFF)
		case cPostVlan:
			r.PostVlanId = int32(u16(v) & 0xFFF)
		case cSourceMAC:
			d.mac(&r.SourceMacAddress, o, v, r)
		case cDestinationMAC:
			d.mac(&r.DestinationMacAddress, o, v, r)
		case cMPLS:
			// Three octets: label, EXP, bottom of stack; some send the TTL too.
			if len(v) == 3 || len(v) == 4 {
				if l := int64(v[0])<<12 | int64(v[1])<<4 | int64(v[2])>>4; l != 0 || v[2] != 0 {
					r.MplsLabels = append(r.MplsLabels, l)
				}
			} else {
				d.extra(o, v, r)
			}
		case cIngressVRF:
			r.IngressVRFID = int64(u32(v))
		case cEgressVRF:
			r.EgressVRFID = int64(u32(v))
		case cNATSource:
			d.address(&r.PostNATSourceIPAddress, o, v, r)
		case cNATDestination:
			d.address(&r.PostNATDestinationIPAddress, o, v, r)
		case cNATSourcePort:
			r.PostNAPTSourceTransportPort = int32(u16(v))
		case cNATDestinationPort:
			r.PostNAPTDestinationTransportPort = int32(u16(v))
		case cNATEvent:
			r.NatEvent = int32(u8(v))
		case cFirewallEvent:
			r.FirewallEvent = int32(u8(v))
		case cEndReason:
			r.FlowEndReason = int32(u8(v))
		case cFlowLabel:
			r.FlowLabelIPv6 = int64(u32(v))
		case cMinTTL:
			r.MinimumTTL = int32(u8(v))
		case cMaxTTL:
			r.MaximumTTL = int32(u8(v))
		case cTTL:
			if ttl := int32(u8(v)); r.MinimumTTL == 0 && r.MaximumTTL == 0 {
				r.MinimumTTL, r.MaximumTTL = ttl, ttl
			}
		case cApplicationID:
			d.applicationID(o, v, r)
		case cApplicationName:
			r.ApplicationName = d.text(v)
		case cUser:
			r.UserName = d.text(v)
		case cExporter:
			var a netip.Addr
			if d.address(&a, o, v, r); a.IsValid() && !a.IsUnspecified() {
				r.ExporterAddress = a
			}

		case cStartUptime:
			s.start, s.seen = int64(u32(v)), s.seen|startUptime
		case cEndUptime:
			s.end, s.seen = int64(u32(v)), s.seen|endUptime
		case cStartSeconds:
			d.started(int64(u(v)) * 1000)
		case cEndSeconds:
			d.ended(int64(u(v)) * 1000)
		case cStartMilliseconds:
			d.started(int64(u(v)))
		case cEndMilliseconds:
			d.ended(int64(u(v)))
		case cStartMicroseconds, cStartNanoseconds:
			d.started(d.ntp(v, o.typ) / 1000000)
		case cEndMicroseconds, cEndNanoseconds:
			d.ended(d.ntp(v, o.typ) / 1000000)
		case cStartDelta:
			d.started(d.base.ExportTimeMilliseconds - int64(u32(v))/1000)
		case cEndDelta:
			d.ended(d.base.ExportTimeMilliseconds - int64(u32(v))/1000)
		case cDurationMilliseconds:
			s.duration, s.seen = int64(u32(v)), s.seen|sawDuration
		case cDurationMicroseconds:
			s.duration, s.seen = int64(u32(v))/1000, s.seen|sawDuration
		case cInitTime:
			s.initTime, s.seen = int64(u(v)), s.seen|sawInit
		case cObservedSeconds:
			d.observedAt(int64(u(v)) * 1000)
		case cObservedMilliseconds:
			d.observedAt(int64(u(v)))
		case cObservedMicroseconds, cObservedNanoseconds:
			d.observedAt(d.ntp(v, o.typ) / 1000000)

		case cSamplerID:
			s.sampler, s.seen = u(v), s.seen|sawSampler
		case cInterval:
			r.SamplingInterval, s.seen = int64(u32(v)), s.seen|sawInterval
		case cAlgorithm:
			r.SamplingAlgorithm = int32(u8(v))
		case cSelectorAlgorithm:
			r.SamplingAlgorithm = algorithmOf(u(v))
		case cPacketInterval:
			s.every, s.seen = u(v), s.seen|sawPacketInterval
		case cPacketSpace:
			s.space, s.seen = u(v), s.seen|sawPacketSpace
		case cSampleSize:
			s.size, s.seen = u(v), s.seen|sawSize
		case cPopulation:
			s.of, s.seen = u(v), s.seen|sawPopulation
		case cProbability:
			s.probability, s.seen = float(v), s.seen|sawProbability

		default:
			if o.code >= cDNSName {
				d.layer7(o, v, r)
			} else {
				d.extra(o, v, r)
				continue
			}
		}
		if o.keep {
			d.extra(o, v, r)
		}
	}
	return b, true
}

func (d *Decoder) started(ms int64) {
	if ms > 0 {
		d.s.start, d.s.seen = ms, d.s.seen|sawStart
	}
}

func (d *Decoder) ended(ms int64) {
	if ms > 0 {
		d.s.end, d.s.seen = ms, d.s.seen|sawEnd
	}
}

func (d *Decoder) observedAt(ms int64) {
	if ms > 0 {
		d.s.observed, d.s.seen = ms, d.s.seen|sawObserved
	}
}

// address sets a from 4 or 16 octets. Exporters with one template for both
// families send the other one's address as zeros: it gives way.
func (d *Decoder) address(a *netip.Addr, o *op, v []byte, r *schemas.FlowRecord) {
	var n netip.Addr
	switch len(v) {
	case 4:
		n = netip.AddrFrom4([4]byte(v))
	case 16:
		n = netip.AddrFrom16([16]byte(v))
	default:
		d.extra(o, v, r)
		return
	}
	switch {
	case !a.IsValid() || a.IsUnspecified():
		*a = n
	case !n.IsUnspecified() && n != *a:
		d.extra(o, v, r)
	}
}

func (d *Decoder) mac(m *schemas.MAC, o *op, v []byte, r *schemas.FlowRecord) {
	if len(v) == 6 {
		*m = schemas.MAC(v)
	} else {
		d.extra(o, v, r)
	}
}

// count sets a counter. What does not fit a long was no counter.
func (d *Decoder) count(c *int64, o *op, v []byte, r *schemas.FlowRecord) {
	if n := u(v); n < 1<<63 && len(v) <= 8 {
		*c = int64(n)
	} else {
		d.extra(o, v, r)
	}
}
