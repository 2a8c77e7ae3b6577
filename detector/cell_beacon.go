package detector

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

const (
	// beaconEvents bounds the events kept of a pair, in the order of their starts.
	beaconEvents = 256
	// beaconBins is into how many bins a window is divided.
	beaconBins = 24
	// beaconLeast is how many events are needed for a score.
	beaconLeast = 4
)

type beaconEvent struct {
	start int64 // ms
	size  uint32
	pane  uint32
}

// beacon scores how regular the connections of a pair are, as RITA does: by
// the intervals between their starts, by their sizes, by how evenly they fill
// the window and how much of it they cover. Starts are data, by the exporter's
// clock; what belongs to the window is decided by stream time as ever.
type beacon struct {
	events []beaconEvent
	// seen counts all events; the score is computed anew at every eighth more
	// of them, since it costs microseconds.
	seen   uint64
	scored uint64
	score  *beaconScore // nil below the least
}

// beaconScore holds the parts, in the order of the kind's part names.
type beaconScore [7]float64

func (b *beacon) add(a *aggregate, f *flow, pane int64) {
	b.push(a, beaconEvent{a.number(f), uint32(min(max(0, a.size(f)), math.MaxUint32)), uint32(pane)})
}

// push keeps the latest events by their starts, whatever the order in which
// they come: conversations of one pair pass different partitions upstream, and
// these may run unevenly.
func (b *beacon) push(a *aggregate, e beaconEvent) {
	i, _ := slices.BinarySearchFunc(b.events, e, beaconEvent.compare)
	if len(b.events) < beaconEvents {
		b.events = slices.Insert(b.events, i, e)
	} else if i > 0 {
		copy(b.events, b.events[1:i])
		b.events[i-1] = e
	}
	b.seen++
	if b.seen-b.scored > uint64(len(b.events)/8) && len(b.events) >= beaconLeast {
		b.scored = b.seen
		score := scoreBeacon(b.events, a.pane*a.panes)
		b.score = &score
	}
}

func (e beaconEvent) compare(o beaconEvent) int {
	return cmp.Or(cmp.Compare(e.start, o.start), cmp.Compare(e.size, o.size), cmp.Compare(e.pane, o.pane))
}

func (b *beacon) merge(a *aggregate, other cell, pane int64) {
	for _, e := range other.(*beacon).events {
		e.pane = uint32(pane)
		b.push(a, e)
	}
}

func (b *beacon) expire(first int64) {
	b.events = slices.DeleteFunc(b.events, func(e beaconEvent) bool { return int64(e.pane) < first })
	if len(b.events) < beaconLeast {
		b.score = nil
	}
}

func (b *beacon) value(_ *aggregate, part int) float64 {
	switch {
	case part == 6:
		return float64(len(b.events))
	case b.score == nil:
		return 0
	case part == 0:
		s := b.score
		return (s[0] + s[1] + s[2] + s[3]) / 4
	}
	return b.score[part-1]
}

func (b *beacon) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, b.seen)
	dst = binary.AppendUvarint(dst, b.scored)
	dst = appendBool(dst, b.score != nil)
	if b.score != nil {
		for _, s := range b.score {
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(s))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.events)))
	last := int64(0)
	for _, e := range b.events {
		dst = binary.AppendVarint(dst, e.start-last)
		dst = binary.AppendUvarint(dst, uint64(e.size))
		dst = binary.AppendUvarint(dst, uint64(e.pane))
		last = e.start
	}
	return dst
}

func (b *beacon) load(r *reader) {
	*b = beacon{seen: r.uvarint(), scored: r.uvarint()}
	if r.bool() {
		b.score = new(beaconScore)
		for i := range b.score {
			b.score[i] = math.Float64frombits(r.uint64())
		}
	}
	n := r.count(3)
	if n > beaconEvents {
		r.fail(errTruncated)
		return
	}
	last := int64(0)
	for range n {
		last += r.varint()
		b.events = append(b.events, beaconEvent{last, uint32(r.uvarint()), uint32(r.uvarint())})
	}
}

// scoreBeacon computes the parts of the score over a window of length ms.
func scoreBeacon(events []beaconEvent, length int64) beaconScore {
	starts := make([]float64, len(events))
	sizes := make([]float64, len(events))
	for i, e := range events {
		starts[i], sizes[i] = float64(e.start)/1000, float64(e.size)
	}
	slices.Sort(starts)
	// Connections of one moment (several at once) are one beat of the clock.
	intervals := make([]float64, 0, len(starts))
	for i := 1; i < len(starts); i++ {
		if d := starts[i] - starts[i-1]; d >= 1 {
			intervals = append(intervals, d)
		}
	}
	var s beaconScore
	if len(intervals) < beaconLeast-1 {
		return s
	}
	slices.Sort(intervals)
	slices.Sort(sizes)
	s[0] = regularity(intervals)
	s[1] = regularity(sizes)
	first, last := starts[0], starts[len(starts)-1]
	s[2], s[3] = coverage(starts, float64(length)/1000)
	s[4] = quantile(intervals, 0.5)
	s[6] = last - first
	return s
}

// regularity is the mean of symmetry (Bowley's skewness) and narrowness (the
// median deviation against the median) of sorted values.
func regularity(sorted []float64) float64 {
	q1, q2, q3 := quantile(sorted, .25), quantile(sorted, .5), quantile(sorted, .75)
	skew := 0.0
	if q3-q1 >= 10 && q2 != q1 && q2 != q3 {
		skew = (q1 + q3 - 2*q2) / (q3 - q1)
	}
	deviations := make([]float64, len(sorted))
	for i, v := range sorted {
		deviations[i] = math.Abs(v - q2)
	}
	slices.Sort(deviations)
	narrow := 0.0
	if q2 > 0 {
		narrow = max(0, (q2-quantile(deviations, .5))/q2)
	}
	return ((1 - math.Abs(skew)) + narrow) / 2
}

// coverage divides the window that ends with the last start into bins.
// histogram: how even they are filled, or how much of a day the two commonest
// counts make up. duration: how much of the window lies between first and
// last, or how long the longest run of filled bins is, against half the bins.
func coverage(starts []float64, length float64) (histogram, duration float64) {
	var bins [beaconBins]float64
	last := starts[len(starts)-1]
	for _, s := range starts {
		i := beaconBins - 1 - int((last-s)/length*beaconBins)
		if i >= 0 {
			bins[i]++
		}
	}
	filled, run, longest, sum := 0, 0, 0, 0.0
	for _, n := range bins {
		sum += n
		if n == 0 {
			run = 0
			continue
		}
		filled++
		run++
		longest = max(longest, run)
	}
	mean, variance := sum/beaconBins, 0.0
	for _, n := range bins {
		variance += (n - mean) * (n - mean)
	}
	histogram = max(0, 1-math.Sqrt(variance/beaconBins)/mean)
	if filled >= 11 {
		slices.Sort(bins[:])
		var modes [2]int
		for i := 0; i < beaconBins; {
			j := i
			for j < beaconBins && bins[j] == bins[i] {
				j++
			}
			if n := j - i; bins[i] > 0 && n > modes[0] {
				modes[0], modes[1] = n, modes[0]
			} else if bins[i] > 0 && n > modes[1] {
				modes[1] = n
			}
			i = j
		}
		histogram = max(histogram, float64(modes[0]+modes[1])/float64(filled))
	}
	if filled >= 6 {
		duration = min(1, max((last-starts[0])/length, float64(longest)/(beaconBins/2)))
	}
	return histogram, duration
}

// quantile interpolates linearly between the values of a sorted list.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
