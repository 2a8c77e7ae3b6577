package indexer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/elastic/elastictest"
)

const testStream = "logs-weir.flow-default"

// testSender returns a sender that waits for nothing, and where its dead
// letters go.
func testSender(t *testing.T, url string, change func(*elastic.Config)) (*sender, *[]string) {
	t.Helper()
	c := elastic.DefaultConfig()
	c.URLs = []string{url}
	if change != nil {
		change(&c)
	}
	cl, err := elastic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	m, err := newMetrics(prometheus.NewRegistry(), func(string) int64 { return 0 }, [streams]string{"flows", "alerts"})
	if err != nil {
		t.Fatal(err)
	}
	var dead []string
	return &sender{
		client: cl, paths: &[streams]string{"/" + testStream + "/_bulk?filter_path=" + responseFilter}, timeout: time.Minute, maxBackoff: time.Second,
		deadLetter: func(_ context.Context, d []deadLetter) error {
			for _, l := range d {
				dead = append(dead, fmt.Sprintf("%d: %s", l.record.Offset, l.reason))
			}
			return nil
		},
		metrics: m, health: newHealth(slog.New(slog.DiscardHandler), m.up),
		wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}, &dead
}

// fill makes a batch of documents "id-0" and so on, of different lengths, so
// that a line out of place shows.
func fill(n int) *batch {
	b := &batch{}
	for i := range n {
		start := len(b.body)
		b.body = fmt.Appendf(b.body, `{"create":{"_id":"id-%d"}}`+"\n"+`{"n":%d,"pad":%q}`+"\n", i, i, strings.Repeat("x", i%17))
		b.items = append(b.items, item{start, len(b.body), &kgo.Record{Topic: "flows", Offset: int64(i)}})
	}
	return b
}

func TestDeliver(t *testing.T) {
	const docs = 40
	abort := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	status := func(code int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code); _, _ = io.WriteString(w, body) }
	}
	// first makes the first n requests fail.
	first := func(n int, answer func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, i int) bool {
			if i > n {
				return false
			}
			answer(w)
			return true
		}
	}
	seen := map[string]int{}
	for _, tc := range []struct {
		name   string
		fault  func(http.ResponseWriter, *http.Request, int) bool
		item   func(stream, id string, doc json.RawMessage) (int, string, string)
		change func(*elastic.Config)
		dead   []string
		sent   int // documents that reached the server, repeats included; 0: not checked
		counts map[outcome]float64
	}{
		{name: "all well", sent: docs, counts: map[outcome]float64{created: docs}},
		{name: "compressed", sent: docs, change: func(c *elastic.Config) { c.Compress = true }, fault: func(_ http.ResponseWriter, r *http.Request, _ int) bool {
			if r.Header.Get("Content-Encoding") != "gzip" {
				t.Error("the body is not compressed")
			}
			return gunzip(r) != nil
		}},
		{name: "too many requests", fault: first(3, status(429, `{"error":{"type":"es_rejected_execution_exception","reason":"full"},"status":429}`)), sent: docs},
		{name: "unavailable, with a proxy's page", fault: first(3, status(503, "<html>sorry</html>")), sent: docs},
		{name: "no privilege yet", fault: first(2, status(403, `{"error":{"type":"security_exception","reason":"no"}}`)), sent: docs},
		{name: "a bad request is not the documents' fault", fault: first(2, status(400, `{"error":{"type":"illegal_argument_exception","reason":"unrecognized parameter"}}`)), sent: docs},
		{name: "connection dropped", fault: first(3, abort), sent: docs},
		{name: "answered before the body was read", fault: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n > 2 {
				return false
			}
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}, sent: docs},
		{name: "taken, and the answer lost", fault: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return n == 1 && swallow(w, r, abort)
		}, counts: map[outcome]float64{created: docs}},
		{name: "answer cut off", fault: first(1, status(200, `{"errors":false,"items":[{"create":{"status":201`)), sent: docs},
		{name: "answer of another size", fault: first(1, status(200, `{"errors":false,"items":[]}`)), sent: docs},
		{name: "too large", fault: func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.ContentLength > 300 {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			return false
		}, sent: docs},
		{name: "one is too large even alone", fault: func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.ContentLength > 60 {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			return false
		}, dead: []string{"16: the request is too large: elasticsearch: POST /" + testStream + "/_bulk: status 413", "33: the request is too large: elasticsearch: POST /" + testStream + "/_bulk: status 413"}},
		{name: "some refused, some there, some later", item: func(_, id string, _ json.RawMessage) (int, string, string) {
			seen[id]++
			switch {
			case id == "id-3":
				return 400, "document_parsing_exception", "failed to parse field [source.ip]"
			case id == "id-4" && seen[id] < 4:
				return 429, "es_rejected_execution_exception", "queue full"
			case id == "id-39" && seen[id] < 2:
				return 503, "unavailable_shards_exception", "primary shard is not active"
			case id == "id-5":
				return 409, "version_conflict_engine_exception", "exists"
			}
			return 0, "", ""
		}, dead: []string{"3: status 400, document_parsing_exception: failed to parse field [source.ip]"}, sent: docs + 2 + 1 + 1,
			counts: map[outcome]float64{created: docs - 2, exists: 1, refused: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clear(seen)
			es := elastictest.Start()
			t.Cleanup(es.Close)
			es.Fault(tc.fault)
			es.Item(tc.item)
			s, dead := testSender(t, es.URL, tc.change)
			if err := s.deliver(t.Context(), fill(docs)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(*dead, tc.dead); d != "" {
				t.Errorf("dead letters (-got +want)\n%s", d)
			}
			got := es.Docs(testStream)
			want := map[string]json.RawMessage{}
			for i := range docs {
				id := fmt.Sprintf("id-%d", i)
				if tc.item != nil && id == "id-5" || slices.ContainsFunc(tc.dead, func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf("%d:", i)) }) {
					continue
				}
				want[id] = json.RawMessage(fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", i%17)))
			}
			if d := cmp.Diff(got, want); d != "" {
				t.Errorf("documents (-got +want)\n%s", d)
			}
			if tc.sent != 0 && es.Sent() != tc.sent {
				t.Errorf("%d documents were sent, want %d", es.Sent(), tc.sent)
			}
			for o, n := range tc.counts {
				if got := counted(t, s.metrics.documents.WithLabelValues("flow", o.String())); got != n {
					t.Errorf("counted %v %v, want %v", got, o, n)
				}
			}
			if err := s.health.elasticErr; err != nil && len(tc.dead) == 0 {
				t.Errorf("still unwell: %v", err)
			}
		})
	}
}

