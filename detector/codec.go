package detector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/weir-flow/weir/detector/lang"
)

// errTruncated is what a reader reports that ran off its end.
var errTruncated = errors.New("truncated")

// reader takes apart what the append functions of state and parts wrote. The
// first fault sticks, so that callers check once.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of items of at least size octets each: it cannot be
// larger than what is left, so a hostile one allocates nothing.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail(errTruncated)
		return 0
	}
	return int(n)
}

func (r *reader) next(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail(errTruncated)
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte  { return r.next(r.count(1)) }
func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) byte() byte {
	if v := r.next(1); len(v) == 1 {
		return v[0]
	}
	return 0
}

func (r *reader) bool() bool { return r.byte() != 0 }

func (r *reader) uint64() uint64 {
	if v := r.next(8); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// Tags of the values in a key. Their order is that of keys in a task's output.
const (
	tagFalse byte = iota
	tagTrue
	tagInteger
	tagAddress
	tagText
)

// encoder returns a function that appends a value of an expression in a
// binary form that can be told apart from any other value.
func encoder(v lang.Value[*flow]) (func([]byte, *flow) []byte, error) {
	switch v.Kind {
	case lang.Bool:
		return func(dst []byte, f *flow) []byte {
			if v.Bool(f) {
				return append(dst, tagTrue)
			}
			return append(dst, tagFalse)
		}, nil
	case lang.Int:
		return func(dst []byte, f *flow) []byte {
			return binary.AppendVarint(append(dst, tagInteger), v.Int(f))
		}, nil
	case lang.Address:
		return func(dst []byte, f *flow) []byte { return appendAddress(dst, v.Address(f)) }, nil
	case lang.String:
		return func(dst []byte, f *flow) []byte { return appendBytes(append(dst, tagText), v.String(f)) }, nil
	}
	return nil, fmt.Errorf("%s cannot be counted or be a key; texts, integers and addresses can", v.Kind)
}

func appendAddress(dst []byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		b := a.As4()
		return append(append(dst, tagAddress, 4), b[:]...)
	case a.IsValid():
		b := a.As16()
		return append(append(dst, tagAddress, 16), b[:]...)
	}
	return append(dst, tagAddress, 0)
}

// item is a decoded value of a key.
type item struct {
	tag     byte
	integer int64
	address netip.Addr
	text    string
}

func (r *reader) item() item {
	it := item{tag: r.byte()}
	switch it.tag {
	case tagFalse, tagTrue:
	case tagInteger:
		it.integer = r.varint()
	case tagAddress:
		switch n := r.byte(); n {
		case 0:
		case 4, 16:
			if b := r.next(int(n)); b != nil {
				it.address, _ = netip.AddrFromSlice(b)
			}
		default:
			r.fail(fmt.Errorf("address of %d octets", n))
		}
	case tagText:
		it.text = r.string()
	default:
		r.fail(fmt.Errorf("unknown tag %d", it.tag))
	}
	return it
}

// String shows the value as alerts do.
func (it item) String() string {
	switch it.tag {
	case tagTrue:
		return "true"
	case tagFalse:
		return "false"
	case tagInteger:
		return strconv.FormatInt(it.integer, 10)
	case tagAddress:
		if it.address.IsValid() {
			return it.address.String()
		}
		return ""
	}
	return it.text
}

// decodeItem decodes one encoded value.
func decodeItem(b []byte) (item, error) {
	r := reader{b: b}
	it := r.item()
	if r.err == nil && len(r.b) != 0 {
		r.fail(errors.New("octets behind a value"))
	}
	return it, r.err
}
