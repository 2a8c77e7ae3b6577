package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/schemas"
)

// The encoder of the tests shares no code with the decoder.

const testTime = 1_700_000_000 // export time, s

var source = netip.MustParseAddr("192.0.2.1")

type enc []byte

func (e *enc) u8(v ...uint8) *enc { *e = append(*e, v...); return e }
func (e *enc) u16(v ...int) *enc {
	for _, x := range v {
		*e = binary.BigEndian.AppendUint16(*e, uint16(x))
	}
	return e
}
func (e *enc) u32(v ...int) *enc {
	for _, x := range v {
		*e = binary.BigEndian.AppendUint32(*e, uint32(x))
	}
	return e
}
func (e *enc) u64(v ...uint64) *enc {
	for _, x := range v {
		*e = binary.BigEndian.AppendUint64(*e, x)
	}
	return e
}
func (e *enc) ip(s string) *enc  { *e = append(*e, netip.MustParseAddr(s).AsSlice()...); return e }
func (e *enc) raw(b []byte) *enc { *e = append(*e, b...); return e }
func (e *enc) str(s string) *enc { *e = append(*e, s...); return e }
func (e *enc) vstr(s string) *enc {
	if len(s) < 255 {
		e.u8(uint8(len(s)))
	} else {
		e.u8(255).u16(len(s))
	}
	return e.str(s)
}

func set(id int, body *enc) []byte {
	e := new(enc)
	return *e.u16(id, 4+len(*body)).raw(*body)
}

func v9(seq, domain, uptime int, sets ...[]byte) []byte {
	e := new(enc)
	e.u16(9, len(sets)).u32(uptime, testTime, seq, domain)
	for _, s := range sets {
		e.raw(s)
	}
	return *e
}

func ipfix(seq, domain int, sets ...[]byte) []byte {
	e := new(enc)
	n := 16
	for _, s := range sets {
		n += len(s)
	}
	e.u16(10, n).u32(testTime, seq, domain)
	for _, s := range sets {
		e.raw(s)
	}
	return *e
}

// tmpl is a template record; fields are id, length pairs, or id|0x8000,
// length, PEN.
func tmpl(id int, fields ...int) *enc {
	e := new(enc)
	count := 0
	for i := 0; i < len(fields); i += 2 {
		if fields[i]&0x8000 != 0 {
			i++
		}
		count++
	}
	e.u16(id, count)
	for i := 0; i < len(fields); i += 2 {
		e.u16(fields[i], fields[i+1])
		if fields[i]&0x8000 != 0 {
			e.u32(fields[i+2])
			i++
		}
	}
	return e
}

// v9tmpl is a v9 template: vendors' ids above 32768 have no PEN behind them.
func v9tmpl(id int, fields ...int) *enc {
	e := new(enc)
	return e.u16(id, len(fields)/2).u16(fields...)
}

type heard struct {
	headers  []Header
	flows    []schemas.FlowRecord
	events   []schemas.FlowRecord
	kinds    []Kind
	rejected []Error
}

func (h *heard) Begin(x *Header)            { h.headers = append(h.headers, *x) }
func (h *heard) Reject(e *Error)            { h.rejected = append(h.rejected, *e) }
func (h *heard) Flow(r *schemas.FlowRecord) { h.flows = append(h.flows, clone(r)) }
func (h *heard) Event(k Kind, r *schemas.FlowRecord) {
	h.kinds, h.events = append(h.kinds, k), append(h.events, clone(r))
}

// clone goes through the codec, which owns the bytes and refuses what is not
// valid.
func clone(r *schemas.FlowRecord) (c schemas.FlowRecord) {
	if err := c.Unmarshal(r.Append(nil)); err != nil {
		panic(err)
	}
	return c
}

func (h *heard) reasons() []Reason {
	var rs []Reason
	for _, e := range h.rejected {
		rs = append(rs, e.Reason)
	}
	return rs
}

func newDecoder(t testing.TB, change ...func(*Config)) *Decoder {
	t.Helper()
	table, err := ie.Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Limits: DefaultLimits()}
	for _, c := range change {
		c(&cfg)
	}
	return New(cfg, table)
}

func feed(d *Decoder, datagrams ...[]byte) *heard {
	h := new(heard)
	for i, b := range datagrams {
		d.Datagram(b, source, testTime*1000+int64(i), h)
	}
	return h
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s (-got +want)\n- %v\n+ %v", what, got, want)
	}
}

func equalSlice[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s (-got +want)\n- %v\n+ %v", what, got, want)
	}
}

// extra returns the text of an extra, "" when there is none of the name.
func extra(r *schemas.FlowRecord, name string) string {
	for _, e := range r.Extra {
		if e.Name != name {
			continue
		}
		switch e.Value.Kind {
		case schemas.ExtraLong:
			return fmt.Sprint(e.Value.Long)
		case schemas.ExtraDouble:
			return fmt.Sprint(e.Value.Double)
		case schemas.ExtraString:
			return string(e.Value.Bytes)
		case schemas.ExtraBytes:
			return fmt.Sprintf("%x", e.Value.Bytes)
		case schemas.ExtraList:
			return fmt.Sprint(len(e.Value.List))
		}
	}
	return ""
}

func one1(t *testing.T, h *heard) *schemas.FlowRecord {
	t.Helper()
	if len(h.flows) != 1 {
		t.Fatalf("flows: got %d, want 1; rejected %v", len(h.flows), h.rejected)
	}
	return &h.flows[0]
}
