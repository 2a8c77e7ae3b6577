package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/collector/spool"
)

// Producer is what the sender needs of a Kafka client; *kgo.Client is one. It
// must keep records until they are acknowledged, without a timeout, and call
// the promise from another goroutine than Produce.
type Producer interface {
	Produce(ctx context.Context, r *kgo.Record, promise func(*kgo.Record, error))
	Flush(ctx context.Context) error
}

// maxInFlight bounds the records in memory, beside their octets.
const maxInFlight = 1 << 16

// ProducerOptions are what the sender needs of its client, to be given after
// the house options: it bounds what waits itself, and a client that blocks
// would stop the sockets.
func ProducerOptions() []kgo.Opt {
	return []kgo.Opt{kgo.MaxBufferedRecords(4 * maxInFlight), kgo.MaxBufferedBytes(1 << 30)}
}

// sender brings records to Kafka, directly or through the spool.
//
// A record is in one of three places: in flight (the producer has it; it is in
// its partition's list), spooled, or both. When Kafka is slow or away a
// partition turns to the spool: first what it has in flight is written there,
// in order, then what comes. The drainer gives spooled entries to the
// producer, again in order, except those that are still in flight. When all
// are given, records go directly again: the producer keeps their order.
//
// Locks: a partition's order lock (the sequencer's, held by callers of send)
// is taken before the spool's; list locks are innermost.
type sender struct {
	producer Producer
	topic    string
	spool    *spool.Spool // nil: none
	limit    int64        // octets in flight
	after    time.Duration
	log      *slog.Logger
	stats    *senderStats
	fail     func(error)

	ctx    context.Context // of the producer: ends when records are given up
	cancel context.CancelFunc

	spooling atomic.Bool  // records go to the spool
	epoch    atomic.Int64 // counts turns to the spool
	octets   atomic.Int64 // in flight
	records  atomic.Int64
	progress atomic.Int64 // when the last acknowledgement came, or waiting began; UnixNano
	now      atomic.Int64 // about now, UnixNano: asking for it per record is a fifth of the cost

	lanes []lane
	pool  sync.Pool

	window  window
	kick    chan struct{} // the drainer has something to do
	drained chan struct{} // the drainer is done
	stop    chan struct{}

	spoolErr atomic.Int64 // UnixNano of the last complaint
}

type senderStats struct {
	sent, acked, ticks              atomic.Uint64 // records
	spooled, replayed               atomic.Uint64
	droppedFull, droppedSpool       atomic.Uint64
	droppedProduce, turnsToTheSpool atomic.Uint64
}

// lane is a partition's list of what is in flight, in order.
type lane struct {
	mu          sync.Mutex
	first, last *item
	epoch       int64 // of the turn whose spooling covers the list
	_           [64]byte
}

// item is a record in flight.
type item struct {
	record     kgo.Record
	promise    func(*kgo.Record, error)
	lane       *lane
	prev, next *item
	position   int64 // in the spool, -1 when it is not there
	direct     bool  // in its lane's list
	partition  int32
	tick       bool
}

func newSender(producer Producer, topic string, partitions int, sp *spool.Spool, limit int64, after time.Duration, log *slog.Logger, fail func(error)) *sender {
	s := &sender{
		producer: producer, topic: topic, spool: sp, limit: limit, after: after, log: log, stats: new(senderStats), fail: fail,
		lanes: make([]lane, partitions), kick: make(chan struct{}, 1), drained: make(chan struct{}), stop: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pool.New = func() any {
		it := new(item)
		it.promise = func(r *kgo.Record, err error) { s.done(it, r, err) }
		return it
	}
	s.window.s = s
	return s
}

// start begins to send what an earlier boot left.
func (s *sender) start() {
	s.now.Store(time.Now().UnixNano())
	s.progress.Store(s.now.Load())
	go s.keepTime()
	if s.spool == nil {
		close(s.drained)
		return
	}
	if _, waiting := s.spool.Size(); waiting > 0 {
		s.log.Info("sending what an earlier run spooled", "octets", waiting)
		s.epoch.Add(1)
		s.spooling.Store(true)
	}
	go s.drain()
	s.wake()
}

func (s *sender) keepTime() {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-t.C:
			s.now.Store(now.UnixNano())
		}
	}
}

