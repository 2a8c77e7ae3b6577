package indexer

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-flow/weir/internal/config"
)

// Config is the `indexer` section. Where Elasticsearch is stands in the
// `elasticsearch` section.
type Config struct {
	// BulkBytes is the size at which a bulk request is sent. Default 5MB.
	BulkBytes config.Bytes `yaml:"bulk_bytes"`
	// BulkAge is how long a document waits for a bulk request to fill.
	// Default 1s.
	BulkAge time.Duration `yaml:"bulk_age"`
	// InFlight is how many bulk requests may be under way at once. Memory is
	// bounded by about (in_flight + 2) times twice bulk_bytes. Default 4.
	InFlight int `yaml:"in_flight"`
	// RequestTimeout bounds one bulk request; after it, the request is sent
	// again. Default 1m.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// MaxBackoff bounds the wait between two tries. There is no bound on
	// their number. Default 30s.
	MaxBackoff time.Duration `yaml:"max_backoff"`
	// CommitInterval is how often the offsets of what Elasticsearch has
	// acknowledged are committed. Default 1s.
	CommitInterval time.Duration `yaml:"commit_interval"`
	// OnLost says what to do when the next records to be read are gone from
	// Kafka: `fail`, or `restart` to go on with the oldest that is kept. A
	// group that starts for the first time reads from the beginning. Default
	// fail.
	OnLost OnLost `yaml:"on_lost"`
	// Storage is how documents are kept; `weir setup` puts it into templates.
	Storage Storage `yaml:"storage"`
}

// Storage is how Elasticsearch keeps documents.
type Storage struct {
	// Mode of the flows' indices: `standard`, or `logsdb`, which takes less
	// disk and more CPU. Default standard.
	Mode StorageMode `yaml:"mode"`
	// Source of flows: `auto` rebuilds documents from doc values where the
	// server can, which takes half of the disk; `synthetic` insists;
	// `stored` keeps the text. Default auto.
	Source SourceMode `yaml:"source"`
	// FlowRetention is how long flows are kept. 0: for ever. Default 30d.
	FlowRetention time.Duration `yaml:"flow_retention"`
	// AlertRetention is how long alerts are kept. 0: for ever. Default
	// 365d.
	AlertRetention time.Duration `yaml:"alert_retention"`
	// Shards of a backing index of flows: about one for each data node.
	// Default 1.
	Shards int `yaml:"shards"`
}

// OnLost is a choice of Config.OnLost.
type OnLost string

// StorageMode is a choice of Storage.Mode.
type StorageMode string

// SourceMode is a choice of Storage.Source.
type SourceMode string

// The choices.
const (
	OnLostFail    OnLost = "fail"
	OnLostRestart OnLost = "restart"

	ModeStandard StorageMode = "standard"
	ModeLogsDB   StorageMode = "logsdb"

	SourceAuto      SourceMode = "auto"
	SourceSynthetic SourceMode = "synthetic"
	SourceStored    SourceMode = "stored"
)

// DefaultConfig suits one Elasticsearch node and a few thousand flows a
// second, and tens of thousands as well.
func DefaultConfig() Config {
	return Config{
		BulkBytes:      5e6,
		BulkAge:        time.Second,
		InFlight:       4,
		RequestTimeout: time.Minute,
		MaxBackoff:     30 * time.Second,
		CommitInterval: time.Second,
		OnLost:         OnLostFail,
		Storage: Storage{
			Mode:           ModeStandard,
			Source:         SourceAuto,
			FlowRetention:  30 * 24 * time.Hour,
			AlertRetention: 365 * 24 * time.Hour,
			Shards:         1,
		},
	}
}

// Validate reports all that is wrong, with the key of each.
func (c Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.BulkBytes >= 1000 && c.BulkBytes <= 90e6, "bulk_bytes: want 1kB to 90MB (Elasticsearch refuses requests above 100MB), not %v", c.BulkBytes)
	bad(c.BulkAge > 0 && c.BulkAge <= time.Minute, "bulk_age: want more than 0 and at most 1m, not %v", c.BulkAge)
	bad(c.InFlight >= 1 && c.InFlight <= 64, "in_flight: want 1 to 64, not %d", c.InFlight)
	bad(c.RequestTimeout > 0, "request_timeout: want more than 0, not %v", c.RequestTimeout)
	bad(c.MaxBackoff > 0, "max_backoff: want more than 0, not %v", c.MaxBackoff)
	bad(c.CommitInterval > 0, "commit_interval: want more than 0, not %v", c.CommitInterval)
	bad(c.OnLost == OnLostFail || c.OnLost == OnLostRestart, "on_lost: want fail or restart, not %q", c.OnLost)
	s := c.Storage
	bad(s.Mode == ModeStandard || s.Mode == ModeLogsDB, "storage.mode: want standard or logsdb, not %q", s.Mode)
	bad(s.Source == SourceAuto || s.Source == SourceSynthetic || s.Source == SourceStored, "storage.source: want auto, synthetic or stored, not %q", s.Source)
	bad(s.FlowRetention == 0 || s.FlowRetention >= time.Hour, "storage.flow_retention: want 0 or at least 1h, not %v", s.FlowRetention)
	bad(s.AlertRetention == 0 || s.AlertRetention >= time.Hour, "storage.alert_retention: want 0 or at least 1h, not %v", s.AlertRetention)
	bad(s.Shards >= 1 && s.Shards <= 1024, "storage.shards: want 1 to 1024, not %d", s.Shards)
	return errors.Join(errs...)
}
