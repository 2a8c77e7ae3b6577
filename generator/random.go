package generator

import (
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
)

// random is a seeded source. Each actor has its own, derived from the run's
// seed and the actor's name, so that adding a scenario changes nothing about
// the others. Choices use integers wherever they can: floating point may
// differ in the last bit between processors.
type random struct{ *rand.Rand }

func newRandom(seed uint64, name string) random {
	h := fnv.New64a()
	h.Write([]byte(name))
	return random{rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// between returns lo to hi inclusive.
func (r random) between(lo, hi int64) int64 { return lo + r.Int64N(hi-lo+1) }

// chance is true in percent of 100 cases.
func (r random) chance(percent int) bool { return r.IntN(100) < percent }

// heavy returns lo or more, with a tail: half of the values are below 2*lo,
// a quarter between that and 3*lo, and so on, doubling at most steps times.
func (r random) heavy(lo int64, steps int) int64 {
	k := min(bits.TrailingZeros64(r.Uint64()), steps)
	return lo + r.Int64N(lo<<k)
}

// skewed returns 0 to n-1, small numbers more often, as popularity goes.
func (r random) skewed(n int) int {
	u := r.Uint64N(1 << 20)
	u = u * u >> 20
	return int(u * uint64(n) >> 20)
}

// arrivals turns an expectation into a count.
func (r random) arrivals(expected float64) int {
	x := expected * (0.5 + r.Float64())
	n := int(x)
	if r.Float64() < x-float64(n) {
		n++
	}
	return n
}

func pick[T any](r random, from []T) T { return from[r.IntN(len(from))] }
