package bed

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
)

// Log reads all committed records of a topic (its name without prefix), ticks
// among them, by partition and in the order of offsets.
func (b *Bed) Log(topic string) [][]*kgo.Record {
	b.t.Helper()
	logs, err := b.read(topic, nil)
	if err != nil {
		b.t.Fatalf("read %s: %v", topic, err)
	}
	return logs
}

// Records are those of a Log that keep returns true for, one partition after
// the other.
func Records(logs [][]*kgo.Record, keep func(*kgo.Record) bool) (rs []*kgo.Record) {
	for _, log := range logs {
		for _, r := range log {
			if keep == nil || keep(r) {
				rs = append(rs, r)
			}
		}
	}
	return rs
}

// Drain waits until everything that stands in the topics was applied, from
// stage to stage, and is in Elasticsearch where the bed has one.
func (b *Bed) Drain() {
	b.t.Helper()
	steps := []struct{ group, topic string }{
		{kafka.StageEnricher, kafka.TopicRaw}, {kafka.StageDetector, kafka.TopicEnriched}, {kafka.StageMerge, kafka.TopicMerge},
	}
	if b.es != nil {
		steps = append(steps, struct{ group, topic string }{"indexer", kafka.TopicEnriched}, struct{ group, topic string }{"indexer", kafka.TopicAlerts})
	}
	for _, s := range steps {
		b.Eventually(s.group+" has done "+s.topic, time.Minute, func() error { return b.behind(s.group, s.topic) })
	}
}

// behind says how many committed records of a topic a group has not committed.
// Offsets alone do not tell: markers and aborted records take some.
func (b *Bed) behind(group, topic string) error {
	committed, err := b.Admin().FetchOffsets(b.t.Context(), b.Config.Kafka.TopicPrefix+group)
	if err != nil {
		return err
	}
	from := make([]int64, Partitions)
	for p := range from {
		if o, ok := committed.Lookup(b.Config.Kafka.TopicPrefix+topic, int32(p)); ok {
			from[p] = o.At
		}
	}
	logs, err := b.read(topic, from)
	if err != nil {
		return err
	}
	if n := len(Records(logs, nil)); n > 0 {
		return fmt.Errorf("%d records behind", n)
	}
	return nil
}

// read reads what is committed of a topic from the given offsets on; nil is
// the beginning.
func (b *Bed) read(topic string, from []int64) ([][]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	name := b.Config.Kafka.TopicPrefix + topic
	ends, err := b.Admin().ListCommittedOffsets(ctx, name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	logs := make([][]*kgo.Record, len(ends[name]))
	missing := 0
	start := map[int32]kgo.Offset{}
	last := map[int32]int64{}
	ends.Each(func(e kadm.ListedOffset) {
		at := int64(0)
		if from != nil {
			at = from[e.Partition]
		}
		if at < e.Offset {
			start[e.Partition], last[e.Partition] = kgo.NewOffset().At(at), e.Offset-1
			missing++
		}
	})
	if missing == 0 {
		return logs, nil
	}
	// With control records shown, the last offset always is: as a record, or
	// as the marker that ended a transaction.
	cl, err := kafka.NewClient(b.Config.Kafka, kafka.Dependencies{Log: slog.New(slog.DiscardHandler), Service: "test"}, kafka.RoleConsumer,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: start}), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for missing > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() && r.Offset <= last[r.Partition] {
				logs[r.Partition] = append(logs[r.Partition], r)
			}
			if r.Offset == last[r.Partition] {
				missing--
			}
		})
	}
	return logs, nil
}
