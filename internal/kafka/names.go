// Package kafka is the one way to Kafka: topic names, key groups and their
// partitioner, the client factory, and the topics' specifications.
package kafka

// Topic names without the configured prefix (Config.TopicPrefix, "weir." by
// default). Other systems rely on them.
const (
	TopicRaw        = "flows.raw"
	TopicEnriched   = "flows.enriched"
	TopicAlerts     = "alerts"
	TopicRules      = "rules"
	TopicIntel      = "intel"
	TopicAssets     = "assets"
	TopicPolicies   = "policies"
	TopicExporters  = "exporters"
	TopicMerge      = "detector.merge.parts"
	TopicDeadLetter = "deadletter"
	// TopicStatePrefix is followed by the name of the stage whose state the
	// topic holds.
	TopicStatePrefix = "state."
)

// Stages that keep state: each has a consumer group and a state topic of its
// name.
const (
	StageEnricher = "enricher"
	StageDetector = "detector"
	StageMerge    = "detector-merge"
)

// StateTopic returns the name, without prefix, of the compacted topic with
// the state of a stage.
func StateTopic(stage string) string { return TopicStatePrefix + stage }
