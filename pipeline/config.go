// Package pipeline puts the services together into processes.
package pipeline

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-flow/weir/collector"
	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/indexer"
	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/internal/telemetry"
)

// Config is the configuration file: one for all services, so that a site
// writes down once where Kafka is. A service reads the sections it needs.
type Config struct {
	// Kafka is what moves and keeps data between the services: read by all of
	// them, and by setup.
	Kafka kafka.Config `yaml:"kafka"`
	// Collector receives what exporters send.
	Collector collector.Config `yaml:"collector"`
	// Enricher joins flows and adds what is known of their ends.
	Enricher enricher.Config `yaml:"enricher"`
	// Detector runs the rules over enriched flows.
	Detector detector.Config `yaml:"detector"`
	// Stream is how the stages that keep state (enricher, detector) run.
	Stream stream.Config `yaml:"stream"`
	// Elasticsearch is where documents go: read by the indexer, and by setup.
	Elasticsearch elastic.Config `yaml:"elasticsearch"`
	// Indexer writes flows and alerts into Elasticsearch.
	Indexer indexer.Config `yaml:"indexer"`
	// Telemetry is how a process shows itself: logs, metrics, health.
	Telemetry telemetry.Config `yaml:"telemetry"`
	// ShutdownGrace bounds the drain after SIGTERM. What is not handed on by
	// then is read again from Kafka at the next start. Service managers must
	// wait longer before they kill.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`
}

// DefaultConfig runs every service on one machine, next to a Kafka and an
// Elasticsearch without security.
func DefaultConfig() Config {
	return Config{
		Kafka:         kafka.DefaultConfig(),
		Collector:     collector.DefaultConfig(),
		Enricher:      enricher.DefaultConfig(),
		Detector:      detector.DefaultConfig(),
		Stream:        stream.DefaultConfig(),
		Elasticsearch: elastic.DefaultConfig(),
		Indexer:       indexer.DefaultConfig(),
		Telemetry:     telemetry.DefaultConfig(),
		ShutdownGrace: 25 * time.Second,
	}
}

// Validate reports every key that cannot work, whichever service reads it.
func (c Config) Validate() error {
	errs := []error{
		config.Section("kafka", c.Kafka.Validate()),
		config.Section("collector", c.Collector.Validate()),
		config.Section("enricher", c.Enricher.Validate()),
		config.Section("detector", c.Detector.Validate()),
		config.Section("stream", c.Stream.Validate()),
		config.Section("elasticsearch", c.Elasticsearch.Validate()),
		config.Section("indexer", c.Indexer.Validate()),
		config.Section("telemetry", c.Telemetry.Validate()),
	}
	if c.ShutdownGrace < time.Second {
		errs = append(errs, fmt.Errorf("shutdown_grace: want at least 1s, not %v", c.ShutdownGrace))
	}
	return errors.Join(errs...)
}
