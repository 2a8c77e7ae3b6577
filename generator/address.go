package generator

import (
	"encoding/binary"
	"net/netip"
)

// address is an IPv6 address, or an IPv4 one in its mapped form: sixteen
// octets without a pointer, where netip.Addr has one for the zone.
type address struct{ hi, lo uint64 }

const mapped = 0xFFFF << 32

func v4(a uint32) address { return address{lo: mapped | uint64(a)} }

func v4Parts(a, b, c, d byte) address {
	return v4(uint32(a)<<24 | uint32(b)<<16 | uint32(c)<<8 | uint32(d))
}

func (a address) is4() bool { return a.hi == 0 && a.lo>>32 == 0xFFFF }

func (a address) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b).Unmap()
}

// appendTo writes four octets for IPv4, sixteen for IPv6.
func (a address) appendTo(b []byte, length uint16) []byte {
	if length == 4 {
		return binary.BigEndian.AppendUint32(b, uint32(a.lo))
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, a.hi), a.lo)
}
