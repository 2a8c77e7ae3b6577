// Package e2e_test runs the built binary, one process a service, on real Kafka
// and Elasticsearch, and looks at what comes out.
package e2e_test

import (
	"testing"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/tests/internal/bed"
)

func TestMain(m *testing.M) { bed.Main(m) }

// TestDay plays a day with every attack through a pipeline that nothing
// disturbs.
func TestDay(t *testing.T) {
	b := bed.New(t, bed.Options{Brokers: testbed.SharedKafka(t), Elasticsearch: testbed.SharedElasticsearch(t)})
	processes := map[pipeline.Role]*bed.Process{}
	for _, r := range pipeline.Roles() {
		processes[r] = b.Start(r)
	}
	for _, p := range processes {
		p.Ready()
	}
	p := b.NewPlayer(bed.Day(7), processes[pipeline.RoleCollector])
	p.Play()
	processes[pipeline.RoleCollector].Stop()
	b.Drain()
	b.Conform()
	bed.Verdict(t, p.Generator().Truth(), bed.Records(b.Log(kafka.TopicAlerts), nil))
	for _, r := range []pipeline.Role{pipeline.RoleEnricher, pipeline.RoleDetector, pipeline.RoleIndexer} {
		processes[r].Stop()
	}
}
