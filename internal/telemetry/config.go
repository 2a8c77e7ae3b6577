// Package telemetry is how a running Weir shows itself: logs, metrics, health
// and profiles. Loggers and registries are passed to components; nothing here
// is global.
package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config is the telemetry section.
type Config struct {
	// Listen is the HOST:PORT of the HTTP server with /metrics, /livez and
	// /readyz; empty switches it off. It has no authentication: listen beyond
	// loopback only where the network is trusted. Services that share a host
	// need a port each.
	Listen string `yaml:"listen"`
	// LogLevel is the least severe level that is logged: debug, info, warn or
	// error.
	LogLevel string `yaml:"log_level"`
	// LogFormat is text, json, or auto: text on a terminal and JSON, one
	// object a line, elsewhere.
	LogFormat string `yaml:"log_format"`
	// Pprof serves Go's profiles under /debug/pprof/, for measuring.
	Pprof bool `yaml:"pprof"`
	// CheckTimeout bounds one readiness check: a dependency that takes longer
	// to answer is not ready.
	CheckTimeout time.Duration `yaml:"check_timeout"`
}

// DefaultConfig is a server on loopback, logging at info.
func DefaultConfig() Config {
	return Config{
		Listen:       "127.0.0.1:9600",
		LogLevel:     "info",
		LogFormat:    FormatAuto,
		CheckTimeout: 2 * time.Second,
	}
}

// Validate reports every key that cannot work.
func (c Config) Validate() error {
	var errs []error
	if c.Listen != "" {
		if err := checkHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listen: %w", err))
		}
	}
	if _, err := ParseLevel(c.LogLevel); err != nil {
		errs = append(errs, fmt.Errorf("log_level: %w", err))
	}
	if err := checkFormat(c.LogFormat); err != nil {
		errs = append(errs, fmt.Errorf("log_format: %w", err))
	}
	if c.CheckTimeout <= 0 {
		errs = append(errs, fmt.Errorf("check_timeout: must be above 0, not %v", c.CheckTimeout))
	}
	return errors.Join(errs...)
}

func checkHostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("want HOST:PORT, such as 127.0.0.1:9600, or \"\" for none, not %q", s)
	}
	return nil
}

// Log formats.
const (
	FormatAuto = "auto"
	FormatText = "text"
	FormatJSON = "json"
)

func checkFormat(s string) error {
	switch s {
	case FormatAuto, FormatText, FormatJSON:
		return nil
	}
	return fmt.Errorf("want auto, text or json, not %q", s)
}

// ParseLevel parses debug, info, warn or error.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("want debug, info, warn or error, not %q", s)
}
