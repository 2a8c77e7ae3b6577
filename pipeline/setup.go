package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/weir-flow/weir/indexer"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/kafka"
)

// setups are the parts of Setup in the order in which they run.
var setups = []struct {
	target string
	run    func(ctx context.Context, cfg Config, log *slog.Logger, dryRun bool, report func(string)) error
}{
	{"kafka", setupKafka},
	{"elasticsearch", setupElasticsearch},
}

// SetupTargets are what Setup can set up.
func SetupTargets() []string {
	var out []string
	for _, s := range setups {
		out = append(out, s.target)
	}
	return out
}

// Setup makes what the services rely on: all of it, or the named targets. It
// reports each step on a line; with dryRun it changes nothing.
func Setup(ctx context.Context, cfg Config, log *slog.Logger, targets []string, dryRun bool, report func(string)) error {
	for _, s := range setups {
		if len(targets) > 0 && !slices.Contains(targets, s.target) {
			continue
		}
		report(s.target + ":")
		if err := s.run(ctx, cfg, log, dryRun, func(line string) { report("  " + line) }); err != nil {
			return fmt.Errorf("set up %s: %w", s.target, err)
		}
	}
	return nil
}

func setupKafka(ctx context.Context, cfg Config, log *slog.Logger, dryRun bool, report func(string)) error {
	cl, err := kafka.NewClient(cfg.Kafka, kafka.Dependencies{Log: log, Service: "setup"}, kafka.RoleAdmin)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := kafka.Reach(ctx, cl); err != nil {
		return err
	}
	plan, err := kafka.EnsureTopics(ctx, cl, kafka.Topics(cfg.Kafka), dryRun)
	for line := range strings.Lines(plan.String()) {
		report(strings.TrimRight(line, "\n"))
	}
	return err
}

func setupElasticsearch(ctx context.Context, cfg Config, _ *slog.Logger, dryRun bool, report func(string)) error {
	client, err := elastic.New(cfg.Elasticsearch)
	if err != nil {
		return err
	}
	defer client.Close()
	plan, err := indexer.Setup(ctx, client, cfg.Indexer.Storage, cfg.Elasticsearch.Namespace, dryRun)
	for _, line := range plan.Server {
		report("server: " + line)
	}
	for _, c := range plan.Changes {
		report(c.String())
	}
	var away *net.OpError
	if errors.As(err, &away) {
		err = fmt.Errorf("%w (start it, or correct elasticsearch.urls: %s)", err, strings.Join(cfg.Elasticsearch.URLs, ", "))
	}
	return err
}
