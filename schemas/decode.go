package schemas

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"unsafe"
)

// DecodeError says where and why the body of a record cannot be read.
type DecodeError struct {
	// Record is the name of the record that was expected.
	Record string
	// Offset in the body (behind the framing) at which reading stopped.
	Offset int
	// Reason in words.
	Reason string
}

// Error implements error.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("schemas: %s cannot be decoded at byte %d of its body: %s; it was damaged, or written by a program that is not this one", e.Record, e.Offset, e.Reason)
}

// decoder reads Avro binary encoding. It keeps the first failure and then
// reads zeros, so that generated code need not check after every field. It
// copies nothing: strings and bytes alias the input.
type decoder struct {
	b      []byte
	pos    int
	reason string
	at     int // where reason came up
}

func (d *decoder) failed() bool { return d.reason != "" }

func (d *decoder) fail(reason string) {
	if d.reason == "" {
		d.reason, d.at = reason, d.pos
	}
	d.pos = len(d.b) // every further read fails at once
}

// finish returns the first failure, or one when input is left over.
func (d *decoder) finish(record string) error {
	if d.reason == "" && d.pos != len(d.b) {
		d.fail("bytes are left over")
	}
	if d.reason == "" {
		return nil
	}
	return &DecodeError{Record: record, Offset: d.at, Reason: d.reason}
}

// long reads a zig-zag varint.
func (d *decoder) long() int64 {
	var u uint64
	for i, c := range d.b[d.pos:] {
		if i == 9 && c > 1 { // nine bytes hold 63 bits
			d.fail("a number has more than 64 bits")
			return 0
		}
		u |= uint64(c&0x7F) << (7 * uint(i) & 63) // the mask spares a check
		if c < 0x80 {
			d.pos += i + 1
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	d.fail("it ends inside a number")
	return 0
}

func (d *decoder) int() int32 {
	v := d.long()
	if int64(int32(v)) != v {
		d.fail("an int has more than 32 bits")
		return 0
	}
	return int32(v)
}

// index reads the number of an enum's symbol or of a union's branch.
func (d *decoder) index(n int) int {
	v := d.long()
	if v < 0 || v >= int64(n) {
		d.fail("an enum or a union has an index that the schema does not")
		return 0
	}
	return int(v)
}

// optional reads the branch of a union [null, T].
func (d *decoder) optional() bool { return d.index(2) == 1 }

func (d *decoder) bool() bool {
	if d.pos < len(d.b) && d.b[d.pos] <= 1 {
		d.pos++
		return d.b[d.pos-1] == 1
	}
	d.fail("a boolean is missing or neither 0 nor 1")
	return false
}

func (d *decoder) double() float64 {
	b := d.take(8)
	if b == nil {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

// take returns the next n bytes; nil when there are fewer.
func (d *decoder) take(n int) []byte {
	if n > len(d.b)-d.pos {
		d.fail("it ends inside a value")
		return nil
	}
	d.pos += n
	return d.b[d.pos-n : d.pos : d.pos]
}

func (d *decoder) bytes() []byte {
	n := d.long()
	if n < 0 || n > int64(len(d.b)-d.pos) {
		d.fail("a string or bytes value is longer than what is left")
		return nil
	}
	d.pos += int(n)
	return d.b[d.pos-int(n) : d.pos : d.pos]
}

func (d *decoder) string() string {
	b := d.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (d *decoder) fixed(dst []byte) {
	if copy(dst, d.take(len(dst))) == 0 {
		clear(dst)
	}
}

func (d *decoder) addr() netip.Addr {
	switch b := d.bytes(); len(b) {
	case 0:
	case 4:
		return netip.AddrFrom4([4]byte(b))
	case 16:
		return netip.AddrFrom16([16]byte(b))
	default:
		d.fail("an address has neither 4 nor 16 bytes")
	}
	return netip.Addr{}
}

func (d *decoder) mac() MAC {
	switch b := d.bytes(); len(b) {
	case 0:
	case 6:
		return MAC(b)
	default:
		d.fail("a MAC address does not have 6 bytes")
	}
	return MAC{}
}

// block returns the number of items in the next block of an array, 0 at its
// end. An item takes at least size bytes, so a count that the input cannot
// hold is refused before anything is allocated for it.
func (d *decoder) block(size int) int {
	n := d.long()
	if n < 0 {
		// The block's length in bytes follows. It serves to skip the block.
		n = -n
		if length := d.long(); length < 0 || length > int64(len(d.b)-d.pos) {
			d.fail("a block of an array is longer than what is left")
			return 0
		}
	}
	if n < 0 || n > int64((len(d.b)-d.pos)/size) { // below 0 still: math.MinInt64
		d.fail("an array has more items than what is left can hold")
		return 0
	}
	return int(n)
}

// minExtra is the least size of an extra: an empty name, a branch, and a value
// of one byte.
const minExtra = 3

// extras reads an array of extras that lies depth lists deep.
func (d *decoder) extras(list []Extra, depth int) []Extra {
	list = list[:0]
	for n := d.block(minExtra); n > 0; n = d.block(minExtra) {
		if depth > MaxExtraDepth {
			d.fail("lists nest too deep")
			return list
		}
		list = slices.Grow(list, n)
		for ; n > 0 && !d.failed(); n-- {
			list = list[:len(list)+1]
			e := &list[len(list)-1]
			e.Name = d.string()
			e.Value.decode(d, depth)
		}
	}
	return list
}

func (v *ExtraValue) decode(d *decoder, depth int) {
	*v = ExtraValue{Kind: ExtraKind(d.index(int(ExtraList) + 1)), List: v.List[:0]}
	switch v.Kind {
	case ExtraLong:
		v.Long = d.long()
	case ExtraDouble:
		v.Double = d.double()
	case ExtraString, ExtraBytes:
		v.Bytes = d.bytes()
	case ExtraList:
		v.List = d.extras(v.List, depth+1)
	}
}
