package detector

import (
	"github.com/weir-flow/weir/detector/lang"
)

// aggregate is one compiled aggregate of a rule: what it reads of a flow. Its
// state is a cell for each key.
type aggregate struct {
	name string
	kind *aggregateKind
	// where restricts it to some of the rule's flows; nil: all.
	where func(*flow) bool
	// One of these is set, as the kind asks for.
	test   func(*flow) bool
	number func(*flow) int64
	encode func([]byte, *flow) []byte
	// size is the second number of a beacon.
	size func(*flow) int64
	// limit is how many items a top shows.
	limit int
	// scale turns the sum over the window into the value of a rate.
	scale float64
	// pane is the length of a pane in ms, panes how many a window has.
	pane  int64
	panes int64

	// scratch of encode; an aggregate belongs to one processor.
	scratch []byte
}

// cell is the state of an aggregate for one key over a window that is a run of
// panes. Each kind expires its own panes: a shared one would keep a copy of
// everything for each pane, and a set of last-seen marks needs none.
//
// A cell is a function of the flows added and merged since the oldest pane,
// and of their order. add and merge never see a pane below one expired.
type cell interface {
	add(a *aggregate, f *flow, pane int64)
	// merge takes in a cell of the same kind, whose content all belongs to
	// pane.
	merge(a *aggregate, other cell, pane int64)
	// expire forgets what lies in panes before first.
	expire(first int64)
	// value returns a part of the result; part 0 is the main one.
	value(a *aggregate, part int) float64
	append(dst []byte) []byte
	load(r *reader)
}

// aggregateKind is one kind of aggregate. The set is open: a new one is a cell
// and a line in aggregateKinds.
type aggregateKind struct {
	name string
	doc  string
	// wants is the kind of expression it is given; Invalid: anything that can
	// be a key.
	wants lang.Kind
	// parts are the names of what else it gives, besides its main value.
	parts []string
	// options it knows.
	options []string
	new     func() cell
	// integral values are shown without a fraction.
	integral bool
}

func aggregateKinds() []*aggregateKind {
	return []*aggregateKind{
		{name: "count", wants: lang.Bool, integral: true, new: func() cell { return new(counter) },
			doc: "How many flows for which the expression holds. `count: true` counts all of the rule's."},
		{name: "sum", wants: lang.Int, integral: true, new: func() cell { return new(counter) },
			doc: "Sum of an integer."},
		{name: "avg", wants: lang.Int, new: func() cell { return new(pair) },
			doc: "Mean of an integer."},
		{name: "ratio", wants: lang.Bool, new: func() cell { return new(pair) },
			doc: "Share of flows, 0 to 1, for which the expression holds."},
		{name: "rate", wants: lang.Bool, options: []string{"per"}, new: func() cell { return new(counter) },
			doc: "Flows for which the expression holds, over the window, per second or per `per`."},
		{name: "min", wants: lang.Int, integral: true, new: func() cell { return &extreme{sign: -1} },
			doc: "Least value of an integer."},
		{name: "max", wants: lang.Int, integral: true, new: func() cell { return &extreme{sign: 1} },
			doc: "Greatest value of an integer."},
		{name: "distinct", integral: true, new: func() cell { return new(distinct) },
			doc: "How many different values. Exact up to 256; above, an adaptive sample of the values' hashes estimates it within about 8 %."},
		{name: "top", options: []string{"limit"}, integral: true, new: func() cell { return new(top) },
			doc: "The commonest values, for evidence: the best `limit` (10) of at most 32 that are followed. Its value is the count of the first."},
		{name: "beacon", wants: lang.Int, options: []string{"size"}, new: func() cell { return new(beacon) },
			parts: []string{"interval", "size", "histogram", "duration", "period", "connections", "span"},
			doc:   "How much the given times (ms, as in `start`) look like a clock: RITA's score, 0 to 1, over the latest 256. Parts: `.interval`, `.size` (of `size`), `.histogram`, `.duration`, which it is the mean of; `.period`, the median interval in s; `.connections`, how many; `.span`, first to last in s. Brought up to date at every eighth more."},
	}
}
