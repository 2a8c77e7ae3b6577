package bed

import (
	"log/slog"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/collector"
	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/capture"
	"github.com/weir-flow/weir/internal/kafka"
)

// Feed puts generated traffic into the raw topic without a collector process:
// for tests of what comes after it. It returns what was generated.
func (b *Bed) Feed(cfg generator.Config) *generator.Generator {
	b.t.Helper()
	cl, err := kafka.NewClient(b.Config.Kafka, kafka.Dependencies{Log: slog.New(slog.DiscardHandler), Service: "test"}, kafka.RoleProducer)
	if err != nil {
		b.t.Fatal(err)
	}
	defer cl.Close()
	ctx := kafka.Pinned(b.t.Context())
	topic := b.Config.Kafka.TopicPrefix + kafka.TopicRaw
	var failed error
	var once sync.Once
	offline, err := collector.NewOffline(b.Config.Collector, collector.OfflineDependencies{
		Log: slog.New(slog.DiscardHandler), Partitions: Partitions,
		Reject: func(e *decode.Error) { b.t.Errorf("cannot be decoded: %v", e) },
		Out: func(partition int32, key, value []byte) bool {
			cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: partition, Key: slices.Clone(key), Value: slices.Clone(value)}, func(_ *kgo.Record, err error) {
				if err != nil {
					once.Do(func() { failed = err })
				}
			})
			return true
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	gen, err := generator.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	err = gen.Run(ctx, generator.SinkFunc(func(d capture.Datagram) error {
		offline.Datagram(d)
		return nil
	}))
	if err == nil {
		err = offline.Close()
	}
	if err == nil {
		err = cl.Flush(ctx)
	}
	if err == nil {
		err = failed
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return gen
}
