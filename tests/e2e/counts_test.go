package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/collector/spool"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/schemas"
	"github.com/weir-flow/weir/tests/internal/bed"
)

// TestCountsAreConserved follows every generated record through the pipeline,
// while Kafka goes away in mid-stream, the collector is killed with its spool
// in use, and killed again while it brings the spool to Kafka.
//
// A kill may lose what a collector has read and not written yet: at most one
// batch of datagrams, and what the kernel's socket holds. Here each kill comes
// when everything that was sent is in Kafka or in the spool, as the spool's
// files show, so nothing at all may be lost.
func TestCountsAreConserved(t *testing.T) {
	testbed.RequireServers(t)
	broker, err := testbed.StartKafka(t.Context(), testbed.Options{}) // one to kill
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	b := bed.New(t, bed.Options{
		Brokers: broker.Brokers(), Elasticsearch: testbed.SharedElasticsearch(t),
		Configure: func(c *pipeline.Config) { c.Collector.Spool.After = 300 * time.Millisecond },
	})
	stage := map[pipeline.Role]*bed.Process{}
	for _, r := range []pipeline.Role{pipeline.RoleEnricher, pipeline.RoleDetector, pipeline.RoleIndexer} {
		stage[r] = b.Start(r)
	}
	for _, p := range stage {
		p.Ready()
	}
	c := &collectors{t: t, b: b, now: b.Start(pipeline.RoleCollector).Ready()}
	player := b.NewPlayer(bed.Day(7), c.now)

	inKafka := 0
	player.At(3000, func() {
		player.Settle()
		b.Drain()
		inKafka = c.decoded()
		if got := len(bed.Records(b.Log(kafka.TopicRaw), bed.IsData)); got != inKafka {
			t.Fatalf("records in Kafka, of those decoded (-got, +want)\n- %d\n+ %d", got, inKafka)
		}
		broker.Kill(0)
	})
	player.At(6000, func() {
		player.Settle()
		c.spooled(inKafka)
		c.replace()
		player.Switch(c.now)
	})
	player.At(8500, func() {
		player.Settle()
		c.spooled(inKafka)
		back := make(chan error, 1)
		go func() { back <- broker.Restart(t.Context(), 0) }()
		b.Eventually("the spool goes to Kafka", time.Minute, func() error {
			if c.now.Metrics().Sum("weir_collector_produced_total") == 0 {
				return fmt.Errorf("none was acknowledged")
			}
			return nil
		})
		c.replace()
		player.Switch(c.now)
		if err := <-back; err != nil {
			t.Fatal(err)
		}
	})
	player.Play()
	generated := int(player.Generator().Stats().Records)
	b.Eventually("all is decoded", 10*time.Second, func() error {
		if n := c.decoded(); n != generated {
			return fmt.Errorf("%d records decoded of %d generated", n, generated)
		}
		return nil
	})
	last := c.now.Metrics()
	for _, name := range []string{"kernel_drops", "dropped", "rejected"} {
		equal(t, name, c.gone["weir_collector_"+name+"_total"]+last.Sum("weir_collector_"+name+"_total"), 0)
	}
	c.now.Stop()
	b.Drain()

	// Collector to Kafka: everything is there, some of it twice.
	raw := bed.Records(b.Log(kafka.TopicRaw), bed.IsData)
	ids := map[schemas.FlowId]bool{}
	for _, r := range raw {
		var f schemas.FlowRecord
		if err := f.Unmarshal(r.Value); err != nil {
			t.Fatal(err)
		}
		ids[f.FlowId] = true
	}
	equal(t, "records in Kafka, each counted once, of those generated", len(ids), generated)
	t.Logf("%d records generated, %d in Kafka, %d of them repeats", generated, len(raw), len(raw)-len(ids))

	// Enricher: each once, whatever was repeated.
	m := stage[pipeline.RoleEnricher].Metrics()
	enricher := `stage="` + kafka.StageEnricher + `"`
	applied, late, refused := m.Sum("weir_stream_records_total", enricher), 0, m.Sum("weir_stream_refused_records_total", enricher)
	equal(t, "records applied by the enricher", applied, generated)
	equal(t, "repeats dropped by the enricher", m.Sum("weir_stream_repeated_records_total", enricher), len(raw)-generated)
	equal(t, "records that the enricher misses", m.Sum("weir_stream_missing_records_total", enricher), 0)
	equal(t, "members + late + refused by the enricher", m.Sum("weir_enricher_members_total")+late+refused, generated)
	enriched := bed.Records(b.Log(kafka.TopicEnriched), bed.IsData)
	members := map[schemas.FlowId]bool{}
	n := 0
	for _, r := range enriched {
		var f schemas.EnrichedFlow
		if err := f.Unmarshal(r.Value); err != nil {
			t.Fatal(err)
		}
		for _, one := range f.Members {
			members[one.FlowId] = true
			n++
		}
	}
	equal(t, "members of enriched flows", n, generated)
	if !maps.Equal(members, ids) {
		t.Error("the members of enriched flows are not the records of the raw topic")
	}
	equal(t, "enriched flows by the enricher's account", m.Sum("weir_stream_outputs_total", enricher, `topic="`+kafka.TopicEnriched+`"`), len(enriched))

	// Detector, both stages.
	m = stage[pipeline.RoleDetector].Metrics()
	alerts := bed.Records(b.Log(kafka.TopicAlerts), nil)
	parts := bed.Records(b.Log(kafka.TopicMerge), bed.IsData)
	equal(t, "flows through the rules", m.Sum("weir_stream_records_total", `stage="`+kafka.StageDetector+`"`), len(enriched))
	equal(t, "parts by the detector's account", m.Sum("weir_stream_outputs_total", `topic="`+kafka.TopicMerge+`"`), len(parts))
	equal(t, "parts merged", m.Sum("weir_stream_records_total", `stage="`+kafka.StageMerge+`"`), len(parts))
	equal(t, "alert records by the detector's account", m.Sum("weir_stream_outputs_total", `topic="`+kafka.TopicAlerts+`"`), len(alerts))
	equal(t, "records refused by the detector", m.Sum("weir_stream_refused_records_total"), 0)

	// Indexer.
	m = stage[pipeline.RoleIndexer].Metrics()
	equal(t, "flow documents created", m.Sum("weir_indexer_documents_total", `stream="flow"`, `outcome="created"`), len(enriched))
	equal(t, "alert documents created", m.Sum("weir_indexer_documents_total", `stream="alert"`, `outcome="created"`), len(alerts))
	equal(t, "documents refused", m.Sum("weir_indexer_documents_total", `outcome="refused"`), 0)
	bed.Exactly(t, "flow documents", b.Documents("flow"), bed.FlowIDs(t, enriched))
	bed.Exactly(t, "alert documents", b.Documents("alert"), bed.AlertIDs(t, alerts))

	equal(t, "dead letters", len(bed.Records(b.Log(kafka.TopicDeadLetter), func(*kgo.Record) bool { return true })), 0)
	b.Conform()
	bed.Verdict(t, player.Generator().Truth(), alerts)
	for _, p := range stage {
		p.Stop()
	}
}

