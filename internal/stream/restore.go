package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// LostError is a stated event: what Kafka holds and what a task's state says
// do not fit. It is never passed over in silence.
type LostError struct {
	Stage     string
	Partition int32
	What      string // what is gone
	// Resume is the offset at which a task that is started anew goes on, or
	// at the nearest one that is there. Negative: at the oldest.
	Resume int64
}

func (e *LostError) Error() string {
	return fmt.Sprintf("%s, partition %d: %s; to start this stage anew from what Kafka still holds, losing the state it had, set stream.on_lost=restart",
		e.Stage, e.Partition, e.What)
}

// settle is how long a recovery waits for the transaction markers of the
// task's last owner: longer than a transaction may last.
const settle = 15 * time.Second

// readStall is how long a read for recovery waits for one more record before
// it gives up; the session then starts over.
const readStall = 30 * time.Second

// restore brings a task back: its snapshots, then the input from there to
// committed with output off. committed is negative when the group has never
// committed the partition.
func (s *session) restore(ctx context.Context, partition int32, committed int64) (*task, error) {
	begin := time.Now()
	t, err := s.recoverTask(ctx, partition, committed)
	var lost *LostError
	if errors.As(err, &lost) && s.r.cfg.OnLost == OnLostRestart {
		s.r.deps.Log.Error("starting a task anew, its state is lost", "stage", s.r.stage.Name, "partition", partition, "reason", lost.What)
		t, err = s.freshTask(ctx, partition, lost.Resume)
	}
	if err != nil {
		return nil, err
	}
	t.metrics = s.r.metrics.task(partition)
	s.r.metrics.restoreSeconds.Observe(time.Since(begin).Seconds())
	s.r.deps.Log.Info("task ready", "stage", s.r.stage.Name, "partition", partition, "offset", t.position, "took", time.Since(begin).Round(time.Millisecond))
	return t, nil
}

func (s *session) newTask(partition int32) *task {
	// Gauges of a task that recovers would show the past.
	silent := newMetrics(discard{}, s.r.stage.Name).task(partition)
	t := newTask(s.r.stage.Name, s.input, partition, s.partitions, s.r.stage.New(), s.r.stage.MaxStall.Milliseconds(), silent)
	return t
}

// freshTask starts without state at an offset, or at the nearest that the log
// still has; negative: at its start.
func (s *session) freshTask(ctx context.Context, partition int32, at int64) (*task, error) {
	start, err := s.logStart(ctx, partition)
	if err != nil {
		return nil, err
	}
	end, err := s.logEnd(ctx, s.input, partition)
	if err != nil {
		return nil, err
	}
	t := s.newTask(partition)
	t.position = max(start, min(at, end))
	// Snapshots of an earlier life must not come back.
	if t.since, err = s.logEnd(ctx, s.state, partition); err != nil {
		return nil, err
	}
	t.remember()
	return t, nil
}

func (s *session) logStart(ctx context.Context, partition int32) (int64, error) {
	starts, err := s.admin.ListStartOffsets(ctx, s.input)
	return lookup(starts, err, "start", s.input, partition)
}

func (s *session) logEnd(ctx context.Context, topic string, partition int32) (int64, error) {
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	return lookup(ends, err, "end", topic, partition)
}

func lookup(offsets kadm.ListedOffsets, err error, what, topic string, partition int32) (int64, error) {
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w", what, topic, err)
	}
	o, ok := offsets.Lookup(topic, partition)
	if !ok {
		return 0, fmt.Errorf("%s of %s: no partition %d", what, topic, partition)
	}
	if o.Err != nil {
		return 0, fmt.Errorf("%s of %s, partition %d: %w", what, topic, partition, o.Err)
	}
	return o.Offset, nil
}

