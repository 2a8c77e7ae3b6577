// Package stream runs keyed, event-time processors over Kafka partitions with
// exactly-once results: consume, process and produce in one transaction, with
// state that is recovered from Kafka alone.
//
// A processor is the logic of one input partition. What it puts out must be a
// function of the records it is given and of their order: no wall clock, no
// map iteration order, no randomness. The runner then promises that the
// committed output is the one that an undisturbed run would have had.
package stream

import (
	"math"
	"net/netip"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Never is the NextTimer of a key group that waits for nothing.
const Never int64 = math.MaxInt64

// Meta is what the runner needs to know of a decoded record.
type Meta struct {
	// StreamTime of the record in ms since the epoch.
	StreamTime int64
	// Upstream that wrote the record: a collector's id, or empty when the
	// input was written by transactions and cannot hold repeats.
	Upstream string
	// Boot and Sequence number the records of an upstream in this partition;
	// the runner drops what is not above the last pair it applied.
	Boot, Sequence int64
}

// Processor is the logic of one task: one input partition of one stage. The
// runner calls it from one goroutine at a time.
//
// State is held by key group (kafka.KeyGroup of the record's key). Apply and
// Advance may touch the state of the context's group only: groups are
// snapshotted and recovered one by one, each at an offset of its own.
type Processor interface {
	// Decode parses a record that is not a tick into the processor's own
	// scratch space. value stays valid until the next commit. An error sends
	// the record to the dead letter.
	Decode(key, value []byte) (Meta, error)
	// Apply applies the record that was last decoded. It reports whether the
	// state of the group changed. An error sends the record to the dead
	// letter; state must then be as before.
	Apply(c *Context) (changed bool, err error)
	// NextTimer returns the stream time of the group's earliest timer, Never
	// when there is none. It is called often and must be O(1).
	NextTimer(group int) int64
	// Advance fires the group's timers that are due at c.Watermark, in the
	// order of their keys. When the watermark passes several timers, the
	// runner steps it from timer to timer over all groups, in the order of
	// time and then of group, so that what is put out does not depend on how
	// ticks are spaced: c.Watermark is the timer's own time. Afterwards
	// NextTimer must be above c.Watermark.
	Advance(c *Context)
	// AppendState appends the state of a group to dst in a versioned format.
	// Empty: the group holds nothing. Equal states must give equal bytes.
	AppendState(dst []byte, group int) []byte
	// LoadState replaces the state of a group by what AppendState wrote.
	LoadState(group int, state []byte) error
}

// Context is the situation in which a record is applied or time advances.
type Context struct {
	// Partition and Offset of the input record that causes what happens: the
	// record applied, or the tick that advanced the watermark.
	Partition int32
	Offset    int64
	// Group is the key group whose state may be touched.
	Group int
	// Watermark is the stream time, ms since the epoch, below which nothing
	// more is expected; math.MinInt64 before the first tick. In Advance it is
	// the time of the timer that fires.
	Watermark int64
	// Delayed: the record's upstream was left behind; closed windows do not
	// see it.
	Delayed bool

	emit func(Output)
}

// Output is one record to be produced.
type Output struct {
	// Topic without prefix (kafka.TopicEnriched and so on).
	Topic string
	// StreamTime that the record carries, ms since the epoch; zero for what
	// is not part of a stream (alerts, dead letters). The runner refuses what
	// lies below the watermark, and so below the last tick.
	StreamTime int64
	// Key decides the partition through its key group.
	Key, Value []byte
	Headers    []kgo.RecordHeader
}

// Emit puts out a record in the transaction that commits the input record.
// The slices belong to the runner from then on. During recovery it does
// nothing, so a processor need not know.
func (c *Context) Emit(o Output) {
	if c.emit != nil {
		c.emit(o)
	}
}

// Replaying reports that the task is recovering and outputs are off, so that
// a processor may save the work of encoding them.
func (c *Context) Replaying() bool { return c.emit == nil }

// EmitTime returns the stream time that a record released now must carry:
// its own, or the watermark where that has passed it. Nothing is produced
// below the last tick.
func (c *Context) EmitTime(own int64) int64 { return max(own, c.Watermark) }

// AddressKey appends the key of records that belong to one address: the realm
// and the address as text, "realm/address".
func AddressKey(dst []byte, realm string, a netip.Addr) []byte {
	dst = append(dst, realm...)
	dst = append(dst, '/')
	return a.AppendTo(dst)
}
