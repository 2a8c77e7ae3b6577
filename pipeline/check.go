package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/kafka"
)

// CheckFiles reads every file that the configuration names. Errors begin with
// the path of the key.
func CheckFiles(c Config) error {
	return errors.Join(readable(c), checkEnricher(c), checkRules(c))
}

// checkRules loads the rules. Their errors say file, line and column.
func checkRules(c Config) error {
	_, err := detector.LoadRules(c.Detector.Rules)
	return err
}

// checkEnricher loads the databases, inventories and feeds.
func checkEnricher(c Config) error {
	_, err := enricher.New(c.Enricher, enricher.Dependencies{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	return config.Section("enricher", err)
}

// readable opens what keys called file, files or something_file name.
func readable(c Config) error {
	var errs []error
	for _, f := range config.Fields(c) {
		name := f.Path[strings.LastIndexByte(f.Path, '.')+1:]
		if !f.Default.IsValid() || !strings.HasSuffix(name, "file") && !strings.HasSuffix(name, "files") {
			continue
		}
		switch f.Default.Kind() {
		case reflect.String:
			errs = append(errs, openable(f.Path, f.Default.String()))
		case reflect.Slice:
			for i := range f.Default.Len() {
				if item := f.Default.Index(i); item.Kind() == reflect.String {
					errs = append(errs, openable(fmt.Sprintf("%s[%d]", f.Path, i), item.String()))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func openable(path, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

// serverTimeout bounds how long CheckServers waits for each of them.
const serverTimeout = 10 * time.Second

// CheckServers connects to every server that the configuration names and asks
// whether Weir may use it.
func CheckServers(ctx context.Context, c Config, log *slog.Logger) error {
	return errors.Join(checkKafka(ctx, c.Kafka, log), checkElasticsearch(ctx, c.Elasticsearch))
}

// checkKafka asks whether a broker answers, and whether the topics are as
// setup would make them.
func checkKafka(ctx context.Context, c kafka.Config, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	cl, err := kafka.NewClient(c, kafka.Dependencies{Log: log, Service: "check"}, kafka.RoleAdmin)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := kafka.Reach(ctx, cl); err != nil {
		return err
	}
	plan, err := kafka.EnsureTopics(ctx, cl, kafka.Topics(c), true)
	var missing []string
	for _, change := range plan {
		if change.Create {
			missing = append(missing, change.Topic.Name)
		}
	}
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("kafka: topics are missing (weir setup makes them): %s", strings.Join(missing, ", "))
	}
	return err
}

func checkElasticsearch(ctx context.Context, c elastic.Config) error {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	client, err := elastic.New(c)
	if err != nil {
		return err
	}
	defer client.Close()
	// Health needs the monitor privilege, which setup gives; a reduced server
	// has no GET /.
	var health struct {
		Status string `json:"status"`
	}
	if err := client.Do(ctx, http.MethodGet, "/_cluster/health", nil, &health); err != nil {
		return fmt.Errorf("%w (start it, or correct elasticsearch.urls: %s)", err, strings.Join(c.URLs, ", "))
	}
	if health.Status == "red" {
		return errors.New("elasticsearch: the cluster's health is red: some data cannot be reached")
	}
	return nil
}
