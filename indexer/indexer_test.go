package indexer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/indexer"
	"github.com/weir-flow/weir/indexer/ecs"
	"github.com/weir-flow/weir/indexer/ecs/ecstest"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/elastic/elastictest"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/schemas"
)

// patience bounds every wait of these tests; none is expected to take it.
const patience = 90 * time.Second

// site is one deployment's Kafka and Elasticsearch.
type site struct {
	t         *testing.T
	kafka     kafka.Config
	producer  *kgo.Client
	admin     *kadm.Client
	elastic   elastic.Config
	partition int32
}

const partitions = 4

func newSite(t *testing.T, brokers []string, prefix, url, namespace string) *site {
	t.Helper()
	s := &site{t: t, kafka: kafka.DefaultConfig(), elastic: elastic.DefaultConfig()}
	s.kafka.Brokers, s.kafka.TopicPrefix = brokers, prefix
	s.elastic.URLs, s.elastic.Namespace = []string{url}, namespace
	var err error
	s.producer, err = kafka.NewClient(s.kafka, kafka.Dependencies{Log: slog.New(slog.DiscardHandler), Service: "test"}, kafka.RoleProducer, kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.producer.Close)
	s.admin = kadm.NewClient(s.producer)
	res, err := s.admin.CreateTopics(t.Context(), partitions, 1, nil, s.topic(kafka.TopicEnriched), s.topic(kafka.TopicAlerts), s.topic(kafka.TopicDeadLetter))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Error(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) topic(name string) string { return s.kafka.Topic(name) }

// produce writes records to the topics, partitions in turn.
func (s *site) produce(records ...*kgo.Record) {
	s.t.Helper()
	for _, r := range records {
		if r.Key == nil {
			r.Partition = s.partition % partitions
			s.partition++
		}
	}
	if err := s.producer.ProduceSync(s.t.Context(), records...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) flow(n int) *kgo.Record {
	return &kgo.Record{Topic: s.topic(kafka.TopicEnriched), Value: ecstest.Plain(n).Append(nil)}
}

func (s *site) flows(from, to int) (list []*kgo.Record) {
	for n := from; n < to; n++ {
		list = append(list, s.flow(n))
	}
	return list
}

func (s *site) raw(topic, value string) *kgo.Record {
	return &kgo.Record{Topic: s.topic(topic), Value: []byte(value)}
}

func (s *site) tick() *kgo.Record {
	tick := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "c1", Time: ecstest.Start}}}
	return &kgo.Record{Topic: s.topic(kafka.TopicEnriched), Value: tick.Append(nil)}
}

func (s *site) alert(id string, revision int) *kgo.Record {
	return &kgo.Record{
		Topic: s.topic(kafka.TopicAlerts),
		Value: fmt.Appendf(nil, `{"@timestamp":"2026-01-01T00:00:00.000Z","message":"Horizontal scan","event":{"kind":"alert","id":%q,"severity":47,"risk_score":47.5,"reason":"10.0.0.1 asked 500 hosts for port 445"},"source":{"ip":"10.0.0.1"},"rule":{"id":"scan","name":"Horizontal scan"},"weir":{"alert":{"revision":%d,"state":"open","entity":"10.0.0.1","evidence":[{"port":445,"any":{"thing":1}}]}}}`, id, revision),
		Headers: []kgo.RecordHeader{
			{Key: "id", Value: fmt.Appendf(nil, "%s-%d", id, revision)},
		},
	}
}

// flowID is the _id of flow n.
func flowID(n int) string { return string(ecs.AppendID(nil, ecs.DocumentID(ecstest.Plain(n)))) }

// running is an indexer under test.
type running struct {
	*indexer.Indexer
	registry *prometheus.Registry
	failed   chan error
}