func equal(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s (-got, +want)\n- %d\n+ %d", what, got, want)
	}
}

// collectors are one after the other, with one spool.
type collectors struct {
	t    *testing.T
	b    *bed.Bed
	now  *bed.Process
	gone bed.Totals // of those that were killed
}

// decoded is the number of records that all of them have decoded.
func (c *collectors) decoded() int {
	const name = "weir_collector_records_total"
	return c.gone[name] + c.now.Metrics().Sum(name)
}

// spooled waits until everything decoded, except the first inKafka records, can
// be read back from the spool's files.
func (c *collectors) spooled(inKafka int) {
	c.t.Helper()
	c.b.Eventually("what Kafka has not is in the spool", 20*time.Second, func() error {
		if n := c.now.Metrics().Sum("weir_collector_held_octets"); n > 0 {
			c.t.Fatalf("%d octets wait for templates: kill a while later", n)
		}
		decoded := c.decoded()
		if got := c.readSpool(); got != decoded-inKafka {
			return fmt.Errorf("%d records in the spool, of %d decoded and %d in Kafka", got, decoded, inKafka)
		}
		return nil
	})
}

// readSpool counts the records in a copy of the spool, as the next process
// would find them.
func (c *collectors) readSpool() (records int) {
	c.t.Helper()
	dir, err := os.MkdirTemp(c.b.Dir, "copy-")
	if err != nil {
		c.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, "spool"), os.DirFS(c.b.Config.Collector.Spool.Dir)); err != nil {
		c.t.Fatal(err)
	}
	s, err := spool.Open(spool.Config{Dir: filepath.Join(dir, "spool"), MaxBytes: 1 << 30})
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Close()
	for {
		e, _, _, ok, err := s.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		if !ok {
			return records
		}
		if e.Key != nil {
			records++
		}
	}
}

// replace kills the collector, and starts the next with the same spool.
func (c *collectors) replace() {
	c.t.Helper()
	c.gone = c.gone.Plus(c.now.Metrics())
	c.now.Kill()
	c.now = c.b.Start(pipeline.RoleCollector).Ready()
}
