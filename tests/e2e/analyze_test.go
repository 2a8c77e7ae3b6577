package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/capture"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/tests/internal/bed"
)

// TestAnalyzeAgrees writes a day to a pcap, and demands of `weir analyze`,
// which has no server, the alerts that the pipeline raises when `weir replay`
// sends the same pcap to it: by rule, entity and window.
//
// Windows are the same when they overlap in all but their edges. Two runs from
// raw interleave partitions differently, and here by much: an hour plays in
// seconds, so a transaction of the enricher holds minutes of it. A condition
// that fires early then finds its hundredth flow a little sooner or later.
func TestAnalyzeAgrees(t *testing.T) {
	b := bed.New(t, bed.Options{Brokers: testbed.SharedKafka(t)})
	var services []*bed.Process
	for _, r := range []pipeline.Role{pipeline.RoleEnricher, pipeline.RoleDetector, pipeline.RoleCollector} {
		services = append(services, b.Start(r))
	}
	for _, p := range services {
		p.Ready()
	}
	collector := services[2]

	file := filepath.Join(b.Dir, "day.pcap")
	gen, datagrams := writeDay(t, file, bed.Day(5))
	var offline, online []*alert
	for line := range bytes.Lines(b.Weir("analyze", "-o", "json", file)) {
		offline = note(t, offline, line)
	}

	b.Weir("replay", file, "--to", b.Listen(), "--rate", "2500")
	b.Eventually("the collector has it all", 30*time.Second, func() error {
		m := collector.Metrics()
		if got := m.Sum("weir_collector_datagrams_total"); got != datagrams {
			return fmt.Errorf("%d of %d datagrams, the kernel dropped %d", got, datagrams, m.Sum("weir_collector_kernel_drops_total"))
		}
		return nil
	})
	collector.Stop()
	b.Drain()
	alerts := bed.Records(b.Log(kafka.TopicAlerts), nil)
	for _, r := range alerts {
		online = note(t, online, r.Value)
	}

	bed.Verdict(t, gen.Truth(), alerts)
	if len(online) == 0 {
		t.Fatal("no alerts")
	}
	for _, a := range offline {
		if !slices.ContainsFunc(online, a.same) {
			t.Errorf("analyze alone has %v", a)
		}
	}
	for _, a := range online {
		if !slices.ContainsFunc(offline, a.same) {
			t.Errorf("the pipeline alone has %v", a)
		}
	}
	equal(t, "alerts of the pipeline, as many as analyze has", len(online), len(offline))
	b.Conform()
	for _, p := range services[:2] {
		p.Stop()
	}
}

// alert is the opening revision of one.
type alert struct {
	Rule  struct{ ID string }
	Event struct {
		Start  time.Time // of the first flow in the window
		Reason string
	}
	Weir struct {
		Alert struct {
			Entity   string
			Revision int
		}
	}
}

func note(t *testing.T, alerts []*alert, document []byte) []*alert {
	t.Helper()
	a := &alert{}
	if err := json.Unmarshal(document, a); err != nil {
		t.Fatal(err)
	}
	if a.Weir.Alert.Revision != 1 {
		return alerts
	}
	return append(alerts, a)
}

// edge is how far the beginnings of the same window may lie apart.
const edge = 10 * time.Second

func (a *alert) same(b *alert) bool {
	return a.Rule.ID == b.Rule.ID && a.Weir.Alert.Entity == b.Weir.Alert.Entity && a.Event.Start.Sub(b.Event.Start).Abs() <= edge
}

func (a *alert) String() string {
	return fmt.Sprintf("%s of %s since %s: %s", a.Rule.ID, a.Weir.Alert.Entity, a.Event.Start.UTC().Format(time.TimeOnly), a.Event.Reason)
}

// writeDay writes generated traffic to a pcap, and returns how many datagrams
// it took.
func writeDay(t *testing.T, path string, cfg generator.Config) (*generator.Generator, int) {
	t.Helper()
	gen, err := generator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := capture.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = gen.Run(t.Context(), generator.SinkFunc(func(d capture.Datagram) error {
		n++
		return w.Write(d)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return gen, n
}
