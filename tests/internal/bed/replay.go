package bed

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/pipeline/demo"
	"github.com/weir-flow/weir/schemas"
)

// Stages are fresh stages, as the configuration has them.
type Stages struct{ Enricher, Detector, Merge stream.Stage }

// Stages makes them.
func (b *Bed) Stages() Stages {
	b.t.Helper()
	e, err := enricher.New(b.Config.Enricher, enricher.Dependencies{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := detector.New(b.Config.Detector, detector.Dependencies{Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.t.Fatal(err)
	}
	s := Stages{Enricher: pipeline.EnricherStage(b.Config, e)}
	s.Detector, s.Merge = pipeline.DetectorStages(b.Config, d)
	return s
}

// Conform holds what is committed to the promise of exactly once: the log of
// every topic is what fresh stages put out for the log of the one before it.
func (b *Bed) Conform() {
	b.t.Helper()
	s := b.Stages()
	raw, enriched, merge, alerts := b.Log(kafka.TopicRaw), b.Log(kafka.TopicEnriched), b.Log(kafka.TopicMerge), b.Log(kafka.TopicAlerts)
	want := b.replay(s.Enricher, raw)
	b.compare(kafka.TopicEnriched, enriched, want)
	if n := len(want[kafka.TopicDeadLetter]); n > 0 {
		b.t.Errorf("a fresh enricher refuses %d records", n)
	}
	first, second := b.replay(s.Detector, enriched), b.replay(s.Merge, merge)
	b.compare(kafka.TopicMerge, merge, first)
	for task, outputs := range second[kafka.TopicAlerts] {
		first[kafka.TopicAlerts][task] = outputs
	}
	b.compare(kafka.TopicAlerts, alerts, first)
	for _, r := range Records(b.Log(kafka.TopicDeadLetter), nil) {
		b.t.Errorf("in the dead letter: %v", r.Headers)
	}
}

// outputs of a stage: topic, then task, then what it puts out in order.
type outputs map[string]map[string][]stream.Output

func (b *Bed) replay(s stream.Stage, logs [][]*kgo.Record) outputs {
	b.t.Helper()
	all := outputs{}
	for _, topic := range []string{kafka.TopicEnriched, kafka.TopicMerge, kafka.TopicAlerts, kafka.TopicDeadLetter} {
		all[topic] = map[string][]stream.Output{}
	}
	for p, log := range logs {
		task := fmt.Sprint(s.Name, "/", p)
		err := stream.Replay(s, int32(p), len(logs), log, func(o stream.Output) error {
			all[o.Topic][task] = append(all[o.Topic][task], o)
			return nil
		})
		if err != nil {
			b.t.Fatalf("replay of %s: %v", task, err)
		}
	}
	return all
}

// compare holds a topic's log to what tasks must have put there: the same
// records byte for byte, each in the partition of its key, and those of one
// task in one partition in the order in which the task puts them out. How
// tasks interleave, and where ticks stand, is not promised.
func (b *Bed) compare(topic string, logs [][]*kgo.Record, want outputs) {
	b.t.Helper()
	// expected is one sequence of bytes: a task may put out the same again, and
	// then they are told apart by their order. Of those that several tasks put
	// out, the order is not known.
	type expected struct {
		task      string
		partition int32
		at        []int
		several   bool
		value     []byte
	}
	missing := map[string]*expected{}
	n := 0
	for task, list := range want[topic] {
		for i, o := range list {
			id := identity(o.Key, o.Value, o.Headers)
			e := missing[id]
			if e == nil {
				e = &expected{task: task, partition: kafka.PartitionOf(kafka.KeyGroup(o.Key), len(logs)), value: o.Value}
				missing[id] = e
			}
			e.at = append(e.at, i)
			e.several = e.several || e.task != task
			n++
		}
	}
	type lane struct {
		task      string
		partition int32
	}
	last := map[lane]int{}
	got, extra := 0, 0
	for _, r := range Records(logs, IsData) {
		got++
		e := missing[identity(r.Key, r.Value, r.Headers)]
		if e == nil || len(e.at) == 0 {
			if extra++; extra <= 3 {
				b.t.Errorf("%s-%d@%d was not to be expected, or not again:\n- %s", topic, r.Partition, r.Offset, text(r.Value))
			}
			continue
		}
		at := e.at[0]
		e.at = e.at[1:]
		if r.Partition != e.partition {
			b.t.Errorf("%s-%d@%d belongs into partition %d", topic, r.Partition, r.Offset, e.partition)
		}
		if e.several {
			continue
		}
		l := lane{e.task, e.partition}
		if before, ok := last[l]; ok && before > at {
			b.t.Errorf("%s-%d@%d: output %d of %s stands after output %d", topic, r.Partition, r.Offset, at, e.task, before)
		}
		last[l] = at
	}
	lost := 0
	for _, e := range missing {
		for _, at := range e.at {
			if lost++; lost <= 3 {
				b.t.Errorf("%s lacks output %d of %s:\n+ %s", topic, at, e.task, text(e.value))
			}
		}
	}
	if extra+lost > 0 {
		b.t.Errorf("%s: %d records, %d wanted; %d extra, %d missing", topic, got, n, extra, lost)
	}
	b.t.Logf("%s: %d records, %d computed afresh", topic, got, n)
}

func identity(key, value []byte, headers []kgo.RecordHeader) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q ", key)
	b.Write(value)
	for _, h := range headers {
		fmt.Fprintf(&b, " %s=%q", h.Key, h.Value)
	}
	return b.String()
}

// text shows a record to people.
func text(value []byte) string {
	var f schemas.EnrichedFlow
	if err := f.Unmarshal(value); err == nil {
		return string(f.AppendJSON(nil))
	}
	return fmt.Sprintf("%.400q", value)
}

// IsData tells records from ticks.
func IsData(r *kgo.Record) bool { return !schemas.IsTick(r.Value) }

// Verdict holds alerts to the truth: every attack is found, and nothing else.
func Verdict(t *testing.T, truth []generator.Event, alerts []*kgo.Record) {
	t.Helper()
	v := demo.NewVerdict(truth)
	for _, r := range alerts {
		a, err := pipeline.ParseAlert(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		v.Add(a)
	}
	for _, r := range v.Rows() {
		if !r.Found() {
			t.Errorf("%s: no alert of %s for %v", r.Scenario, r.Rule, r.Missing())
		}
	}
	for _, a := range v.Unexpected() {
		t.Errorf("not in the truth: %s of %s: %s", a.Rule.ID, a.Weir.Alert.Entity, a.Event.Reason)
	}
}