func (s *site) start(change func(*indexer.Config)) *running {
	s.t.Helper()
	cfg := indexer.DefaultConfig()
	// Tiny, so that every path is gone through.
	cfg.BulkBytes, cfg.BulkAge, cfg.CommitInterval, cfg.MaxBackoff = 20000, 20*time.Millisecond, 20*time.Millisecond, 200*time.Millisecond
	if change != nil {
		change(&cfg)
	}
	cl, err := elastic.New(s.elastic)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cl.Close)
	r := &running{registry: prometheus.NewRegistry(), failed: make(chan error, 16)}
	r.Indexer, err = indexer.New(cfg, indexer.Dependencies{
		Log: slog.New(slog.DiscardHandler), Registry: r.registry, Kafka: s.kafka, Elastic: cl, Namespace: s.elastic.Namespace,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := r.Start(s.t.Context(), func(err error) { r.failed <- err }); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) stop(r *running) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		s.t.Errorf("stop: %v", err)
	}
}

// eventually waits for a state; it is not a measure of time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// metric returns the sum of a counter's series, those with all the labels.
func (r *running) metric(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(labels); i += 2 {
				if have[labels[i]] != labels[i+1] {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// committedAll reports whether the group has committed to the end.
func (s *site) committedAll() bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ends, err := s.admin.ListEndOffsets(ctx, s.topic(kafka.TopicEnriched), s.topic(kafka.TopicAlerts))
	if err != nil {
		return false
	}
	offsets, err := s.admin.FetchOffsets(ctx, s.topic("indexer"))
	if err != nil {
		return false
	}
	done := true
	ends.Each(func(e kadm.ListedOffset) {
		o, ok := offsets.Lookup(e.Topic, e.Partition)
		if e.Offset > 0 && (!ok || o.At != e.Offset) {
			done = false
		}
	})
	return done
}

// deadLetters returns the reasons by source.
func (s *site) deadLetters(n int) map[string]string {
	s.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Brokers...), kgo.ConsumeTopics(s.topic(kafka.TopicDeadLetter)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	got := map[string]string{}
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			s.t.Fatalf("%d dead letters, want %d: %v", len(got), n, got)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			h := map[string]string{}
			for _, x := range r.Headers {
				h[x.Key] = string(x.Value)
			}
			if h["stage"] != "indexer" || h["source"] != string(r.Key) {
				s.t.Errorf("headers of a dead letter: %v", h)
			}
			got[string(r.Value)] = h["reason"]
		})
	}
	return got
}

// small is a site of an in-process broker and a small Elasticsearch.
func small(t *testing.T) (*site, *elastictest.Server) {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	es := elastictest.Start()
	t.Cleanup(es.Close)
	return newSite(t, k.ListenAddrs(), "w.", es.URL, "test"), es
}

const (
	flowStream  = "logs-weir.flow-test"
	alertStream = "logs-weir.alert-test"
)

