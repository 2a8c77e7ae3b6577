// Package communityid computes the Community ID flow hash, version 1: a short
// text by which tools agree on a conversation whoever saw it.
package communityid

import (
	"crypto/sha1" //nolint:gosec // the specification's hash; nothing rests on its strength
	"encoding/base64"
	"encoding/binary"
	"net/netip"
)

// Len is the length of an id: "1:" and the base64 of a SHA-1 sum.
const Len = 2 + 28

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// Append appends the id of a flow with seed 0. For ICMP the ports are the
// message's type and code. It appends nothing when an address is missing or
// the families differ.
func Append(dst []byte, src, peer netip.Addr, srcPort, dstPort uint16, protocol uint8) []byte {
	src, peer = src.Unmap(), peer.Unmap()
	if !src.IsValid() || !peer.IsValid() || src.Is4() != peer.Is4() {
		return dst
	}
	ports, oneWay := true, false
	switch protocol {
	case protoTCP, protoUDP, protoSCTP:
	case protoICMP, protoICMPv6:
		var paired bool
		if dstPort, paired = Counterpart(protocol, srcPort, dstPort); !paired {
			oneWay = true
		}
	default:
		ports = false
	}
	// Canonical order: the smaller address and port first; one-way messages
	// stay as they are.
	if c := src.Compare(peer); !oneWay && (c > 0 || c == 0 && ports && srcPort > dstPort) {
		src, peer = peer, src
		srcPort, dstPort = dstPort, srcPort
	}
	var in [2 + 16 + 16 + 2 + 4]byte
	b := in[:2] // the seed, 0
	if src.Is4() {
		a, z := src.As4(), peer.As4()
		b = append(append(b, a[:]...), z[:]...)
	} else {
		a, z := src.As16(), peer.As16()
		b = append(append(b, a[:]...), z[:]...)
	}
	b = append(b, protocol, 0)
	if ports {
		b = binary.BigEndian.AppendUint16(b, srcPort)
		b = binary.BigEndian.AppendUint16(b, dstPort)
	}
	sum := sha1.Sum(b) //nolint:gosec // see the import
	dst = append(dst, "1:"...)
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// Counterpart returns the ICMP type that answers a type, and true, for types
// that come in pairs; for the others their code, and false.
func Counterpart(protocol uint8, typ, code uint16) (uint16, bool) {
	if protocol == protoICMP {
		switch typ {
		case 0: // echo reply, request
			return 8, true
		case 8:
			return 0, true
		case 9: // router advertisement, solicitation
			return 10, true
		case 10:
			return 9, true
		case 13: // timestamp, reply
			return 14, true
		case 14:
			return 13, true
		case 15: // information request, reply
			return 16, true
		case 16:
			return 15, true
		case 17: // address mask request, reply
			return 18, true
		case 18:
			return 17, true
		}
		return code, false
	}
	switch typ {
	case 128: // echo request, reply
		return 129, true
	case 129:
		return 128, true
	case 130: // multicast listener query, report
		return 131, true
	case 131:
		return 130, true
	case 133: // router solicitation, advertisement
		return 134, true
	case 134:
		return 133, true
	case 135: // neighbour solicitation, advertisement
		return 136, true
	case 136:
		return 135, true
	case 139: // node information query, response
		return 140, true
	case 140:
		return 139, true
	case 144: // home agent address discovery request, reply
		return 145, true
	case 145:
		return 144, true
	}
	return code, false
}
