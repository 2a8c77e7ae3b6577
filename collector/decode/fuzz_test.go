package decode

import (
	"testing"

	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/schemas"
)

// bounded checks what must hold of any datagram.
type bounded struct {
	t      *testing.T
	limit  int
	n      int
	buffer []byte
}

func (b *bounded) Begin(*Header) {}
func (b *bounded) Flow(r *schemas.FlowRecord) {
	if b.n++; b.n > b.limit {
		b.t.Fatalf("more than %d records of one datagram", b.limit)
	}
	b.buffer = r.Append(b.buffer[:0])
	var back schemas.FlowRecord
	if err := back.Unmarshal(b.buffer); err != nil {
		b.t.Fatalf("a record that cannot be read back: %v", err)
	}
}
func (b *bounded) Event(_ Kind, r *schemas.FlowRecord) { b.Flow(r) }
func (b *bounded) Reject(e *Error) {
	if e.Reason >= Reasons || e.Offset < 0 {
		b.t.Fatalf("rejection without sense: %+v", e)
	}
}

func fuzz(f *testing.F, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	table, err := ie.Load()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 65535 {
			return
		}
		d := New(Config{Limits: Limits{Exporters: 2, Domains: 4, Templates: 8, Names: 8, PendingBytes: 1 << 16}}, table)
		h := &bounded{t: t, limit: 3*(len(data)/4+64) + 1<<14}
		for i := range 3 { // templates, data, and data that waited
			h.n = 0
			d.Datagram(data, source, int64(i), h)
		}
		d.Close()
		if n := d.Stats().HeldOctets.Load(); n != 0 {
			t.Fatalf("%d octets held after Close", n)
		}
	})
}

func FuzzLegacy(f *testing.F) {
	fuzz(f, v5(1, 100_000, 1, v5Record(1, 2)), v5(1, 1, 30, v5Record(1, 2)), []byte{0, 7, 0, 1}, []byte{0, 1, 0, 1})
}

func FuzzNetFlow9(f *testing.F) {
	fuzz(f, v9(1, 1, 100_000, set(0, v9tmpl(256, basic...)), set(256, basicRecord(1))),
		v9(1, 1, 0, set(256, basicRecord(1)), set(0, v9tmpl(256, basic...))),
		v9(1, 1, 0, set(1, opt9(300, []int{1, 4}, []int{48, 1, 49, 1, 50, 2})), set(300, new(enc).u32(1).u8(3, 2).u16(128))))
}

func FuzzIPFIX(f *testing.F) {
	fuzz(f, ipfix(1, 1, set(2, tmpl(256, 371, 65535, 1, 4)), set(256, new(enc).vstr("alice").u32(1))),
		ipfix(1, 1, set(3, opt10(300, 1, 149, 4, 34, 4, 35, 1)), set(300, new(enc).u32(1, 32).u8(1))),
		ipfix(1, 1, set(2, tmpl(256, 0x8000|205, 65535, 35632, 154, 8, 95, 4)), set(256, new(enc).vstr("x").u64(1).u32(1))))
}

func FuzzSFlow(f *testing.F) {
	fuzz(f, sflow(1, flowSample(1, rawHeader(1, 100, new(enc).raw(make([]byte, 12)).u16(0x8100, 5, 0x800).raw(*ipv4TCP())))),
		sflow(1, sample(2, new(enc).u32(5, 7, 0))), sflow(1, flowSample(1, sample(1003, new(enc).u32(1).ip("192.0.2.5").u32(65000, 65001, 65002, 1, 2, 1, 5)))))
}
