package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/weir-flow/weir/pipeline"
)

// screen shows what happens: on a terminal a block of counters that is redrawn
// below the lines that stay, elsewhere plain lines, and counters every few
// seconds.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	block    int // lines of the block on the screen
	begin    time.Time
	last     counts
	lastAt   time.Time
	shown    time.Time
}

func newScreen(out io.Writer, terminal bool) *screen {
	return &screen{out: out, terminal: terminal, begin: time.Now()}
}

// plainEvery is the time between two lines of counters without a terminal.
const plainEvery = 5 * time.Second

// note prints a line that stays.
func (s *screen) note(text string) { s.line("  " + text) }

// alert prints an alert, which stays.
func (s *screen) alert(a *pipeline.AlertView) {
	colour, reset := "", ""
	if s.terminal {
		colour, reset = "\x1b[33m", "\x1b[0m"
		if a.Event.Severity >= 73 {
			colour = "\x1b[31;1m"
		}
	}
	s.line(fmt.Sprintf("%s! %s %-8s %-16s %s%s", colour, a.Timestamp.Local().Format(time.TimeOnly), a.Weir.Alert.Severity, a.Rule.ID, a.Event.Reason, reset))
}

func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, "%6.1fs %s\n", time.Since(s.begin).Seconds(), text)
}

// erase takes the block off the screen.
func (s *screen) erase() {
	if s.block > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.block)
		s.block = 0
	}
}

// counters shows what the stages do.
func (s *screen) counters(c counts, progress float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.terminal {
		if now.Sub(s.shown) >= plainEvery && c != s.last {
			s.shown, s.last = now, c
			fmt.Fprintf(s.out, "%6.1fs   %3.0f%% played: %d records collected, %d flows enriched, %d through the rules, %d alert records, %d documents\n",
				now.Sub(s.begin).Seconds(), 100*progress, c.collected, c.enriched, c.detected, c.alerts, c.documents)
		}
		return
	}
	seconds := now.Sub(s.lastAt).Seconds()
	if s.lastAt.IsZero() || seconds <= 0 {
		seconds = 1
	}
	rate := func(now, before int64) string { return fmt.Sprintf("%7.0f/s", float64(now-before)/seconds) }
	const width = 40
	done := int(progress * width)
	s.erase()
	lines := []string{
		"",
		fmt.Sprintf("  [%s%s] %3.0f%% of the day", strings.Repeat("#", done), strings.Repeat(".", width-done), 100*progress),
		fmt.Sprintf("  collector %9d records    %s   lost %d", c.collected, rate(c.collected, s.last.collected), c.lost),
		fmt.Sprintf("  enricher  %9d flows      %s   of %d records", c.enriched, rate(c.enriched, s.last.enriched), c.members),
		fmt.Sprintf("  detector  %9d flows      %s   and %d parts merged", c.detected, rate(c.detected, s.last.detected), c.merged),
		fmt.Sprintf("  indexer   %9d documents  %s", c.documents, rate(c.documents, s.last.documents)),
	}
	for _, l := range lines {
		fmt.Fprintln(s.out, l)
	}
	s.block = len(lines)
	s.last, s.lastAt = c, now
}

// close leaves the last counters where they are.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block = 0
}
