package collector

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/schemas"
)

// fakeKafka acknowledges in order, from its own goroutine, while it is up.
type fakeKafka struct {
	mu    sync.Mutex
	cond  *sync.Cond
	up    bool
	queue []fakeItem
	log   []fakeRecord
	idle  bool
	ended bool
}

type fakeItem struct {
	ctx     context.Context
	r       *kgo.Record
	promise func(*kgo.Record, error)
}

type fakeRecord struct {
	topic      string
	partition  int32
	key, value []byte
	headers    []kgo.RecordHeader
}

func newFakeKafka(t testing.TB, up bool) *fakeKafka {
	f := &fakeKafka{up: up, idle: true}
	f.cond = sync.NewCond(&f.mu)
	go f.run()
	t.Cleanup(func() {
		f.mu.Lock()
		f.ended = true
		f.cond.Broadcast()
		f.mu.Unlock()
	})
	return f
}

func (f *fakeKafka) run() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		for !f.ended && (!f.up || len(f.queue) == 0) {
			f.cond.Wait()
		}
		if f.ended {
			return
		}
		it := f.queue[0]
		f.queue = f.queue[1:]
		f.idle = false
		var err error
		if err = it.ctx.Err(); err == nil {
			r := it.r
			f.log = append(f.log, fakeRecord{r.Topic, r.Partition, append([]byte(nil), r.Key...), append([]byte(nil), r.Value...), r.Headers})
			if r.Key == nil {
				f.log[len(f.log)-1].key = nil
			}
		}
		f.mu.Unlock()
		it.promise(it.r, err)
		f.mu.Lock()
		f.idle = len(f.queue) == 0
		f.cond.Broadcast()
	}
}

func (f *fakeKafka) Produce(ctx context.Context, r *kgo.Record, promise func(*kgo.Record, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, fakeItem{ctx, r, promise})
	f.idle = false
	f.cond.Broadcast()
}

func (f *fakeKafka) Flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { f.mu.Lock(); f.cond.Broadcast(); f.mu.Unlock() })
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.idle && ctx.Err() == nil {
		f.cond.Wait()
	}
	if !f.idle {
		return ctx.Err()
	}
	return nil
}

func (f *fakeKafka) set(up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = up
	f.cond.Broadcast()
}

// records returns what topic holds, in order.
func (f *fakeKafka) records(topic string) []fakeRecord {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rs []fakeRecord
	for _, r := range f.log {
		if r.topic == topic {
			rs = append(rs, r)
		}
	}
	return rs
}

// wait waits until cond holds, looking again after each step of Kafka.
func (f *fakeKafka) wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// reader checks what a reader of raw partitions relies on.
type reader struct {
	t      testing.TB
	last   map[int32][2]int64 // boot, sequence
	tick   map[int32]int64
	left   map[int32]bool
	flows  []schemas.FlowRecord
	twice  int
	ticks  int
	missed int64
}

func newReader(t testing.TB) *reader {
	return &reader{t: t, last: map[int32][2]int64{}, tick: map[int32]int64{}, left: map[int32]bool{}}
}

func (r *reader) take(partition int32, key, value []byte) bool {
	r.t.Helper()
	if schemas.IsTick(value) {
		var tick schemas.Tick
		if err := tick.Unmarshal(value); err != nil || len(tick.Upstreams) != 1 {
			r.t.Fatalf("tick: %v %+v", err, tick)
		}
		u := tick.Upstreams[0]
		if u.Time < r.tick[partition] {
			r.t.Errorf("partition %d: tick %d after %d", partition, u.Time, r.tick[partition])
		}
		r.tick[partition], r.left[partition] = u.Time, u.Left
		r.ticks++
		return true
	}
	var f schemas.FlowRecord
	if err := f.Unmarshal(append([]byte(nil), value...)); err != nil {
		r.t.Fatal(err)
	}
	n := [2]int64{f.CollectorBoot, f.CollectorSequence}
	if l := r.last[partition]; n[0] < l[0] || n[0] == l[0] && n[1] <= l[1] {
		r.twice++ // the enricher drops it
		return true
	} else if n[0] == l[0] {
		r.missed += n[1] - l[1] - 1
	}
	r.last[partition] = n
	if f.StreamTime < r.tick[partition] {
		r.t.Errorf("partition %d: record at %d below the tick %d", partition, f.StreamTime, r.tick[partition])
	}
	r.flows = append(r.flows, f)
	return true
}

func (r *reader) takeAll(rs []fakeRecord) *reader {
	r.t.Helper()
	for _, x := range rs {
		r.take(x.partition, x.key, x.value)
	}
	return r
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s (-got +want)\n- %v\n+ %v", what, got, want)
	}
}

var quiet = slog.New(slog.DiscardHandler)

var errAway = errors.New("no Kafka")
