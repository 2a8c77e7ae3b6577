package testbed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"sync"
)

// Environment variables with the servers of a test run, so that the packages
// that `go test` runs side by side share one of each. The command in
// cmd/testbed sets them; without them each test process starts its own.
const (
	EnvKafka         = "WEIR_TEST_KAFKA"         // brokers, separated by commas
	EnvElasticsearch = "WEIR_TEST_ELASTICSEARCH" // URL
)

// TB is what the helpers need of testing.TB; naming it here keeps the testing
// package out of the product's binary.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// shared holds the servers of this test process. They end with it: by
// CloseShared, or else by the kernel's parent-death signal.
var shared struct {
	kafka         once[*Kafka]
	elasticsearch once[*Elasticsearch]
}

// once starts a server at its first use.
type once[T any] struct {
	sync.Mutex
	tried bool
	value T
	err   error
}

func (o *once[T]) get(start func() (T, error)) (T, error) {
	o.Lock()
	defer o.Unlock()
	if !o.tried {
		o.tried = true
		o.value, o.err = start()
	}
	return o.value, o.err
}

// SharedKafka returns the brokers of a Kafka with one node that all tests of
// the run share: use Prefix for your topics and groups, and leave the broker
// alive. It skips the test under -short, and fails it, with what to install,
// on a machine that cannot run Kafka.
func SharedKafka(t TB) []string {
	t.Helper()
	skipShort(t)
	if brokers := os.Getenv(EnvKafka); brokers != "" {
		return strings.Split(brokers, ",")
	}
	k, err := shared.kafka.get(func() (*Kafka, error) {
		return StartKafka(context.Background(), Options{Progress: func(s string) { t.Logf("testbed: %s", s) }})
	})
	if err != nil {
		t.Fatalf("testbed: %v", err)
	}
	return k.Brokers()
}

// SharedElasticsearch returns the URL of an Elasticsearch that all tests of
// the run share: use Namespace for your data streams. It skips and fails as
// SharedKafka does.
func SharedElasticsearch(t TB) string {
	t.Helper()
	skipShort(t)
	if url := os.Getenv(EnvElasticsearch); url != "" {
		return url
	}
	e, err := shared.elasticsearch.get(func() (*Elasticsearch, error) {
		return StartElasticsearch(context.Background(), Options{Progress: func(s string) { t.Logf("testbed: %s", s) }})
	})
	if err != nil {
		t.Fatalf("testbed: %v", err)
	}
	return e.URL()
}

// RequireServers skips the test under -short: for tests that start servers of
// their own, to kill them.
func RequireServers(t TB) {
	t.Helper()
	skipShort(t)
}

func skipShort(t TB) {
	t.Helper()
	if f := flag.Lookup("test.short"); f != nil && f.Value.String() == "true" {
		t.Skipf("runs real servers; leave -short off")
	}
}

// CloseShared stops the servers that this process started, for a TestMain
// that wants their directories gone at once.
func CloseShared() error {
	var errs []error
	if e := shared.elasticsearch.value; e != nil {
		errs = append(errs, e.Close())
	}
	if k := shared.kafka.value; k != nil {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}

// Namespace returns a name for a test's own Elasticsearch data streams, in
// use nowhere else: "t1a2b3c4d".
func Namespace(t TB) string {
	t.Helper()
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	ns := "t" + hex.EncodeToString(b[:])
	t.Logf("testbed: namespace %s", ns)
	return ns
}

// Prefix returns a topic prefix for a test, in use nowhere else:
// "t1a2b3c4d.". It serves for group and transactional ids as well.
func Prefix(t TB) string {
	t.Helper()
	return Namespace(t) + "."
}
