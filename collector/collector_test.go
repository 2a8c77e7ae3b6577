package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/lifecycle"
	"github.com/weir-flow/weir/schemas"
)

var _ lifecycle.Component = (*Collector)(nil)

func testConfig(t testing.TB) Config {
	cfg := DefaultConfig()
	cfg.Listen = []string{"netflow://127.0.0.1:0"}
	cfg.Spool.Dir = t.TempDir()
	return cfg
}

// v5Datagram has n flows between hosts that differ by the sequence.
func v5Datagram(seq, n int, when int64) []byte {
	b := binary.BigEndian.AppendUint16(nil, 5)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = binary.BigEndian.AppendUint32(b, 100_000)
	b = binary.BigEndian.AppendUint32(b, uint32(when))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(seq))
	b = append(b, 0, 0, 0, 1)
	for i := range n {
		r := make([]byte, 48)
		binary.BigEndian.PutUint32(r, 0x0A000000+uint32(seq+i))
		binary.BigEndian.PutUint32(r[4:], 0x0A010000+uint32(i))
		binary.BigEndian.PutUint32(r[16:], 1)
		binary.BigEndian.PutUint32(r[20:], 100)
		r[38] = 6
		b = append(b, r...)
	}
	return b
}

func start(t *testing.T, cfg Config, deps Dependencies) *Collector {
	t.Helper()
	if deps.Log == nil {
		deps.Log = quiet
	}
	c, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	return c
}

func kafkaDeps(k Producer) Dependencies {
	return Dependencies{Producer: k, TopicPrefix: "weir.", Partitions: func(context.Context) (int, error) { return 4, nil }}
}

func stop(t *testing.T, c *Collector) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, c *Collector) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", c.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Collected + counted losses = sent, whatever the kernel dropped, and what a
// reader sees holds to the promises of raw partitions.
func TestConservation(t *testing.T) {
	k := newFakeKafka(t, true)
	cfg := testConfig(t)
	cfg.Workers = 2
	registry := prometheus.NewRegistry()
	deps := kafkaDeps(k)
	deps.Registry = registry
	c := start(t, cfg, deps)
	const exporters, datagrams, flows = 4, 200, 10
	var wg sync.WaitGroup
	for i := range exporters {
		conn := dial(t, c)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range datagrams {
				conn.Write(v5Datagram(n*flows+i<<20, flows, time.Now().Unix()))
			}
		}()
	}
	wg.Wait()
	stop(t, c)
	kernel := c.KernelDrops()
	equal(t, "datagrams received + dropped by the kernel", c.Stats().Datagrams.Load()+kernel, exporters*datagrams)
	r := newReader(t).takeAll(k.records("weir.flows.raw"))
	equal(t, "records", uint64(len(r.flows))+kernel*flows, exporters*datagrams*flows)
	equal(t, "missed", r.missed, 0)
	for p := range int32(4) {
		equal(t, "last tick says that the collector left", r.left[p], true)
	}
	got := gather(t, registry)
	equal(t, "metric records", got[`weir_collector_records_total{protocol="netflow_v5"}`], float64(len(r.flows)))
	equal(t, "metric produced", got["weir_collector_produced_total"], float64(len(r.flows)))
	equal(t, "metric datagrams", got["weir_collector_datagrams_total"], float64(exporters*datagrams)-float64(kernel))
	equal(t, "metric kernel drops", got["weir_collector_kernel_drops_total"], float64(kernel))
}

func gather(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "{" + l.GetName() + `="` + l.GetValue() + `"}`
			}
			if m.Counter != nil {
				out[name] = m.Counter.GetValue()
			} else {
				out[name] = m.Gauge.GetValue()
			}
		}
	}
	return out
}

// A full socket buffer: what the kernel dropped is known.
func TestKernelDropsAreCounted(t *testing.T) {
	cfg := testConfig(t)
	cfg.ReadBuffer, cfg.Workers = 4096, 1
	k := newFakeKafka(t, true)
	c := start(t, cfg, kafkaDeps(k))
	w := c.decoders[0]
	w.mu.Lock() // the decoder is slow
	conn := dial(t, c)
	const sent = 3000
	for n := range sent {
		conn.Write(v5Datagram(n, 30, time.Now().Unix()))
	}
	w.mu.Unlock()
	stop(t, c)
	equal(t, "received + dropped", c.Stats().Datagrams.Load()+c.KernelDrops(), sent)
	if c.KernelDrops() == 0 {
		t.Skip("the kernel took 4 MB into a buffer of 4 kB")
	}
}

