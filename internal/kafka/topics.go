package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicSpec is a topic as it should be.
type TopicSpec struct {
	Name              string            // with prefix
	Partitions        int               // a power of two
	ReplicationFactor int               // 0: the brokers' default
	Configs           map[string]string // those that differ from the brokers' own
}

// Topics returns every topic of a deployment, in the order of the pipeline.
func Topics(cfg Config) []TopicSpec {
	retained := func(d time.Duration) map[string]string {
		return map[string]string{
			"cleanup.policy": "delete",
			"retention.ms":   millis(d),
			// Kafka drops whole segments, and only closed ones: a quiet
			// partition must roll too, or it keeps everything.
			"segment.ms": millis(min(max(d/8, 10*time.Minute), 24*time.Hour)),
		}
	}
	// Lists of things that change now and then, read from the start by
	// everybody.
	list := map[string]string{
		"cleanup.policy": "compact",
		"segment.bytes":  strconv.Itoa(16 << 20),
		"segment.ms":     millis(24 * time.Hour),
	}
	// Snapshots of state: rewritten all the time, and read whole by whoever
	// takes a partition over, so what is stale must go soon. Only closed
	// segments are compacted: small ones, closed often.
	state := map[string]string{
		"cleanup.policy":            "compact",
		"segment.bytes":             strconv.Itoa(32 << 20),
		"segment.ms":                millis(10 * time.Minute),
		"min.cleanable.dirty.ratio": "0.3",
		"max.compaction.lag.ms":     millis(30 * time.Minute),
	}
	p := cfg.Partitions
	topics := []struct {
		name       string
		partitions int
		configs    map[string]string
	}{
		{TopicRaw, p, retained(cfg.Retention.Raw)},
		{TopicEnriched, p, retained(cfg.Retention.Enriched)},
		{TopicMerge, p, retained(cfg.Retention.Enriched)},
		{TopicAlerts, p, retained(cfg.Retention.Alerts)},
		{StateTopic(StageEnricher), p, state},
		{StateTopic(StageDetector), p, state},
		{StateTopic(StageMerge), p, state},
		// One partition: every instance reads all of it, and order matters
		// more than throughput.
		{TopicRules, 1, list},
		{TopicIntel, 1, list},
		{TopicAssets, 1, list},
		{TopicPolicies, 1, list},
		{TopicExporters, 1, list},
		{TopicDeadLetter, 1, retained(cfg.Retention.DeadLetter)},
	}
	var specs []TopicSpec
	for _, t := range topics {
		configs := maps.Clone(t.configs)
		if cfg.ReplicationFactor >= 3 {
			// Acknowledged by all in sync means little when one may be all.
			configs["min.insync.replicas"] = "2"
		}
		specs = append(specs, TopicSpec{cfg.Topic(t.name), t.partitions, cfg.ReplicationFactor, configs})
	}
	return specs
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Change is what one topic needs.
type Change struct {
	Topic TopicSpec
	// Create: the topic is not there (or was not, when it has been made).
	Create bool
	// Differences of a topic that is there. They are told, never acted on: a
	// shorter retention deletes records, and state has to follow a change of
	// partitions.
	Differences []Difference
}

// Difference is a property of a topic that is not as specified.
type Difference struct {
	Property  string // partitions, replication factor, or the name of a configuration
	Got, Want string
}

// Plan is what EnsureTopics does and finds.
type Plan []Change

// String renders the plan for a person, a line for each topic.
func (p Plan) String() string {
	var b strings.Builder
	for _, c := range p {
		switch {
		case c.Create:
			fmt.Fprintf(&b, "create %s: %d partitions", c.Topic.Name, c.Topic.Partitions)
			if c.Topic.ReplicationFactor > 0 {
				fmt.Fprintf(&b, ", %d replicas", c.Topic.ReplicationFactor)
			}
			for _, key := range slices.Sorted(maps.Keys(c.Topic.Configs)) {
				fmt.Fprintf(&b, ", %s=%s", key, c.Topic.Configs[key])
			}
		case len(c.Differences) > 0:
			fmt.Fprintf(&b, "differs %s (left as it is):", c.Topic.Name)
			for i, d := range c.Differences {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, " %s is %s, not %s", d.Property, d.Got, d.Want)
			}
		default:
			fmt.Fprintf(&b, "keep %s", c.Topic.Name)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// EnsureTopics makes the topics that are missing and reports how the others
// differ; it changes and deletes none. With dryRun it only looks. It may run
// at the same time as another. The error names what could not be made, or a
// partition count that the pipeline cannot work with.
func EnsureTopics(ctx context.Context, cl *kgo.Client, specs []TopicSpec, dryRun bool) (Plan, error) {
	if err := Reach(ctx, cl); err != nil {
		return nil, err
	}
	for _, s := range specs {
		if !validPartitions(s.Partitions) {
			return nil, fmt.Errorf("topic %s: %d partitions: it must be a power of two up to %d", s.Name, s.Partitions, Groups)
		}
	}
	plan, err := comparePlan(ctx, cl, specs)
	if err != nil || dryRun {
		return plan, err
	}
	var made []string
	var errs []error
	admin := kadm.NewClient(cl)
	for _, c := range plan {
		if !c.Create {
			continue
		}
		replicas := int16(-1) // the brokers' default
		if n := c.Topic.ReplicationFactor; n > 0 {
			replicas = int16(n)
		}
		configs := map[string]*string{}
		for key, value := range c.Topic.Configs {
			configs[key] = &value
		}
		r, err := admin.CreateTopic(ctx, int32(c.Topic.Partitions), replicas, configs, c.Topic.Name)
		switch {
		case errors.Is(err, kerr.TopicAlreadyExists): // another setup was first
		case err != nil && r.ErrMessage != "":
			errs = append(errs, fmt.Errorf("create topic %s: %w: %s", c.Topic.Name, err, r.ErrMessage))
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("create topic %s: %w", c.Topic.Name, err))
			continue
		}
		made = append(made, c.Topic.Name)
	}
	if err := errors.Join(errs...); err != nil {
		return plan, err
	}
	return plan, waitForLeaders(ctx, cl, made)
}

// comparePlan looks at the topics that are there.
func comparePlan(ctx context.Context, cl *kgo.Client, specs []TopicSpec) (Plan, error) {
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	metadata, err := freshMetadata(ctx, cl, names)
	if err != nil {
		return nil, err
	}
	var existing []string
	for name, t := range metadata {
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case err == nil:
			existing = append(existing, name)
		case !errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil, fmt.Errorf("topic %s: %w", name, err)
		}
	}
	configs := map[string]kadm.ResourceConfig{}
	if len(existing) > 0 {
		described, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, existing...)
		if err != nil {
			return nil, fmt.Errorf("describe topics: %w", err)
		}
		for _, d := range described {
			configs[d.Name] = d
		}
	}
	var plan Plan
	var errs []error
	for _, s := range specs {
		c := Change{Topic: s}
		if !slices.Contains(existing, s.Name) {
			c.Create = true
			plan = append(plan, c)
			continue
		}
		partitions := metadata[s.Name].Partitions
		if n := len(partitions); n != s.Partitions {
			c.Differences = append(c.Differences, Difference{"partitions", strconv.Itoa(n), strconv.Itoa(s.Partitions)})
			if !validPartitions(n) {
				errs = append(errs, fmt.Errorf("topic %s has %d partitions, and must have a power of two up to %d: stop the services, delete it and run setup again, or choose another kafka.topic_prefix", s.Name, n, Groups))
			}
		}
		if want := s.ReplicationFactor; want > 0 && len(partitions) > 0 && len(partitions[0].Replicas) != want {
			c.Differences = append(c.Differences, Difference{"replication factor", strconv.Itoa(len(partitions[0].Replicas)), strconv.Itoa(want)})
		}
		if err := configs[s.Name].Err; err != nil {
			errs = append(errs, fmt.Errorf("describe topic %s: %w", s.Name, err))
		}
		for _, key := range slices.Sorted(maps.Keys(s.Configs)) {
			for _, got := range configs[s.Name].Configs {
				if got.Key == key && got.MaybeValue() != s.Configs[key] {
					c.Differences = append(c.Differences, Difference{key, got.MaybeValue(), s.Configs[key]})
				}
			}
		}
		plan = append(plan, c)
	}
	return plan, errors.Join(errs...)
}

