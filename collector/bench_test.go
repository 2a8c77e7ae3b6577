package collector

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/collector/ie"
)

// BenchmarkDatagramToProducer is the whole way of a v5 datagram of 30 flows but
// for the socket and Kafka: decode, place, encode, hand over.
func BenchmarkDatagramToProducer(b *testing.B) {
	table, err := ie.Load()
	if err != nil {
		b.Fatal(err)
	}
	cfg := DefaultConfig()
	s := newSender(discard{}, "raw", 16, nil, 16<<20, time.Second, quiet, nil)
	s.start()
	seq := newSequencer(cfg, "0123456789abcdef", 1, 16, 0, nil, s.send)
	d := decode.New(cfg.decodeConfig(nil), table)
	f := &feed{s: seq, key: make([]byte, 0, 8)}
	data := v5Datagram(1, 30, 1_700_000_000)
	source := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpuTime(b)
	for range b.N {
		d.Datagram(data, source, 1, f)
	}
	b.ReportMetric(float64(cpuTime(b)-begin)/float64(30*b.N), "cpu-ns/record")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
