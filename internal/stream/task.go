package stream

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

// clean marks a key group that has not changed since its last snapshot.
const clean int64 = -1

// task is the part of a stage that belongs to one input partition. It knows
// nothing of Kafka: records go in, outputs gather in pending. Runner and Local
// drive it alike, which is why both put out the same.
type task struct {
	stage     string
	topic     string // input topic, with prefix, for the dead letter
	partition int32
	stride    int // partitions of the input: groups are partition + k*stride
	proc      Processor
	metrics   *taskMetrics

	// position is the offset after the last record applied.
	position int64
	wm       watermarks
	// promised is the watermark before the current input: ticks downstream
	// may have said so much, and no output of it may lie below.
	promised int64
	applied  []appliedUpstream // in the order of ids
	timers   *timers           // by index of group

	// firstDirty is, by index, the offset of the first record that changed
	// the group since its last committed snapshot; or clean.
	firstDirty []int64
	// skip is, by index, the offset below which a recovering task ignores
	// records, because the group's snapshot holds them. Nil when not recovering.
	skip []int64
	// asleep are the indices whose snapshot lies ahead of a recovering task,
	// the nearest last: until the input gets there they have no timers, or a
	// tick that came before the snapshot would fire them.
	asleep []int

	// pending are the outputs since the last commit in the order they came
	// about; the first sent of them are in the open transaction.
	pending []taggedOutput
	sent    int

	// since is where in the state topic the task's life begins.
	since int64
	// marks are points from which a recovery may start, oldest first.
	marks []mark

	// counts are what metrics will show when it is committed: what is dropped
	// with a task, and applied again by another, must not count twice.
	counts counts

	heard schemas.Tick // scratch
	ctx   Context
}

// counts of records since the last commit; see metrics for their meaning.
type counts struct{ records, repeated, delayed, missing, refused, panics int64 }

func (c *counts) flush(m *taskMetrics) {
	m.records.Add(float64(c.records))
	m.repeated.Add(float64(c.repeated))
	m.delayed.Add(float64(c.delayed))
	m.missing.Add(float64(c.missing))
	m.refused.Add(float64(c.refused))
	m.panics.Add(float64(c.panics))
	*c = counts{}
}

// taggedOutput is an output with the offset of the input that caused it, so
// that after an abort it is sent again with that input.
type taggedOutput struct {
	Output
	cause int64
}

// appliedUpstream is the last record applied of an upstream that may repeat
// itself after a crash.
type appliedUpstream struct {
	ID       string `json:"id"`
	Boot     int64  `json:"boot"`
	Sequence int64  `json:"sequence"`
}

// mark is what a task knew, beside the state of its groups, at an offset.
type mark struct {
	Offset     int64             `json:"offset"`
	Watermarks watermarks        `json:"watermarks"`
	Applied    []appliedUpstream `json:"applied,omitempty"`
}

func newTask(stage, topic string, partition int32, partitions int, p Processor, maxStall int64, m *taskMetrics) *task {
	n := kafka.Groups / partitions
	t := &task{
		stage: stage, topic: topic, partition: partition, stride: partitions, proc: p, metrics: m,
		wm: newWatermarks(maxStall), timers: newTimers(n), firstDirty: make([]int64, n),
	}
	for i := range t.firstDirty {
		t.firstDirty[i] = clean
	}
	t.ctx.Partition = partition
	t.ctx.emit = t.emit
	return t
}

// group returns the key group with an index, index its reverse.
func (t *task) group(index int) int { return int(t.partition) + index*t.stride }
func (t *task) index(group int) int { return (group - int(t.partition)) / t.stride }

// owns tells whether a key group lies in the task's partition.
func (t *task) owns(group int) bool { return group%t.stride == int(t.partition) }

// apply applies one input record. Records below the position were applied
// before an abort: their outputs are waiting in pending, nothing else is due.
// A record that cannot be read or applied goes to the dead letter; an error
// means that the stage itself is wrong and must not go on.
func (t *task) apply(offset int64, key, value []byte) error {
	if offset < t.position {
		return nil
	}
	t.ctx.Offset = offset
	t.wake(offset)
	t.position = offset + 1
	t.promised = t.wm.Current
	if schemas.IsTick(value) {
		return t.tick(value)
	}
	meta, err := t.decode(key, value)
	if err != nil {
		t.refuse(key, value, err)
		return nil
	}
	if meta.Upstream != "" && !t.fresh(meta) {
		t.counts.repeated++
		return nil
	}
	group := kafka.KeyGroup(key)
	if !t.owns(group) {
		t.refuse(key, value, fmt.Errorf("key group %d does not belong to partition %d of %d: the producer must place records with Weir's partitioner", group, t.partition, t.stride))
		return nil
	}
	i := t.index(group)
	if t.skip != nil && offset < t.skip[i] {
		return nil
	}
	t.ctx.Group = group
	t.ctx.Watermark = t.wm.Current
	t.ctx.Delayed = meta.StreamTime < t.wm.Current
	if t.ctx.Delayed {
		t.counts.delayed++
	}
	t.counts.records++
	changed, err := t.applyDecoded()
	if err != nil {
		t.refuse(key, value, err)
	}
	if changed {
		t.touch(i, offset)
	}
	return t.violation()
}

