package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bytes is a size in bytes, written with a unit: 512kB, 4MB, 1GiB. As in the
// SI and IEC, kB is 1000 bytes and KiB is 1024; B is a single one.
type Bytes int64

var byteUnits = []struct {
	name string
	size int64
}{
	{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// ParseBytes parses a size such as 4MB. A unit is required, so that nobody
// has to guess what 64 meant; only 0 goes without.
func ParseBytes(s string) (Bytes, error) {
	t := strings.TrimSpace(s)
	if t == "0" {
		return 0, nil
	}
	for _, u := range byteUnits {
		number, ok := cutSuffixFold(t, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || f < 0 || f*float64(u.size) >= math.MaxInt64 || math.IsNaN(f) {
			break
		}
		return Bytes(math.Round(f * float64(u.size))), nil
	}
	return 0, fmt.Errorf("want a size with its unit, such as 512kB, 4MB or 1GiB, not %q", s)
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return "", false
	}
	return s[:len(s)-len(suffix)], true
}

// String writes the size with the largest unit that divides it.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	for _, u := range byteUnits {
		if int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalYAML writes the size with its unit.
func (b Bytes) MarshalYAML() (any, error) { return b.String(), nil }

// UnmarshalYAML reads a size with its unit.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	v, err := ParseBytes(n.Value)
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// parseDuration is time.ParseDuration with days, which retentions and
// baselines are written in: 90d, 1d12h.
func parseDuration(s string) (time.Duration, error) {
	t := strings.TrimSpace(s)
	var total time.Duration
	if t == "0" {
		return 0, nil
	}
	if days, rest, ok := strings.Cut(t, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || math.Abs(n) > 36500 {
			return 0, durationError(s)
		}
		total = time.Duration(n * 24 * float64(time.Hour))
		if rest == "" {
			return total, nil
		}
		t = rest
	}
	d, err := time.ParseDuration(t)
	if err != nil {
		return 0, durationError(s)
	}
	return total + d, nil
}

func durationError(s string) error {
	return fmt.Errorf("want a duration with its unit, such as 250ms, 5s, 2m, 1h30m or 7d, not %q", s)
}

// FormatDuration writes a duration as people write it: 5m, not 5m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
