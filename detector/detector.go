// Package detector runs rules over enriched flows and says what it found as
// alerts. Rules are data: a filter, a key, a window, aggregates and a
// condition, with their own tests (docs/detections.md).
//
// It has two stages, each a stream.Processor. The first sees all flows of an
// initiator together and runs the rules keyed by it. Rules with another key
// are pre-aggregated there by slices of time, sent keyed anew, and merged in
// the second. What either puts out is a function of its input log.
package detector

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
)

// Dependencies of a detector.
type Dependencies struct {
	// Registerer of its metrics; nil: none.
	Registerer prometheus.Registerer
	// Rules to run; nil: those of the configuration.
	Rules []*Rule
}

// Detector makes the processors of the stages. They share rules and metrics,
// but no state.
type Detector struct {
	rules []*Rule
	life  life
}

// New loads the rules. The detector does nothing until a processor is run.
func New(cfg Config, deps Dependencies) (*Detector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	rules := deps.Rules
	if rules == nil {
		var err error
		if rules, err = LoadRules(cfg.Rules); err != nil {
			return nil, err
		}
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("rules: there are none; leave no_shipped out, or name a directory in dirs")
	}
	return &Detector{
		rules: rules,
		life:  life{cfg.UpdatePace.Milliseconds(), cfg.ReopenWithin.Milliseconds(), newMetrics(deps.Registerer)},
	}, nil
}

// Rules returns the rules that are run, in the order of their ids.
func (d *Detector) Rules() []*Rule { return d.rules }

// programs compiles the rules anew: a program has scratch space and belongs to
// one processor.
func (d *Detector) programs() []*program {
	programs := make([]*program, len(d.rules))
	for i, r := range d.rules {
		p, err := compile(r, newVocabulary())
		if err != nil {
			panic(fmt.Sprintf("rule %s compiled when it was loaded, and now does not: %v", r.ID, err))
		}
		programs[i] = p
	}
	return programs
}

// Stages returns both stages as a stream.Runner or a stream.Local runs them,
// the first one first.
func (d *Detector) Stages() []stream.Stage {
	return []stream.Stage{
		{Name: kafka.StageDetector, Input: kafka.TopicEnriched, Ticks: []string{kafka.TopicMerge}, Outputs: []string{kafka.TopicAlerts}, New: d.NewProcessor},
		{Name: kafka.StageMerge, Input: kafka.TopicMerge, Outputs: []string{kafka.TopicAlerts}, New: d.NewMergeProcessor},
	}
}

// NewProcessor returns the logic of one partition of the first stage, whose
// input is the topic of enriched flows.
func (d *Detector) NewProcessor() stream.Processor { return newProcessor(d.life, d.programs()) }

// NewMergeProcessor returns the logic of one partition of the second stage,
// whose input is the merge topic.
func (d *Detector) NewMergeProcessor() stream.Processor { return newMerger(d.life, d.programs()) }
