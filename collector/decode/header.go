package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/weir-flow/weir/schemas"
)

// Header protocols of sFlow's raw packet header record.
const (
	headerEthernet = 1
	headerIPv4     = 11
	headerIPv6     = 12
	headerMPLS     = 13
)

// header parses a sampled packet header as far as it goes; it may end
// anywhere.
func (d *Decoder) header(protocol uint32, b []byte, r *schemas.FlowRecord) {
	switch protocol {
	case headerEthernet:
		d.ethernet(b, r)
	case headerIPv4:
		ipv4(b, r)
	case headerIPv6:
		ipv6(b, r)
	case headerMPLS:
		mpls(b, r)
	default:
		d.long(r, "sflow.headerProtocol", int64(protocol))
		r.Extra = append(r.Extra, schemas.Extra{Name: "sflow.header", Value: schemas.ExtraValue{Kind: schemas.ExtraBytes, Bytes: b}})
	}
}

func (d *Decoder) ethernet(b []byte, r *schemas.FlowRecord) {
	if len(b) < 14 {
		return
	}
	r.DestinationMacAddress, r.SourceMacAddress = schemas.MAC(b[0:6]), schemas.MAC(b[6:12])
	t := binary.BigEndian.Uint16(b[12:])
	b = b[14:]
	for tag := 0; t == 0x8100 || t == 0x88A8 || t == 0x9100; tag++ {
		if len(b) < 4 {
			return
		}
		vlan := int32(binary.BigEndian.Uint16(b) & 0xFFF)
		switch tag {
		case 0:
			r.VlanId = vlan
		case 1:
			d.long(r, "dot1qCustomerVlanId", int64(vlan))
		}
		t = binary.BigEndian.Uint16(b[2:])
		b = b[4:]
	}
	switch t {
	case 0x0800:
		ipv4(b, r)
	case 0x86DD:
		ipv6(b, r)
	case 0x8847, 0x8848:
		mpls(b, r)
	default:
		d.long(r, "ethernetType", int64(t))
	}
}

func mpls(b []byte, r *schemas.FlowRecord) {
	for len(b) >= 4 {
		l := binary.BigEndian.Uint32(b)
		r.MplsLabels = append(r.MplsLabels, int64(l>>12))
		b = b[4:]
		if l&0x100 != 0 { // bottom of the stack: the payload tells itself
			if len(b) > 0 && b[0]>>4 == 4 {
				ipv4(b, r)
			} else if len(b) > 0 && b[0]>>4 == 6 {
				ipv6(b, r)
			}
			return
		}
	}
}

func ipv4(b []byte, r *schemas.FlowRecord) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return
	}
	n := int(b[0]&0xF) * 4
	r.IpClassOfService = int32(b[1])
	r.MinimumTTL, r.MaximumTTL = int32(b[8]), int32(b[8])
	r.ProtocolIdentifier = int32(b[9])
	r.SourceIPAddress = netip.AddrFrom4([4]byte(b[12:]))
	r.DestinationIPAddress = netip.AddrFrom4([4]byte(b[16:]))
	if n < 20 || n > len(b) || binary.BigEndian.Uint16(b[6:])&0x1FFF != 0 {
		return // a later fragment has no ports
	}
	transport(b[n:], r)
}

func ipv6(b []byte, r *schemas.FlowRecord) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return
	}
	r.IpClassOfService = int32(binary.BigEndian.Uint16(b) >> 4 & 0xFF)
	r.FlowLabelIPv6 = int64(binary.BigEndian.Uint32(b) & 0xFFFFF)
	r.MinimumTTL, r.MaximumTTL = int32(b[7]), int32(b[7])
	r.SourceIPAddress = netip.AddrFrom16([16]byte(b[8:]))
	r.DestinationIPAddress = netip.AddrFrom16([16]byte(b[24:]))
	next := b[6]
	b = b[40:]
	for {
		r.ProtocolIdentifier = int32(next)
		switch next {
		case 0, 43, 60: // hop by hop, routing, destination options
			if len(b) < 8 || len(b) < (int(b[1])+1)*8 {
				return
			}
			next, b = b[0], b[(int(b[1])+1)*8:]
		case 51: // authentication
			if len(b) < 8 || len(b) < (int(b[1])+2)*4 {
				return
			}
			next, b = b[0], b[(int(b[1])+2)*4:]
		case 44: // fragment
			if len(b) < 8 {
				return
			}
			later := binary.BigEndian.Uint16(b[2:])&0xFFF8 != 0
			next, b = b[0], b[8:]
			if later {
				r.ProtocolIdentifier = int32(next)
				return
			}
		default:
			transport(b, r)
			return
		}
	}
}

func transport(b []byte, r *schemas.FlowRecord) {
	switch r.ProtocolIdentifier {
	case 6, 17, 33, 132, 136: // TCP, UDP, DCCP, SCTP, UDP-Lite
		if len(b) < 4 {
			return
		}
		r.SourceTransportPort = int32(binary.BigEndian.Uint16(b))
		r.DestinationTransportPort = int32(binary.BigEndian.Uint16(b[2:]))
		if r.ProtocolIdentifier == 6 && len(b) >= 14 {
			r.TcpControlBits = int32(binary.BigEndian.Uint16(b[12:]) & 0x1FF)
		}
	case 1, 58:
		if len(b) >= 2 {
			r.IcmpTypeCode, r.IcmpSeen = int32(binary.BigEndian.Uint16(b)), true
		}
	}
}