func (s *session) recoverTask(ctx context.Context, partition int32, committed int64) (*task, error) {
	lost := func(format string, args ...any) error {
		return &LostError{Stage: s.r.stage.Name, Partition: partition, What: fmt.Sprintf(format, args...), Resume: committed}
	}
	found, err := s.readState(ctx, partition, committed)
	if errors.Is(err, errFormat) {
		return nil, lost("the state in %s cannot be read (%v)", s.state, err)
	}
	if err != nil {
		return nil, err
	}
	record := found.task
	switch {
	case record == nil && committed < 0:
		return s.freshTask(ctx, partition, committed)
	case record == nil:
		return nil, lost("the group stands at offset %d but %s holds no state", committed, s.state)
	case record.TopicID != s.topicID:
		return nil, &LostError{Stage: s.r.stage.Name, Partition: partition, Resume: -1, What: fmt.Sprintf("%s is not the topic its state was made from: it was deleted and made anew", s.input)}
	case committed < 0:
		committed = record.Committed // where to go on
		return nil, lost("%s stands at offset %d but the group's offset is gone", s.state, record.Committed)
	case record.Committed != committed:
		return nil, lost("the group stands at offset %d but %s at %d", committed, s.state, record.Committed)
	case record.Partitions != s.partitions:
		return nil, lost("%s has %d partitions, its state was made from %d", s.input, s.partitions, record.Partitions)
	}
	t := s.newTask(partition)
	if err := t.load(found); err != nil {
		return nil, lost("the state in %s cannot be read (%v)", s.state, err)
	}
	if err := s.replay(ctx, t, committed); err != nil {
		return nil, err
	}
	return t, nil
}

// readState reads the task's partition of the state topic until its task
// record fits the offset that the group has committed. The offsets of a
// transaction and its other records become visible one partition after the
// other, so the record may lag for a moment.
func (s *session) readState(ctx context.Context, partition int32, committed int64) (*snapshots, error) {
	found := &snapshots{}
	var failed error
	var failedAt int64
	deadline := time.Now().Add(settle)
	next := int64(0)
	for {
		ends, err := s.admin.ListCommittedOffsets(ctx, s.state)
		end, err := lookup(ends, err, "end", s.state, partition)
		if err != nil {
			return nil, err
		}
		high, err := s.logEnd(ctx, s.state, partition)
		if err != nil {
			return nil, err
		}
		if end > next {
			err := s.read(ctx, s.state, partition, next, end, func(r *kgo.Record) error {
				if err := found.add(r.Offset, r.Key, r.Value); err != nil {
					failed, failedAt = err, r.Offset
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			next = end
		}
		if found.task != nil && failedAt < found.task.Since {
			failed = nil // it was given up already
		}
		fits := found.task == nil && committed < 0 || found.task != nil && (found.task.Committed == committed || found.task.TopicID != s.topicID)
		// As long as a transaction is open there the verdict has to wait.
		if failed != nil || fits || end == high && time.Now().After(deadline) {
			return found, failed
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// replay applies the input from the task's position to committed with output
// off.
func (s *session) replay(ctx context.Context, t *task, committed int64) error {
	start, err := s.logStart(ctx, t.partition)
	if err != nil {
		return err
	}
	end, err := s.logEnd(ctx, s.input, t.partition)
	if err != nil {
		return err
	}
	lost := &LostError{Stage: s.r.stage.Name, Partition: t.partition, Resume: committed}
	switch from := min(t.position, committed); {
	case start > from:
		lost.What = fmt.Sprintf("it needs %s from offset %d, retention has deleted all below %d", s.input, from, start)
		return lost
	case end < committed:
		lost.What = fmt.Sprintf("it stands at offset %d but %s ends at %d: brokers have lost records", committed, s.input, end)
		return lost
	}
	t.ctx.emit = nil
	defer func() { t.ctx.emit = t.emit }()
	if t.position < committed {
		err := s.read(ctx, s.input, t.partition, t.position, committed, func(r *kgo.Record) error {
			if err := t.apply(r.Offset, r.Key, r.Value); err != nil {
				return &brokenStageError{err}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.caughtUp(committed)
	return nil
}

// read hands the committed records of a partition from one offset to before
// another to each, through a client without a group. Control records are
// asked for, so that the end is seen even where nothing else stands there.
func (s *session) read(ctx context.Context, topic string, partition int32, from, to int64, each func(*kgo.Record) error) error {
	opts := append(s.r.deps.Options(false),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		// Offsets that are gone are an error: to go on elsewhere would skip.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for at := from; at < to; {
		poll, cancel := context.WithTimeout(ctx, readStall)
		fetches := cl.PollFetches(poll)
		stalled := poll.Err() != nil && fetches.NumRecords() == 0
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		if stalled {
			return fmt.Errorf("read %s, partition %d: nothing came for %v at offset %d of %d", topic, partition, readStall, at, to)
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s, partition %d: %w", e.Topic, e.Partition, e.Err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Offset >= to {
				return nil
			}
			at = r.Offset + 1
			if r.Attrs.IsControl() {
				continue
			}
			if err := each(r); err != nil {
				return err
			}
		}
	}
	return nil
}