func counted(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// swallow reads the request, and then does as if the answer was lost.
func swallow(w http.ResponseWriter, r *http.Request, then func(http.ResponseWriter)) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	then(w)
	return true
}

func TestDeliverSurvivesAHang(t *testing.T) {
	es := elastictest.Start()
	t.Cleanup(es.Close)
	es.Fault(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n == 1 {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see it leave
			<-r.Context().Done()
			return true
		}
		return false
	})
	s, _ := testSender(t, es.URL, nil)
	s.timeout = 50 * time.Millisecond // its running out is what is tested
	var said error
	s.wait = func(context.Context, time.Duration) error {
		said = s.health.elasticErr
		s.timeout = time.Minute
		return nil
	}
	if err := s.deliver(t.Context(), fill(10)); err != nil {
		t.Fatal(err)
	}
	if len(es.Docs(testStream)) != 10 || said == nil || !strings.Contains(said.Error(), "no answer within 50ms") {
		t.Errorf("%d documents; it said %v", len(es.Docs(testStream)), said)
	}
}

// TestDeliverGivesUpOnlyWhenTold: the waits grow to the bound and no further,
// and nothing but the context ends them.
func TestDeliverGivesUpOnlyWhenTold(t *testing.T) {
	es := elastictest.Start()
	es.Close() // nobody listens
	s, _ := testSender(t, es.URL, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	told := errors.New("told")
	var waits []time.Duration
	s.wait = func(ctx context.Context, d time.Duration) error {
		if waits = append(waits, d); len(waits) == 200 {
			cancel(told)
		}
		return context.Cause(ctx)
	}
	b := fill(3)
	if err := s.deliver(ctx, b); !errors.Is(err, told) {
		t.Errorf("got %v", err)
	}
	if len(b.items) != 3 {
		t.Errorf("%d documents are left, want 3", len(b.items))
	}
	if m := slices.Max(waits); m > s.maxBackoff || slices.Min(waits[10:]) < s.maxBackoff/2 {
		t.Errorf("waits %v", waits)
	}
	var refused *elastic.Error
	if err := s.health.Ready(t.Context()); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("readiness: %v", err)
	}
}

func TestBuryTriesAgain(t *testing.T) {
	es := elastictest.Start()
	t.Cleanup(es.Close)
	s, dead := testSender(t, es.URL, nil)
	produce, tries := s.deadLetter, 0
	s.deadLetter = func(ctx context.Context, d []deadLetter) error {
		if tries++; tries < 3 {
			return errors.New("no leader")
		}
		return produce(ctx, d)
	}
	b := fill(1)
	b.dead = append(b.dead, deadLetter{&kgo.Record{Offset: 9}, "bad"})
	if err := s.deliver(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*dead, []string{"9: bad"}); d != "" {
		t.Errorf("(-got +want)\n%s", d)
	}
}

func TestDeadLetterRecord(t *testing.T) {
	r := deadLetterRecord("weir.deadletter", deadLetter{
		&kgo.Record{Topic: "weir.flows.enriched", Partition: 3, Offset: 17, Key: []byte("default/10.0.0.1"), Value: make([]byte, 2<<20)}, strings.Repeat("r", 1<<20),
	})
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value[:min(len(h.Value), 40)])
	}
	want := map[string]string{"stage": "indexer", "reason": strings.Repeat("r", 40), "source": "weir.flows.enriched-3-17", "key": "default/10.0.0.1"}
	if !maps.Equal(headers, want) || string(r.Key) != "weir.flows.enriched-3-17" {
		t.Errorf("(-got +want)\n- %v\n+ %v\nkey %s", headers, want, r.Key)
	}
	if size := len(r.Key) + len(r.Value) + len(r.Headers[1].Value); size > 1<<20-1<<10 {
		t.Errorf("%d bytes are more than a broker takes", size)
	}
}