func TestIndexer(t *testing.T) {
	s, es := small(t)
	s.produce(s.flows(0, 500)...)
	s.produce(s.flow(7), s.tick(), s.raw(kafka.TopicEnriched, "\xc3\x01garbage"), s.raw(kafka.TopicEnriched, ""), s.alert("a", 0), s.alert("a", 1), s.raw(kafka.TopicAlerts, "{"))
	es.Item(func(_, id string, _ json.RawMessage) (int, string, string) {
		if id == flowID(13) {
			return 400, "document_parsing_exception", "no"
		}
		return 0, "", ""
	})
	r := s.start(nil)
	eventually(t, "all committed", s.committedAll)
	if err := r.Ready(t.Context()); err != nil {
		t.Errorf("readiness: %v", err)
	}
	s.produce(s.tick()) // nothing but a tick: its offset is committed as well
	eventually(t, "the tick is committed", s.committedAll)
	s.stop(r)

	docs := es.Docs(flowStream)
	for n := range 500 {
		if _, ok := docs[flowID(n)]; ok == (n == 13) {
			t.Errorf("flow %d: in Elasticsearch: %v", n, ok)
		}
	}
	if len(docs) != 499 || len(es.Docs(alertStream)) != 2 {
		t.Errorf("%d flows and %d alerts", len(docs), len(es.Docs(alertStream)))
	}
	dead := s.deadLetters(4)
	for value, reason := range map[string]string{
		"\xc3\x01garbage":                     "cannot be decoded",
		"":                                    "cannot be decoded",
		"{":                                   "not a JSON object",
		string(ecstest.Plain(13).Append(nil)): "document_parsing_exception: no",
	} {
		if !strings.Contains(dead[value], reason) {
			t.Errorf("dead letter of %q: %q, want %q", value, dead[value], reason)
		}
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"weir_indexer_documents_total", []string{"stream", "flow", "outcome", "created"}, 499},
		{"weir_indexer_documents_total", []string{"stream", "flow", "outcome", "exists"}, 1},
		{"weir_indexer_documents_total", []string{"stream", "flow", "outcome", "refused"}, 1},
		{"weir_indexer_documents_total", []string{"stream", "alert", "outcome", "created"}, 2},
		{"weir_indexer_undecodable_total", nil, 3},
		{"weir_indexer_deadletters_total", nil, 4},
		{"weir_indexer_records_total", nil, 506},
		{"weir_indexer_ticks_total", nil, 2},
		{"weir_indexer_lag_records", nil, 0},
		{"weir_indexer_in_flight_bytes", nil, 0},
		{"weir_indexer_elasticsearch_up", nil, 1},
	} {
		if got := r.metric(t, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}

// TestElasticsearchAway: nothing is lost, memory stays bounded, and readiness
// says why.
func TestElasticsearchAway(t *testing.T) {
	s, es := small(t)
	s.produce(s.flows(0, 2000)...)
	es.Fault(func(w http.ResponseWriter, r *http.Request, _ int) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r := s.start(func(c *indexer.Config) { c.InFlight = 2 })
	eventually(t, "readiness says so", func() bool {
		err := r.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "status 503")
	})
	eventually(t, "batches wait", func() bool { return r.metric(t, "weir_indexer_in_flight_bytes") > 40000 })
	if got := r.metric(t, "weir_indexer_in_flight_bytes"); got > 4*25000 {
		t.Errorf("%v bytes in flight: more than the batches there are", got)
	}
	if s.committedAll() {
		t.Error("offsets were committed that Elasticsearch has not acknowledged")
	}
	es.Fault(nil)
	eventually(t, "all committed", s.committedAll)
	s.stop(r)
	if n := len(es.Docs(flowStream)); n != 2000 {
		t.Errorf("%d documents, want 2000", n)
	}
}

// TestStopWithoutElasticsearch: an indexer that cannot finish says so, and
// another does the rest.
func TestStopWithoutElasticsearch(t *testing.T) {
	s, es := small(t)
	s.produce(s.flows(0, 300)...)
	blocked := make(chan struct{}, 100)
	es.Fault(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n <= 3 {
			return false
		}
		blocked <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	})
	r := s.start(nil)
	<-blocked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "read again at the next start") {
		t.Errorf("stop: %v", err)
	}
	es.Fault(nil)
	r = s.start(nil)
	eventually(t, "all committed", s.committedAll)
	s.stop(r)
	if n := len(es.Docs(flowStream)); n != 300 {
		t.Errorf("%d documents, want 300", n)
	}
}

// TestStopWithNothingRead: an indexer that has read nothing has nothing to wait
// for, whoever is away.
func TestStopWithNothingRead(t *testing.T) {
	s, _ := small(t)
	s.elastic.URLs = []string{"http://127.0.0.1:1"}
	s.stop(s.start(nil))
}

