package indexer

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// progress knows, for each partition, up to where everything is acknowledged.
// Only that is committed.
//
// A partition's object is one ownership of it: when the partition is revoked
// its object is marked and forgotten, and a later assignment makes a new one.
// What is under way for the old one may finish, and changes nothing: a late
// mark would put the partition back to where the old ownership stood, or
// claim what the new one has not done.
type progress struct {
	mu    sync.Mutex
	owned map[topicPartition]*partition
}

type topicPartition struct {
	topic     string
	partition int32
}

// partition is one ownership of a partition. Its fields are under progress.mu.
type partition struct {
	topicPartition
	revoked bool
	// spans that are not all acknowledged, in the order of their offsets;
	// first is the number of spans[0], counted from the start of the ownership.
	spans []pendingSpan
	first int
	// next is the offset below which all is acknowledged, -1 before the first;
	// committed what was last committed of it.
	next, committed int64
	epoch           int32
	// end is the offset after the last record read; high the broker's end.
	end, high int64
}

// pendingSpan is the part of one batch that came from one partition.
type pendingSpan struct {
	next  int64 // offset after its last record
	epoch int32
	done  bool
}

// span names a pendingSpan from a batch.
type span struct {
	partition *partition
	number    int
}

func newProgress() *progress { return &progress{owned: map[topicPartition]*partition{}} }

func (g *progress) assign(assigned map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, partitions := range assigned {
		for _, p := range partitions {
			tp := topicPartition{topic, p}
			g.owned[tp] = &partition{topicPartition: tp, next: -1, committed: -1}
		}
	}
}

func (g *progress) revoke(revoked map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, partitions := range revoked {
		for _, n := range partitions {
			tp := topicPartition{topic, n}
			if p := g.owned[tp]; p != nil {
				p.revoked = true
				p.spans = nil
				delete(g.owned, tp)
			}
		}
	}
}

// owner returns the present ownership of a partition, nil when it is not ours.
func (g *progress) owner(topic string, n int32) *partition {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owned[topicPartition{topic, n}]
}

// open begins a span of a batch.
func (g *progress) open(p *partition) span {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.spans = append(p.spans, pendingSpan{})
	return span{p, p.first + len(p.spans) - 1}
}

// extend makes a span, the last that was opened for its partition, reach to
// the record.
func (g *progress) extend(s span, r *kgo.Record, high int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := s.partition; !p.revoked {
		q := &p.spans[s.number-p.first]
		q.next, q.epoch = r.Offset+1, r.LeaderEpoch
		p.end, p.high = r.Offset+1, high
	}
}

// done marks spans as acknowledged.
func (g *progress) done(spans []span) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range spans {
		p := s.partition
		if p.revoked {
			continue
		}
		p.spans[s.number-p.first].done = true
		n := 0
		for n < len(p.spans) && p.spans[n].done {
			p.next, p.epoch = p.spans[n].next, p.spans[n].epoch
			n++
		}
		p.spans = append(p.spans[:0], p.spans[n:]...)
		p.first += n
	}
}

// uncommitted returns the offsets to commit. only bounds them to some
// partitions; nil is all.
func (g *progress) uncommitted(only map[string][]int32) map[string]map[int32]kgo.EpochOffset {
	g.mu.Lock()
	defer g.mu.Unlock()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	add := func(p *partition) {
		if p == nil || p.next < 0 || p.next == p.committed {
			return
		}
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.topic][p.partition] = kgo.EpochOffset{Epoch: p.epoch, Offset: p.next}
	}
	if only == nil {
		for _, p := range g.owned {
			add(p)
		}
	}
	for topic, partitions := range only {
		for _, n := range partitions {
			add(g.owned[topicPartition{topic, n}])
		}
	}
	return offsets
}

// committed notes what was committed.
func (g *progress) committed(offsets map[string]map[int32]kgo.EpochOffset) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, partitions := range offsets {
		for n, o := range partitions {
			if p := g.owned[topicPartition{topic, n}]; p != nil && p.next >= o.Offset {
				p.committed = o.Offset
			}
		}
	}
}

// lag returns how many records of a topic the brokers have that are not
// acknowledged: control records counted in, which nobody can see apart.
func (g *progress) lag(topic string) (n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.owned {
		if p.topic == topic && p.high > 0 {
			n += max(0, p.high-max(p.next, 0))
		}
	}
	return n
}
