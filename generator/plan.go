package generator

import (
	"container/heap"
	"slices"
)

// plan is what is set for a run before it starts: who attacks whom and when,
// the near misses, and what recurs by the clock.
type plan struct {
	cfg        Config
	ent        enterprise
	world      *world
	start, end int64
	taken      map[address]bool // hosts that already play a part
	actors     []actor
	truth      []Event
}

func newPlan(cfg Config, w *world, start, end int64) *plan {
	p := &plan{cfg: cfg, ent: newEnterprise(cfg.Hosts), world: w, start: start, end: end, taken: map[address]bool{}}
	p.nearMisses()
	for _, s := range cfg.wanted() {
		s.plan(p, newRandom(cfg.Seed, s.name))
	}
	slices.SortStableFunc(p.truth, func(a, b Event) int { return a.Start.Compare(b.Start) })
	return p
}

// window finds a start for something of a length, away from the edges: an
// attack ends long enough before the window that its last flows are exported
// and judged within it.
func (p *plan) window(r random, length int64) (from, to int64) {
	total := p.end - p.start
	lead, tail := min(600_000, total/12), min(900_000, total/8)
	room := max(total-lead-tail-length, 1)
	from = p.start + lead + r.Int64N(room)
	return from, from + length
}

// scaled shortens a length that is meant for long windows to a share of short
// ones.
func (p *plan) scaled(ms int64, percentOfWindow int64) int64 {
	return min(ms, (p.end-p.start)*percentOfWindow/100)
}

// cast picks a workstation that plays no other part, in one of the groups.
func (p *plan) cast(r random, from ...group) endpoint {
	for {
		g := pick(r, from)
		// The first workstations are the administrators'.
		e := g.at(int(r.between(min(12, int64(g.size)-1), int64(g.size)-1)))
		if !p.taken[e.addr] {
			p.taken[e.addr] = true
			return e
		}
	}
}

// script is an actor whose steps each say when the next one is. A step may
// emit any number of conversations that begin at its time or up to startAhead
// later.
type script struct {
	at   int64
	step func(at int64, emit func(*conversation)) (next int64) // 0 when over
}

func (s *script) advance(until int64, emit func(*conversation)) {
	for s.at != 0 && s.at < until {
		s.at = s.step(s.at, emit)
	}
}

func (p *plan) script(at int64, step func(at int64, emit func(*conversation)) int64) {
	p.actors = append(p.actors, &script{at, step})
}

// spread is a script of count steps at random times between from and to,
// dense and sparse as chance has it, in order.
func (p *plan) spread(r random, from, to int64, count int, step func(i int, at int64, emit func(*conversation))) {
	if count <= 0 {
		return
	}
	i := 0
	at := func() int64 {
		width := (to - from) / int64(count)
		return from + int64(i)*width + r.Int64N(max(width, 1))
	}
	p.script(at(), func(now int64, emit func(*conversation)) int64 {
		step(i, now, emit)
		if i++; i == count {
			return 0
		}
		return at()
	})
}

// clockwork is an actor of many hosts that each do something at a fixed
// period, as clocks and update checks do.
type clockwork struct {
	due    dueQueue
	period int64
	step   func(host int, at int64, emit func(*conversation))
}

type due struct {
	at   int64
	host int
}

type dueQueue []due

func (q dueQueue) Len() int { return len(q) }
func (q dueQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].host < q[j].host
}
func (q dueQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *dueQueue) Push(x any)   { *q = append(*q, x.(due)) }
func (q *dueQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (c *clockwork) advance(until int64, emit func(*conversation)) {
	for len(c.due) > 0 && c.due[0].at < until {
		c.step(c.due[0].host, c.due[0].at, emit)
		c.due[0].at += c.period
		heap.Fix(&c.due, 0)
	}
}

func (p *plan) clockwork(r random, hosts int, period int64, step func(host int, at int64, emit func(*conversation))) {
	c := &clockwork{period: period, step: step}
	for h := range hosts {
		c.due = append(c.due, due{p.start + r.Int64N(period), h})
	}
	heap.Init(&c.due)
	p.actors = append(p.actors, c)
}
