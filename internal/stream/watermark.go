package stream

import (
	"math"
	"slices"
	"strings"

	"github.com/weir-flow/weir/schemas"
)

// noWatermark is the watermark before anything is known.
const noWatermark int64 = math.MinInt64

// watermarks is the vector of what upstreams have promised, and the watermark
// that follows from it. Everything in it is decided by the partition's log:
// no clock of ours takes part. It is marshalled into task records as it is.
type watermarks struct {
	// Current is the watermark; it never falls.
	Current int64 `json:"current"`
	// Upstreams are those heard so far, in the order of their ids.
	Upstreams []upstream `json:"upstreams,omitempty"`
	// Stages are the upstream stages that said how many tasks they have.
	Stages []upstreamStage `json:"stages,omitempty"`

	// maxStall is how far, in ms of stream time, an upstream may fall behind
	// the leading one before it is no longer waited for.
	maxStall int64
}

type upstream struct {
	ID   string `json:"id"`
	Time int64  `json:"time"`
	// Left: it said that it goes. Out: it is not waited for until it has
	// caught up with the watermark.
	Left bool `json:"left,omitempty"`
	Out  bool `json:"out,omitempty"`
}

// upstreamStage is a stage of Of tasks, of which First was the stream time
// when the first of them was heard: those not heard yet are waited for until
// the leading upstream is maxStall past it.
type upstreamStage struct {
	Name  string `json:"name"`
	Of    int    `json:"of"`
	First int64  `json:"first"`
}

func newWatermarks(maxStall int64) watermarks {
	return watermarks{Current: noWatermark, maxStall: maxStall}
}

// clone returns a copy that shares nothing.
func (w *watermarks) clone() watermarks {
	c := *w
	c.Upstreams = slices.Clone(w.Upstreams)
	c.Stages = slices.Clone(w.Stages)
	return c
}

// apply takes in a tick and returns how many upstreams are left out now.
func (w *watermarks) apply(t *schemas.Tick) (out int) {
	for i := range t.Upstreams {
		w.hear(&t.Upstreams[i])
	}
	// One that has left promises for itself alone, and as far ahead as it
	// likes: it does not lead, unless nobody else is there.
	allLeft := !slices.ContainsFunc(w.Upstreams, func(u upstream) bool { return !u.Left })
	lead := noWatermark
	for i := range w.Upstreams {
		if allLeft || !w.Upstreams[i].Left {
			lead = max(lead, w.Upstreams[i].Time)
		}
	}
	low := lead // of those waited for; where all have left, the last word counts
	for i := range w.Upstreams {
		u := &w.Upstreams[i]
		switch {
		case allLeft:
			u.Out = false
		case u.Left:
		case u.Out && u.Time >= w.Current:
			u.Out = false
		case !u.Out && u.Time < lead-w.maxStall:
			u.Out = true
		}
		if u.Out {
			out++
		}
		if !u.Left && !u.Out {
			low = min(low, u.Time)
		}
	}
	for _, s := range w.Stages {
		if missing := s.Of - w.heard(s.Name); missing > 0 {
			if lead-s.First <= w.maxStall {
				return out // wait for those that have not been heard at all
			}
			out += missing
		}
	}
	w.Current = max(w.Current, low)
	return out
}

// hear notes one entry of a tick.
func (w *watermarks) hear(u *schemas.Upstream) {
	i, found := slices.BinarySearchFunc(w.Upstreams, u.Id, func(a upstream, id string) int { return strings.Compare(a.ID, id) })
	if !found {
		// The id aliases the record: keep a copy.
		w.Upstreams = slices.Insert(w.Upstreams, i, upstream{ID: strings.Clone(u.Id), Time: u.Time})
	}
	w.Upstreams[i].Time = max(w.Upstreams[i].Time, u.Time)
	w.Upstreams[i].Left = u.Left
	if u.Of <= 0 {
		return
	}
	name := stageOf(u.Id)
	j := slices.IndexFunc(w.Stages, func(s upstreamStage) bool { return s.Name == name })
	if j < 0 {
		w.Stages = append(w.Stages, upstreamStage{Name: strings.Clone(name), Of: int(u.Of), First: u.Time})
		return
	}
	w.Stages[j].Of = int(u.Of)
}

// heard counts the upstreams of a stage that have been heard.
func (w *watermarks) heard(stage string) (n int) {
	for i := range w.Upstreams {
		if stageOf(w.Upstreams[i].ID) == stage {
			n++
		}
	}
	return n
}

// stageOf returns the stage's part of an upstream id "stage/partition".
func stageOf(id string) string {
	if i := strings.LastIndexByte(id, '/'); i >= 0 {
		return id[:i]
	}
	return id
}
