// Package bed puts a whole deployment under test: the built weir binary as
// child processes, on a real Kafka and a real Elasticsearch, with topics and
// data streams of its own. Traffic goes in over UDP; Kafka, Elasticsearch and
// the processes' metrics are what a test looks at.
package bed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/collector"
	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/pipeline/demo"
)

// binary is built once for a test process.
var binary struct {
	sync.Once
	dir, path string
	err       error
}

// Main runs the tests of a package that uses the bed, for its TestMain, and
// returns the exit status. What goes wrong in tidying up is told to w.
func Main(m *testing.M, w io.Writer) int {
	code := m.Run()
	err := testbed.CloseShared()
	if binary.dir != "" {
		err = errors.Join(err, os.RemoveAll(binary.dir))
	}
	if err != nil {
		fmt.Fprintln(w, err)
		code = 1
	}
	return code
}

// Binary returns the path of the weir binary, built from this tree.
func Binary(t *testing.T) string {
	t.Helper()
	binary.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "weir-test-"); binary.err != nil {
			return
		}
		binary.path = filepath.Join(binary.dir, "weir")
		out, err := exec.Command("go", "build", "-o", binary.path, "github.com/weir-flow/weir/cmd/weir").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatalf("build weir: %v", binary.err)
	}
	return binary.path
}

// Partitions of the topics of a bed.
const Partitions = 4

// Bed is one deployment.
type Bed struct {
	t *testing.T
	// Config is what every process runs with.
	Config pipeline.Config
	// Dir holds the configuration, what it names, the spool and the logs.
	Dir  string
	file string
	cl   *kgo.Client
	es   *elastic.Client // nil: the bed has none
}

// Options of a Bed.
type Options struct {
	// Brokers of the Kafka to use, and the URL of the Elasticsearch; none: the
	// bed goes without it.
	Brokers       []string
	Elasticsearch string
	// Configure may change the configuration before it is written.
	Configure func(*pipeline.Config)
}

// New makes a deployment for the generated enterprise, and sets up its topics
// and templates with `weir setup`. Stream time is the export time.
func New(t *testing.T, o Options) *Bed {
	t.Helper()
	b := &Bed{t: t, Dir: t.TempDir(), Config: pipeline.DefaultConfig()}
	c := &b.Config
	name := testbed.Namespace(t)
	c.Kafka.Brokers, c.Kafka.TopicPrefix, c.Kafka.Instance = o.Brokers, name+".", "one"
	c.Kafka.Partitions, c.Kafka.ReplicationFactor = Partitions, 1
	c.Elasticsearch.Namespace = name
	targets := []string{"kafka"}
	if o.Elasticsearch != "" {
		c.Elasticsearch.URLs = []string{o.Elasticsearch}
		targets = append(targets, "elasticsearch")
		var err error
		if b.es, err = elastic.New(c.Elasticsearch); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.es.Close)
	}
	// An hour plays in seconds, so a restart takes minutes of stream time: none
	// of the partitions is to be left behind for that.
	c.Stream.MaxStall = 2 * time.Hour
	c.Collector.Listen = []string{"netflow://" + freeUDP(t)}
	c.Collector.StreamTime = collector.StreamTimeExport
	c.Collector.Spool.Dir = filepath.Join(b.Dir, "spool")
	if err := demo.WriteWorld(b.Dir, time.Unix(1_772_000_000, 0), &c.Enricher); err != nil {
		t.Fatal(err)
	}
	if o.Configure != nil {
		o.Configure(c)
	}
	text, err := config.Dump(*c)
	if err != nil {
		t.Fatal(err)
	}
	b.file = filepath.Join(b.Dir, "weir.yaml")
	if err := os.WriteFile(b.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if len(o.Brokers) == 0 {
		return b
	}
	b.Weir(append([]string{"setup"}, targets...)...)
	b.cl, err = kafka.NewClient(c.Kafka, kafka.Dependencies{Log: slog.New(slog.DiscardHandler), Service: "test"}, kafka.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.cl.Close)
	return b
}

// Listen is the collector's HOST:PORT.
func (b *Bed) Listen() string { return b.Config.Collector.Listen[0][len("netflow://"):] }

// Admin is a client for what a test asks of Kafka itself.
func (b *Bed) Admin() *kadm.Client { return kadm.NewClient(b.cl) }

// Weir runs a command of the binary to its end, and returns its standard
// output. It must succeed.
func (b *Bed) Weir(args ...string) []byte {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(b.t), append(args, "-c", b.file)...)
	out, err := cmd.Output()
	if err != nil {
		said := ""
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Output returns it bare
			said = string(exit.Stderr)
		}
		b.t.Fatalf("weir %v: %v\n%s%s", args, err, out, said)
	}
	return out
}

// Eventually polls what lies outside of this process until f returns nil.
func (b *Bed) Eventually(what string, within time.Duration, f func() error) {
	b.t.Helper()
	for deadline := time.Now().Add(within); ; {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(50 * time.Millisecond) // between two looks; nothing out there signals
	}
}

// freeUDP finds an address on loopback that nobody listens on.
func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // it has done its work
	return "127.0.0.1:" + strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port)
}

func freeTCP(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