func (s *sender) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// send is the sequencer's Out.
func (s *sender) send(partition int32, key, value []byte) bool {
	tick := key == nil
	if tick {
		s.stats.ticks.Add(1)
	} else {
		s.stats.sent.Add(1)
	}
	l := &s.lanes[partition]
	if !s.spooling.Load() && s.pressed() {
		if s.spool == nil {
			if tick {
				return true // a later one says as much
			}
			s.stats.droppedFull.Add(1)
			return false
		}
		s.turn()
	}
	if s.spooling.Load() {
		taken, done := s.toSpool(l, partition, key, value)
		if done {
			if !taken && !tick {
				s.stats.droppedSpool.Add(1)
			}
			return taken
		}
		// The spool ran empty meanwhile: directly, behind what it gave.
	}
	it := s.item(partition, key, value)
	it.tick, it.direct = tick, true
	l.mu.Lock()
	if it.prev = l.last; it.prev != nil {
		it.prev.next = it
	} else {
		l.first = it
	}
	l.last, it.lane = it, l
	l.mu.Unlock()
	s.produce(it)
	return true
}

// pressed reports that Kafka does not keep up: too much is in flight, or
// nothing of it was acknowledged for too long.
func (s *sender) pressed() bool {
	return s.octets.Load() > s.limit || s.records.Load() > maxInFlight || s.stalled()
}

// stalled reports that records wait and none was acknowledged for too long.
func (s *sender) stalled() bool {
	return s.records.Load() > 0 && s.now.Load()-s.progress.Load() > int64(s.after)
}

// flushSpool hands what was spooled to the operating system, out of reach of
// a kill of the process.
func (s *sender) flushSpool() {
	if s.spooling.Load() {
		if err := s.spool.Flush(); err != nil {
			s.complain(err)
		}
	}
}

// turn begins to spool.
func (s *sender) turn() {
	s.epoch.Add(1)
	if s.spooling.CompareAndSwap(false, true) {
		s.stats.turnsToTheSpool.Add(1)
		s.log.Warn("Kafka does not keep up: records go to the spool", "in_flight", s.records.Load(), "octets", s.octets.Load())
	}
	s.wake()
}

// toSpool writes what the partition has in flight, once a turn, and then the
// record. done is false when spooling ended before it was written.
func (s *sender) toSpool(l *lane, partition int32, key, value []byte) (taken, done bool) {
	if e := s.epoch.Load(); l.epoch != e {
		l.epoch = e
		s.spoolInFlight(l)
	}
	_, done, err := s.spool.AppendIf(s.spooling.Load, spool.Entry{Partition: partition, Key: key, Value: value})
	if err != nil {
		s.complain(err)
		return false, true
	}
	if done {
		s.stats.spooled.Add(1)
	}
	return done, done
}

// spoolInFlight writes what is in flight of a partition, so that a kill does
// not lose it. An item that cannot be written stays in memory as before.
func (s *sender) spoolInFlight(l *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for it := l.first; it != nil; it = it.next {
		if it.position >= 0 {
			continue
		}
		at, err := s.spool.Append(spool.Entry{Partition: it.partition, InFlight: true, Key: it.record.Key, Value: it.record.Value})
		if err != nil {
			s.complain(err)
			return
		}
		it.position = int64(at)
	}
}

func (s *sender) complain(err error) {
	now := time.Now().UnixNano()
	if last := s.spoolErr.Load(); now-last > int64(10*time.Second) && s.spoolErr.CompareAndSwap(last, now) {
		s.log.Error("records are lost: the spool does not take them", "error", err)
	}
}

func (s *sender) item(partition int32, key, value []byte) *item {
	it := s.pool.Get().(*item)
	buf := append(append(it.record.Key[:0], key...), value...)
	it.partition, it.position = partition, -1
	it.prev, it.next, it.lane, it.direct, it.tick = nil, nil, nil, false, false
	it.record = kgo.Record{Topic: s.topic, Partition: partition, Value: buf[len(key):]}
	if key != nil {
		it.record.Key = buf[:len(key)] // its capacity is the whole buffer
	}
	return it
}

func (s *sender) produce(it *item) {
	n := int64(len(it.record.Key) + len(it.record.Value))
	if s.records.Add(1) == 1 {
		s.progress.Store(s.now.Load()) // waiting begins now
	}
	s.octets.Add(n)
	s.producer.Produce(s.ctx, &it.record, it.promise)
}

// done is the producer's answer.
func (s *sender) done(it *item, r *kgo.Record, err error) {
	s.octets.Add(-int64(len(it.record.Key) + len(it.record.Value)))
	s.records.Add(-1)
	given := s.ctx.Err() != nil // Stop: what is not acknowledged stays in the spool
	if err == nil {
		s.progress.Store(s.now.Load())
		if !it.tick {
			s.stats.acked.Add(1)
		}
		if r.Partition != it.partition && s.fail != nil {
			s.fail(errors.New("the number of partitions of " + s.topic + " changed: restart the collector"))
		}
	} else if !given {
		if !it.tick {
			s.stats.droppedProduce.Add(1)
		}
		s.log.Error("Kafka refused a record for good", "error", err, "partition", it.partition, "octets", len(it.record.Value))
	}
	position := it.position
	if l := it.lane; it.direct {
		l.mu.Lock()
		position = it.position // under the lock: spoolInFlight may have set it
		if it.prev != nil {
			it.prev.next = it.next
		} else {
			l.first = it.next
		}
		if it.next != nil {
			it.next.prev = it.prev
		} else {
			l.last = it.prev
		}
		l.mu.Unlock()
	}
	if position >= 0 && (err == nil || !given) {
		s.window.done(position)
	}
	if it.record.Key == nil {
		it.record.Key = it.record.Value[:0] // ticks: the buffer begins there
	}
	s.pool.Put(it)
	if s.spooling.Load() {
		s.wake()
	}
}

