package collector

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/collector/decode"
)

// deadLetters keeps datagrams that could not be decoded: in the dead letter
// topic, or, without Kafka, the last ones in memory. Both are bounded, for
// anybody can send garbage.
type deadLetters struct {
	producer Producer // nil: memory only
	topic    string
	id       string
	log      *slog.Logger

	kept, skipped atomic.Uint64

	mu     sync.Mutex
	second int64
	budget int
	number uint64
	logged map[decode.Reason]int64 // when, s
	silent map[decode.Reason]int   // since
	ring   []DeadLetter
	flight int
}

// DeadLetter is a datagram that could not be decoded, in whole or in part.
type DeadLetter struct {
	Error    decode.Error
	Datagram []byte
}

const (
	deadPerSecond = 100
	deadInFlight  = 1000
	deadRing      = 32
	deadLogEvery  = 10 // seconds, per reason
)

func newDeadLetters(producer Producer, topic, id string, log *slog.Logger) *deadLetters {
	return &deadLetters{producer: producer, topic: topic, id: id, log: log, logged: make(map[decode.Reason]int64), silent: make(map[decode.Reason]int)}
}

// keep keeps a datagram; b is copied.
func (d *deadLetters) keep(e *decode.Error, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now().Unix()
	if last, ok := d.logged[e.Reason]; !ok || now-last >= deadLogEvery {
		d.log.Warn("cannot decode", "reason", e.Reason.String(), "exporter", e.Source, "version", e.Version, "domain", e.Domain,
			"template", e.Template, "offset", e.Offset, "like_it", d.silent[e.Reason])
		d.logged[e.Reason], d.silent[e.Reason] = now, 0
	} else {
		d.silent[e.Reason]++
	}
	if d.second != now {
		d.second, d.budget = now, deadPerSecond
	}
	if d.budget == 0 || len(b) == 0 || d.producer != nil && d.flight >= deadInFlight {
		d.skipped.Add(1)
		return
	}
	d.budget--
	d.kept.Add(1)
	if len(d.ring) == deadRing {
		d.ring = d.ring[1:]
	}
	letter := DeadLetter{Error: *e, Datagram: bytes.Clone(b)}
	d.ring = append(d.ring, letter)
	if d.producer == nil {
		return
	}
	d.number++
	d.flight++
	header := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
	d.producer.Produce(context.Background(), &kgo.Record{
		Topic: d.topic, Key: []byte("collector-" + d.id + "-" + strconv.FormatUint(d.number, 10)), Value: letter.Datagram,
		Headers: []kgo.RecordHeader{
			header("stage", "collector"), header("reason", e.Reason.String()), header("source", e.Source.String()), header("detail", e.Error()),
		},
	}, func(*kgo.Record, error) {
		d.mu.Lock()
		d.flight--
		d.mu.Unlock()
	})
}

// last returns the latest letters.
func (d *deadLetters) last() []DeadLetter {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]DeadLetter(nil), d.ring...)
}
