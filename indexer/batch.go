package indexer

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// streams are the kinds of documents; each has a topic, a data stream and a
// batch being filled.
const (
	flowStream = iota
	alertStream
	streams
)

var streamNames = [streams]string{"flow", "alert"}

// batch is the body of a bulk request with where its documents came from. Its
// memory is used again.
type batch struct {
	stream int
	body   []byte
	items  []item
	// dead are records that no document could be made of.
	dead  []deadLetter
	spans []span
	born  time.Time
	// size of the body when it was full, for the gauge.
	size int
}

// item is one document: its two lines in the body, and its record.
type item struct {
	start, end int
	record     *kgo.Record
}

// deadLetter is a record and why it goes to the dead letter.
type deadLetter struct {
	record *kgo.Record
	reason string
}

func (b *batch) reset() {
	clear(b.items) // lets go of the records
	clear(b.dead)
	clear(b.spans)
	b.body, b.items, b.dead, b.spans, b.born, b.size = b.body[:0], b.items[:0], b.dead[:0], b.spans[:0], time.Time{}, 0
}

func (b *batch) empty() bool { return len(b.spans) == 0 }

// keep drops the first n items that keep does not want, and moves the others
// and their lines together, so that the body is a request again.
func (b *batch) keep(n int, keep func(i int) bool) {
	kept, end := 0, 0
	for i, it := range b.items {
		if i < n && !keep(i) {
			continue
		}
		size := it.end - it.start
		copy(b.body[end:], b.body[it.start:it.end])
		b.items[kept] = item{end, end + size, it.record}
		kept++
		end += size
	}
	clear(b.items[kept:])
	b.items, b.body = b.items[:kept], b.body[:end]
}
