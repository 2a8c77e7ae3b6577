package detector

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// topMax is how many values a top follows.
const topMax = 32

// top follows the commonest values (space-saving): a value that is not yet
// followed takes the place, and the count, of the least. A value is forgotten
// when it was not seen for a window; until then it counts from its first.
type top struct{ items []topItem }

type topItem struct {
	value string // encoded
	count int64
	pane  int64 // last seen
}

func (t *top) add(a *aggregate, f *flow, pane int64) {
	a.scratch = a.encode(a.scratch[:0], f)
	t.plus(a.scratch, 1, pane)
}

func (t *top) plus(value []byte, n, pane int64) {
	least := -1
	for i := range t.items {
		it := &t.items[i]
		if it.value == string(value) {
			it.count += n
			it.pane = max(it.pane, pane)
			return
		}
		if least < 0 || it.count < t.items[least].count {
			least = i
		}
	}
	if len(t.items) < topMax {
		t.items = append(t.items, topItem{string(value), n, pane})
		return
	}
	t.items[least] = topItem{string(value), t.items[least].count + n, pane}
}

func (t *top) merge(_ *aggregate, other cell, pane int64) {
	for _, it := range other.(*top).items {
		t.plus([]byte(it.value), it.count, pane)
	}
}

func (t *top) expire(first int64) {
	t.items = slices.DeleteFunc(t.items, func(it topItem) bool { return it.pane < first })
}

func (t *top) value(*aggregate, int) float64 {
	most := int64(0)
	for _, it := range t.items {
		most = max(most, it.count)
	}
	return float64(most)
}

// best returns the n commonest values, the commonest first.
func (t *top) best(n int) []topItem {
	items := slices.Clone(t.items)
	slices.SortFunc(items, func(a, b topItem) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.value, b.value))
	})
	return items[:min(n, len(items))]
}

func (t *top) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(t.items)))
	for _, it := range t.items {
		dst = appendBytes(dst, it.value)
		dst = binary.AppendUvarint(dst, uint64(it.count))
		dst = binary.AppendUvarint(dst, uint64(it.pane))
	}
	return dst
}

func (t *top) load(r *reader) {
	n := r.count(3)
	if n > topMax {
		r.fail(errTruncated)
		return
	}
	t.items = nil
	for range n {
		it := topItem{value: r.string(), count: int64(r.uvarint()), pane: int64(r.uvarint())}
		if _, err := decodeItem([]byte(it.value)); err != nil {
			r.fail(err)
			return
		}
		t.items = append(t.items, it)
	}
}
