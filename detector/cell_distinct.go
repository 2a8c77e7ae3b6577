package detector

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// distinctMax bounds a set: exact up to it, 3 kB at most.
const distinctMax = 256

// distinct counts different values over a sliding window. It keeps the hashes
// it saw, each with the last pane it was seen in: exact while they fit. Beyond
// that it keeps only hashes below a threshold that is halved as often as it
// takes (Wegman's adaptive sampling): how many there are, times two to the
// number of halvings, estimates how many values there were.
//
// A HyperLogLog of the same accuracy would be smaller for one window, but
// cannot forget: a sliding window needs one for each pane. This set slides,
// merges, and its parts are never larger than the flows they stand for.
type distinct struct {
	level  uint8    // hashes kept are below 2^(64-level)
	hashes []uint64 // ascending
	panes  []uint32 // of hashes: last seen
}

func (d *distinct) add(a *aggregate, f *flow, pane int64) {
	a.scratch = a.encode(a.scratch[:0], f)
	d.insert(xxhash.Sum64(a.scratch), pane)
}

func (d *distinct) insert(h uint64, pane int64) {
	if d.level > 0 && h>>(64-d.level) != 0 {
		return
	}
	i, found := slices.BinarySearch(d.hashes, h)
	if found {
		d.panes[i] = max(d.panes[i], uint32(pane))
		return
	}
	d.hashes = slices.Insert(d.hashes, i, h)
	d.panes = slices.Insert(d.panes, i, uint32(pane))
	for len(d.hashes) > distinctMax {
		d.raise(d.level + 1)
	}
}

// raise lowers the threshold: what is above it stands at the end.
func (d *distinct) raise(level uint8) {
	d.level = level
	keep, _ := slices.BinarySearch(d.hashes, uint64(1)<<(64-level))
	d.hashes, d.panes = d.hashes[:keep], d.panes[:keep]
}

func (d *distinct) merge(_ *aggregate, other cell, pane int64) {
	o := other.(*distinct)
	if o.level > d.level {
		d.raise(o.level)
	}
	for _, h := range o.hashes {
		d.insert(h, pane)
	}
}

func (d *distinct) expire(first int64) {
	old := slices.ContainsFunc(d.panes, func(p uint32) bool { return int64(p) < first })
	if !old {
		return
	}
	n := 0
	for i, p := range d.panes {
		if int64(p) >= first {
			d.hashes[n], d.panes[n] = d.hashes[i], p
			n++
		}
	}
	d.hashes, d.panes = d.hashes[:n], d.panes[:n]
	if n == 0 {
		d.level = 0
	}
}

func (d *distinct) value(*aggregate, int) float64 {
	return float64(uint64(len(d.hashes)) << d.level)
}

func (d *distinct) append(dst []byte) []byte {
	dst = append(dst, d.level)
	dst = binary.AppendUvarint(dst, uint64(len(d.hashes)))
	for i, h := range d.hashes {
		dst = binary.BigEndian.AppendUint64(dst, h)
		dst = binary.AppendUvarint(dst, uint64(d.panes[i]))
	}
	return dst
}

func (d *distinct) load(r *reader) {
	*d = distinct{level: r.byte()}
	n := r.count(9)
	if n > distinctMax || d.level > 56 {
		r.fail(errTruncated)
		return
	}
	if n > 0 {
		d.hashes, d.panes = make([]uint64, 0, n), make([]uint32, 0, n)
	}
	for range n {
		h := r.uint64()
		p := uint32(r.uvarint())
		if len(d.hashes) > 0 && h <= d.hashes[len(d.hashes)-1] || d.level > 0 && h>>(64-d.level) != 0 {
			r.fail(errTruncated)
			return
		}
		d.hashes, d.panes = append(d.hashes, h), append(d.panes, p)
	}
}
