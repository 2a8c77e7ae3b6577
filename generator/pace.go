package generator

import (
	"context"
	"time"

	"github.com/weir-flow/weir/internal/capture"
)

// clock is the wall clock, replaced in tests.
type clock struct {
	now   func() time.Time
	sleep func(ctx context.Context, d time.Duration) error
}

func wallClock() clock {
	return clock{now: time.Now, sleep: func(ctx context.Context, d time.Duration) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

// nap is the shortest wait worth a system call; shorter ones add up until it
// is reached.
const nap = time.Millisecond

// Pace returns a Sink that passes datagrams to next at the pace of their
// times: speed seconds of generated time in each second. The schedule is
// absolute: time lost in one place is made up, up to the rate next can take.
// Speed 0 or below does not wait at all. Waiting ends with ctx.
func Pace(ctx context.Context, next Sink, speed float64) Sink {
	if speed <= 0 {
		return next
	}
	return &pacer{ctx: ctx, next: next, speed: speed, clock: wallClock()}
}

type pacer struct {
	ctx   context.Context
	next  Sink
	speed float64
	clock clock
	first time.Time // of the datagrams
	begin time.Time // when it was passed on
}

func (p *pacer) Emit(d capture.Datagram) error {
	if p.begin.IsZero() {
		p.first, p.begin = d.Time, p.clock.now()
	}
	due := p.begin.Add(time.Duration(float64(d.Time.Sub(p.first)) / p.speed))
	if wait := due.Sub(p.clock.now()); wait >= nap {
		if err := p.clock.sleep(p.ctx, wait); err != nil {
			return err
		}
	}
	return p.next.Emit(d)
}

// Limit returns a Sink that passes at most rate datagrams a second to next, in
// bursts of a few milliseconds. Rate 0 or below does not limit. It keeps a
// run at full speed from overrunning the receiver's socket buffer.
func Limit(ctx context.Context, next Sink, rate float64) Sink {
	if rate <= 0 {
		return next
	}
	return &limiter{ctx: ctx, next: next, gap: time.Duration(float64(time.Second) / rate), clock: wallClock()}
}

type limiter struct {
	ctx   context.Context
	next  Sink
	gap   time.Duration
	clock clock
	due   time.Time
}

func (l *limiter) Emit(d capture.Datagram) error {
	now := l.clock.now()
	if l.due.Before(now) {
		l.due = now // quiet spells give no credit: bursts are what overruns
	}
	if wait := l.due.Sub(now); wait >= nap {
		if err := l.clock.sleep(l.ctx, wait); err != nil {
			return err
		}
	}
	l.due = l.due.Add(l.gap)
	return l.next.Emit(d)
}
