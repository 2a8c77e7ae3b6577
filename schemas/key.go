package schemas

import (
	"encoding/binary"
	"net/netip"

	"github.com/cespare/xxhash/v2"
)

// Source returns the source endpoint, pre-NAT where carried.
func (r *FlowRecord) Source() netip.AddrPort {
	return netip.AddrPortFrom(r.SourceIPAddress, uint16(r.SourceTransportPort))
}

// Destination returns the destination endpoint, pre-NAT where carried.
func (r *FlowRecord) Destination() netip.AddrPort {
	return netip.AddrPortFrom(r.DestinationIPAddress, uint16(r.DestinationTransportPort))
}

// ConversationKey appends the key of raw flows: 8 bytes, big-endian xxhash64 of
// realm, protocol and both endpoints, the same for both directions.
func ConversationKey(dst []byte, r *FlowRecord) []byte {
	sum := hashConversation(0, r.Realm, r.ProtocolIdentifier, r.Source(), r.Destination())
	return binary.BigEndian.AppendUint64(dst, sum)
}

// ConversationID returns the id of the conversation between two endpoints: a
// pure function of realm, protocol (IANA number) and endpoints, in either
// order. Ports count only for protocols that have them, so an ICMP request and
// its reply are one conversation whatever type and code an exporter put there.
func ConversationID(realm string, protocol int32, a, b netip.AddrPort) FlowId {
	var id FlowId
	binary.BigEndian.PutUint64(id[:8], hashConversation(1, realm, protocol, a, b))
	binary.BigEndian.PutUint64(id[8:], hashConversation(2, realm, protocol, a, b))
	return id
}

// hashConversation hashes what identifies a conversation; purpose gives
// independent hashes of the same one.
func hashConversation(purpose byte, realm string, protocol int32, a, b netip.AddrPort) uint64 {
	if !hasPorts(protocol) {
		a, b = netip.AddrPortFrom(a.Addr(), 0), netip.AddrPortFrom(b.Addr(), 0)
	}
	// IPv4 in its IPv6-mapped form: the same address however it was sent.
	lo, hi := endpoint(a), endpoint(b)
	if string(hi[:]) < string(lo[:]) {
		lo, hi = hi, lo
	}
	var buf [2 + 18 + 18]byte
	buf[0], buf[1] = purpose, byte(protocol)
	copy(buf[2:], lo[:])
	copy(buf[20:], hi[:])
	var h xxhash.Digest
	h.Reset()
	_, _ = h.Write(buf[:]) // fixed length first: what follows needs no mark
	_, _ = h.WriteString(realm)
	return h.Sum64()
}

func endpoint(p netip.AddrPort) (e [18]byte) {
	a := p.Addr().As16()
	copy(e[:], a[:])
	binary.BigEndian.PutUint16(e[16:], p.Port())
	return e
}

// hasPorts reports that flows of an IP protocol have transport ports: TCP,
// UDP, DCCP, SCTP, UDP-Lite.
func hasPorts(protocol int32) bool {
	switch protocol {
	case 6, 17, 33, 132, 136:
		return true
	}
	return false
}

// NewFlowId returns the id of the flow record at a position (from 0) in a
// datagram: a pure function of the exporter's identity, the protocol and the
// datagram's header: observation domain, sequence number, and export time in ms
// since the epoch. For sFlow the sample's sequence number takes the place of
// the datagram's.
func NewFlowId(exporter netip.Addr, protocol ExportProtocol, domain, sequence, exportTime int64, position int) FlowId {
	var buf [50]byte
	a := exporter.As16()
	copy(buf[1:], a[:])
	buf[17] = byte(protocol)
	binary.BigEndian.PutUint64(buf[18:], uint64(domain))
	binary.BigEndian.PutUint64(buf[26:], uint64(sequence))
	binary.BigEndian.PutUint64(buf[34:], uint64(exportTime))
	binary.BigEndian.PutUint64(buf[42:], uint64(position))
	var id FlowId
	binary.BigEndian.PutUint64(id[:8], xxhash.Sum64(buf[:]))
	buf[0] = 1
	binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(buf[:]))
	return id
}