// TestSeveralIndexers: partitions change hands while documents are under way.
func TestSeveralIndexers(t *testing.T) {
	s, es := small(t)
	s.produce(s.flows(0, 1500)...)
	es.Fault(func(_ http.ResponseWriter, _ *http.Request, n int) bool {
		if n%5 == 0 {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	a := s.start(nil)
	b := s.start(nil)
	s.produce(s.flows(1500, 3000)...)
	eventually(t, "half of it", func() bool { return len(es.Docs(flowStream)) > 1500 })
	s.stop(a)
	s.produce(s.flows(3000, 3500)...)
	eventually(t, "all committed", s.committedAll)
	s.stop(b)
	if n := len(es.Docs(flowStream)); n != 3500 {
		t.Errorf("%d documents, want 3500", n)
	}
}

func TestLostOffsets(t *testing.T) {
	s, _ := small(t)
	s.produce(s.flows(0, 100)...)
	r := s.start(nil)
	eventually(t, "all committed", s.committedAll)
	s.stop(r)
	s.produce(s.flows(100, 200)...)
	// Retention takes what the group has not read.
	ends, err := s.admin.ListEndOffsets(t.Context(), s.topic(kafka.TopicEnriched))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := s.admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil || res.Error() != nil {
		t.Skipf("the in-process broker does not delete records: %v, %v", err, res.Error())
	}
	r = s.start(nil)
	select {
	case err := <-r.failed:
		var lost *indexer.LostError
		if !errors.As(err, &lost) || !strings.Contains(err.Error(), "indexer.on_lost") {
			t.Errorf("failed with %v", err)
		}
	case <-time.After(patience):
		t.Error("went on as if nothing was lost")
	}
	s.stop(r)
	s.produce(s.flows(200, 300)...)
	r = s.start(func(c *indexer.Config) { c.OnLost = indexer.OnLostRestart })
	eventually(t, "all committed", s.committedAll)
	s.stop(r)
}

// ---- real servers

func real(t *testing.T) *site {
	t.Helper()
	url := testbed.SharedElasticsearch(t)
	s := newSite(t, testbed.SharedKafka(t), testbed.Prefix(t), url, testbed.Namespace(t))
	s.setup(indexer.DefaultConfig().Storage)
	return s
}

func (s *site) setup(c indexer.Storage) {
	s.t.Helper()
	if _, err := indexer.Setup(s.t.Context(), client(s.t, s.elastic.URLs[0], s.elastic.Namespace), c, s.elastic.Namespace, false); err != nil {
		s.t.Fatal(err)
	}
}

// ids returns the ids in a data stream, with how often each is there.
func (s *site) ids(stream string) map[string]int {
	s.t.Helper()
	cl := client(s.t, s.elastic.URLs[0], s.elastic.Namespace)
	stream += "-" + s.elastic.Namespace
	if err := cl.Do(s.t.Context(), "POST", "/"+stream+"/_refresh", nil, nil); err != nil {
		s.t.Fatal(err)
	}
	ids := map[string]int{}
	after := []any{}
	for {
		q := map[string]any{"size": 5000, "_source": false, "sort": []any{map[string]any{"@timestamp": "asc"}, map[string]any{"event.id": "asc"}}}
		if len(after) > 0 {
			q["search_after"] = after
		}
		var res struct {
			Hits struct {
				Hits []struct {
					ID   string `json:"_id"`
					Sort []any  `json:"sort"`
				}
			}
		}
		if err := cl.Do(s.t.Context(), "POST", "/"+stream+"/_search", q, &res); err != nil {
			s.t.Fatal(err)
		}
		for _, h := range res.Hits.Hits {
			ids[h.ID]++
			after = h.Sort
		}
		if len(res.Hits.Hits) < 5000 {
			return ids
		}
	}
}

func (s *site) wantFlows(n int) {
	s.t.Helper()
	ids := s.ids("logs-weir.flow")
	for i := range n {
		if ids[flowID(i)] != 1 {
			s.t.Errorf("flow %d is there %d times", i, ids[flowID(i)])
		}
	}
	if len(ids) != n {
		s.t.Errorf("%d flows, want %d", len(ids), n)
	}
}

func TestRealServers(t *testing.T) {
	s := real(t)
	full := ecstest.Full()
	s.produce(s.flows(0, 3000)...)
	s.produce(s.flows(100, 400)...) // repeats
	s.produce(&kgo.Record{Topic: s.topic(kafka.TopicEnriched), Value: full.Append(nil)}, s.alert("a", 0), s.alert("a", 1), s.alert("a", 1))
	bad := ecstest.Plain(9999)
	// A name that makes a longer term than Lucene takes.
	bad.Flow.Extra = []schemas.Extra{{Name: strings.Repeat("n", 40000), Value: schemas.ExtraValue{Kind: schemas.ExtraLong}}}
	poison := &kgo.Record{Topic: s.topic(kafka.TopicEnriched), Value: bad.Append(nil)}
	wrong := s.alert("b", 0)
	wrong.Value = []byte(strings.Replace(string(wrong.Value), `"source":{"ip":"10.0.0.1"}`, `"source":{"ip":"nonsense"}`, 1))
	s.produce(poison, wrong, s.raw(kafka.TopicEnriched, "garbage"))
	r := s.start(func(c *indexer.Config) { c.BulkBytes = 300000 })
	eventually(t, "all committed", s.committedAll)
	s.stop(r)

	dead := s.deadLetters(3)
	if got := dead[string(wrong.Value)]; !strings.Contains(got, "document_parsing_exception") || !strings.Contains(got, "source.ip") {
		t.Errorf("the reason of a document that was refused: %q", got)
	}
	if got := dead[string(poison.Value)]; !strings.Contains(got, "status 400") {
		t.Errorf("the reason of a document that was refused: %q", got)
	}
	ids := s.ids("logs-weir.flow")
	if len(ids) != 3001 {
		t.Errorf("%d flows, want 3001", len(ids))
	}
	if got := r.metric(t, "weir_indexer_documents_total", "stream", "flow", "outcome", "exists"); got != 300 {
		t.Errorf("%v repeats, want 300", got)
	}
	if got := s.ids("logs-weir.alert"); len(got) != 2 || got["a-0"] != 1 || got["a-1"] != 1 {
		t.Errorf("alerts: %v", got)
	}

	// What is in Elasticsearch can be asked for as the docs say.
	cl := client(t, s.elastic.URLs[0], s.elastic.Namespace)
	var res struct {
		Hits struct {
			Hits []struct {
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	query := func(stream, field string, value any) json.RawMessage {
		t.Helper()
		res.Hits.Hits = nil
		if err := cl.Do(t.Context(), "POST", "/"+stream+"-"+s.elastic.Namespace+"/_search",
			map[string]any{"query": map[string]any{"term": map[string]any{field: value}}}, &res); err != nil {
			t.Fatal(err)
		}
		if len(res.Hits.Hits) != 1 {
			t.Fatalf("%d hits for %s: %v", len(res.Hits.Hits), field, value)
		}
		return res.Hits.Hits[0].Source
	}
	got := string(query("logs-weir.flow", "weir.extra.cisco.username", "bob"))
	for _, kept := range []string{`"flow_id":"b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"`, `"9/12235":"dead"`, `"category":"c2"`, `"ja4":"t13d1516h2_8daaf6152771_02713d6af862"`} {
		if !strings.Contains(strings.ReplaceAll(got, ": ", ":"), kept) {
			t.Errorf("%s is missing in the document that Elasticsearch gives back:\n%s", kept, got)
		}
	}
	if got := string(query("logs-weir.alert", "_id", "a-1")); !strings.Contains(got, `"event.ingested"`) {
		t.Errorf("the alert has no event.ingested: %s", got)
	}
}

// TestElasticsearchKilled kills a real Elasticsearch in mid-stream.
func TestElasticsearchKilled(t *testing.T) {
	testbed.RequireServers(t)
	es, err := testbed.StartElasticsearch(t.Context(), testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = es.Close() })
	s := newSite(t, testbed.SharedKafka(t), testbed.Prefix(t), es.URL(), testbed.Namespace(t))
	const flows = 6000
	s.produce(s.flows(0, flows/2)...)
	s.setup(indexer.DefaultConfig().Storage)
	r := s.start(nil)
	eventually(t, "some are in", func() bool {
		return r.metric(t, "weir_indexer_documents_total", "outcome", "created") > 200
	})
	es.Kill()
	s.produce(s.flows(flows/2, flows)...)
	eventually(t, "readiness says so", func() bool { return r.Ready(t.Context()) != nil })
	if err := es.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.elastic.URLs = []string{es.URL()}
	eventually(t, "all committed", s.committedAll)
	s.stop(r)
	s.wantFlows(flows)
}
