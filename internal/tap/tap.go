// Package tap reads a topic of Weir's and prints its records as NDJSON: what
// is committed, from one point in time to another, and what comes.
package tap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Options of a tap.
type Options struct {
	// Topic is one of Topics' names, or a topic's own.
	Topic string
	// From and To bound the records by when they were produced (the time that
	// Kafka keeps); zero: from the oldest (with Follow: from now), to the
	// newest.
	From, To time.Time
	// Limit is the number of records printed at most, 0 for no limit.
	Limit int
	// Follow waits for more at the end.
	Follow bool
	// Where is an expression over the printed object; only records for which
	// it is true are printed.
	Where string
	// Meta adds topic, partition, offset, time and key as "@kafka".
	Meta bool
	// Ticks prints the ticks, too.
	Ticks bool
}

// Stats of a tap.
type Stats struct {
	// Read and Printed records, ticks included where they are asked for.
	Read, Printed int
	// Failed counts records for which the expression could not be evaluated,
	// and FirstFailure is why.
	Failed       int
	FirstFailure error
}

// answerTimeout bounds the wait for the broker's first answer.
const answerTimeout = 10 * time.Second

// Run reads until the end of what was there when it began, until the limit or
// until ctx is done, which is no error. client are the options of the
// process's Kafka client, prefix that of the topics.
func Run(ctx context.Context, client []kgo.Opt, prefix string, out io.Writer, o Options) (Stats, error) {
	topic, err := resolve(o.Topic, prefix)
	if err != nil {
		return Stats{}, err
	}
	t := &tap{o: o, out: bufio.NewWriterSize(out, 64<<10), format: formatter{topic: topic, prefix: prefix, meta: o.Meta, ticks: o.Ticks}}
	if o.Where != "" {
		if t.filter, err = newFilter(o.Where, t.format.recordType()); err != nil {
			return Stats{}, err
		}
	}
	span, err := t.span(ctx, client, prefix+topic)
	if err != nil {
		return Stats{}, err
	}
	err = t.read(ctx, client, span)
	if ctx.Err() != nil {
		err = nil
	}
	return t.stats, errors.Join(err, t.out.Flush())
}

type tap struct {
	o      Options
	out    *bufio.Writer
	format formatter
	filter *filter
	stats  Stats
	line   []byte
}

// span is what is read of a topic.
type span struct {
	topic string
	start map[int32]kgo.Offset
	// end is the offset, per partition, at which reading ends; a partition
	// that is done is not in it. Nil: never.
	end map[int32]int64
}

// span asks the broker where to begin and to end.
func (t *tap) span(ctx context.Context, opts []kgo.Opt, topic string) (*span, error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	adm := kadm.NewClient(cl)
	offsets := func(what kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
		if err == nil {
			err = what.Error()
		}
		if errors.Is(err, kerr.UnknownTopicOrPartition) || err == nil && len(what[topic]) == 0 {
			return nil, fmt.Errorf("topic %s is not there (weir setup makes the topics)", topic)
		}
		if err != nil {
			return nil, fmt.Errorf("kafka does not answer (check kafka.brokers): %w", err)
		}
		return what, nil
	}
	// What is not committed is not there.
	newest, err := offsets(adm.ListCommittedOffsets(ctx, topic))
	if err != nil {
		return nil, err
	}
	oldest, err := offsets(adm.ListStartOffsets(ctx, topic))
	if err != nil {
		return nil, err
	}
	begin, end := oldest, newest
	switch {
	case !t.o.From.IsZero():
		begin, err = offsets(adm.ListOffsetsAfterMilli(ctx, t.o.From.UnixMilli(), topic))
	case t.o.Follow:
		begin = newest
	}
	if err == nil && !t.o.To.IsZero() {
		end, err = offsets(adm.ListOffsetsAfterMilli(ctx, t.o.To.UnixMilli(), topic))
	}
	if err != nil {
		return nil, err
	}
	s := &span{topic: topic, start: map[int32]kgo.Offset{}}
	follow := t.o.Follow && t.o.To.IsZero()
	if !follow {
		s.end = map[int32]int64{}
	}
	for p, b := range begin[topic] {
		// With read committed, an offset may lie beyond the newest committed.
		last := min(end[topic][p].Offset, newest[topic][p].Offset)
		if !follow {
			if b.Offset >= last {
				continue
			}
			s.end[p] = last
		}
		s.start[p] = kgo.NewOffset().At(b.Offset)
	}
	return s, nil
}

// idle is how long a broker that answers may send nothing before what is left
// is taken for aborted or compacted away.
const idle = 3 * time.Second

func (t *tap) read(ctx context.Context, opts []kgo.Opt, s *span) error {
	if s.end != nil && len(s.end) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: s.start}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The end of a partition may be the marker of a transaction, which is
		// no record: to see it is to know that the end is reached.
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		poll, cancel := context.WithTimeout(ctx, idle)
		fetches := cl.PollFetches(poll)
		expired := poll.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if fetches.NumRecords() == 0 {
			// Nothing came although there is more: a broker that is there has
			// nothing left that is committed.
			if expired && s.end != nil && cl.Ping(ctx) == nil {
				return nil
			}
			if expired {
				continue
			}
		}
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				return fmt.Errorf("read %s partition %d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		var full bool
		fetches.EachRecord(func(r *kgo.Record) {
			if s.end != nil {
				last := s.end[r.Partition] - 1
				if r.Offset >= last {
					delete(s.end, r.Partition)
				}
				if r.Offset > last { // also when the partition is done: 0 - 1
					return
				}
			}
			if full {
				return
			}
			if !r.Attrs.IsControl() && err == nil {
				err = t.record(r)
			}
			full = t.o.Limit > 0 && t.stats.Printed >= t.o.Limit
		})
		if err != nil || full || s.end != nil && len(s.end) == 0 {
			return err
		}
		if err := t.out.Flush(); err != nil {
			return err
		}
	}
}

func (t *tap) record(r *kgo.Record) error {
	t.line = t.format.append(t.line[:0], r)
	if len(t.line) == 0 {
		return nil
	}
	t.stats.Read++
	if t.filter != nil {
		ok, err := t.filter.match(t.line)
		if err != nil {
			t.stats.Failed++
			if t.stats.FirstFailure == nil {
				t.stats.FirstFailure = err
			}
		}
		if !ok {
			return nil
		}
	}
	t.stats.Printed++
	t.line = append(t.line, '\n')
	_, err := t.out.Write(t.line)
	return err
}

// ParseTime reads a point in time: RFC 3339, a date, or how long before now
// (15m, 2h, 7d).
func ParseTime(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t, nil
	}
	ago := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil {
			ago = strconv.FormatFloat(n*24, 'f', -1, 64) + "h"
		}
	}
	if d, err := time.ParseDuration(ago); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("want a time such as 2026-03-01T08:00:00Z, a date, or how long ago such as 15m, not %q", s)
}
