package stream

import (
	"fmt"
	"time"
)

// What to do when Kafka and a task's state disagree: offsets that are gone, a
// topic that was made anew, a snapshot that cannot be read.
const (
	// OnLostFail stops the service with an error that says what was lost.
	OnLostFail = "fail"
	// OnLostRestart starts the task with empty state from the oldest record
	// at or after the one it stood at. What its state held is lost.
	OnLostRestart = "restart"
)

// Config is how stages that keep state (enricher, detector) run.
type Config struct {
	// CommitInterval is the longest time between two transactions while there
	// is work; shorter is faster to alert and dearer for the brokers. Default 200ms.
	CommitInterval time.Duration `yaml:"commit_interval"`
	// SnapshotInterval is the shortest time between two snapshots of the same
	// key group. Default 30s.
	SnapshotInterval time.Duration `yaml:"snapshot_interval"`
	// SnapshotRate is the most state a task writes, in bytes a second. Default 524288.
	SnapshotRate int `yaml:"snapshot_rate"`
	// MaxStall is how far, in stream time, a task of an upstream stage may
	// fall behind before it is no longer waited for. Default 5m.
	MaxStall time.Duration `yaml:"max_stall"`
	// CollectorMaxStall is the same for collectors. Default 30s.
	CollectorMaxStall time.Duration `yaml:"collector_max_stall"`
	// OnLost says what to do when offsets, a topic or a snapshot are gone:
	// fail or restart. Default fail.
	OnLost string `yaml:"on_lost"`
	// MaxPollRecords bounds how many records are applied between two looks at
	// the clock, and with it memory. Default 20000.
	MaxPollRecords int `yaml:"max_poll_records"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		CommitInterval:    200 * time.Millisecond,
		SnapshotInterval:  30 * time.Second,
		SnapshotRate:      512 << 10,
		MaxStall:          5 * time.Minute,
		CollectorMaxStall: 30 * time.Second,
		OnLost:            OnLostFail,
		MaxPollRecords:    20000,
	}
}

// Validate checks the values; errors name the key.
func (c Config) Validate() error {
	switch {
	case c.CommitInterval < time.Millisecond || c.CommitInterval > 5*time.Second:
		return fmt.Errorf("commit_interval: %v: must lie between 1ms and 5s, half the transaction timeout", c.CommitInterval)
	case c.SnapshotInterval < 0:
		return fmt.Errorf("snapshot_interval: %v: must not be negative", c.SnapshotInterval)
	case c.SnapshotRate < 1024:
		return fmt.Errorf("snapshot_rate: %d: must be at least 1024 bytes a second, or state is never saved", c.SnapshotRate)
	case c.MaxStall <= 0:
		return fmt.Errorf("max_stall: %v: must be positive", c.MaxStall)
	case c.CollectorMaxStall <= 0:
		return fmt.Errorf("collector_max_stall: %v: must be positive", c.CollectorMaxStall)
	case c.OnLost != OnLostFail && c.OnLost != OnLostRestart:
		return fmt.Errorf("on_lost: %q: must be %s or %s", c.OnLost, OnLostFail, OnLostRestart)
	case c.MaxPollRecords < 1:
		return fmt.Errorf("max_poll_records: %d: must be at least 1", c.MaxPollRecords)
	}
	return nil
}
