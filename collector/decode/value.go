package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/netip"
	"unicode/utf8"
	"unsafe"

	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/schemas"
)

// u reads an unsigned integer of any width (reduced-size encoding, RFC 7011
// section 6.2); of more than eight octets the last eight.
func u(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

func u8(b []byte) uint8 {
	if len(b) == 0 {
		return 0
	}
	return b[len(b)-1]
}

func u16(b []byte) uint16 {
	if len(b) == 2 {
		return binary.BigEndian.Uint16(b)
	}
	return uint16(u(b))
}

func u32(b []byte) uint32 {
	if len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return uint32(u(b))
}

func float(b []byte) float64 {
	switch len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

// str is a string over memory that lives as long as the datagram.
func str(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// clean cuts a string value at its padding and makes it valid UTF-8, as Avro
// and JSON want it: a string that is not is taken as Latin-1, which loses
// nothing.
func (d *Decoder) clean(v []byte) []byte {
	if i := bytes.IndexByte(v, 0); i >= 0 {
		v = v[:i]
	}
	v = bytes.TrimRight(v, " ")
	if utf8.Valid(v) {
		return v
	}
	n := len(d.arena)
	for _, c := range v {
		d.arena = utf8.AppendRune(d.arena, rune(c))
	}
	return d.arena[n:]
}

func (d *Decoder) text(v []byte) string { return str(d.clean(v)) }

// hexText is the text of a fingerprint that comes as octets; one that comes as
// text stays.
func (d *Decoder) hexText(v []byte, octets int) string {
	if len(v) != octets {
		return d.text(v)
	}
	n := len(d.arena)
	d.arena = hex.AppendEncode(d.arena, v)
	return str(d.arena[n:])
}

const (
	ntpEpoch = 2208988800 // seconds from 1900 to 1970
	year     = 366 * 86400
)

// ntp reads dateTimeMicroseconds and -Nanoseconds, ns since the Unix epoch:
// seconds since 1900 and a fraction of 2^-32 (RFC 7011 section 6.1.9). Some
// exporters send a Unix time in the element's unit instead; the one of the two
// that is near the export time is right (see docs/collector.md, exceptions).
func (d *Decoder) ntp(v []byte, t ie.Type) int64 {
	if len(v) != 8 {
		return 0
	}
	n := binary.BigEndian.Uint64(v)
	if n == 0 {
		return 0
	}
	seconds, fraction := int64(n>>32), n&math.MaxUint32
	if seconds < 1<<31 {
		seconds += 1 << 32 // era 1 began in 2036
	}
	seconds -= ntpEpoch
	asNTP := seconds*1e9 + int64(fraction*1e9>>32)
	unit := uint64(1)
	if t == ie.DateTimeMicroseconds {
		unit = 1000
	}
	now := d.base.ExportTimeMilliseconds / 1000
	if now != 0 && n <= math.MaxInt64/unit && distance(seconds, now) > year && distance(int64(n*unit/1e9), now) < year {
		return int64(n * unit)
	}
	return asNTP
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// extra keeps a value under its name.
func (d *Decoder) extra(o *op, v []byte, r *schemas.FlowRecord) {
	if o.typ >= ie.Unsigned8 && o.typ <= ie.Unsigned64 && len(v) <= 8 && len(v) > 0 && len(r.Extra) < cap(r.Extra) {
		// Most extras are small numbers: set what counts of the entry that was
		// there before, instead of making and copying a whole one.
		if n := u(v); n < 1<<63 {
			r.Extra = r.Extra[:len(r.Extra)+1]
			e := &r.Extra[len(r.Extra)-1]
			e.Name, e.Value.Kind, e.Value.Long = o.name, schemas.ExtraLong, int64(n)
			return
		}
	}
	r.Extra = append(r.Extra, schemas.Extra{Name: o.name, Value: d.value(o.typ, v)})
}

// value gives a value its kind. What does not have the size of its type stays
// octets: the table, or the exporter, is wrong.
func (d *Decoder) value(t ie.Type, v []byte) schemas.ExtraValue {
	switch t {
	case ie.Unsigned8, ie.Unsigned16, ie.Unsigned32, ie.Unsigned64, ie.Boolean, ie.DateTimeSeconds, ie.DateTimeMilliseconds:
		if n := u(v); len(v) >= 1 && len(v) <= 8 && n < 1<<63 {
			return schemas.ExtraValue{Kind: schemas.ExtraLong, Long: int64(n)}
		}
	case ie.Signed8, ie.Signed16, ie.Signed32, ie.Signed64:
		if len(v) >= 1 && len(v) <= 8 {
			shift := 64 - 8*len(v)
			return schemas.ExtraValue{Kind: schemas.ExtraLong, Long: int64(u(v)<<shift) >> shift}
		}
	case ie.Float32, ie.Float64:
		if len(v) == 4 || len(v) == 8 {
			return schemas.ExtraValue{Kind: schemas.ExtraDouble, Double: float(v)}
		}
	case ie.DateTimeMicroseconds, ie.DateTimeNanoseconds:
		if len(v) == 8 {
			n := d.ntp(v, t)
			if t == ie.DateTimeMicroseconds {
				n /= 1000
			}
			return schemas.ExtraValue{Kind: schemas.ExtraLong, Long: n}
		}
	case ie.String:
		return schemas.ExtraValue{Kind: schemas.ExtraString, Bytes: d.clean(v)}
	case ie.MACAddress:
		if len(v) == 6 {
			n := len(d.arena)
			for i, c := range v {
				if i > 0 {
					d.arena = append(d.arena, ':')
				}
				d.arena = hex.AppendEncode(d.arena, []byte{c})
			}
			return schemas.ExtraValue{Kind: schemas.ExtraString, Bytes: d.arena[n:]}
		}
	case ie.IPv4Address, ie.IPv6Address:
		if a, ok := netip.AddrFromSlice(v); ok {
			return schemas.ExtraValue{Kind: schemas.ExtraString, Bytes: d.addrText(a)}
		}
	}
	return schemas.ExtraValue{Kind: schemas.ExtraBytes, Bytes: v}
}

func (d *Decoder) addrText(a netip.Addr) []byte {
	n := len(d.arena)
	d.arena = a.AppendTo(d.arena)
	return d.arena[n:]
}
