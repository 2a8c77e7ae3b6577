// Package bench measures what each stage costs for the same generated
// traffic, without servers: CPU seconds per million flow records (s/M), as
// user and system time of this process. What Kafka and Elasticsearch take is
// theirs, and outside.
package bench

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/collector"
	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/indexer/ecs"
	"github.com/weir-flow/weir/internal/capture"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/pipeline/demo"
	"github.com/weir-flow/weir/schemas"
)

// record is a record of a topic.
type record struct{ key, value []byte }

// day is the traffic, as datagrams and as each stage gets it.
type day struct {
	datagrams    []capture.Datagram
	raw          []record
	enriched     []record
	flows        int // records in raw, ticks not counted
	conversation int // enriched flows
	cfg          pipeline.Config
}

// BenchmarkStages prints s/M of each stage, and its ratio to goflow2's
// decoding of the same datagrams in the same run.
func BenchmarkStages(b *testing.B) {
	d := newDay(b)
	var peer float64
	measure := func(name string, once func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			begin := cpu(b)
			for b.Loop() {
				once(b)
			}
			perMillion := (cpu(b) - begin).Seconds() / float64(b.N) / float64(d.flows) * 1e6
			b.ReportMetric(perMillion, "s/M")
			if peer == 0 {
				peer = perMillion
			}
			b.ReportMetric(perMillion/peer, "x-goflow2-decode")
			b.ReportMetric(0, "ns/op") // of the whole day: says nothing
		})
	}
	measure("goflow2-decode", d.peer)
	measure("collector", d.collect)
	measure("enricher", d.enrich)
	measure("detector", d.detect)
	measure("documents", d.document)
}

func newDay(b *testing.B) *day {
	b.Helper()
	gen := generator.DefaultConfig()
	gen.Duration = 2 * time.Hour
	gen.Scenarios = []string{"horizontal-scan", "worm-445", "spam", "ddos", "tor"}
	g, err := generator.New(gen)
	if err != nil {
		b.Fatal(err)
	}
	d := &day{cfg: pipeline.DefaultConfig()}
	err = g.Run(context.Background(), generator.SinkFunc(func(x capture.Datagram) error {
		x.Payload = bytes.Clone(x.Payload)
		d.datagrams = append(d.datagrams, x)
		return nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	if err := demo.WriteWorld(b.TempDir(), gen.Start, &d.cfg.Enricher); err != nil {
		b.Fatal(err)
	}
	d.decode(b, func(_ int32, key, value []byte) bool {
		d.raw = append(d.raw, record{slices.Clone(key), slices.Clone(value)})
		if key != nil {
			d.flows++
		}
		return true
	})
	d.stage(b, func(o stream.Output) error {
		if o.Topic == kafka.TopicEnriched {
			d.enriched = append(d.enriched, record{o.Key, o.Value})
			d.conversation++
		}
		return nil
	}, func(t schemas.Tick) error {
		d.enriched = append(d.enriched, record{nil, t.Append(nil)})
		return nil
	})
	return d
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peer decodes with goflow2 as it comes: no records are made of it.
func (d *day) peer(b *testing.B) {
	templates := map[netip.Addr]netflow.NetFlowTemplateSystem{}
	for _, x := range d.datagrams {
		system := templates[x.Source.Addr()]
		if system == nil {
			system = netflow.CreateTemplateSystem()
			templates[x.Source.Addr()] = system
		}
		buf := bytes.NewBuffer(x.Payload)
		version := int(x.Payload[0])<<8 | int(x.Payload[1])
		var err error
		if version == 5 {
			var p netflowlegacy.PacketNetFlowV5
			err = netflowlegacy.DecodeMessageVersion(buf, &p)
		} else {
			var v9 netflow.NFv9Packet
			var ipfix netflow.IPFIXPacket
			err = netflow.DecodeMessageVersion(buf, system, &v9, &ipfix)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// decode takes the datagrams through the collector's decoder and sequencer.
func (d *day) decode(b *testing.B, out collector.Out) {
	o, err := collector.NewOffline(d.cfg.Collector, collector.OfflineDependencies{Log: slog.New(slog.DiscardHandler), Partitions: 1, Out: out})
	if err != nil {
		b.Fatal(err)
	}
	for _, x := range d.datagrams {
		o.Datagram(x)
	}
	if err := o.Close(); err != nil {
		b.Fatal(err)
	}
}

func (d *day) collect(b *testing.B) {
	d.decode(b, func(int32, []byte, []byte) bool { return true })
}

// stage takes the raw records through a fresh enricher.
func (d *day) stage(b *testing.B, out func(stream.Output) error, tick func(schemas.Tick) error) {
	e, err := enricher.New(d.cfg.Enricher, enricher.Dependencies{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	push(b, stream.NewLocal(pipeline.EnricherStage(d.cfg, e), out, tick), d.raw)
}

func (d *day) enrich(b *testing.B) { d.stage(b, nil, nil) }

func (d *day) detect(b *testing.B) {
	x, err := detector.New(d.cfg.Detector, detector.Dependencies{})
	if err != nil {
		b.Fatal(err)
	}
	first, second := pipeline.DetectorStages(d.cfg, x)
	merge := stream.NewLocal(second, nil, nil)
	push(b, stream.NewLocal(first, func(o stream.Output) error {
		if o.Topic == kafka.TopicMerge {
			return merge.Push(o.Key, o.Value)
		}
		return nil
	}, func(t schemas.Tick) error { return merge.Push(nil, t.Append(nil)) }), d.enriched)
}

func push(b *testing.B, l *stream.Local, records []record) {
	for _, r := range records {
		if err := l.Push(r.key, r.value); err != nil {
			b.Fatal(err)
		}
	}
}

func (d *day) document(b *testing.B) {
	enc := ecs.NewEncoder("bench")
	var e schemas.EnrichedFlow
	var buf []byte
	for _, r := range d.enriched {
		if r.key == nil {
			continue
		}
		if err := e.Unmarshal(r.value); err != nil {
			b.Fatal(err)
		}
		if buf = enc.AppendFlow(buf[:0], &e, 0); len(buf) == 0 {
			b.Fatal("an empty document")
		}
	}
}
