package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Stage is a step of the pipeline that keeps state.
type Stage struct {
	// Name is the consumer group and the name of the state topic (both get
	// the prefix); it stands in ticks and metrics.
	Name string
	// Input is the topic it reads, without prefix. One task is made for each
	// of its partitions.
	Input string
	// Ticks are the topics, without prefix, that get its ticks: those that
	// another stage reads.
	Ticks []string
	// Outputs are the other topics it writes, without prefix.
	Outputs []string
	// MaxStall is how far, in stream time, an upstream may fall behind.
	MaxStall time.Duration
	// New makes the processor of a task.
	New func() Processor
}

// Dependencies of a Runner.
type Dependencies struct {
	Log      *slog.Logger
	Registry prometheus.Registerer
	// Prefix of topics, groups and transactional ids.
	Prefix string
	// Instance is the stable name of this process among those that run the
	// stage: two at a time must not share one. Empty: a name for this start
	// only, and a restart waits until the session of the last one has ended.
	Instance string
	// Options returns what every client starts from: brokers, TLS, SASL,
	// logging and Weir's partitioner. member tells the client that holds the
	// membership, whose metrics are worth showing, from short-lived ones.
	Options func(member bool) []kgo.Opt
	// ForceAbort is for tests: it is asked before each step of a transaction
	// ("after-produce", "before-ticks", "before-commit"), and true aborts it
	// there. Nil: never.
	ForceAbort func(step string) bool
}

// Runner runs a stage: it takes its share of the input's partitions in a
// consumer group, and for each transaction consumes, applies, produces and
// commits as one. It is a lifecycle.Component.
type Runner struct {
	stage   Stage
	cfg     Config
	deps    Dependencies
	metrics *metrics

	stop   chan struct{} // closed by Stop
	done   chan struct{} // closed when the loop has ended
	cancel context.CancelFunc
	status *status
	// id stands in for a name that was not given. All sessions have the same,
	// so that the next fences at once what the last left open.
	id string
}

// NewRunner returns an inert runner.
func NewRunner(stage Stage, cfg Config, deps Dependencies) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("stream.%w", err)
	}
	return &Runner{
		stage: stage, cfg: cfg, deps: deps, metrics: newMetrics(deps.Registry, stage.Name),
		stop: make(chan struct{}), done: make(chan struct{}), status: &status{},
		id: strconv.FormatInt(time.Now().UnixNano(), 36),
	}, nil
}

// Name implements lifecycle.Component.
func (r *Runner) Name() string { return r.stage.Name }

// Ready returns nil while the runner is a member of its group and every task
// it was given has its state; otherwise what is missing.
func (r *Runner) Ready(context.Context) error { return r.status.err() }

// Start implements lifecycle.Component. It does not wait for Kafka: a stage
// whose broker is away tries until it is back, and Ready says so.
func (r *Runner) Start(_ context.Context, fail func(error)) error {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.status.set(errors.New("not connected to Kafka yet"))
	go func() {
		defer close(r.done)
		r.run(ctx, fail)
	}()
	return nil
}

// Stop implements lifecycle.Component: it commits what was applied, saves the
// state that is not saved yet, so that the next start need not replay, and
// leaves.
func (r *Runner) Stop(ctx context.Context) error {
	close(r.stop)
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		r.cancel()
		<-r.done
		return fmt.Errorf("stopped in mid-transaction, which is aborted and done again at the next start: %w", ctx.Err())
	}
}

// run holds a session with the brokers, and starts another when one breaks.
// Everything a session knew is recovered from Kafka by the next.
func (r *Runner) run(ctx context.Context, fail func(error)) {
	defer r.cancel()
	wait := 250 * time.Millisecond
	for {
		begin := time.Now()
		err := r.session(ctx)
		if err == nil || ctx.Err() != nil {
			r.metrics.sessions.WithLabelValues("stopped").Inc()
			return
		}
		r.status.set(err)
		var lost *LostError
		var broken *brokenStageError
		if errors.As(err, &lost) || errors.As(err, &broken) {
			r.metrics.sessions.WithLabelValues("failed").Inc()
			fail(err)
			return
		}
		r.metrics.sessions.WithLabelValues("broken").Inc()
		if time.Since(begin) > time.Minute {
			wait = 250 * time.Millisecond
		}
		r.deps.Log.Warn("session with Kafka ended, starting another", "stage", r.stage.Name, "error", err, "in", wait)
		select {
		case <-r.stop:
			return
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// brokenStageError is a fault of the stage itself: going on would break a
// promise, and so would starting over.
type brokenStageError struct{ err error }

func (e *brokenStageError) Error() string { return e.err.Error() }
func (e *brokenStageError) Unwrap() error { return e.err }
