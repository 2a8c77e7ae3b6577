package collector

import (
	"net/netip"
	"sync"
	"time"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

// Out takes one encoded record or tick (key nil) of a raw partition; the
// slices are valid until it returns. Calls for one partition come one at a
// time, in order. It reports whether the record was taken: false is a loss
// that Out's owner has counted.
type Out func(partition int32, key, value []byte) bool

// Sequencer gives records their place: partition, stream time and the
// collector's numbers, and lets time flow by ticks. The live collector and
// `weir analyze` share it.
//
// A record never goes below the last tick of its partition: both are decided
// under the partition's lock.
type Sequencer struct {
	id    string
	boot  int64
	out   Out
	clock *exportClock // nil: arrival
	slack int64

	partitions []partition
}

type partition struct {
	mu       sync.Mutex
	sequence int64
	lastTick int64
	buf      []byte
	_        [64]byte // workers on neighbouring partitions do not share a line
}

// newSequencer returns one for a power of two of partitions. floor is the
// stream time, ms, that an earlier boot has reached.
func newSequencer(cfg Config, id string, boot int64, partitions int, floor int64, odd func(*decode.Header, int64), out Out) *Sequencer {
	s := &Sequencer{id: id, boot: boot, out: out, partitions: make([]partition, partitions)}
	if cfg.StreamTime == StreamTimeExport {
		s.clock = newExportClock(cfg.ClockTolerance.Milliseconds(), odd)
		s.slack = cfg.ExportSlack.Milliseconds()
		floor = 0 // a recording has a time of its own
	}
	for i := range s.partitions {
		s.partitions[i].lastTick = floor
	}
	return s
}

// streamTime returns the stream time of a datagram.
func (s *Sequencer) streamTime(h *decode.Header) int64 {
	if s.clock == nil {
		return h.Arrival
	}
	return s.clock.time(h)
}

// flow hands on a record. key is scratch.
func (s *Sequencer) flow(r *schemas.FlowRecord, streamTime int64, key []byte) bool {
	key = schemas.ConversationKey(key[:0], r)
	n := kafka.PartitionOf(kafka.KeyGroup(key), len(s.partitions))
	p := &s.partitions[n]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence++
	r.CollectorId, r.CollectorBoot, r.CollectorSequence = s.id, s.boot, p.sequence
	r.StreamTime = max(streamTime, p.lastTick)
	p.buf = r.Append(p.buf[:0])
	return s.out(n, key, p.buf)
}

// Tick lets time flow in all partitions: to the wall clock, or to the latest
// export time less the slack.
func (s *Sequencer) Tick(now time.Time) {
	t := now.UnixMilli()
	if s.clock != nil {
		if t = s.clock.now.Load(); t == 0 {
			return
		}
		t -= s.slack
	}
	s.tick(t, false)
}

// End sends the last ticks: nothing more comes, and nobody shall wait for it.
// With stream time by export, time advances past the end of the recording.
func (s *Sequencer) End(now time.Time, advance time.Duration) {
	t := now.UnixMilli()
	if s.clock != nil {
		if t = s.clock.now.Load(); t == 0 {
			return
		}
		t += advance.Milliseconds()
	}
	s.tick(t, true)
}

func (s *Sequencer) tick(t int64, left bool) {
	tick := schemas.Tick{Upstreams: []schemas.Upstream{{Id: s.id, Left: left}}}
	for i := range s.partitions {
		p := &s.partitions[i]
		p.mu.Lock()
		if t > p.lastTick || left {
			p.lastTick = max(t, p.lastTick)
			tick.Upstreams[0].Time = p.lastTick
			p.buf = tick.Append(p.buf[:0])
			s.out(int32(i), nil, p.buf)
		}
		p.mu.Unlock()
	}
}

// floor is the last tick, ms since the epoch.
func (s *Sequencer) floor() int64 {
	p := &s.partitions[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastTick
}

// feed is the decode.Handler of one decoder in front of a sequencer.
type feed struct {
	s          *Sequencer
	streamTime int64
	key        []byte
	// dropped is told of a record that Out did not take.
	dropped func(exporter netip.Addr)
	event   func(decode.Kind, *schemas.FlowRecord)
	reject  func(*decode.Error)
}

func (f *feed) Begin(h *decode.Header) { f.streamTime = f.s.streamTime(h) }

func (f *feed) Flow(r *schemas.FlowRecord) {
	if !f.s.flow(r, f.streamTime, f.key) && f.dropped != nil {
		f.dropped(r.ExporterSource)
	}
}

func (f *feed) Event(k decode.Kind, r *schemas.FlowRecord) {
	if f.event != nil {
		f.event(k, r)
	}
}

func (f *feed) Reject(e *decode.Error) {
	if f.reject != nil {
		f.reject(e)
	}
}
