package pipeline

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// Local is enricher and detector in one process, without Kafka: the same
// processors, driven record by record. Raw records and ticks go in, what the
// stages put out comes to the callbacks.
type Local struct {
	enrich *stream.Local
}

// LocalOutputs are called as things come about; each may be nil.
type LocalOutputs struct {
	// Enriched gets every enriched record as it would stand in its topic.
	Enriched func(value []byte) error
	// Alert gets every alert document.
	Alert func(value []byte) error
	// Refused gets what would go to the dead letter, with the reason.
	Refused func(value []byte, reason string) error
}

// NewLocal builds the stages from the configuration. rules, when not nil,
// replace the configured ones.
func NewLocal(cfg Config, log *slog.Logger, rules []*detector.Rule, out LocalOutputs) (*Local, error) {
	silent := prometheus.NewRegistry()
	e, err := enricher.New(cfg.Enricher, enricher.Dependencies{Log: log, Registerer: silent})
	if err != nil {
		return nil, &ConfigError{RoleEnricher, config.Section("enricher", err)}
	}
	d, err := detector.New(cfg.Detector, detector.Dependencies{Registerer: silent, Rules: rules})
	if err != nil {
		return nil, &ConfigError{RoleDetector, err}
	}
	first, merge := DetectorStages(cfg, d)
	m := stream.NewLocal(merge, out.route(nil), nil)
	f := stream.NewLocal(first, out.route(m), tell(m))
	return &Local{stream.NewLocal(EnricherStage(cfg, e), out.route(f), tell(f))}, nil
}

// Push applies one record of the raw topic: a FlowRecord or a tick. value
// must not be changed afterwards.
func (l *Local) Push(key, value []byte) error { return l.enrich.Push(key, value) }

// tell hands a stage's ticks to the next.
func tell(next *stream.Local) func(schemas.Tick) error {
	return func(t schemas.Tick) error { return next.Push(nil, t.Append(nil)) }
}

// route takes a stage's outputs to where they belong; next is the stage that
// reads them.
func (out LocalOutputs) route(next *stream.Local) func(stream.Output) error {
	return func(o stream.Output) error {
		switch o.Topic {
		case kafka.TopicEnriched:
			if out.Enriched != nil {
				if err := out.Enriched(o.Value); err != nil {
					return err
				}
			}
			return next.Push(o.Key, o.Value)
		case kafka.TopicMerge:
			return next.Push(o.Key, o.Value)
		case kafka.TopicAlerts:
			if out.Alert != nil {
				return out.Alert(o.Value)
			}
		case kafka.TopicDeadLetter:
			if out.Refused != nil {
				reason := ""
				for _, h := range o.Headers {
					if h.Key == "reason" {
						reason = string(h.Value)
					}
				}
				return out.Refused(o.Value, reason)
			}
		}
		return nil
	}
}
