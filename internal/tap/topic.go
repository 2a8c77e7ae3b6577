package tap

import (
	"fmt"
	"strings"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/kafka"
)

// Topics are the names that tap knows, and the topics (without prefix) they
// stand for, in the order of the pipeline.
var Topics = []struct{ Name, Topic, About string }{
	{"raw", kafka.TopicRaw, "flow records as collected"},
	{"enriched", kafka.TopicEnriched, "stitched and enriched flows"},
	{"alerts", kafka.TopicAlerts, "alerts, as ECS documents"},
	{"deadletter", kafka.TopicDeadLetter, "records that a stage refused, with the reason"},
	{"exporters", kafka.TopicExporters, "state of the exporters: templates, sampling, options, health"},
	{"merge", kafka.TopicMerge, "mergeable parts between the detector's stages"},
	{"rules", kafka.TopicRules, "rules, one record each"},
	{"intel", kafka.TopicIntel, "indicators, one record each"},
	{"assets", kafka.TopicAssets, "assets, one record each"},
	{"policies", kafka.TopicPolicies, "policies, one record each"},
	{"state.enricher", kafka.StateTopic(kafka.StageEnricher), "snapshots of the enricher's state"},
	{"state.detector", kafka.StateTopic(kafka.StageDetector), "snapshots of the detector's state"},
	{"state.detector-merge", kafka.StateTopic(kafka.StageMerge), "snapshots of the merging stage's state"},
}

// UnknownTopicError is a name that stands for no topic.
type UnknownTopicError struct{ Name string }

func (e *UnknownTopicError) Error() string {
	names := make([]string, len(Topics))
	for i, t := range Topics {
		names[i] = t.Name
	}
	hint := ""
	if s := config.Suggest(e.Name, names); s != "" {
		hint = fmt.Sprintf(" (did you mean %s?)", s)
	}
	return fmt.Sprintf("unknown topic %q%s; there are %s", e.Name, hint, strings.Join(names, ", "))
}

// resolve returns the topic, without prefix, that a name stands for. The
// topic's own name, with or without the prefix, is a name too.
func resolve(name, prefix string) (string, error) {
	for _, t := range Topics {
		if name == t.Name || name == t.Topic || name == prefix+t.Topic {
			return t.Topic, nil
		}
	}
	return "", &UnknownTopicError{Name: name}
}