// freshMetadata asks a broker for the topics: the client's own metadata may
// be older than the last change.
func freshMetadata(ctx context.Context, cl *kgo.Client, topics []string) (map[string]kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("look at topics: %w", err)
	}
	found := map[string]kmsg.MetadataResponseTopic{}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			found[*t.Topic] = t
		}
	}
	return found, nil
}

// waitForLeaders returns once every partition of the topics has a leader: a
// topic is created before the brokers have heard of it.
func waitForLeaders(ctx context.Context, cl *kgo.Client, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		metadata, err := freshMetadata(ctx, cl, topics)
		if err == nil {
			waiting := slices.IndexFunc(topics, func(name string) bool { return !led(metadata[name]) })
			if waiting < 0 {
				return nil
			}
			err = fmt.Errorf("topic %s has no leader yet", topics[waiting])
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for new topics: %w", err)
		case <-tick.C:
		}
	}
}

// led reports whether every partition of the topic has a leader.
func led(t kmsg.MetadataResponseTopic) bool {
	return t.ErrorCode == 0 && len(t.Partitions) > 0 &&
		!slices.ContainsFunc(t.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool {
			return p.ErrorCode != 0 || p.Leader < 0
		})
}

// PartitionCount asks how many partitions a topic (with prefix) has.
func PartitionCount(ctx context.Context, cl *kgo.Client, topic string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	details, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("partitions of %s: Kafka does not answer: %w", topic, err)
	}
	d := details[topic]
	if d.Err != nil {
		return 0, fmt.Errorf("topic %s: %w (weir setup makes the topics)", topic, d.Err)
	}
	return len(d.Partitions), nil
}
