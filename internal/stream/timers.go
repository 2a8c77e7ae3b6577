package stream

// timers orders the key groups of a task by their next timer: a binary heap
// of the groups' indices, with each index's place in it, so that a change of
// one group costs O(log groups) and a look at the first costs nothing.
type timers struct {
	at    []int64 // by index
	heap  []int32 // indices
	place []int32 // by index: where it is in heap
}

func newTimers(n int) *timers {
	t := &timers{at: make([]int64, n), heap: make([]int32, n), place: make([]int32, n)}
	for i := range n {
		t.at[i], t.heap[i], t.place[i] = Never, int32(i), int32(i)
	}
	return t
}

// first returns the index with the earliest timer, and that timer. Of equal
// ones the lowest index comes first.
func (t *timers) first() (index int, at int64) { return int(t.heap[0]), t.at[t.heap[0]] }

// set changes the timer of an index.
func (t *timers) set(index int, at int64) {
	if t.at[index] == at {
		return
	}
	t.at[index] = at
	t.up(t.place[index])
	t.down(t.place[index])
}

func (t *timers) less(a, b int32) bool {
	if t.at[a] != t.at[b] {
		return t.at[a] < t.at[b]
	}
	return a < b
}

func (t *timers) swap(i, j int32) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.place[t.heap[i]], t.place[t.heap[j]] = i, j
}

func (t *timers) up(i int32) {
	for i > 0 {
		parent := (i - 1) / 2
		if !t.less(t.heap[i], t.heap[parent]) {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *timers) down(i int32) {
	n := int32(len(t.heap))
	for {
		child := 2*i + 1
		if child >= n {
			return
		}
		if child+1 < n && t.less(t.heap[child+1], t.heap[child]) {
			child++
		}
		if !t.less(t.heap[child], t.heap[i]) {
			return
		}
		t.swap(i, child)
		i = child
	}
}
