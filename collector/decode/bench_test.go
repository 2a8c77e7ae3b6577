package decode

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
)

// benchFields are 24 fields as a router sends them.
var benchFields = []int{8, 4, 12, 4, 15, 4, 10, 4, 14, 4, 2, 8, 1, 8, 22, 4, 21, 4, 7, 2, 11, 2, 6, 1, 4, 1, 5, 1, 16, 4, 17, 4, 9, 1, 13, 1, 61, 1, 58, 2, 59, 2, 48, 1, 136, 1, 89, 1}

func benchRecord() *enc {
	e := new(enc)
	e.ip("10.0.0.1").ip("10.0.0.2").ip("10.0.0.254").u32(1, 2).u64(10, 12345).u32(90_000, 95_000).u16(1234, 443).u8(0x1b, 6, 0).u32(65001, 65002).u8(24, 16, 0).u16(100, 200).u8(1, 3, 64)
	return e
}

func benchDatagram() (template, data []byte) {
	body := new(enc)
	for range 20 {
		body.raw(*benchRecord())
	}
	return v9(1, 1, 100_000, set(0, v9tmpl(256, benchFields...))), v9(2, 1, 100_000, set(256, body))
}

// cpu is the processor time of the process: it holds on a busy machine too,
// where the wall clock says little.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perRecord(b *testing.B, records int, since time.Duration) {
	b.ReportMetric(float64(cpu(b)-since)/float64(b.N*records), "cpu-ns/record")
}

func BenchmarkV9(b *testing.B) {
	d := newDecoder(b)
	template, data := benchDatagram()
	var c counter
	d.Datagram(template, source, 1, &c)
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpu(b)
	for i := range b.N {
		binary.BigEndian.PutUint32(data[12:], uint32(i+2))
		d.Datagram(data, source, 1, &c)
	}
	perRecord(b, 20, begin)
	if c.flows != 20*b.N {
		b.Fatalf("%d flows, want %d", c.flows, 20*b.N)
	}
}

func BenchmarkIPFIXLayer7(b *testing.B) {
	d := newDecoder(b)
	body := new(enc)
	for range 20 {
		body.ip("10.0.0.1").ip("10.0.0.2").u16(1234, 53).u8(17).u64(100, 1, testTime*1000, testTime*1000).vstr("www.example.org").u16(1).u8(0)
	}
	var c counter
	d.Datagram(ipfix(1, 1, set(2, tmpl(256, 8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 1, 8, 2, 8, 152, 8, 153, 8, 0x8000|205, 65535, 35632, 0x8000|207, 2, 35632, 0x8000|208, 1, 35632))), source, 1, &c)
	data := ipfix(1, 1, set(256, body))
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpu(b)
	for i := range b.N {
		binary.BigEndian.PutUint32(data[8:], uint32(20*i+1))
		d.Datagram(data, source, 1, &c)
	}
	perRecord(b, 20, begin)
}

func BenchmarkV5(b *testing.B) {
	d := newDecoder(b)
	var records [][]byte
	for range 30 {
		records = append(records, v5Record(1, 2))
	}
	data := v5(1, 100_000, 30, records...)
	var c counter
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpu(b)
	for i := range b.N {
		binary.BigEndian.PutUint32(data[16:], uint32(i*30))
		d.Datagram(data, source, 1, &c)
	}
	perRecord(b, 30, begin)
}

func BenchmarkSFlow(b *testing.B) {
	d := newDecoder(b)
	s := flowSample(1, rawHeader(1, 1018, new(enc).raw(make([]byte, 12)).u16(0x800).raw(*ipv4TCP())))
	data := sflow(1, s, s, s, s, s, s, s)
	var c counter
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpu(b)
	for range b.N {
		d.Datagram(data, source, 1, &c)
	}
	perRecord(b, 7, begin)
}

// BenchmarkGoflow2V9 is the peer's decode of the same datagram, without its
// conversion to a record.
func BenchmarkGoflow2V9(b *testing.B) {
	template, data := benchDatagram()
	ts := netflow.CreateTemplateSystem()
	var p netflow.NFv9Packet
	if err := netflow.DecodeMessageNetFlow(bytes.NewBuffer(template[2:]), ts, &p); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpu(b)
	for range b.N {
		var p netflow.NFv9Packet
		if err := netflow.DecodeMessageNetFlow(bytes.NewBuffer(data[2:]), ts, &p); err != nil {
			b.Fatal(err)
		}
	}
	perRecord(b, 20, begin)
}

// TestNoGarbage holds the hot path to its promise.
func TestNoGarbage(t *testing.T) {
	d := newDecoder(t)
	template, data := benchDatagram()
	var c counter
	d.Datagram(template, source, 1, &c)
	if n := testing.AllocsPerRun(100, func() { d.Datagram(data, source, 1, &c) }); n > 0 {
		t.Errorf("%v allocations a datagram, want none", n)
	}
}
