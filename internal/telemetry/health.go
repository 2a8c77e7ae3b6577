package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Check answers whether something works now; the error says what does not.
type Check func(ctx context.Context) error

// Health collects the readiness checks of a process. The zero value is ready
// to use, and ready.
type Health struct {
	mu     sync.Mutex
	checks map[string]Check
}

// Register adds a check under a name, or replaces the one of that name. The
// returned function removes it again.
func (h *Health) Register(name string, check Check) (unregister func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checks == nil {
		h.checks = map[string]Check{}
	}
	h.checks[name] = check
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.checks, name)
	}
}

// Result is the answer of one check.
type Result struct {
	Name string
	Err  error
}

// errNoAnswer is a check that did not return in time.
var errNoAnswer = errors.New("no answer in time")

// Run runs all checks at once, each bounded by timeout, and returns their
// results in the order of their names. A check that ignores its context is
// not waited for.
func (h *Health) Run(ctx context.Context, timeout time.Duration) []Result {
	h.mu.Lock()
	checks := make(map[string]Check, len(h.checks))
	for name, c := range h.checks {
		checks[name] = c
	}
	h.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make(chan Result, len(checks))
	for name, c := range checks {
		go func() { answers <- Result{name, c(ctx)} }()
	}
	var out []Result
	for range len(checks) {
		select {
		case r := <-answers:
			delete(checks, r.Name)
			out = append(out, r)
		case <-ctx.Done():
		}
	}
	for name := range checks {
		out = append(out, Result{name, fmt.Errorf("%w (%v)", errNoAnswer, timeout)})
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// readyz answers 200 when every check passes and 503 otherwise, a line for
// each.
func (h *Health) readyz(timeout time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		status := http.StatusOK
		for _, res := range h.Run(r.Context(), timeout) {
			if res.Err != nil {
				status = http.StatusServiceUnavailable
				fmt.Fprintf(&b, "not ok %s: %s\n", res.Name, strings.ReplaceAll(res.Err.Error(), "\n", "; "))
			} else {
				fmt.Fprintf(&b, "ok %s\n", res.Name)
			}
		}
		if status == http.StatusOK {
			b.WriteString("ready\n")
		} else {
			b.WriteString("not ready\n")
		}
		writeText(w, status, b.String())
	}
}

// livez answers as long as the process can answer at all. It checks no
// dependency: restarting us mends nobody else.
func livez(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "alive\n") }

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the reader went away: its affair
}
