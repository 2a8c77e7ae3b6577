package detector

import (
	"fmt"
	"time"
)

// Config of the detector.
type Config struct {
	// Rules says which rules are run.
	Rules RulesConfig `yaml:"rules"`
	// UpdatePace is the least stream time between two updates of an alert that
	// goes on; a rise in severity does not wait. Default 1m.
	UpdatePace time.Duration `yaml:"update_pace"`
	// ReopenWithin is how long after its end an alert is reopened rather than
	// a new one opened, in stream time. Default 24h.
	ReopenWithin time.Duration `yaml:"reopen_within"`
}

// RulesConfig says which rules are run.
type RulesConfig struct {
	// Dirs are directories with rules of your own, *.yaml; a rule with the id
	// of a shipped one replaces it. Default none.
	Dirs []string `yaml:"dirs"`
	// Disabled are the ids of rules that are not run. Default none.
	Disabled []string `yaml:"disabled"`
	// NoShipped leaves the shipped rules out. Default false.
	NoShipped bool `yaml:"no_shipped"`
}

// DefaultConfig runs the shipped rules.
func DefaultConfig() Config {
	return Config{UpdatePace: time.Minute, ReopenWithin: 24 * time.Hour}
}

// Validate checks the values; the rules themselves are checked by LoadRules.
func (c Config) Validate() error {
	if c.UpdatePace < time.Second || c.UpdatePace > time.Hour {
		return fmt.Errorf("update_pace: %v is not between 1s and 1h", c.UpdatePace)
	}
	if c.ReopenWithin < 0 || c.ReopenWithin > 30*24*time.Hour {
		return fmt.Errorf("reopen_within: %v is not between 0 and 720h", c.ReopenWithin)
	}
	return nil
}
