package enricher

// queue orders conversations by a time and then by key: a binary heap that
// knows where each one stands, so that one can be moved or taken out. Two
// queues with the same content hand it out in the same order, whatever they
// went through.
type queue struct {
	which int // index into conversation.position
	items []queued
}

type queued struct {
	at int64 // stream time, ms
	c  *conversation
}

func (q *queue) less(i, j int) bool {
	a, b := &q.items[i], &q.items[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.c.key.compare(&b.c.key) < 0
}

func (q *queue) push(at int64, c *conversation) {
	c.position[q.which] = len(q.items)
	q.items = append(q.items, queued{at, c})
	q.up(len(q.items) - 1)
}

func (q *queue) update(at int64, c *conversation) {
	i := c.position[q.which]
	q.items[i].at = at
	if !q.down(i) {
		q.up(i)
	}
}

func (q *queue) remove(c *conversation) {
	i, last := c.position[q.which], len(q.items)-1
	if i != last {
		q.swap(i, last)
	}
	q.items[last] = queued{}
	q.items = q.items[:last]
	if i != last && !q.down(i) {
		q.up(i)
	}
}

func (q *queue) swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].c.position[q.which] = i
	q.items[j].c.position[q.which] = j
}

func (q *queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.less(i, parent) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *queue) down(i int) (moved bool) {
	for {
		child := 2*i + 1
		if child >= len(q.items) {
			return moved
		}
		if right := child + 1; right < len(q.items) && q.less(right, child) {
			child = right
		}
		if !q.less(child, i) {
			return moved
		}
		q.swap(i, child)
		i, moved = child, true
	}
}
