package config

import (
	"slices"
	"strings"
)

// Suggest returns the known word that was probably meant, or "" when none is
// near enough to be worth saying.
func Suggest(word string, known []string) string {
	best, bestDistance := "", max(2, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		a, b := fold(word), fold(k)
		if a == b {
			return k
		}
		if d := distance(a, b); d < bestDistance && d < len(b) {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return best
	}
	// Abbreviations: max for max_connections.
	if len(word) >= 3 {
		for _, k := range slices.Sorted(slices.Values(known)) {
			if strings.HasPrefix(fold(k), fold(word)) {
				return k
			}
		}
	}
	return ""
}

// fold makes spellings equal that people mix up: streamTime, stream-time.
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance is the optimal string alignment distance: a swap of neighbours is
// one mistake.
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