// drain gives spooled entries to the producer, in order.
func (s *sender) drain() {
	defer close(s.drained)
	timer := time.NewTicker(50 * time.Millisecond)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.kick:
		case <-timer.C:
			if err := s.spool.Flush(); err != nil {
				s.complain(err)
			}
		}
		for s.drainOne() {
		}
		s.window.acknowledge()
	}
}

// drainOne gives one entry. It reports whether to go on at once.
func (s *sender) drainOne() bool {
	select {
	case <-s.stop:
		return false
	default:
	}
	if s.octets.Load() > s.limit || s.records.Load() > maxInFlight {
		return false // answers wake the drainer
	}
	e, at, own, ok, err := s.spool.Next()
	if err != nil {
		s.complain(err)
		return false
	}
	if !ok {
		// While Kafka is away what comes shall go to disk at once, though all
		// that is there has been given to the producer.
		if s.spooling.Load() && !s.stalled() && s.spool.IfRead(func() { s.spooling.Store(false) }) {
			s.log.Info("the spool is empty: records go to Kafka directly")
		}
		return false
	}
	if int(e.Partition) >= len(s.lanes) || e.Partition < 0 {
		return true // of a topic that had more partitions: nowhere to go
	}
	s.window.add(int64(at), int64(s.spool.ReadPosition()))
	if e.InFlight && own {
		return true // the producer has it; its answer counts
	}
	it := s.item(e.Partition, e.Key, e.Value)
	it.position, it.tick = int64(at), e.Key == nil
	s.stats.replayed.Add(1)
	s.produce(it)
	return true
}

// flush waits until everything is acknowledged, or ctx ends. What is not is
// then in the spool.
func (s *sender) flush(ctx context.Context) error {
	err := s.settle(ctx)
	close(s.stop)
	<-s.drained
	if err == nil || s.spool == nil {
		n := s.records.Load()
		s.cancel()
		s.window.acknowledge()
		if err != nil {
			return fmt.Errorf("%d records and ticks not acknowledged by Kafka are lost, for there is no spool (collector.spool.dir): %w", n, err)
		}
		return nil
	}
	for i := range s.lanes {
		s.spoolInFlight(&s.lanes[i])
	}
	n := s.records.Load()
	s.cancel() // the producer gives its records up
	s.window.acknowledge()
	_, waiting := s.spool.Size()
	s.log.Warn("Kafka did not take everything in time: the rest is spooled for the next start", "records_in_flight", n, "octets", waiting)
	return nil
}

func (s *sender) settle(ctx context.Context) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for s.spooling.Load() {
		s.wake()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
	return s.producer.Flush(ctx)
}

// window tracks which spooled entries are acknowledged; the prefix is
// reported to the spool.
type window struct {
	s     *sender
	mu    sync.Mutex
	queue []windowEntry      // in order of position
	early map[int64]struct{} // acknowledged before they were read
	acked int64
	dirty bool
}

type windowEntry struct {
	at, end int64
	done    bool
}

func (w *window) add(at, end int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, done := w.early[at]
	delete(w.early, at)
	w.queue = append(w.queue, windowEntry{at, end, done})
	w.advance()
}

func (w *window) done(at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lo, hi := 0, len(w.queue)
	for lo < hi {
		if mid := (lo + hi) / 2; w.queue[mid].at < at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(w.queue) || w.queue[lo].at != at {
		if w.early == nil {
			w.early = make(map[int64]struct{})
		}
		w.early[at] = struct{}{}
		return
	}
	w.queue[lo].done = true
	w.advance()
}

func (w *window) advance() {
	n := 0
	for n < len(w.queue) && w.queue[n].done {
		w.acked = w.queue[n].end
		n++
	}
	if n > 0 {
		w.queue = w.queue[n:]
		w.dirty = true
	}
}

// acknowledge tells the spool how far everything is acknowledged.
func (w *window) acknowledge() {
	w.mu.Lock()
	acked, dirty := w.acked, w.dirty
	w.dirty = false
	w.mu.Unlock()
	if dirty && w.s.spool != nil {
		w.s.spool.Ack(spool.Position(acked))
	}
}
