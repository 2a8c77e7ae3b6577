package indexer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/elastic"
)

// responseFilter leaves out of an answer what parseResponse does not read.
const responseFilter = "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"

// maxResponse bounds an answer: some tens of bytes a document, and a few
// hundred for one that is refused.
const maxResponse = 32 << 20

// minBackoff is the wait before the second try.
const minBackoff = 100 * time.Millisecond

// sender delivers batches, one at a time, until each document has found its
// place: in Elasticsearch, or in the dead letter. Only the end of its context
// makes it give up.
type sender struct {
	client     *elastic.Client
	paths      *[streams]string
	timeout    time.Duration
	maxBackoff time.Duration
	deadLetter func(context.Context, []deadLetter) error
	metrics    *metrics
	health     *health
	// wait passes the time between two tries; tests make it short.
	wait func(context.Context, time.Duration) error

	response bytes.Buffer
	zipped   bytes.Buffer
	zip      *gzip.Writer
	verdicts []outcome
}

// errTooLarge is a request to be sent in parts: too large for the server, or
// for its answer to be read.
var errTooLarge = errors.New("the request is too large")

// deliver returns nil when nothing of the batch is left to do.
func (s *sender) deliver(ctx context.Context, b *batch) error {
	stream := streamNames[b.stream]
	backoff := minBackoff
	most := len(b.items)
	for len(b.items) > 0 || len(b.dead) > 0 {
		if err := s.bury(ctx, b); err != nil {
			return err
		}
		if len(b.items) == 0 {
			return nil
		}
		n := min(most, len(b.items))
		accepted, err := s.try(ctx, b, n)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err == nil:
			s.health.elasticsearch(nil)
			most = len(b.items) // whatever made it smaller may have passed
			continue
		case errors.Is(err, errTooLarge) && n > 1:
			most = n / 2
			continue
		case errors.Is(err, errTooLarge):
			b.dead = append(b.dead, deadLetter{b.items[0].record, err.Error()})
			s.metrics.documents.WithLabelValues(stream, refused.String()).Inc()
			b.keep(1, func(int) bool { return false })
			continue
		}
		// What was accepted says that the server is at work: only a standstill
		// makes the waits longer.
		if accepted > 0 {
			backoff = minBackoff
		}
		s.health.elasticsearch(err)
		if err := s.wait(ctx, backoff/2+rand.N(backoff/2+1)); err != nil {
			return err
		}
		s.metrics.retries.WithLabelValues(stream).Add(float64(min(n, len(b.items))))
		backoff = min(2*backoff, s.maxBackoff)
	}
	return nil
}

