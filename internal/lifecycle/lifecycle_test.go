package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-flow/weir/internal/lifecycle"
)

// journal records the order of calls; Run makes them from one goroutine.
type journal struct{ calls []string }

type part struct {
	name     string
	j        *journal
	startErr error
	stopErr  error
	onStart  func(fail func(error))
}

func (p *part) Name() string { return p.name }

func (p *part) Start(_ context.Context, fail func(error)) error {
	p.j.calls = append(p.j.calls, "start "+p.name)
	if p.onStart != nil {
		p.onStart(fail)
	}
	return p.startErr
}

func (p *part) Stop(ctx context.Context) error {
	p.j.calls = append(p.j.calls, "stop "+p.name)
	if ctx.Err() != nil {
		return errors.New("asked to drain with a context that is already done")
	}
	return p.stopErr
}

func TestRun(t *testing.T) {
	boom := errors.New("boom")
	for _, tc := range []struct {
		name  string
		tweak func(a, b *part, cancel func())
		calls []string
		want  []string // substrings of the error; none: no error
	}{
		{
			name:  "stops in reverse order when asked to",
			tweak: func(_, b *part, cancel func()) { b.onStart = func(func(error)) { cancel() } },
			calls: []string{"start a", "start b", "stop b", "stop a"},
		},
		{
			name: "a background failure drains everything and is returned",
			tweak: func(a, _ *part, _ func()) {
				a.onStart = func(fail func(error)) { fail(boom); fail(errors.New("echo")) }
			},
			calls: []string{"start a", "start b", "stop b", "stop a"},
			want:  []string{"a: boom"},
		},
		{
			name:  "a failed start stops only what was started",
			tweak: func(_, b *part, _ func()) { b.startErr = boom },
			calls: []string{"start a", "start b", "stop a"},
			want:  []string{"start b: boom"},
		},
		{
			name: "what could not be flushed is reported",
			tweak: func(a, b *part, cancel func()) {
				b.onStart = func(func(error)) { cancel() }
				a.stopErr = boom
			},
			calls: []string{"start a", "start b", "stop b", "stop a"},
			want:  []string{"stop a: boom"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			j := &journal{}
			a, b := &part{name: "a", j: j}, &part{name: "b", j: j}
			tc.tweak(a, b, cancel)
			err := lifecycle.Run(ctx, slog.New(slog.DiscardHandler), time.Minute, a, b)
			if !slices.Equal(j.calls, tc.calls) {
				t.Errorf("calls (-got, +want)\n- %v\n+ %v", j.calls, tc.calls)
			}
			if (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error (-got, +want)\n- %v\n+ %s", err, w)
				}
			}
			if err != nil && strings.Contains(err.Error(), "echo") {
				t.Errorf("a later failure hid in %v", err)
			}
		})
	}
}

// waiter starts when its context is done, and not before.
type waiter struct{ part }

func (w *waiter) Start(ctx context.Context, _ func(error)) error {
	<-ctx.Done()
	return ctx.Err()
}

// A start that waits does not keep a failure before it from ending the process.
func TestRunEndsAStartThatWaits(t *testing.T) {
	j := &journal{}
	a := &part{name: "a", j: j, onStart: func(fail func(error)) {
		go fail(errors.New("boom"))
	}}
	err := lifecycle.Run(t.Context(), slog.New(slog.DiscardHandler), time.Minute, a, &waiter{part{name: "b", j: j}})
	if err == nil || err.Error() != "a: boom" {
		t.Errorf("error %v, want a: boom", err)
	}
	if want := []string{"start a", "stop a"}; !slices.Equal(j.calls, want) {
		t.Errorf("calls (-got, +want)\n- %v\n+ %v", j.calls, want)
	}
}
