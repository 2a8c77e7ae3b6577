package enricher

import (
	"net/netip"
	"testing"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// BenchmarkLocal takes records, by pairs of directions, through everything
// but Kafka: decode, hold, timers, lookups of every kind, encode.
func BenchmarkLocal(b *testing.B) {
	s := newSite(b)
	e := newEnricher(b, s.config())
	outputs := 0
	local := stream.NewLocal(stream.Stage{
		Name: kafka.StageEnricher, Input: kafka.TopicRaw, New: e.NewProcessor,
	}, func(stream.Output) error { outputs++; return nil }, nil)

	const n = 1 << 14
	keys, values := make([][]byte, n), make([][]byte, n)
	tick := func(at int64) []byte {
		t := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "c1", Time: epoch + at}}}
		return t.Append(nil)
	}
	record := func(i int) *schemas.FlowRecord {
		c := i / 2
		f := web
		f.at, f.start, f.end = int64(i/10), int64(i/10), int64(i/10)+20
		r := f.record(uint64(i + 1))
		client := netip.AddrFrom4([4]byte{10, byte(c >> 16), byte(c >> 8), byte(c)})
		r.SourceIPAddress = client
		if i%2 == 1 {
			r.SourceIPAddress, r.DestinationIPAddress = r.DestinationIPAddress, client
			r.SourceTransportPort, r.DestinationTransportPort = r.DestinationTransportPort, r.SourceTransportPort
		}
		return r
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%n == 0 {
			b.StopTimer()
			for j := range n {
				r := record(i + j)
				keys[j] = schemas.ConversationKey(nil, r)
				values[j] = r.Append(nil)
			}
			b.StartTimer()
		}
		if err := local.Push(keys[i%n], values[i%n]); err != nil {
			b.Fatal(err)
		}
		if i++; i%500 == 0 {
			if err := local.Push(nil, tick(int64(i/10)-1)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(outputs)/float64(i), "outputs/record")
}
