// Package testbed runs real servers as child processes: Apache Kafka (KRaft,
// one or three brokers) and Elasticsearch. The tests and `weir demo` stand on
// the same launcher.
//
// The servers come from the Maven project in deploy/local, once, into a cache
// that all processes of a user share. What runs from it dies with the process
// that started it, however that ends, and is stopped in reverse order by
// Close. Servers listen on loopback only.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// bootTimeout bounds the start of one server. An idle machine takes 3 s for
// Kafka and 10 s for Elasticsearch; the rest is for one that compiles and
// tests on two cores at the same time.
const bootTimeout = 3 * time.Minute

// Options of a server. The zero value is a throw-away server of one node.
type Options struct {
	// Brokers of a Kafka cluster: 1 or 3. 0 is 1. Elasticsearch ignores it.
	Brokers int
	// Dir holds the server's data and logs, and is kept by Close; a later
	// start takes it up again, whatever state it was left in. Empty: a
	// temporary directory in the cache, removed by Close.
	Dir string
	// Cache holds the resolved servers. Empty: the environment's WEIR_CACHE,
	// or /var/tmp/weir-UID: a place that an unprivileged user can read too,
	// as root's home is not, because Elasticsearch refuses to run as root.
	Cache string
	// Settings are added to the server's configuration file and win over
	// ours: server.properties for Kafka, elasticsearch.yml for Elasticsearch.
	Settings map[string]string
	// Log gets what is of use in finding a fault. Nil: nothing.
	Log *slog.Logger
	// Progress gets one short sentence, for a person, as each slow step
	// begins. Nil: nothing. It may be called from any goroutine.
	Progress func(string)
}

func (o Options) withDefaults() Options {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Cache == "" {
		o.Cache = DefaultCache()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// PrerequisiteError says what the machine lacks to run local servers. Callers
// that can do without them look for it with errors.As.
type PrerequisiteError struct {
	Missing string // what is missing, with the reason
	Remedy  string // the command that installs it
}

func (e *PrerequisiteError) Error() string {
	return fmt.Sprintf("%s; install it: %s", e.Missing, e.Remedy)
}

// Available reports whether local servers can be started here without
// starting any: nil, or a *PrerequisiteError.
func Available(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if _, err := findJava(ctx); err != nil {
		return err
	}
	for _, s := range []server{kafkaServer, elasticsearchServer} {
		if !s.resolved(o.Cache) {
			_, err := findMaven()
			return err
		}
	}
	return nil
}

// poll calls ready every 100 ms until it returns nil, the process of p ends,
// or ctx is done. The error says which of them it was.
func poll(ctx context.Context, p *process, ready func(context.Context) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return &bootError{name: p.name, cause: p.exitError(), log: p.logFile, tail: tail(p.logFile)}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return context.Cause(ctx)
			}
			return &bootError{name: p.name, cause: fmt.Errorf("not ready in time: %w", err), log: p.logFile, tail: tail(p.logFile)}
		case <-tick.C:
		}
	}
}

// bootError is a server that ended, or never became ready, as it started.
type bootError struct {
	name  string
	cause error
	log   string // file with everything the server said
	tail  string // its end
}

func (e *bootError) Error() string {
	return fmt.Sprintf("%s did not start: %v; its log %s ends with:\n%s", e.name, e.cause, e.log, e.tail)
}

func (e *bootError) Unwrap() error { return e.cause }