func TestStdout(t *testing.T) {
	var out syncBuffer
	cfg := testConfig(t)
	cfg.Output, cfg.Spool.Dir = OutputStdout, ""
	c := start(t, cfg, Dependencies{Stdout: &out})
	conn := dial(t, c)
	conn.Write(v5Datagram(1, 2, 1_700_000_000))
	conn.Write(optionsDatagram())
	for end := time.Now().Add(10 * time.Second); strings.Count(out.String(), "\n") < 3; {
		if time.Now().After(end) {
			t.Fatalf("not flushed while running: %q", out.String())
		}
		time.Sleep(time.Millisecond)
	}
	conn.Write(v5Datagram(3, 1, 1_700_000_000))
	stop(t, c)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	equal(t, "lines", len(lines), 4)
	kinds := map[string]int{}
	for _, l := range lines {
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		kinds[m["kind"].(string)]++
		if m["kind"] == "options" {
			if m["samplingInterval"] != float64(100) {
				t.Errorf("options: %s", l)
			}
			if _, has := m["octetDeltaCount"]; has {
				t.Errorf("options have no counters: %s", l)
			}
		} else {
			equal(t, "source", m["exporterSource"].(string), "127.0.0.1")
		}
	}
	equal(t, "flows", kinds["flow"], 3)
	equal(t, "options", kinds["options"], 1)
}

// optionsDatagram says that the domain samples one in 100.
func optionsDatagram() []byte {
	b := []byte{0, 10, 0, 52}
	b = binary.BigEndian.AppendUint32(b, 1_700_000_000)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 9)
	b = append(b, 0, 3, 0, 24, 1, 44, 0, 3, 0, 1, 0, 149, 0, 4, 0, 34, 0, 4, 1, 5, 0, 4, 0, 0)
	b = append(b, 1, 44, 0, 16, 0, 0, 0, 9, 0, 0, 0, 100, 0, 0, 0, 7)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Garbage is kept in the dead letter topic, with its reason, at a bounded
// rate, and disturbs nothing.
func TestDeadLetters(t *testing.T) {
	k := newFakeKafka(t, true)
	c := start(t, testConfig(t), kafkaDeps(k))
	conn := dial(t, c)
	conn.Write([]byte("\x00\x63garbage"))
	for range 500 {
		conn.Write([]byte("\x00\x63garbage"))
	}
	conn.Write(v5Datagram(1, 1, time.Now().Unix()))
	stop(t, c)
	dead := k.records("weir.deadletter")
	if len(dead) == 0 || len(dead) > 300 {
		t.Fatalf("dead letters: got %d of 501, want some", len(dead))
	}
	equal(t, "value", string(dead[0].value), "\x00\x63garbage")
	headers := map[string]string{}
	for _, h := range dead[0].headers {
		headers[h.Key] = string(h.Value)
	}
	equal(t, "headers", headers["stage"]+" "+headers["reason"]+" "+headers["source"], "collector unknown_version 127.0.0.1")
	equal(t, "kept + skipped", c.dead.kept.Load()+c.dead.skipped.Load()+c.KernelDrops(), 501)
	equal(t, "flows", len(newReader(t).takeAll(k.records("weir.flows.raw")).flows), 1)
}

func TestAllowList(t *testing.T) {
	k := newFakeKafka(t, true)
	cfg := testConfig(t)
	cfg.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	c := start(t, cfg, kafkaDeps(k))
	dial(t, c).Write(v5Datagram(1, 1, time.Now().Unix()))
	stop(t, c)
	equal(t, "refused", c.refused.Load(), 1)
	equal(t, "flows", len(newReader(t).takeAll(k.records("weir.flows.raw")).flows), 0)
}

// Two runs on one spool: the same id, a higher boot, and time that never goes
// back.
func TestIdentitySurvives(t *testing.T) {
	cfg := testConfig(t)
	var all []fakeRecord
	var ids, boots []any
	for range 2 {
		k := newFakeKafka(t, true)
		c := start(t, cfg, kafkaDeps(k))
		dial(t, c).Write(v5Datagram(1, 1, time.Now().Unix()))
		stop(t, c)
		rs := k.records("weir.flows.raw")
		r := newReader(t).takeAll(rs)
		if len(r.flows) != 1 {
			t.Fatalf("flows: got %d, want 1", len(r.flows))
		}
		ids, boots = append(ids, r.flows[0].CollectorId), append(boots, r.flows[0].CollectorBoot)
		all = append(all, rs...)
	}
	equal(t, "id", ids[0], ids[1])
	if boots[0].(int64) >= boots[1].(int64) {
		t.Errorf("boots: %v, want growing", boots)
	}
	newReader(t).takeAll(all)
}

