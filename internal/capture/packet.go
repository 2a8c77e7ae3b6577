package capture

import (
	"encoding/binary"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// verdict says what a packet turned out to be.
type verdict int

const (
	whole   verdict = iota // carries what is looked for
	foreign                // well-formed, but something else
	broken                 // lengths contradict each other, or it is cut
	waiting                // a fragment whose datagram is not complete yet
)

// EtherTypes and link types by their registry numbers.
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86DD
	etherVLAN   = 0x8100 // IEEE 802.1Q
	etherQinQ   = 0x88A8 // IEEE 802.1ad
	etherOldQnQ = 0x9100 // QinQ before 802.1ad

	linkNull     layers.LinkType = 0
	linkEthernet layers.LinkType = 1
	linkRawBSD   layers.LinkType = 12
	linkRawOBSD  layers.LinkType = 14
	linkRaw      layers.LinkType = 101
	linkLoop     layers.LinkType = 108
	linkSLL      layers.LinkType = 113
	linkIPv4     layers.LinkType = 228
	linkIPv6     layers.LinkType = 229
	linkSLL2     layers.LinkType = 276
)

// networkLayer strips the link layer and returns the IP packet.
func networkLayer(link layers.LinkType, b []byte) ([]byte, verdict) {
	switch link {
	case linkEthernet:
		if len(b) < 14 {
			return nil, broken
		}
		return etherPayload(binary.BigEndian.Uint16(b[12:]), b[14:])
	case linkSLL:
		if len(b) < 16 {
			return nil, broken
		}
		return etherPayload(binary.BigEndian.Uint16(b[14:]), b[16:])
	case linkSLL2:
		if len(b) < 20 {
			return nil, broken
		}
		return etherPayload(binary.BigEndian.Uint16(b), b[20:])
	case linkNull, linkLoop:
		// The family is in the capturing host's byte order and AF_INET6 has
		// a number per system: the version nibble of the packet says enough.
		if len(b) < 4 {
			return nil, broken
		}
		return b[4:], whole
	case linkRaw, linkRawBSD, linkRawOBSD, linkIPv4, linkIPv6:
		return b, whole
	}
	return nil, foreign
}

// etherPayload follows VLAN tags, of which a real frame has at most a few.
func etherPayload(kind uint16, b []byte) ([]byte, verdict) {
	for range 8 {
		switch kind {
		case etherIPv4, etherIPv6:
			return b, whole
		case etherVLAN, etherQinQ, etherOldQnQ:
			if len(b) < 4 {
				return nil, broken
			}
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		default:
			return nil, foreign
		}
	}
	return nil, foreign
}

// ipPacket is a UDP-carrying IPv4 or IPv6 packet, or a fragment of one.
type ipPacket struct {
	source, destination netip.Addr
	body                []byte // what follows the IP headers
	fragment            bool
	id                  uint32 // fragment identification
	offset              int    // of body in the unfragmented packet's body
	more                bool   // more fragments follow
}

func parseIP(b []byte) (ipPacket, verdict) {
	if len(b) == 0 {
		return ipPacket{}, broken
	}
	switch b[0] >> 4 {
	case 4:
		return parseIPv4(b)
	case 6:
		return parseIPv6(b)
	}
	return ipPacket{}, foreign
}

func parseIPv4(b []byte) (ipPacket, verdict) {
	if len(b) < 20 {
		return ipPacket{}, broken
	}
	if b[9] != 17 {
		return ipPacket{}, foreign
	}
	header := int(b[0]&15) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = len(b) // segmentation offload leaves the length to the card
	}
	if header < 20 || total < header || total > len(b) {
		return ipPacket{}, broken
	}
	flags := binary.BigEndian.Uint16(b[6:])
	p := ipPacket{
		source:      netip.AddrFrom4([4]byte(b[12:16])),
		destination: netip.AddrFrom4([4]byte(b[16:20])),
		body:        b[header:total], // Ethernet padding ends here
		id:          uint32(binary.BigEndian.Uint16(b[4:])),
		offset:      int(flags&0x1FFF) * 8,
		more:        flags&0x2000 != 0,
	}
	p.fragment = p.more || p.offset > 0
	return p, whole
}

func parseIPv6(b []byte) (ipPacket, verdict) {
	if len(b) < 40 {
		return ipPacket{}, broken
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	p := ipPacket{
		source:      netip.AddrFrom16([16]byte(b[8:24])),
		destination: netip.AddrFrom16([16]byte(b[24:40])),
	}
	next := b[6]
	if 40+length > len(b) {
		return ipPacket{}, broken
	}
	body := b[40 : 40+length]
	for range 8 { // extension headers; more are nobody's exports
		switch next {
		case 17:
			p.body = body
			return p, whole
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(body) < 8 || len(body) < 8+int(body[1])*8 {
				return ipPacket{}, broken
			}
			next, body = body[0], body[8+int(body[1])*8:]
		case 44: // fragment, RFC 8200 section 4.5
			if len(body) < 8 {
				return ipPacket{}, broken
			}
			field := binary.BigEndian.Uint16(body[2:])
			p.fragment = true
			p.offset = int(field &^ 7)
			p.more = field&1 != 0
			p.id = binary.BigEndian.Uint32(body[4:])
			next, body = body[0], body[8:]
			if !p.more && p.offset == 0 {
				p.fragment = false // atomic fragment, RFC 6946
			}
		default:
			return ipPacket{}, foreign
		}
	}
	return ipPacket{}, foreign
}

func parseUDP(b []byte) (source, destination uint16, payload []byte, v verdict) {
	if len(b) < 8 {
		return 0, 0, nil, broken
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length < 8 || length > len(b) {
		return 0, 0, nil, broken
	}
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[8:length], whole
}
