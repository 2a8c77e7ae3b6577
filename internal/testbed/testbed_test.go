package testbed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/testbed"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testbed.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func options(t *testing.T) testbed.Options {
	return testbed.Options{Progress: func(s string) { t.Log(s) }}
}

func client(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// bounded is a context that ends before the test binary's own limit.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func produce(t *testing.T, cl *kgo.Client, topic, value string) {
	t.Helper()
	if err := cl.ProduceSync(bounded(t), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatalf("produce %q: %v", value, err)
	}
}

// consume returns the first n values of a topic.
func consume(t *testing.T, brokers []string, topic string, n int) []string {
	t.Helper()
	cl := client(t, brokers, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var values []string
	for len(values) < n {
		fetches := cl.PollFetches(bounded(t))
		if err := fetches.Err(); err != nil {
			t.Fatalf("consume: %v after %q", err, values)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s (-got, +want)\n- %q\n+ %q", what, got, want)
	}
}

func TestSharedKafka(t *testing.T) {
	brokers, topic := testbed.SharedKafka(t), testbed.Prefix(t)+"topic"
	cl := client(t, brokers)

	// The broker must not make topics by itself: a typo would go unnoticed.
	err := client(t, brokers, kgo.UnknownTopicRetries(0)).
		ProduceSync(bounded(t), &kgo.Record{Topic: topic + ".typo"}).FirstErr()
	if err == nil {
		t.Error("the broker made a topic that nobody asked for")
	}
	if _, err := kadm.NewClient(cl).CreateTopic(bounded(t), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, topic, "plain")

	// A transaction, as it takes the coordinator and its topic.
	tx := client(t, brokers, kgo.TransactionalID(topic))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, tx, topic, "aborted")
	if err := tx.EndTransaction(bounded(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, tx, topic, "committed")
	if err := tx.EndTransaction(bounded(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	got := consume(t, brokers, topic, 2)
	if got[0] > got[1] { // of two partitions
		got[0], got[1] = got[1], got[0]
	}
	equal(t, "committed values", got, []string{"committed", "plain"})
}

// request sends a request to Elasticsearch and returns its status and body.
func request(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// bulk indexes one document.
func bulk(t *testing.T, url, index, id string) {
	t.Helper()
	status, body := request(t, http.MethodPost, url+"/_bulk?refresh=true",
		fmt.Sprintf(`{"create":{"_index":%q,"_id":%q}}`+"\n"+`{"message":"hello"}`+"\n", index, id))
	if status != http.StatusOK || strings.Contains(body, `"errors":true`) {
		t.Fatalf("bulk: status %d: %s", status, body)
	}
}

func count(t *testing.T, url, index string) int {
	t.Helper()
	status, body := request(t, http.MethodGet, url+"/"+index+"/_count", "")
	var answer struct{ Count int }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("count: status %d: %s", status, body)
	}
	return answer.Count
}

func TestSharedElasticsearch(t *testing.T) {
	url, index := testbed.SharedElasticsearch(t), "testbed-"+testbed.Namespace(t)
	bulk(t, url, index, "1")
	if got := count(t, url, index); got != 1 {
		t.Errorf("documents (-got, +want)\n- %d\n+ 1", got)
	}
}

func TestKafkaOfThreeSurvivesKills(t *testing.T) {
	testbed.RequireServers(t)
	o := options(t)
	o.Brokers = 3
	k, err := testbed.StartKafka(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(t, k) })

	const topic = "kept"
	cl := client(t, k.Brokers())
	if _, err := kadm.NewClient(cl).CreateTopic(bounded(t), 1, 3, nil, topic); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range k.Brokers() {
		value := fmt.Sprintf("before the kill of broker %d", i)
		produce(t, cl, topic, value)
		k.Kill(i)
		during := fmt.Sprintf("without broker %d", i)
		produce(t, cl, topic, during) // acknowledged by the other two
		want = append(want, value, during)
		if err := k.Restart(bounded(t), i); err != nil {
			t.Fatal(err)
		}
		inSync(t, cl, topic, 3)
	}
	equal(t, "values", consume(t, k.Brokers(), topic, len(want)), want)

	k.Stop(bounded(t), 2)
	produce(t, cl, topic, "after an orderly stop")
	if err := k.Restart(bounded(t), 2); err != nil {
		t.Fatal(err)
	}
	if err := k.Restart(bounded(t), 2); err == nil {
		t.Error("a running broker was started again")
	}
}

// inSync waits until the partition has n replicas in sync.
func inSync(t *testing.T, cl *kgo.Client, topic string, n int) {
	t.Helper()
	adm := kadm.NewClient(cl)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		details, err := adm.ListTopics(bounded(t), topic)
		if err == nil && len(details[topic].Partitions[0].ISR) == n {
			return
		}
		select {
		case <-bounded(t).Done():
			t.Fatalf("replicas in sync: %v, %v", details[topic].Partitions, err)
		case <-tick.C:
		}
	}
}

func close(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// enterable is a directory that servers can enter when we are root and they
// are not: t.TempDir's parent is for its owner alone.
func enterable(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A directory is taken up again after an orderly close and after a kill, at
// other ports, and by one process only.
func TestKafkaTakesUpAStaleDirectory(t *testing.T) {
	testbed.RequireServers(t)
	o := options(t)
	o.Dir = enterable(t)
	const topic = "kept"
	var want []string
	for round, end := range []string{"orderly", "killed", "orderly"} {
		k, err := testbed.StartKafka(bounded(t), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := testbed.StartKafka(bounded(t), o); err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("a second start in the same directory: %v", err)
		}
		cl := client(t, k.Brokers())
		if round == 0 {
			if _, err := kadm.NewClient(cl).CreateTopic(bounded(t), 1, 1, nil, topic); err != nil {
				t.Fatal(err)
			}
		}
		produce(t, cl, topic, end)
		want = append(want, end)
		equal(t, "values", consume(t, k.Brokers(), topic, len(want)), want)
		if end == "killed" {
			k.Kill(0)
		}
		close(t, k)
		close(t, k) // twice does no harm
	}
}

func TestElasticsearchKeepsWhatItAcknowledged(t *testing.T) {
	testbed.RequireServers(t)
	o := options(t)
	o.Dir = enterable(t)
	e, err := testbed.StartElasticsearch(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	bulk(t, e.URL(), "kept", "1")
	e.Kill()
	if err := e.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if got := count(t, e.URL(), "kept"); got != 1 {
		t.Errorf("documents after a kill (-got, +want)\n- %d\n+ 1", got)
	}
	e.Kill()
	close(t, e)
	// The directory is that of a killed server now.
	if e, err = testbed.StartElasticsearch(bounded(t), o); err != nil {
		t.Fatal(err)
	}
	defer close(t, e)
	if got := count(t, e.URL(), "kept"); got != 1 {
		t.Errorf("documents after a new start (-got, +want)\n- %d\n+ 1", got)
	}
}

// A server that cannot start says why, and leaves nothing behind.
func TestBootErrorShowsTheLog(t *testing.T) {
	testbed.RequireServers(t)
	o := options(t)
	o.Settings = map[string]string{"num.io.threads": "many"}
	_, err := testbed.StartKafka(bounded(t), o)
	if err == nil || !strings.Contains(err.Error(), "num.io.threads") {
		t.Errorf("error (-got, +want)\n- %v\n+ one that names num.io.threads", err)
	}
}
