package kafka

import (
	"context"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Groups is the number of key groups. State is split by key group, and a
// partition holds the groups that are congruent to it modulo the partition
// count, so that state can follow a change of that count.
const Groups = 1024

// KeyGroup returns the key group of a record key, in [0, Groups).
func KeyGroup(key []byte) int { return int(xxhash.Sum64(key) % Groups) }

// PartitionOf returns the partition that holds a key group. partitions must
// be a power of two no larger than Groups.
func PartitionOf(group, partitions int) int32 { return int32(group & (partitions - 1)) }

// pinned is the context key of Pinned.
type pinned struct{}

// Pinned returns a context for Produce that keeps the record in the partition
// it names, although it has a key: the state of a task belongs beside the
// task's input, whatever the key hashes to.
func Pinned(ctx context.Context) context.Context { return context.WithValue(ctx, pinned{}, true) }

// Partitioner places records by their key group. A record without a key (a
// tick), or produced with a Pinned context, goes to the partition it names.
func Partitioner() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, n int) int {
			if r.Key == nil || r.Context != nil && r.Context.Value(pinned{}) != nil {
				return int(r.Partition)
			}
			return int(PartitionOf(KeyGroup(r.Key), n))
		}
	})
}
