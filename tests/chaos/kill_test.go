// Package chaos_test breaks what runs, in mid-stream, and demands what an
// undisturbed run would have given.
package chaos_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/tests/internal/bed"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, os.Stderr)) }

// TestKill kills enricher, detector and indexer again and again while a day
// with attacks plays, and starts each at once under the same name.
func TestKill(t *testing.T) {
	b := bed.New(t, bed.Options{
		Brokers: testbed.SharedKafka(t), Elasticsearch: testbed.SharedElasticsearch(t),
		Configure: func(c *pipeline.Config) {
			// Snapshots often enough that recovery has some to start from.
			c.Stream.SnapshotInterval = c.Stream.SnapshotInterval / 10
		},
	})
	collector := b.Start(pipeline.RoleCollector).Ready()
	victims := []pipeline.Role{pipeline.RoleEnricher, pipeline.RoleDetector, pipeline.RoleIndexer}
	running := map[pipeline.Role]*bed.Process{}
	for _, r := range victims {
		running[r] = b.Start(r)
	}
	for _, p := range running {
		p.Ready()
	}

	// About 15,000 datagrams in 20 seconds; kills fall from the 1,000th to the
	// 13,000th.
	player := b.NewPlayer(bed.Day(11), collector).Limit(750)
	rnd := rand.New(rand.NewPCG(11, 1))
	const rounds = 4
	for round := range rounds {
		for _, r := range victims {
			player.At(1000+round*3000+rnd.IntN(3000), func() {
				running[r].Kill()
				running[r] = b.Start(r)
			})
		}
	}
	player.Play()
	collector.Stop()
	b.Drain()

	b.Conform()
	alerts := bed.Records(b.Log(kafka.TopicAlerts), nil)
	bed.Verdict(t, player.Generator().Truth(), alerts)

	enriched := bed.Records(b.Log(kafka.TopicEnriched), bed.IsData)
	bed.Exactly(t, "flow documents", b.Documents("flow"), bed.FlowIDs(t, enriched))
	bed.Exactly(t, "alert documents", b.Documents("alert"), bed.AlertIDs(t, alerts))
	for _, r := range victims {
		running[r].Stop()
	}
}