// Kafka is not there at start: the spool remembers how many partitions there
// are, and keeps what comes.
func TestStartWithoutKafka(t *testing.T) {
	cfg := testConfig(t)
	cfg.Spool.After = 100 * time.Millisecond
	away := newFakeKafka(t, false)
	deps := kafkaDeps(away)
	deps.Partitions = func(context.Context) (int, error) { return 0, errAway }
	deps.Log = quiet
	c, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Start(ctx, nil) }()
	for c.waiting.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := c.Ready(ctx); err == nil || !strings.Contains(err.Error(), "weir setup") {
		t.Errorf("readiness %v, want advice: the partitions were never known", err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Fatal("started without knowing the partitions")
	}
	stop(t, start(t, cfg, kafkaDeps(newFakeKafka(t, true))))

	c = start(t, cfg, deps)
	conn := dial(t, c)
	for n := range 50 {
		conn.Write(v5Datagram(n*30, 30, time.Now().Unix()))
	}
	ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	received := c.Stats().Protocol[schemas.ExportProtocolNETFLOW_V5].Flows.Load()

	k := newFakeKafka(t, true)
	stop(t, start(t, cfg, kafkaDeps(k)))
	r := newReader(t).takeAll(k.records("weir.flows.raw"))
	equal(t, "flows", uint64(len(r.flows)), received)
	equal(t, "missed", r.missed, 0)
}

// Recorded traffic: stream time is the exporters', and time advances past its
// end when the collector stops.
func TestStreamTimeByExport(t *testing.T) {
	k := newFakeKafka(t, true)
	cfg := testConfig(t)
	cfg.StreamTime, cfg.Workers = StreamTimeExport, 4
	c := start(t, cfg, kafkaDeps(k))
	equal(t, "one worker", len(c.decoders), 1)
	conn := dial(t, c)
	const day = 86400
	for n := range 100 {
		conn.Write(v5Datagram(n*10, 10, 1_400_000_000+int64(n)*day/100))
	}
	stop(t, c)
	r := newReader(t).takeAll(k.records("weir.flows.raw"))
	equal(t, "flows", uint64(len(r.flows)), c.Stats().Protocol[schemas.ExportProtocolNETFLOW_V5].Flows.Load())
	for _, f := range r.flows {
		if f.StreamTime != f.ExportTimeMilliseconds {
			t.Fatalf("stream time %d of a record exported at %d", f.StreamTime, f.ExportTimeMilliseconds)
		}
	}
	last := r.flows[len(r.flows)-1].StreamTime
	equal(t, "last tick", r.tick[0], last+cfg.FinalAdvance.Milliseconds())
}

func TestWorkersShareNoExporter(t *testing.T) {
	if os.Getenv("WEIR_SKIP_LOOPBACK_ADDRESSES") != "" {
		t.Skip("other loopback addresses than 127.0.0.1 are not wanted here")
	}
	k := newFakeKafka(t, true)
	cfg := testConfig(t)
	cfg.Workers = 4
	c := start(t, cfg, kafkaDeps(k))
	if len(c.sockets) != 4 {
		t.Skip("this kernel cannot spread by source address")
	}
	// Templates on one port, data from another port of the same address.
	template := []byte{0, 10, 0, 28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4}
	data := []byte{0, 10, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 8, 0, 0, 0, 9}
	dial(t, c).Write(template)
	for range 20 {
		dial(t, c).Write(data)
	}
	stop(t, c)
	equal(t, "flows", c.Stats().Protocol[schemas.ExportProtocolIPFIX].Flows.Load()+c.KernelDrops(), 20)
}

func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"listen[2]: ":                   func(c *Config) { c.Listen = append(c.Listen, "tcp://x:1") },
		"listen: ":                      func(c *Config) { c.Listen = nil },
		"listen[0]: \"netflow://host\"": func(c *Config) { c.Listen = []string{"netflow://host"} },
		"stream_time: ":                 func(c *Config) { c.StreamTime = "wall" },
		"output: ":                      func(c *Config) { c.Output = "file" },
		"exporters[0].network: ":        func(c *Config) { c.Exporters = []Exporter{{Network: "x"}} },
		"workers: ":                     func(c *Config) { c.Workers = 65 },
		"limits.exporters: ":            func(c *Config) { c.Limits.Exporters = 0 },
		"spool.max_bytes: ":             func(c *Config) { c.Spool.MaxBytes = config.Bytes(1) },
		"realm: ":                       func(c *Config) { c.Realm = "" },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q first", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestIdentify(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Exporters = []Exporter{{Network: "192.0.2.0/24", Name: "net", Realm: "r"}, {Network: "192.0.2.7", Name: "one", SamplingInterval: 5}}
	id := cfg.identify()
	equal(t, "most specific", id(netip.MustParseAddr("192.0.2.7")).Name, "one")
	equal(t, "its realm", id(netip.MustParseAddr("192.0.2.7")).Realm, "default")
	equal(t, "network", id(netip.MustParseAddr("192.0.2.8")).Realm, "r")
	equal(t, "none", id(netip.MustParseAddr("198.51.100.1")).Configured, false)
}