// tick takes in a tick and steps the watermark through the timers it passes.
func (t *task) tick(value []byte) error {
	if err := t.heard.Unmarshal(value); err != nil {
		t.refuse(nil, value, fmt.Errorf("tick: %w", err))
		return nil
	}
	out := t.wm.apply(&t.heard)
	t.metrics.leftOut.Set(float64(out))
	if t.wm.Current == noWatermark {
		return nil
	}
	t.ctx.Delayed = false
	for {
		i, at := t.timers.first()
		if at > t.wm.Current {
			break
		}
		// A delayed record may have set a timer that lies in the past.
		t.ctx.Group, t.ctx.Watermark = t.group(i), max(at, t.promised)
		failed := t.advance()
		t.touch(i, t.ctx.Offset)
		if failed != nil && t.timers.at[i] <= at {
			// It would come again for ever, also after a restart: the group
			// pays for it, here and in every replay.
			if err := t.proc.LoadState(t.ctx.Group, nil); err != nil {
				return fmt.Errorf("%s: empty key group %d after a panic: %w", t.stage, t.ctx.Group, err)
			}
			t.touch(i, t.ctx.Offset)
		}
		if next := t.timers.at[i]; next <= at {
			return fmt.Errorf("%s: timer of key group %d stays at %d after it fired", t.stage, t.ctx.Group, next)
		}
	}
	t.metrics.watermark.Set(float64(t.wm.Current) / 1000)
	return t.violation()
}

// touch notes that the state of a group changed at an offset.
func (t *task) touch(i int, offset int64) {
	if t.firstDirty[i] == clean {
		t.firstDirty[i] = offset
	}
	t.timers.set(i, t.proc.NextTimer(t.group(i)))
}

// decode, applyDecoded and advance keep a panic in a processor from costing
// more than the record that met it.
func (t *task) decode(key, value []byte) (m Meta, err error) {
	defer recovered(&err)
	return t.proc.Decode(key, value)
}

func (t *task) applyDecoded() (changed bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			// What it did before it panicked stands, here and in every replay.
			changed, err = true, fmt.Errorf("panic: %v", r)
			t.counts.panics++
		}
	}()
	return t.proc.Apply(&t.ctx)
}

// advance fires the timers of a group, and reports a panic.
func (t *task) advance() (err error) {
	func() {
		defer recovered(&err)
		t.proc.Advance(&t.ctx)
	}()
	if err != nil {
		t.counts.panics++
		t.refuse(nil, nil, fmt.Errorf("timer of key group %d at %d: %w", t.ctx.Group, t.ctx.Watermark, err))
	}
	return err
}

// wake gives the groups whose snapshot was made at or before an offset their
// timers.
func (t *task) wake(offset int64) {
	for n := len(t.asleep); n > 0 && t.skip[t.asleep[n-1]] <= offset; n = len(t.asleep) {
		i := t.asleep[n-1]
		t.asleep = t.asleep[:n-1]
		t.timers.set(i, t.proc.NextTimer(t.group(i)))
	}
}

// caughtUp ends a recovery at an offset: nothing is skipped from now on.
func (t *task) caughtUp(offset int64) {
	// Control records may stand between the last record and what was committed.
	t.position = offset
	t.wake(math.MaxInt64)
	t.skip, t.asleep = nil, nil
	// What was replayed was counted when it was applied first.
	t.counts = counts{}
}

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}

// fresh reports whether a record lies above the last one applied of its
// upstream, and notes it. What is missing in between is counted: it was lost
// before it came to Kafka.
func (t *task) fresh(m Meta) bool {
	i, found := slices.BinarySearchFunc(t.applied, m.Upstream, func(a appliedUpstream, id string) int { return strings.Compare(a.ID, id) })
	if !found {
		t.applied = slices.Insert(t.applied, i, appliedUpstream{ID: strings.Clone(m.Upstream), Boot: math.MinInt64})
	}
	a := &t.applied[i]
	if m.Boot < a.Boot || m.Boot == a.Boot && m.Sequence <= a.Sequence {
		return false
	}
	if m.Boot == a.Boot && m.Sequence > a.Sequence+1 {
		t.counts.missing += m.Sequence - a.Sequence - 1
	}
	a.Boot, a.Sequence = m.Boot, m.Sequence
	return true
}

