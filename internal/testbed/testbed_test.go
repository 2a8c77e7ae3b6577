package testbed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/testbed"
)

// victim makes the test binary a process that starts servers and is killed.
const victim = "WEIR_TESTBED_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victim) != "" {
		beKilled()
		os.Exit(1)
	}
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

// beKilled starts both servers, prints their addresses, and waits.
func beKilled() {
	k, err := testbed.StartKafka(context.Background(), testbed.Options{})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	e, err := testbed.StartElasticsearch(context.Background(), testbed.Options{})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("addresses", k.Brokers()[0], strings.TrimPrefix(e.URL(), "http://"))
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test, should that die
}

// Servers die with the process that started them, even when that is killed,
// and the next start clears the directories that it left.
func TestServersDieWithTheirParent(t *testing.T) {
	testbed.RequireServers(t)
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ties a child to its parent")
	}
	cache := t.TempDir()
	for dir := cache; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The servers of the real cache, and a place of its own for data.
	servers := filepath.Join(testbed.DefaultCache(), "servers")
	if err := os.MkdirAll(servers, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(servers, filepath.Join(cache, "servers")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victim+"=1", "WEIR_CACHE="+cache)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said [3]string
	if _, err := fmt.Fscan(stdout, &said[0], &said[1], &said[2]); err != nil || said[0] != "addresses" {
		t.Errorf("the victim said %q: %v", said, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed: an error says so

	for _, addr := range said[1:] {
		waitRefused(t, addr)
	}
	if left := entries(t, cache, "*-*"); len(left) != 2 {
		t.Errorf("data directories after the kill (-got, +want)\n- %q\n+ two", left)
	}
	o := options(t)
	o.Cache = cache
	k, err := testbed.StartKafka(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "data directories after the next start", entries(t, cache, "*-*"), []string{k.Dir()})
	close(t, k)
	equal(t, "data directories after close", entries(t, cache, "*-*"), nil)
}

func entries(t *testing.T, cache, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, "run", pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// waitRefused waits until nothing listens on the address.
func waitRefused(t *testing.T, addr string) {
	t.Helper()
	ctx := bounded(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		select {
		case <-ctx.Done():
			t.Fatalf("the server at %s outlived its parent", addr)
		case <-tick.C:
		}
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
