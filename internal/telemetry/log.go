package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// NewLogger builds the process's logger. The configuration must be valid.
func NewLogger(c Config, w io.Writer) (*slog.Logger, error) {
	level, err := ParseLevel(c.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log_level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == FormatText || c.LogFormat == FormatAuto && IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	opts.ReplaceAttr = readableDuration
	return slog.New(slog.NewJSONHandler(w, opts)), nil
}

// readableDuration writes durations as in the configuration and in text logs:
// JSON would show nanoseconds without saying so.
func readableDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// IsTerminal reports that w is a terminal, where people read.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	// Character devices that are no terminals (/dev/null) read text as well
	// as they read JSON.
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Limiter thins out logs of what can happen once per packet. For each key it
// lets one record through per period, and says with the next one how many it
// held back; what is held back must be counted in a metric by the caller.
//
// The number of keys is bounded: when they are used up, all others share one.
type Limiter struct {
	log    *slog.Logger
	period time.Duration
	now    func() time.Time

	mu   sync.Mutex
	keys map[string]*limited
}

type limited struct {
	next time.Time
	held int
}

// maxLimiterKeys bounds the memory of a Limiter whatever an exporter sends.
const maxLimiterKeys = 1024

// NewLimiter returns a limiter that logs to log, a record per key and period.
func NewLimiter(log *slog.Logger, period time.Duration) *Limiter {
	return &Limiter{log: log, period: period, now: time.Now, keys: map[string]*limited{}}
}

// Warn logs a warning unless one of the same key was logged within the
// period. key is usually the exporter; it is not logged itself.
func (l *Limiter) Warn(key, msg string, args ...any) { l.Log(slog.LevelWarn, key, msg, args...) }

// Log is Warn for any level.
func (l *Limiter) Log(level slog.Level, key, msg string, args ...any) {
	held, ok := l.allow(msg + "\x00" + key)
	if !ok {
		return
	}
	if held > 0 {
		args = append(args[:len(args):len(args)], "suppressed", held)
	}
	l.log.Log(context.Background(), level, msg, args...)
}

func (l *Limiter) allow(key string) (held int, ok bool) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[key]
	if k == nil {
		if len(l.keys) >= maxLimiterKeys {
			l.forget(now)
		}
		if len(l.keys) >= maxLimiterKeys {
			key = ""
			k = l.keys[key]
		}
		if k == nil {
			k = &limited{}
			l.keys[key] = k
		}
	}
	if now.Before(k.next) {
		k.held++
		return 0, false
	}
	held, k.held = k.held, 0
	k.next = now.Add(l.period)
	return held, true
}

// forget drops the keys that hold nothing back any more.
func (l *Limiter) forget(now time.Time) {
	for key, k := range l.keys {
		if !now.Before(k.next) {
			delete(l.keys, key)
		}
	}
}
