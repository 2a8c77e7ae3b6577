package enricher

import (
	"github.com/weir-flow/weir/enricher/service"
	"github.com/weir-flow/weir/schemas"
)

// primaries are the parts that count, by direction; nil where a direction was
// not seen. A biflow stands in its own direction.
type primaries [2]*part

// decideRoles tells which direction comes from the initiator, and by what.
// The answer depends on what the records say, not on which came first.
func decideRoles(k *conversationKey, p primaries, services *service.Table) (direction, schemas.RoleConfidence) {
	for d, one := range p {
		if one == nil {
			continue
		}
		switch one.biflowDirection {
		case 1:
			return direction(d), schemas.RoleConfidenceEXPORTED
		case 2:
			return direction(d).other(), schemas.RoleConfidenceEXPORTED
		}
	}
	switch k.protocol {
	case protoTCP:
		if d, ok := rolesByFlags(p); ok {
			return d, schemas.RoleConfidenceFLAGS
		}
	case protoICMP, protoICMPv6:
		// A type that comes in pairs tells who asks as surely as a flag does.
		if k.loPort != icmpUnknown {
			return direction(k.hiPort), schemas.RoleConfidenceFLAGS
		}
	}
	// An exporter that sends biflows orients them by the first packet (RFC
	// 5103 section 3).
	for d, one := range p {
		if one != nil && one.both && p[1-d] == nil {
			return direction(d), schemas.RoleConfidenceEXPORTED
		}
	}
	lone := p[fromLo] == nil || p[fromHi] == nil
	if !lone {
		if d, ok := rolesByTime(p); ok {
			return d, schemas.RoleConfidenceTIME
		}
	}
	if d, ok := rolesByPort(k, services); ok {
		return d, schemas.RoleConfidencePORT
	}
	// Nothing tells. A lone record is taken as it came; of two, the lower
	// port is taken for the server's, and the lower address as the last resort.
	switch {
	case lone && p[fromLo] != nil:
		return fromLo, schemas.RoleConfidenceGUESS
	case lone:
		return fromHi, schemas.RoleConfidenceGUESS
	case k.loPort < k.hiPort:
		return fromHi, schemas.RoleConfidenceGUESS
	}
	return fromLo, schemas.RoleConfidenceGUESS
}

// rolesByFlags looks for a SYN without ACK (it came from the initiator) or a
// lone SYN+ACK (from the responder).
func rolesByFlags(p primaries) (direction, bool) {
	var flags [2]uint16
	var packets [2]int64
	for d, one := range p {
		if one == nil {
			continue
		}
		flags[d] |= one.flags
		packets[d] += one.packets
		if one.both {
			flags[1-d] |= one.reverseFlags
		}
	}
	opens := func(d direction) bool { return flags[d]&(flagSYN|flagACK) == flagSYN }
	if lo, hi := opens(fromLo), opens(fromHi); lo != hi {
		if lo {
			return fromLo, true
		}
		return fromHi, true
	}
	// One packet with both flags can only be the answer to a SYN.
	answers := func(d direction) bool {
		return packets[d] == 1 && flags[d]&(flagSYN|flagACK) == flagSYN|flagACK
	}
	if lo, hi := answers(fromLo), answers(fromHi); lo != hi {
		if lo {
			return fromHi, true
		}
		return fromLo, true
	}
	return 0, false
}

// rolesByTime: who began earlier. Sampling may have missed the first packets,
// and the clocks of two exporters differ; then it says nothing.
func rolesByTime(p primaries) (direction, bool) {
	lo, hi := p[fromLo], p[fromHi]
	if lo.rate() > 1 || hi.rate() > 1 || lo.start == hi.start {
		return 0, false
	}
	if lo.exporter != hi.exporter {
		if gap := lo.start - hi.start; gap >= -clockSlack && gap <= clockSlack {
			return 0, false
		}
	}
	if lo.start < hi.start {
		return fromLo, true
	}
	return fromHi, true
}

// rolesByPort: who listens on the port of a service, or a privileged one.
func rolesByPort(k *conversationKey, services *service.Table) (direction, bool) {
	switch k.protocol {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
	default:
		return 0, false
	}
	// A port of 0 is no port: fragments have none.
	lo := k.loPort != 0 && services.Known(k.protocol, k.loPort)
	hi := k.hiPort != 0 && services.Known(k.protocol, k.hiPort)
	if lo == hi {
		lo, hi = k.loPort != 0 && k.loPort < 1024, k.hiPort != 0 && k.hiPort < 1024
	}
	switch {
	case lo == hi:
		return 0, false
	case lo:
		return fromHi, true
	}
	return fromLo, true
}

// exchange turns a record round: what belongs to an end changes sides, with
// the interfaces behind which the ends lie, and the counters. What belongs to
// the packets as they passed (next hops, ToS, TTL, labels, the metering
// direction, what was dropped) stays as it was sent.
func exchange(r *schemas.FlowRecord) {
	r.SourceIPAddress, r.DestinationIPAddress = r.DestinationIPAddress, r.SourceIPAddress
	if r.ProtocolIdentifier != protoICMP && r.ProtocolIdentifier != protoICMPv6 {
		// (NetFlow's habit of ICMP type and code in a port is no end's.)
		r.SourceTransportPort, r.DestinationTransportPort = r.DestinationTransportPort, r.SourceTransportPort
	}
	r.SourcePrefixLength, r.DestinationPrefixLength = r.DestinationPrefixLength, r.SourcePrefixLength
	r.SourceMacAddress, r.DestinationMacAddress = r.DestinationMacAddress, r.SourceMacAddress
	r.BgpSourceAsNumber, r.BgpDestinationAsNumber = r.BgpDestinationAsNumber, r.BgpSourceAsNumber
	r.PostNATSourceIPAddress, r.PostNATDestinationIPAddress = r.PostNATDestinationIPAddress, r.PostNATSourceIPAddress
	r.PostNAPTSourceTransportPort, r.PostNAPTDestinationTransportPort = r.PostNAPTDestinationTransportPort, r.PostNAPTSourceTransportPort
	r.IngressInterface, r.EgressInterface = r.EgressInterface, r.IngressInterface
	r.IngressInterfaceName, r.EgressInterfaceName = r.EgressInterfaceName, r.IngressInterfaceName
	r.IngressVRFID, r.EgressVRFID = r.EgressVRFID, r.IngressVRFID
	r.VlanId, r.PostVlanId = r.PostVlanId, r.VlanId
	r.OctetDeltaCount, r.ReverseOctetDeltaCount = r.ReverseOctetDeltaCount, r.OctetDeltaCount
	r.PacketDeltaCount, r.ReversePacketDeltaCount = r.ReversePacketDeltaCount, r.PacketDeltaCount
	r.TcpControlBits, r.ReverseTcpControlBits = r.ReverseTcpControlBits, r.TcpControlBits
}
