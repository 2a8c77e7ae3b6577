// Package lifecycle starts components in order, waits, and stops them in
// reverse order, so that each stage flushes into one that is still running.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Component is one long-lived part of a process: a listener, a stream stage,
// a writer. New functions return it inert; nothing runs before Start.
type Component interface {
	// Name identifies the component in logs and errors.
	Name() string
	// Start returns once the component is ready. Work that goes on in the
	// background reports what it cannot recover from through fail, which may
	// be called from any goroutine and more than once; the process then
	// drains and exits with that error. ctx bounds the start only.
	Start(ctx context.Context, fail func(error)) error
	// Stop drains and flushes: whatever was accepted is handed on before it
	// returns. ctx bounds the drain; Stop returns what could not be flushed.
	Stop(ctx context.Context) error
}

// Run starts the components in order, waits until ctx is done or one of them
// fails, and stops those that were started in reverse order within grace.
// It returns nil after an orderly drain that ctx asked for; otherwise the
// first failure, joined with the errors of stopping.
func Run(ctx context.Context, log *slog.Logger, grace time.Duration, components ...Component) error {
	// A start that waits for something ends when a component before it fails.
	startCtx, cancelStart := context.WithCancel(ctx)
	defer cancelStart()
	failed := make(chan error, 1)
	var started []Component
	var cause error
	for _, c := range components {
		name := c.Name()
		fail := func(err error) {
			select {
			case failed <- fmt.Errorf("%s: %w", name, err):
			default: // the first failure decides; later ones are its echoes
			}
			cancelStart()
		}
		if err := c.Start(startCtx, fail); err != nil {
			// A start that was cut short by the caller is not a failure, one
			// that was cut short by a failure is not the first.
			switch {
			case ctx.Err() != nil:
			case startCtx.Err() != nil:
				cause = <-failed
			default:
				cause = fmt.Errorf("start %s: %w", name, err)
			}
			break
		}
		log.Debug("started", "component", name)
		started = append(started, c)
	}
	if cause == nil && len(started) == len(components) {
		select {
		case <-ctx.Done():
		case cause = <-failed:
			log.Error("component failed, draining", "error", cause)
		}
	}
	// The caller's context is already done; draining gets its own bound.
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	errs := []error{cause}
	for i := len(started) - 1; i >= 0; i-- {
		begin := time.Now()
		if err := started[i].Stop(stopCtx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", started[i].Name(), err))
		}
		log.Debug("stopped", "component", started[i].Name(), "took", time.Since(begin))
	}
	return errors.Join(errs...)
}