// bury produces the batch's dead letters.
func (s *sender) bury(ctx context.Context, b *batch) error {
	backoff := minBackoff
	for len(b.dead) > 0 {
		err := s.deadLetter(ctx, b.dead)
		if err == nil {
			s.metrics.deadLetters.WithLabelValues(streamNames[b.stream]).Add(float64(len(b.dead)))
			clear(b.dead)
			b.dead = b.dead[:0]
			s.health.kafka(nil)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.health.kafka(fmt.Errorf("the dead letter cannot be written: %w", err))
		if err := s.wait(ctx, backoff/2+rand.N(backoff/2+1)); err != nil {
			return err
		}
		backoff = min(2*backoff, s.maxBackoff)
	}
	return nil
}

// try sends the first n documents and takes out of the batch those that are
// done with; what Elasticsearch refuses is put to the dead. It returns how
// many were accepted, and an error when some are to be sent again.
func (s *sender) try(ctx context.Context, b *batch, n int) (accepted int, err error) {
	stream := streamNames[b.stream]
	body := b.body[b.items[0].start:b.items[n-1].end]
	begin := time.Now()
	status, err := s.post(ctx, s.paths[b.stream], body)
	s.metrics.seconds.WithLabelValues(stream).Observe(time.Since(begin).Seconds())
	s.metrics.bytes.WithLabelValues(stream).Add(float64(len(body)))
	result := s.metrics.requests.MustCurryWith(map[string]string{"stream": stream})
	switch {
	case err != nil:
		result.WithLabelValues("failed").Inc()
		return 0, err
	case status == http.StatusRequestEntityTooLarge:
		result.WithLabelValues("rejected").Inc()
		e := elastic.AnswerError(http.MethodPost, s.paths[b.stream], status, s.response.Bytes())
		return 0, fmt.Errorf("%w: %w", errTooLarge, e)
	case status >= 300:
		// A bad request as well: what is wrong with a document is said of that
		// document, so this is about the server or the way to it.
		result.WithLabelValues("rejected").Inc()
		return 0, elastic.AnswerError(http.MethodPost, s.paths[b.stream], status, s.response.Bytes())
	}

	s.verdicts = s.verdicts[:0]
	var again string // why the first of those to be sent again was turned away
	answered, err := parseResponse(s.response.Bytes(), func(i int, r itemResult) {
		if i >= n {
			return
		}
		v := judge(r)
		switch v {
		case refused:
			b.dead = append(b.dead, deadLetter{b.items[i].record, describe(r)})
		case retry:
			if again == "" {
				again = describe(r)
			}
		}
		s.verdicts = append(s.verdicts, v)
	})
	if err == nil && answered != n {
		err = fmt.Errorf("%w: %d results for %d documents", errResponse, answered, n)
	}
	if answered > n {
		// Somebody else's answer: nothing in it can be trusted.
		b.dead = b.dead[:0]
		result.WithLabelValues("failed").Inc()
		return 0, err
	}
	var count [outcomes]int
	for _, v := range s.verdicts {
		count[v]++
	}
	for _, o := range [...]outcome{created, exists, refused} {
		if count[o] > 0 {
			s.metrics.documents.WithLabelValues(stream, o.String()).Add(float64(count[o]))
		}
	}
	b.keep(n, func(i int) bool { return i >= len(s.verdicts) || s.verdicts[i] == retry })
	switch {
	case err != nil:
		result.WithLabelValues("failed").Inc()
	case count[retry] > 0 || count[refused] > 0:
		result.WithLabelValues("partial").Inc()
	default:
		result.WithLabelValues("ok").Inc()
	}
	if err == nil && count[retry] > 0 {
		err = fmt.Errorf("%d of %d documents were turned away for now: %s", count[retry], n, again)
	}
	return count[created] + count[exists], err
}

func describe(r itemResult) string {
	s := fmt.Sprintf("status %d", r.status)
	if len(r.kind) > 0 {
		s += ", " + readable(r.kind)
	}
	if len(r.reason) > 0 {
		s += ": " + readable(r.reason)
	}
	return s
}

// post sends a body and reads the answer. When it returns, nobody reads the
// body any more.
func (s *sender) post(ctx context.Context, path string, body []byte) (status int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no answer within %v", s.timeout))
	if s.client.Compress() {
		if body, err = s.compress(body); err != nil {
			cancel()
			return 0, err
		}
	}
	// net/http may go on reading a body after it has returned an answer or an
	// error; ours is about to be written to. It does close it in the end, and
	// soon when the context is done.
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, path, nil)
	if err != nil {
		return 0, err
	}
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return newBody(body, &reading), nil }
	r.Body, _ = r.GetBody()
	sent := r.Body
	r.Header.Set("Content-Type", "application/x-ndjson")
	if s.client.Compress() {
		r.Header.Set("Content-Encoding", "gzip")
	}
	res, err := s.client.Perform(r)
	if err != nil {
		// Where the transport failed before it took the body, nobody closes it.
		_ = sent.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, fmt.Errorf("elasticsearch: %w", err)
	}
	defer res.Body.Close()
	s.response.Reset()
	if _, err := s.response.ReadFrom(io.LimitReader(res.Body, maxResponse+1)); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, fmt.Errorf("elasticsearch: reading the answer to a bulk request: %w", err)
	}
	if s.response.Len() > maxResponse {
		return http.StatusRequestEntityTooLarge, nil
	}
	return res.StatusCode, nil
}

func (s *sender) compress(body []byte) ([]byte, error) {
	s.zipped.Reset()
	if s.zip == nil {
		var err error
		if s.zip, err = gzip.NewWriterLevel(&s.zipped, gzip.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		s.zip.Reset(&s.zipped)
	}
	if _, err := s.zip.Write(body); err != nil {
		return nil, err
	}
	if err := s.zip.Close(); err != nil {
		return nil, err
	}
	return s.zipped.Bytes(), nil
}

// requestBody reads a body and says when nobody does any more.
type requestBody struct {
	bytes.Reader
	once    sync.Once
	reading *sync.WaitGroup
}

func newBody(b []byte, reading *sync.WaitGroup) *requestBody {
	reading.Add(1)
	r := &requestBody{reading: reading}
	r.Reset(b)
	return r
}

func (r *requestBody) Close() error {
	r.once.Do(r.reading.Done)
	return nil
}

// newDeadLetter returns a function that produces records to the dead letter,
// with the headers by which it can be found and replayed.
func newDeadLetter(client *kgo.Client, topic string) func(context.Context, []deadLetter) error {
	return func(ctx context.Context, dead []deadLetter) error {
		records := make([]*kgo.Record, len(dead))
		for i, d := range dead {
			records[i] = deadLetterRecord(topic, d)
		}
		return client.ProduceSync(ctx, records...).FirstErr()
	}
}

// Largest parts of a dead letter: a broker takes 1 MB with all that is in it.
const (
	maxDeadValue  = 900 << 10
	maxDeadReason = 4 << 10
	maxDeadKey    = 1 << 10
)

func deadLetterRecord(topic string, d deadLetter) *kgo.Record {
	r := d.record
	source := fmt.Appendf(nil, "%s-%d-%d", r.Topic, r.Partition, r.Offset)
	return &kgo.Record{
		Topic: topic,
		Key:   source,
		Value: r.Value[:min(len(r.Value), maxDeadValue)],
		Headers: []kgo.RecordHeader{
			{Key: "stage", Value: []byte(stage)},
			{Key: "reason", Value: []byte(d.reason[:min(len(d.reason), maxDeadReason)])},
			{Key: "source", Value: source},
			{Key: "key", Value: r.Key[:min(len(r.Key), maxDeadKey)]},
		},
	}
}
