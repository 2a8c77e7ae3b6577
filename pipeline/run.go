package pipeline

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/internal/lifecycle"
	"github.com/weir-flow/weir/internal/telemetry"
)

// Role is a service that a process runs.
type Role string

// Roles returns every role there is, in the order of the pipeline.
func Roles() []Role {
	var out []Role
	for _, b := range builders {
		out = append(out, b.role)
	}
	return out
}

// ConfigError is a role that cannot be made of what its configuration names,
// such as a rule or a database: starting again does not help.
type ConfigError struct {
	Role Role
	// Err begins with the path of the key, or with the file.
	Err error
}

// Error implements error.
func (e *ConfigError) Error() string { return fmt.Sprintf("%s: %v", e.Role, e.Err) }

// Unwrap returns the error below.
func (e *ConfigError) Unwrap() error { return e.Err }

// Options of a process.
type Options struct {
	// Roles that the process runs.
	Roles []Role
	Log   *slog.Logger
	// Stdout gets the records of a collector that prints.
	Stdout io.Writer
	// Registry shows metrics; nil: one of its own.
	Registry *prometheus.Registry
	// Health collects readiness checks; nil: one of its own.
	Health *telemetry.Health

	registerer prometheus.Registerer
}

// Components makes the components of the roles, inert.
func Components(cfg Config, o Options) ([]lifecycle.Component, error) {
	if o.registerer == nil {
		o.registerer = o.Registry
	}
	want := map[Role]bool{}
	for _, r := range o.Roles {
		want[r] = true
	}
	var out []lifecycle.Component
	for _, b := range builders {
		if !want[b.role] {
			continue
		}
		delete(want, b.role)
		components, err := b.build(cfg, o)
		if err != nil {
			return nil, &ConfigError{b.role, err}
		}
		out = append(out, components...)
	}
	for r := range want {
		return nil, fmt.Errorf("there is no role %q", r)
	}
	return out, nil
}

// RegisterMetrics registers the metrics of every service, for documentation.
func RegisterMetrics(r prometheus.Registerer) error {
	_, err := Components(DefaultConfig(), Options{
		Roles: Roles(), Log: slog.New(slog.DiscardHandler), Health: &telemetry.Health{}, registerer: r,
	})
	return err
}

// Run runs the roles until ctx is done or one of them fails, and drains them.
func Run(ctx context.Context, cfg Config, o Options) error {
	if o.Registry == nil {
		o.Registry = telemetry.NewRegistry()
	}
	if o.Health == nil {
		o.Health = &telemetry.Health{}
	}
	server, err := telemetry.New(cfg.Telemetry, telemetry.Dependencies{Log: o.Log, Metrics: o.Registry, Health: o.Health})
	if err != nil {
		return err
	}
	components, err := Components(cfg, o)
	if err != nil {
		return err
	}
	return lifecycle.Run(ctx, o.Log, cfg.ShutdownGrace, append([]lifecycle.Component{server}, components...)...)
}
