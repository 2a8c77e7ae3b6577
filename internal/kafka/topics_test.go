package kafka_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testbed.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Other systems rely on the names and on what is compacted.
func TestTopicsOfTheContract(t *testing.T) {
	var got []string
	for _, s := range kafka.Topics(kafka.DefaultConfig()) {
		got = append(got, fmt.Sprintf("%s %d %s", s.Name, s.Partitions, s.Configs["cleanup.policy"]))
	}
	want := `weir.flows.raw 8 delete
weir.flows.enriched 8 delete
weir.detector.merge.parts 8 delete
weir.alerts 8 delete
weir.state.enricher 8 compact
weir.state.detector 8 compact
weir.state.detector-merge 8 compact
weir.rules 1 compact
weir.intel 1 compact
weir.assets 1 compact
weir.policies 1 compact
weir.exporters 1 compact
weir.deadletter 1 delete`
	if strings.Join(got, "\n") != want {
		t.Errorf("topics (-got, +want)\n-\n%s\n+\n%s", strings.Join(got, "\n"), want)
	}
	cfg := kafka.DefaultConfig()
	cfg.ReplicationFactor = 3
	for _, s := range kafka.Topics(cfg) {
		if s.ReplicationFactor != 3 || s.Configs["min.insync.replicas"] != "2" {
			t.Errorf("%s: %d replicas, %q in sync (-got, +want)\n+ 3, 2", s.Name, s.ReplicationFactor, s.Configs["min.insync.replicas"])
		}
	}
}

// ensure counts what EnsureTopics does and finds.
func ensure(t *testing.T, cl *kgo.Client, cfg kafka.Config, dryRun bool) (created, kept int, differences []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	plan, err := kafka.EnsureTopics(ctx, cl, kafka.Topics(cfg), dryRun)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range plan {
		switch {
		case c.Create:
			created++
		case len(c.Differences) == 0:
			kept++
		}
		for _, d := range c.Differences {
			differences = append(differences, fmt.Sprintf("%s: %s %s -> %s", strings.TrimPrefix(c.Topic.Name, cfg.TopicPrefix), d.Property, d.Got, d.Want))
		}
	}
	return created, kept, differences
}

func TestEnsureTopics(t *testing.T) {
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.TopicPrefix, cfg.Partitions = testbed.SharedKafka(t), testbed.Prefix(t), 2
	all := len(kafka.Topics(cfg))
	cl := newClient(t, cfg, kafka.Dependencies{}, kafka.RoleAdmin)

	check := func(what string, dryRun bool, wantCreated, wantKept int, wantDifferences ...string) {
		t.Helper()
		created, kept, differences := ensure(t, cl, cfg, dryRun)
		if created != wantCreated || kept != wantKept || strings.Join(differences, "\n") != strings.Join(wantDifferences, "\n") {
			t.Errorf("%s: created, kept, differences (-got, +want)\n- %d %d %q\n+ %d %d %q", what,
				created, kept, differences, wantCreated, wantKept, wantDifferences)
		}
	}
	check("dry run", true, all, 0)
	check("dry run again: the first made nothing", true, all, 0)

	// Two setups at once do not trip over each other.
	var both errgroup.Group
	for range 2 {
		both.Go(func() error {
			_, err := kafka.EnsureTopics(t.Context(), cl, kafka.Topics(cfg), false)
			return err
		})
	}
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	check("second time", false, 0, all)

	// They serve at once: no wait between setup and the first record.
	producer := newClient(t, cfg, kafka.Dependencies{}, kafka.RoleProducer)
	if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: cfg.Topic(kafka.TopicRaw), Key: []byte("k")}).FirstErr(); err != nil {
		t.Error(err)
	}

	// What is not as configured is told, and left.
	cfg.Partitions, cfg.Retention.Raw = 4, time.Hour
	want := []string{
		"flows.raw: partitions 2 -> 4", "flows.raw: retention.ms 86400000 -> 3600000", "flows.raw: segment.ms 10800000 -> 600000",
		"flows.enriched: partitions 2 -> 4", "detector.merge.parts: partitions 2 -> 4", "alerts: partitions 2 -> 4",
		"state.enricher: partitions 2 -> 4", "state.detector: partitions 2 -> 4", "state.detector-merge: partitions 2 -> 4",
	}
	check("other configuration", false, 0, 6, want...)
	check("other configuration again", false, 0, 6, want...)
}

func TestEnsureTopicsRefusesAnOddCount(t *testing.T) {
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.TopicPrefix = testbed.SharedKafka(t), testbed.Prefix(t)
	cl := newClient(t, cfg, kafka.Dependencies{}, kafka.RoleAdmin)
	topic := cfg.Topic(kafka.TopicRaw)
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	_, err := kafka.EnsureTopics(t.Context(), cl, kafka.Topics(cfg), false)
	if err == nil || !strings.Contains(err.Error(), topic+" has 3 partitions") {
		t.Errorf("error (-got, +want)\n- %v\n+ one that names %s and its 3 partitions", err, topic)
	}
}

func TestPlanIsReadable(t *testing.T) {
	plan := kafka.Plan{
		{Topic: kafka.TopicSpec{Name: "a", Partitions: 8, ReplicationFactor: 3, Configs: map[string]string{"retention.ms": "1", "cleanup.policy": "delete"}}, Create: true},
		{Topic: kafka.TopicSpec{Name: "b"}, Differences: []kafka.Difference{{"partitions", "4", "8"}, {"retention.ms", "1", "2"}}},
		{Topic: kafka.TopicSpec{Name: "c"}},
	}
	want := `create a: 8 partitions, 3 replicas, cleanup.policy=delete, retention.ms=1
differs b (left as it is): partitions is 4, not 8, retention.ms is 1, not 2
keep c
`
	if got := plan.String(); got != want {
		t.Errorf("plan (-got, +want)\n- %s\n+ %s", got, want)
	}
}
