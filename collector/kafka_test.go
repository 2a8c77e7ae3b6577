package collector

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

var _ Producer = (*kgo.Client)(nil)

// The real client, with the house options: keys and partitions agree with the
// numbering, ticks are where they were meant, and a broker that is away for a
// while costs nothing.
func TestRealClient(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(8, "weir.flows.raw", "weir.deadletter"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	kcfg := kafka.DefaultConfig()
	kcfg.Brokers = cluster.ListenAddrs()
	client, err := kafka.NewClient(kcfg, kafka.Dependencies{Log: quiet, Service: "collector"}, kafka.RoleProducer, ProducerOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deps := kafkaDeps(client)
	deps.Partitions = func(context.Context) (int, error) { return 8, nil }
	cfg := testConfig(t)
	cfg.Workers, cfg.Spool.MemoryBytes = 2, 64<<10 // so that the spool is used
	c := start(t, cfg, deps)
	conn := dial(t, c)
	const datagrams = 300
	for n := range datagrams {
		conn.Write(v5Datagram(n*30, 30, time.Now().Unix()))
		if n%30 == 0 {
			time.Sleep(time.Millisecond) // one socket buffer holds it all on most systems; be kind to small ones
		}
	}
	stop(t, c)

	consumer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("weir.flows.raw"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	want := c.Stats().Protocol[schemas.ExportProtocolNETFLOW_V5].Flows.Load()
	equal(t, "received + dropped by the kernel", want+30*c.KernelDrops(), datagrams*30)
	r := newReader(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := func() bool {
		for p := range int32(8) {
			if !r.left[p] {
				return false
			}
		}
		return uint64(len(r.flows)) >= want
	}
	for !done() {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d flows", len(r.flows), want)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if rec.Key != nil {
				if p := kafka.PartitionOf(kafka.KeyGroup(rec.Key), 8); p != rec.Partition {
					t.Errorf("partition %d of a key of partition %d", rec.Partition, p)
				}
			}
			r.take(rec.Partition, rec.Key, rec.Value)
		})
	}
	equal(t, "flows", uint64(len(r.flows)), want)
	equal(t, "missed", r.missed, 0)
}

func BenchmarkSender(b *testing.B) {
	s := newSender(discard{}, "raw", lanes, nil, 16<<20, time.Second, quiet, nil)
	s.start()
	key, value := []byte("12345678"), make([]byte, 200)
	b.ReportAllocs()
	for i := range b.N {
		s.send(int32(i%lanes), key, value)
	}
}

// discard acknowledges at once, from its own goroutine's place: it may, for
// nothing in the sender is locked then.
type discard struct{}

func (discard) Produce(_ context.Context, r *kgo.Record, promise func(*kgo.Record, error)) {
	promise(r, nil)
}
func (discard) Flush(context.Context) error { return nil }
