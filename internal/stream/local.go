package stream

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/schemas"
)

// Local runs a processor without Kafka: one task that has all key groups.
// What it puts out is what a Runner would for the same input, because both
// drive the same task. It is for recorded traffic in one process, and tests.
type Local struct {
	name string
	task *task
	out  func(Output) error
	tick func(schemas.Tick) error
	told int64
	next int64
}

// NewLocal returns a Local that hands every output to out as it comes about,
// and to tick what a stage downstream must be told of the time. Either may be
// nil.
func NewLocal(stage Stage, out func(Output) error, tick func(schemas.Tick) error) *Local {
	l := &Local{name: stage.Name, out: out, tick: tick, told: noWatermark}
	l.task = newTask(stage.Name, stage.Input, 0, 1, stage.New(), stallOf(stage.MaxStall), newMetrics(discard{}, stage.Name).task(0))
	return l
}

func stallOf(d time.Duration) int64 {
	if d <= 0 {
		return DefaultConfig().MaxStall.Milliseconds()
	}
	return d.Milliseconds()
}

// Push applies one record: data or a tick. value must not be changed
// afterwards.
func (l *Local) Push(key, value []byte) error {
	offset := l.next
	l.next++
	if err := l.task.apply(offset, key, value); err != nil {
		return err
	}
	for _, o := range l.task.due(l.next) {
		if l.out == nil {
			continue
		}
		if err := l.out(o.Output); err != nil {
			return err
		}
	}
	l.task.committed(l.next)
	if l.tick == nil || l.task.wm.Current <= l.told {
		return nil
	}
	l.told = l.task.wm.Current
	return l.tick(schemas.Tick{Upstreams: []schemas.Upstream{{Id: l.name + "/0", Of: 1, Time: l.told}}})
}

// Replay gives the log of one input partition to a fresh task, and what it puts
// out to out, in order: what the partition's task must have committed, whatever
// became of the processes that ran it. log holds the records and ticks of the
// partition as they are committed, from its beginning, with their offsets.
func Replay(stage Stage, partition int32, partitions int, log []*kgo.Record, out func(Output) error) error {
	t := newTask(stage.Name, stage.Input, partition, partitions, stage.New(), stallOf(stage.MaxStall), newMetrics(discard{}, stage.Name).task(partition))
	for _, r := range log {
		if err := t.apply(r.Offset, r.Key, r.Value); err != nil {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
		for _, o := range t.due(r.Offset + 1) {
			if err := out(o.Output); err != nil {
				return err
			}
		}
		t.committed(r.Offset + 1)
	}
	return nil
}
