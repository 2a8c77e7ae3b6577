package decode

import (
	"math"
	"testing"
)

func TestSequence(t *testing.T) {
	type step struct{ seq, count uint32 }
	for _, tc := range []struct {
		name  string
		steps []step
		lost  uint32
		reset bool
	}{
		{"in order", []step{{5, 1}, {6, 1}, {7, 1}}, 0, false},
		{"wraps", []step{{math.MaxUint32 - 1, 3}, {1, 1}, {2, 1}}, 0, false},
		{"a gap", []step{{5, 10}, {45, 10}, {55, 1}}, 30, false},
		{"a reordered datagram fills its gap", []step{{5, 10}, {25, 10}, {15, 10}, {35, 1}}, 0, false},
		{"a restart is no loss", []step{{5_000_000, 10}, {0, 10}, {10, 10}}, 0, true},
		{"a jump is a restart", []step{{1, 1}, {1 << 30, 1}, {1<<30 + 1, 1}}, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s sequence
			var lost uint32
			reset := false
			for _, x := range tc.steps {
				n, what := s.observe(x.seq, x.count, true)
				lost += n
				reset = reset || what == seqReset
			}
			lost += s.flush()
			equal(t, "lost", lost, tc.lost)
			equal(t, "reset", reset, tc.reset)
		})
	}
}

func TestGapCountsAfterPatience(t *testing.T) {
	d := newDecoder(t)
	feed(d, v9(0, 1, 0), v9(5, 1, 0))
	p := &d.Stats().Protocol[4]
	equal(t, "at first it may be late", p.Lost.Load(), 0)
	for i := range seqPatience + 1 {
		feed(d, v9(6+i, 1, 0))
	}
	equal(t, "lost", p.Lost.Load(), 4)
}

// A restart of the exporter's numbers keeps its templates.
func TestSequenceResetKeepsTemplates(t *testing.T) {
	h := feed(newDecoder(t), v9(1_000_000, 1, 0, set(0, v9tmpl(256, 1, 4))), v9(0, 1, 0, set(256, new(enc).u32(1))))
	one1(t, h)
}

// What could not be counted for want of a template is no loss.
func TestUnknownSetsAreNoGap(t *testing.T) {
	d := newDecoder(t)
	feed(d, ipfix(1, 1, set(2, tmpl(256, 1, 4)), set(256, new(enc).u32(1, 2))), ipfix(3, 1, set(999, new(enc).u32(1, 2, 3))), ipfix(6, 1, set(256, new(enc).u32(1))), ipfix(7, 1))
	d.Close()
	equal(t, "lost", d.Stats().Protocol[5].Lost.Load(), 0)
}
