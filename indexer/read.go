package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/indexer/ecs"
	"github.com/weir-flow/weir/schemas"
)

// LostError says that records to be read are gone from Kafka.
type LostError struct {
	Topic     string
	Partition int32
	Cause     error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("indexer: the records to be read next from %s-%d are gone (retention, or the topic was made anew); "+
		"set indexer.on_lost to restart to go on with the oldest that is kept: %v", e.Topic, e.Partition, e.Cause)
}

func (e *LostError) Unwrap() error { return e.Cause }

// read fills batches and hands them to the senders until ctx is done. It
// blocks while all batches are under way: then nothing more is fetched than
// what the client buffers, which is bounded.
func (x *Indexer) read(ctx context.Context) error {
	for ctx.Err() == nil {
		poll, cancel := ctx, context.CancelFunc(func() {})
		if d, ok := x.due(); ok {
			poll, cancel = context.WithDeadline(ctx, d)
		}
		fetches := x.client.PollRecords(poll, maxPoll)
		cancel()
		var runs []run
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if o := x.progress.owner(p.Topic, p.Partition); o != nil && len(p.Records) > 0 {
				runs = append(runs, run{o, p.Records, p.HighWatermark})
			}
		})
		x.client.AllowRebalance()
		if fetches.IsClientClosed() {
			return nil
		}
		if err := x.fetchErrors(ctx, fetches); err != nil {
			return err
		}
		for _, r := range runs {
			if !x.take(ctx, r) {
				break // ctx is done
			}
		}
		x.flushAged()
	}
	// An orderly stop: what was read is sent.
	for s := range x.filling {
		x.flush(s)
	}
	return nil
}

// run is what one poll gave of one partition.
type run struct {
	partition *partition
	records   []*kgo.Record
	high      int64
}

func (x *Indexer) fetchErrors(ctx context.Context, fetches kgo.Fetches) error {
	errs := fetches.Errors()
	if len(errs) == 0 && !fetches.Empty() {
		x.health.kafka(nil)
	}
	for _, e := range errs {
		switch {
		case errors.Is(e.Err, context.DeadlineExceeded) || ctx.Err() != nil || e.Topic == "" && errors.Is(e.Err, context.Canceled):
		case errors.Is(e.Err, kerr.OffsetOutOfRange):
			return &LostError{e.Topic, e.Partition, e.Err}
		default:
			var lost *kgo.ErrDataLoss
			if errors.As(e.Err, &lost) {
				if x.cfg.OnLost == OnLostFail {
					return &LostError{e.Topic, e.Partition, e.Err}
				}
				x.deps.Log.Error("indexer: records are gone from Kafka, going on as indexer.on_lost says",
					"topic", e.Topic, "partition", e.Partition, "error", e.Err)
				continue
			}
			// The client goes on trying; what it cannot mend is said here.
			x.health.kafka(fmt.Errorf("kafka: %s-%d: %w", e.Topic, e.Partition, e.Err))
		}
	}
	return nil
}

// due returns when the oldest batch being filled is to be sent.
func (x *Indexer) due() (d time.Time, ok bool) {
	for _, b := range x.filling {
		if b != nil && !b.empty() && (!ok || b.born.Before(d)) {
			d, ok = b.born, true
		}
	}
	return d.Add(x.cfg.BulkAge), ok
}

func (x *Indexer) flushAged() {
	now := time.Now()
	for s, b := range x.filling {
		if b != nil && !b.empty() && now.Sub(b.born) >= x.cfg.BulkAge {
			x.flush(s)
		}
	}
}

// flush hands the batch of a stream to the senders.
func (x *Indexer) flush(s int) {
	if b := x.filling[s]; b != nil && !b.empty() {
		x.filling[s] = nil
		b.size = len(b.body)
		x.metrics.inFlight.Add(float64(b.size))
		x.full <- b // has room for all the batches there are
	}
}

// batch returns the batch of a stream to add to, waiting for a free one. It
// returns nil when ctx is done.
func (x *Indexer) batch(ctx context.Context, s int) *batch {
	if x.filling[s] == nil {
		select {
		case b := <-x.free:
			b.stream, b.born = s, time.Now()
			x.filling[s] = b
		case <-ctx.Done():
			return nil
		}
	}
	return x.filling[s]
}

// take adds the records of a run to batches. It reports whether to go on.
func (x *Indexer) take(ctx context.Context, r run) bool {
	s := flowStream
	if r.partition.topic == x.topics[alertStream] {
		s = alertStream
	}
	name := streamNames[s]
	ingested := time.Now().UnixMilli()
	var b *batch
	var sp span
	records := 0
	for _, rec := range r.records {
		if b == nil {
			if b = x.batch(ctx, s); b == nil {
				return false
			}
			if b.empty() {
				b.born = time.Now()
			}
			sp = x.progress.open(r.partition)
			b.spans = append(b.spans, sp)
		}
		if s == flowStream && schemas.IsTick(rec.Value) {
			x.metrics.ticks.Inc()
		} else {
			records++
			x.append(b, rec, ingested)
		}
		x.progress.extend(sp, rec, r.high)
		if len(b.body) >= int(x.cfg.BulkBytes) {
			x.flush(s)
			b = nil
		}
	}
	x.metrics.records.WithLabelValues(name).Add(float64(records))
	return true
}

// append adds the document of a record to a batch, or the record to its dead.
func (x *Indexer) append(b *batch, rec *kgo.Record, ingested int64) {
	start := len(b.body)
	var err error
	if b.stream == flowStream {
		if err = x.flow.Unmarshal(rec.Value); err == nil {
			b.body = append(b.body, `{"create":{"_id":"`...)
			b.body = ecs.AppendID(b.body, ecs.DocumentID(&x.flow))
			b.body = append(b.body, "\"}}\n"...)
			b.body = x.encoder.AppendFlow(b.body, &x.flow, ingested)
			b.body = append(b.body, '\n')
		}
	} else {
		b.body, err = appendAlert(b.body, x.deps.Namespace, rec, ingested)
	}
	if err != nil {
		b.body = b.body[:start]
		b.dead = append(b.dead, deadLetter{rec, "cannot be decoded: " + err.Error()})
		x.metrics.undecodable.WithLabelValues(streamNames[b.stream]).Inc()
		return
	}
	b.items = append(b.items, item{start, len(b.body), rec})
}
