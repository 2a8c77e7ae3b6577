package generator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config describes one run. The same Config gives the same bytes.
type Config struct {
	// Seed selects the run: who attacks whom and when, and every random
	// choice of the everyday traffic.
	Seed uint64 `yaml:"seed"`
	// Start is the beginning of the generated window. Its location is the
	// enterprise's: the daily rhythm follows its local hours.
	Start time.Time `yaml:"start"`
	// Duration of the window, whole seconds, at least MinDuration. All flows
	// end, and all datagrams are sent, within it.
	Duration time.Duration `yaml:"duration"`
	// Hosts of the enterprise, MinHosts to MaxHosts.
	Hosts int `yaml:"hosts"`
	// FlowRate is the mean number of exported flow records per second of
	// generated time, scenarios and near misses included. Everyday traffic
	// fills what those leave; it follows the hour of the day around this
	// mean. Memory grows with it: at 2,000 the heap peaks at 120 MB.
	FlowRate float64 `yaml:"flow_rate"`
	// Scenarios names the attacks to mix in; "all" stands for every one.
	// None is a benign day.
	Scenarios []string `yaml:"scenarios"`
	// Collector is the destination address in written captures.
	Collector netip.AddrPort `yaml:"collector"`
}

// Bounds of Config.
const (
	MinHosts    = 300
	MaxHosts    = 50_000
	MinDuration = time.Minute
	MaxDuration = 31 * 24 * time.Hour
)

// DefaultConfig is six hours of 3,000 hosts, about 400,000 flow records, with
// every scenario. Seed and Start are fixed, for callers to replace.
func DefaultConfig() Config {
	const window = 6 * time.Hour
	return Config{
		Seed:      1,
		Start:     time.Date(2026, 3, 3, 8, 0, 0, 0, time.UTC),
		Duration:  window,
		Hosts:     3000,
		FlowRate:  400_000 / window.Seconds(),
		Scenarios: []string{"all"},
		Collector: netip.MustParseAddrPort("10.20.0.55:2055"),
	}
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Start.Unix() < 0 || c.Start.Add(c.Duration).Unix() > 1<<32-1 {
		fault("start: %v cannot be written in an export header (1970 to 2106)", c.Start)
	}
	if c.Duration < MinDuration || c.Duration > MaxDuration || c.Duration%time.Second != 0 {
		fault("duration: %v is not whole seconds from %v to %v", c.Duration, MinDuration, MaxDuration)
	}
	if c.Hosts < MinHosts || c.Hosts > MaxHosts {
		fault("hosts: %d is not from %d to %d", c.Hosts, MinHosts, MaxHosts)
	}
	if !(c.FlowRate > 0 && c.FlowRate <= 1e6) {
		fault("flow_rate: %v is not above 0 and at most 1,000,000 records a second", c.FlowRate)
	}
	if !c.Collector.IsValid() || !c.Collector.Addr().Unmap().Is4() {
		fault("collector: %v is not an IPv4 address and port", c.Collector)
	}
	for i, name := range c.Scenarios {
		if name == "all" {
			continue
		}
		s, ok := scenarioByName(name)
		if !ok {
			fault("scenarios[%d]: %w", i, &UnknownScenarioError{Name: name})
		} else if slices.Index(c.Scenarios, name) != i {
			fault("scenarios[%d]: %q is named twice", i, name)
		} else if c.Duration < s.minimum {
			fault("scenarios[%d]: %q needs a duration of at least %v, not %v", i, name, s.minimum, c.Duration)
		}
	}
	if slices.Contains(c.Scenarios, "all") {
		var short []string
		for _, s := range scenarios() {
			if c.Duration < s.minimum {
				short = append(short, fmt.Sprintf("%s (%v)", s.name, s.minimum))
			}
		}
		if len(short) > 0 {
			fault("scenarios: \"all\" does not fit in %v; too long are %s", c.Duration, strings.Join(short, ", "))
		}
	}
	return errors.Join(errs...)
}

// wanted returns the scenarios to play, in the order of Scenarios().
func (c Config) wanted() []scenario {
	var out []scenario
	for _, s := range scenarios() {
		if slices.Contains(c.Scenarios, "all") || slices.Contains(c.Scenarios, s.name) {
			out = append(out, s)
		}
	}
	return out
}

// UnknownScenarioError names a scenario that does not exist.
type UnknownScenarioError struct{ Name string }

func (e *UnknownScenarioError) Error() string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	hint := ""
	if s := nearest(e.Name, names); s != "" {
		hint = fmt.Sprintf("; did you mean %q?", s)
	}
	return fmt.Sprintf("unknown scenario %q%s There are: all, %s", e.Name, hint, strings.Join(names, ", "))
}

// nearest returns the name with the smallest edit distance, or "" when none
// is near.
func nearest(word string, names []string) string {
	best, bestDistance := "", 4
	for _, n := range names {
		if strings.HasPrefix(n, word) && word != "" {
			return n
		}
		if d := distance(strings.ToLower(word), n); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