// maxOutput bounds an output in bytes, so that with its headers it stays below
// the brokers' default of 1 MB a batch: one record that no broker takes would
// abort every transaction for ever.
const maxOutput = 900 << 10

// emit gathers an output of the processor.
func (t *task) emit(o Output) {
	if size := len(o.Key) + len(o.Value); size > maxOutput {
		t.refuse(o.Key, o.Value, fmt.Errorf("output to %s of %d bytes is larger than the %d that a broker surely takes", o.Topic, size, maxOutput))
		return
	}
	t.pending = append(t.pending, taggedOutput{Output: o, cause: t.ctx.Offset})
}

// refuse sends the input record to the dead letter.
func (t *task) refuse(key, value []byte, reason error) {
	if t.ctx.Replaying() {
		return // it is there already
	}
	t.counts.refused++
	key, value = key[:min(len(key), 1<<10)], value[:min(len(value), maxOutput-2<<10)]
	why := reason.Error()
	source := t.topic + "-" + strconv.Itoa(int(t.partition)) + "-" + strconv.FormatInt(t.ctx.Offset, 10)
	t.emit(Output{
		Topic: kafka.TopicDeadLetter, Key: []byte(source), Value: value,
		Headers: []kgo.RecordHeader{
			{Key: "stage", Value: []byte(t.stage)},
			{Key: "reason", Value: []byte(why[:min(len(why), 1<<10)])},
			{Key: "source", Value: []byte(source)},
			{Key: "key", Value: key},
		},
	})
}

// violation reports an output below the watermark: downstream it would lie
// below a tick that was already sent.
func (t *task) violation() error {
	for i := len(t.pending) - 1; i >= 0 && t.pending[i].cause == t.ctx.Offset; i-- {
		o := &t.pending[i]
		if o.StreamTime != 0 && o.StreamTime < t.promised {
			return fmt.Errorf("%s: output to %s with stream time %d lies below the watermark %d", t.stage, o.Topic, o.StreamTime, t.promised)
		}
	}
	return nil
}

// minDirty returns the offset of the oldest change that no snapshot holds.
func (t *task) minDirty() int64 {
	low := t.position
	for _, o := range t.firstDirty {
		if o != clean {
			low = min(low, o)
		}
	}
	return low
}

// maxMarks bounds the marks of a task. With more, every other one goes: a
// recovery then starts a little earlier.
const maxMarks = 256

// remember adds a mark at the position.
func (t *task) remember() {
	if len(t.marks) >= maxMarks {
		kept := t.marks[:0]
		for i := 0; i < len(t.marks); i += 2 {
			kept = append(kept, t.marks[i])
		}
		clear(t.marks[len(kept):])
		t.marks = kept
	}
	if n := len(t.marks); n > 0 && t.marks[n-1].Offset == t.position {
		return
	}
	t.marks = append(t.marks, mark{Offset: t.position, Watermarks: t.wm.clone(), Applied: slices.Clone(t.applied)})
}

// replayFrom returns the latest mark from which a recovery to committed finds
// everything that no snapshot holds, and forgets the older ones.
func (t *task) replayFrom(committed int64) mark {
	low := min(t.minDirty(), committed)
	i := len(t.marks) - 1
	for i > 0 && t.marks[i].Offset > low {
		i--
	}
	t.marks = slices.Delete(t.marks, 0, i)
	return t.marks[0]
}

// due returns the outputs that belong to inputs below consumed and are not in
// the open transaction yet.
func (t *task) due(consumed int64) []taggedOutput {
	from := t.sent
	for t.sent < len(t.pending) && t.pending[t.sent].cause < consumed {
		t.sent++
	}
	return t.pending[from:t.sent]
}

// committed forgets what a commit at an offset has made durable.
func (t *task) committed(offset int64) {
	n := 0
	for n < len(t.pending) && t.pending[n].cause < offset {
		n++
	}
	if n == len(t.pending) {
		clear(t.pending)
		t.pending = t.pending[:0]
	} else {
		t.pending = slices.Delete(t.pending, 0, n)
	}
	t.sent = 0
	if offset == t.position {
		t.counts.flush(t.metrics)
	}
}

// aborted makes everything pending due again.
func (t *task) aborted() { t.sent = 0 }
