// Package detection_test holds the shipped rules to the generator's truth: the
// six attacks are found, and nothing of the benign day is flagged.
package detection_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/capture"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// pipeline is collector, enricher and detector in one process, by export time.
type pipeline struct {
	t                 *testing.T
	enrich, one, two  *stream.Local
	now               int64
	sequence          int64
	flows, merged     int
	flowSize, mergedS int
	alerts            []string
}

func newPipeline(t *testing.T, e *enricher.Enricher, d *detector.Detector) *pipeline {
	p := &pipeline{t: t}
	stages := d.Stages()
	p.two = stream.NewLocal(stages[1], p.out, nil)
	p.one = stream.NewLocal(stages[0], p.out,
		func(tick schemas.Tick) error { return p.two.Push(nil, tick.Append(nil)) })
	p.enrich = stream.NewLocal(stream.Stage{Name: kafka.StageEnricher, New: e.NewProcessor}, p.out,
		func(tick schemas.Tick) error { return p.one.Push(nil, tick.Append(nil)) })
	return p
}

func (p *pipeline) out(o stream.Output) error {
	switch o.Topic {
	case kafka.TopicEnriched:
		p.flows++
		p.flowSize += len(o.Key) + len(o.Value)
		return p.one.Push(o.Key, o.Value)
	case kafka.TopicMerge:
		p.merged++
		p.mergedS += len(o.Key) + len(o.Value)
		return p.two.Push(o.Key, o.Value)
	case kafka.TopicAlerts:
		p.alerts = append(p.alerts, string(o.Value))
	case kafka.TopicDeadLetter:
		return fmt.Errorf("dead letter: %v", o.Headers)
	}
	return nil
}

func (p *pipeline) Begin(h *decode.Header) {
	if h.ExportTime > p.now {
		p.tick(h.ExportTime)
		p.now = h.ExportTime
	}
}

func (p *pipeline) tick(at int64) {
	if at/1000 == p.now/1000 {
		return
	}
	tick := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "test", Time: at}}}
	if err := p.enrich.Push(nil, tick.Append(nil)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipeline) Flow(r *schemas.FlowRecord) {
	r.StreamTime = p.now
	r.CollectorId, r.CollectorBoot = "test", 1
	p.sequence++
	r.CollectorSequence = p.sequence
	if err := p.enrich.Push(schemas.ConversationKey(nil, r), r.Append(nil)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipeline) Event(decode.Kind, *schemas.FlowRecord) {}
func (p *pipeline) Reject(e *decode.Error)                 { p.t.Errorf("rejected: %v", e) }

func inventory(t *testing.T) string {
	var b strings.Builder
	b.WriteString("assets:\n")
	for _, a := range generator.Assets() {
		fmt.Fprintf(&b, "  - {address: %s, name: %s, roles: [%s], owner: %s}\n", a.Address, a.Name, a.Role, a.Owner)
	}
	path := filepath.Join(t.TempDir(), "assets.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type alert struct {
	Timestamp string `json:"@timestamp"`
	Event     struct {
		ID       string
		Kind     string
		Severity int
		Reason   string
	}
	Rule struct{ ID string }
	Weir struct {
		Alert struct{ State, Entity string }
	}
}

// seeds of the runs; more by the environment.
func seeds(t *testing.T) (list []uint64) {
	if testing.Short() {
		t.Skip("plays whole days; leave -short off")
	}
	text := os.Getenv("WEIR_SEEDS")
	if text == "" {
		text = "1"
	}
	for _, s := range strings.Split(text, ",") {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEEDS: %v", err)
		}
		list = append(list, n)
	}
	return list
}

// The six attacks of six hours are found, and nothing else is flagged.
func TestTruth(t *testing.T) {
	for _, seed := range seeds(t) {
		cfg := generator.DefaultConfig()
		cfg.Seed = seed
		run(t, cfg)
	}
}

// A day and a night without an attack raise nothing.
func TestBenignDay(t *testing.T) {
	for _, seed := range seeds(t) {
		cfg := generator.DefaultConfig()
		cfg.Seed, cfg.Scenarios = seed, nil
		cfg.Duration, cfg.FlowRate = 24*time.Hour, cfg.FlowRate/2
		run(t, cfg)
	}
}

func run(t *testing.T, cfg generator.Config) {
	table, err := ie.Load()
	if err != nil {
		t.Fatal(err)
	}
	t.Run(fmt.Sprint("seed ", cfg.Seed), func(t *testing.T) {
		g, err := generator.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ec := enricher.DefaultConfig()
		ec.Assets.Files = []string{inventory(t)}
		e, err := enricher.New(ec, enricher.Dependencies{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		d, err := detector.New(detector.DefaultConfig(), detector.Dependencies{})
		if err != nil {
			t.Fatal(err)
		}
		p := newPipeline(t, e, d)
		decoder := decode.New(decode.Config{Limits: decode.DefaultLimits(), Identify: func(netip.Addr) decode.Identity { return decode.Identity{Realm: "default"} }}, table)
		begin := time.Now()
		err = g.Run(context.Background(), generator.SinkFunc(func(dg capture.Datagram) error {
			decoder.Datagram(dg.Payload, dg.Source.Addr(), dg.Time.UnixMilli(), p)
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		p.tick(p.now + 60_000)
		t.Logf("%d enriched flows of %d octets, %d parts (%.1f %% of the octets), %v", p.flows, p.flowSize/p.flows, p.merged,
			100*float64(p.mergedS)/float64(p.flowSize), time.Since(begin).Round(time.Millisecond))
		compare(t, g.Truth(), p.alerts)
	})
}

func compare(t *testing.T, truth []generator.Event, values []string) {
	want := make(map[string]bool)
	allowed := make(map[string]bool)
	for _, ev := range truth {
		for _, x := range ev.Expect {
			want[x.Rule+" "+x.Entity.String()] = false
		}
		for _, rule := range ev.MayFire {
			for _, a := range slices.Concat(ev.Attackers, ev.Victims) {
				allowed[rule+" "+a.String()] = true
			}
		}
	}
	opened := make(map[string]int)
	for _, v := range values {
		var a alert
		if err := json.Unmarshal([]byte(v), &a); err != nil {
			t.Fatal(err)
		}
		pair := a.Rule.ID + " " + a.Weir.Alert.Entity
		if a.Weir.Alert.State == "open" {
			opened[pair]++
			t.Logf("%s %-45s %s", a.Timestamp, pair, a.Event.Reason)
		}
		if _, ok := want[pair]; ok {
			want[pair] = true
		} else if !allowed[pair] && a.Event.Severity >= int(detector.Medium) && a.Weir.Alert.State == "open" {
			t.Errorf("unexpected alert: %s\n%s", pair, a.Event.Reason)
		}
	}
	for pair, found := range want {
		if !found {
			t.Errorf("missed: %s", pair)
		}
		if opened[pair] > 1 {
			t.Errorf("%s was opened %d times", pair, opened[pair])
		}
	}
}
