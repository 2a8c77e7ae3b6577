package demo

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/pipeline"
)

// Verdict compares alerts with the ground truth of a generated run.
type Verdict struct {
	rows       []*Row
	allowed    map[key]bool // may fire, need not
	seen       map[string]bool
	unexpected []*pipeline.AlertView
}

// Row is what became of one attack.
type Row struct {
	Scenario, Rule string
	Start          time.Time
	// Expected are the entities an alert must be raised for.
	Expected []netip.Addr
	// First is when the first of the alerts was opened, in stream time.
	First time.Time
	// Severity is the highest that any of the alerts reached.
	Severity int

	found map[string]bool
}

type key struct{ rule, entity string }

// NewVerdict expects what the truth says.
func NewVerdict(truth []generator.Event) *Verdict {
	v := &Verdict{allowed: map[key]bool{}, seen: map[string]bool{}}
	for _, e := range truth {
		if e.Kind != generator.Attack {
			continue
		}
		rows := map[string]*Row{}
		for _, x := range e.Expect {
			r := rows[x.Rule]
			if r == nil {
				r = &Row{Scenario: e.Name, Rule: x.Rule, Start: e.Start, found: map[string]bool{}}
				rows[x.Rule] = r
				v.rows = append(v.rows, r)
			}
			r.Expected = append(r.Expected, x.Entity)
		}
		for _, rule := range e.MayFire {
			for _, a := range slices.Concat(e.Attackers, e.Victims) {
				v.allowed[key{rule, a.String()}] = true
			}
		}
	}
	return v
}

// Add takes in one revision of an alert. It reports whether the alert is new.
func (v *Verdict) Add(a *pipeline.AlertView) bool {
	fresh := !v.seen[a.Event.ID]
	v.seen[a.Event.ID] = true
	entity := a.Weir.Alert.Entity
	for _, r := range v.rows {
		if r.Rule != a.Rule.ID || !slices.ContainsFunc(r.Expected, func(x netip.Addr) bool { return x.String() == entity }) {
			continue
		}
		r.found[entity] = true
		r.Severity = max(r.Severity, a.Event.Severity)
		if r.First.IsZero() || a.Timestamp.Before(r.First) {
			r.First = a.Timestamp
		}
		return fresh
	}
	if fresh && !v.allowed[key{a.Rule.ID, entity}] {
		v.unexpected = append(v.unexpected, a)
	}
	return fresh
}

// Rows returns a row for each attack and rule, in the order of the truth.
func (v *Verdict) Rows() []*Row { return v.rows }

// Unexpected returns the alerts that nothing in the truth accounts for.
func (v *Verdict) Unexpected() []*pipeline.AlertView { return v.unexpected }

// Found reports whether every attack was found, for every entity.
func (v *Verdict) Found() bool {
	return !slices.ContainsFunc(v.rows, func(r *Row) bool { return !r.Found() })
}

// Found reports whether every entity was alerted about.
func (r *Row) Found() bool { return len(r.found) == len(r.Expected) }

// FoundCount is how many of the entities were alerted about.
func (r *Row) FoundCount() int { return len(r.found) }

// Missing returns the entities that were not.
func (r *Row) Missing() (out []netip.Addr) {
	for _, a := range r.Expected {
		if !r.found[a.String()] {
			out = append(out, a)
		}
	}
	return out
}
