package schemas

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// The append functions write one value in Avro binary encoding. An int and a
// long are the same zig-zag varint.

func appendLong(dst []byte, v int64) []byte {
	if u := uint64(v)<<1 ^ uint64(v>>63); u < 0x80 { // most values: keep this inlined
		return append(dst, byte(u))
	}
	return binary.AppendVarint(dst, v)
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendDouble(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

func appendString(dst []byte, v string) []byte {
	return append(appendLong(dst, int64(len(v))), v...)
}

func appendBytes(dst, v []byte) []byte {
	return append(appendLong(dst, int64(len(v))), v...)
}

// appendAddr writes an address as 4 or 16 bytes, none for the zero Addr. A
// zone is not written: it means nothing outside the exporter.
func appendAddr(dst []byte, a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return append(dst, 0)
	case a.Is4():
		b := a.As4()
		return append(append(dst, 4<<1), b[:]...)
	default:
		b := a.As16()
		return append(append(dst, 16<<1), b[:]...)
	}
}

func appendMAC(dst []byte, m MAC) []byte {
	if !m.IsValid() {
		return append(dst, 0)
	}
	return append(append(dst, 6<<1), m[:]...)
}

// appendExtras writes an array of extras that lies depth lists deep.
func appendExtras(dst []byte, list []Extra, depth int) []byte {
	if len(list) > 0 && depth <= MaxExtraDepth {
		dst = appendLong(dst, int64(len(list)))
		for i := range list {
			dst = appendString(dst, list[i].Name)
			dst = appendExtraValue(dst, &list[i].Value, depth)
		}
	}
	return append(dst, 0)
}

func appendExtraValue(dst []byte, v *ExtraValue, depth int) []byte {
	dst = append(dst, byte(v.Kind)<<1)
	switch v.Kind {
	case ExtraLong:
		return appendLong(dst, v.Long)
	case ExtraDouble:
		return appendDouble(dst, v.Double)
	case ExtraString, ExtraBytes:
		return appendBytes(dst, v.Bytes)
	case ExtraList:
		return appendExtras(dst, v.List, depth+1)
	}
	// A kind that does not exist must not make a record that cannot be read.
	dst[len(dst)-1] = byte(ExtraLong) << 1
	return appendLong(dst, v.Long)
}
