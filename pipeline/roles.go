package pipeline

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/collector"
	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/indexer"
	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/lifecycle"
	"github.com/weir-flow/weir/internal/stream"
)

// The roles.
const (
	RoleCollector Role = "collector"
	RoleEnricher  Role = "enricher"
	RoleDetector  Role = "detector"
	RoleIndexer   Role = "indexer"
)

// builders make the components of each role, inert, in the order in which
// they start: what reads a topic before what writes it, so that a process
// that has all roles drains from the front when it stops in reverse.
var builders = []struct {
	role  Role
	build func(Config, Options) ([]lifecycle.Component, error)
}{
	{RoleIndexer, buildIndexer},
	{RoleDetector, buildDetector},
	{RoleEnricher, buildEnricher},
	{RoleCollector, buildCollector},
}

// EnricherStage is the stage from raw to enriched flows.
func EnricherStage(cfg Config, e *enricher.Enricher) stream.Stage {
	return stream.Stage{
		Name: kafka.StageEnricher, Input: kafka.TopicRaw, Ticks: []string{kafka.TopicEnriched},
		MaxStall: cfg.Stream.CollectorMaxStall, New: e.NewProcessor,
	}
}

// DetectorStages are the two stages from enriched flows to alerts.
func DetectorStages(cfg Config, d *detector.Detector) (first, merge stream.Stage) {
	stages := d.Stages()
	for i := range stages {
		stages[i].MaxStall = cfg.Stream.MaxStall
	}
	return stages[0], stages[1]
}

func buildCollector(cfg Config, o Options) ([]lifecycle.Component, error) {
	deps := collector.Dependencies{Log: o.Log, Registry: o.registerer, TopicPrefix: cfg.Kafka.TopicPrefix, Stdout: o.Stdout}
	if cfg.Collector.Output == collector.OutputStdout {
		c, err := collector.New(cfg.Collector, deps)
		return []lifecycle.Component{c}, err
	}
	cl, err := kafka.NewClient(cfg.Kafka, kafka.Dependencies{Log: o.Log, Registry: o.registerer, Service: string(RoleCollector)}, kafka.RoleProducer, collector.ProducerOptions()...)
	if err != nil {
		return nil, err
	}
	deps.Producer = cl
	deps.Partitions = func(ctx context.Context) (int, error) {
		return kafka.PartitionCount(ctx, cl, cfg.Kafka.TopicPrefix+kafka.TopicRaw)
	}
	c, err := collector.New(cfg.Collector, deps)
	if err != nil {
		return nil, errors.Join(err, closed(cl))
	}
	o.Health.Register(c.Name(), c.Ready)
	return []lifecycle.Component{&withClient{Component: c, client: cl}}, nil
}

// withClient closes a component's client after the component.
type withClient struct {
	lifecycle.Component
	client *kgo.Client
}

// Stop implements lifecycle.Component.
func (w *withClient) Stop(ctx context.Context) error {
	return errors.Join(w.Component.Stop(ctx), closed(w.client))
}

func closed(cl *kgo.Client) error {
	cl.Close()
	return nil
}

func buildEnricher(cfg Config, o Options) ([]lifecycle.Component, error) {
	e, err := enricher.New(cfg.Enricher, enricher.Dependencies{Log: o.Log, Registerer: o.registerer})
	if err != nil {
		return nil, config.Section("enricher", err)
	}
	r, err := buildStage(cfg, o, EnricherStage(cfg, e))
	if err != nil {
		return nil, err
	}
	return []lifecycle.Component{e, r}, nil
}

func buildDetector(cfg Config, o Options) ([]lifecycle.Component, error) {
	d, err := detector.New(cfg.Detector, detector.Dependencies{Registerer: o.registerer})
	if err != nil {
		return nil, err
	}
	first, merge := DetectorStages(cfg, d)
	var out []lifecycle.Component
	for _, s := range []stream.Stage{merge, first} {
		r, err := buildStage(cfg, o, s)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func buildIndexer(cfg Config, o Options) ([]lifecycle.Component, error) {
	client, err := elastic.New(cfg.Elasticsearch)
	if err != nil {
		return nil, err
	}
	x, err := indexer.New(cfg.Indexer, indexer.Dependencies{
		Log: o.Log, Registry: o.registerer, Kafka: cfg.Kafka, Elastic: client,
		Namespace: cfg.Elasticsearch.Namespace, Instance: cfg.Kafka.Instance,
	})
	if err != nil {
		return nil, err
	}
	o.Health.Register(x.Name(), x.Ready)
	return []lifecycle.Component{x}, nil
}

// buildStage makes the runner of a stage.
func buildStage(cfg Config, o Options, s stream.Stage) (*stream.Runner, error) {
	options := func(member bool) ([]kgo.Opt, error) {
		deps := kafka.Dependencies{Log: o.Log, Service: s.Name}
		if member {
			deps.Registry = o.registerer
		}
		return kafka.Options(cfg.Kafka, deps, kafka.RoleTransactional)
	}
	if _, err := options(false); err != nil {
		return nil, err
	}
	r, err := stream.NewRunner(s, cfg.Stream, stream.Dependencies{
		Log: o.Log, Registry: o.registerer, Prefix: cfg.Kafka.TopicPrefix, Instance: cfg.Kafka.Instance,
		Options: func(member bool) []kgo.Opt {
			opts, err := options(member)
			if err != nil {
				// A certificate that could be read a moment ago cannot now.
				// Without brokers no client is made, and the stage tries
				// again; without options it would go to a default one.
				o.Log.Error("options of the Kafka client", "stage", s.Name, "error", err)
				return []kgo.Opt{kgo.SeedBrokers()}
			}
			return opts
		},
	})
	if err != nil {
		return nil, err
	}
	o.Health.Register(s.Name, r.Ready)
	return r, nil
}
