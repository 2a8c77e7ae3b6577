package detector

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/netip"

	"github.com/weir-flow/weir/internal/stream"
)

// States of an alert, as weir.alert.state says them: what the revision brought
// about.
const (
	StateOpen     = "open"
	StateUpdated  = "updated"
	StateReopened = "reopened"
	StateClosed   = "closed"
)

// alert is the life of an alert of one key.
type alert struct {
	id       string
	revision int64
	closed   bool
	// first and last are the stream times of the first flow and of the last
	// that found the condition true; closedAt ends it.
	first, last, closedAt int64
	count                 int64
	severity              Severity
	confidence            float64
	// decade of count at the last revision, and when that was; pending when a
	// higher one waits for the pace.
	decade   int64
	revised  int64
	pending  bool
	origin   origin
	observed []float64
	evidence []evidence
}

// origin is the flow that opened an alert.
type origin struct {
	entityName             string
	initiator, responder   netip.Addr
	initiatorPort          int64
	responderPort          int64
	protocol               int64
	communityID, direction string
	exporter               netip.Addr
}

// evidence is what a top aggregate showed.
type evidence struct {
	name   string
	values []evidenceValue
}

type evidenceValue struct {
	value string // encoded
	count int64
}

// originOf keeps what an alert shows of a flow. The flow's texts live in the
// record's buffer and are copied.
func originOf(p *program, f *flow) origin {
	return origin{
		entityName: clone(p.entityName(f)),
		initiator:  f.Flow.SourceIPAddress, responder: f.Flow.DestinationIPAddress,
		initiatorPort: int64(f.Flow.SourceTransportPort), responderPort: int64(f.Flow.DestinationTransportPort),
		protocol:    int64(f.Flow.ProtocolIdentifier),
		communityID: clone(f.CommunityId), direction: clone(f.NetworkDirection),
		exporter: f.Flow.ExporterAddress,
	}
}

func clone(s string) string { return string([]byte(s)) }

// alertID is a function of the rule, its version, the key and the first
// window, so that a repeated computation gives the same alert.
func alertID(p *program, key string, window int64) string {
	h := sha256.New()
	b := appendBytes(nil, p.ID)
	b = binary.AppendVarint(b, int64(p.Version))
	b = appendBytes(b, key)
	b = binary.AppendVarint(b, window)
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// firstWindow is what tells an alert from a later one of its rule and key: the
// oldest pane of the window it was opened in, or where a session began. The
// pane in which the condition came true would depend on how the records of
// several partitions happened to interleave.
func (s *life) firstWindow(p *program, e *entry) int64 {
	switch {
	case p.session:
		return e.since
	case p.pane*p.panes > s.reopen:
		return e.pane // a window that outlives the alert may open another
	default:
		return max(e.since/p.pane, e.pane-p.panes+1)
	}
}

func decadeOf(n int64) int64 {
	d := int64(0)
	for n >= 10 {
		n /= 10
		d++
	}
	return d
}

// judge takes the life of an entry's alert on, after flows were added to it
// at stream time t. holds tells whether the condition does; hits is how many
// flows were added.
func (s *life) judge(c *stream.Context, p *program, e *entry, sc *scope, holds bool, t, hits int64, from func() origin) {
	a := e.alert
	if a != nil && !a.closed {
		a.count += hits
	}
	if !holds {
		return
	}
	severity := p.Severity
	for _, x := range p.escalate {
		if x.severity > severity && x.when(sc) {
			severity = x.severity
		}
	}
	confidence := min(1, max(0, p.confidence(sc)))
	switch {
	case a == nil:
		window := s.firstWindow(p, e)
		e.alert = &alert{
			id: alertID(p, e.key, window), first: e.since, last: t, count: e.hits,
			severity: severity, confidence: confidence, origin: from(),
		}
		s.metrics.alerts.WithLabelValues(p.ID, severity.String()).Inc()
		s.revise(c, p, e, t, StateOpen, true)
	case a.closed:
		rise := severity > a.severity
		a.closed, a.last = false, max(a.last, t)
		a.observed, a.evidence = nil, nil // its height begins anew
		if p.stage == populated {
			a.count += hits // those before were counted when they were sent
		} else {
			a.count += e.hits
		}
		a.severity, a.confidence = severity, confidence
		s.revise(c, p, e, t, StateReopened, rise)
	default:
		a.last = max(a.last, t)
		a.confidence = max(a.confidence, confidence)
		switch {
		case severity > a.severity:
			a.severity = severity
			s.metrics.alerts.WithLabelValues(p.ID, severity.String()).Inc()
			s.revise(c, p, e, t, StateUpdated, true)
		case decadeOf(a.count) > a.decade:
			if t-a.revised >= s.pace {
				s.revise(c, p, e, t, StateUpdated, false)
			} else {
				a.pending = true
			}
		}
	}
}

// capture keeps what the aggregates show, unless they have shown more before:
// an alert says what happened at its height, also when it is closed long after.
// The first measure is what it goes by.
func capture(p *program, e *entry) {
	a := e.alert
	var observed []float64
	var found []evidence
	switch {
	case e.observed != nil:
		observed, found = append(observed, e.observed...), e.evidence
	case e.cells != nil:
		observed, found = observe(nil, p, e.cells), gather(p, e.cells)
	}
	if len(observed) == 0 || len(a.observed) > 0 && observed[0] < a.observed[0] {
		return
	}
	a.observed, a.evidence = observed, found
}

func observe(dst []float64, p *program, cells []cell) []float64 {
	for _, m := range p.measures {
		dst = append(dst, cells[m.aggregate].value(p.aggregates[m.aggregate], m.part))
	}
	return dst
}

func gather(p *program, cells []cell) []evidence {
	var all []evidence
	for _, i := range p.evidence {
		ev := evidence{name: p.aggregates[i].name}
		for _, it := range cells[i].(*top).best(p.aggregates[i].limit) {
			ev.values = append(ev.values, evidenceValue{it.value, it.count})
		}
		all = append(all, ev)
	}
	return all
}

// revise puts out a revision of the alert. loud ones are what Elastic and
// SIEMs raise a signal for.
func (s *life) revise(c *stream.Context, p *program, e *entry, t int64, state string, loud bool) {
	a := e.alert
	capture(p, e)
	a.revision++
	a.revised, a.pending, a.decade = t, false, decadeOf(a.count)
	if c.Replaying() {
		return
	}
	c.Emit(alertOutput(p, e, t, state, loud))
}

// windowEnd is when the newest pane of an entry leaves its window.
func (p *program) windowEnd(e *entry) int64 {
	if p.session {
		return e.lastSeen + p.pane
	}
	return (e.pane + p.panes) * p.pane
}

// plan sets when an entry is due next.
func (s *life) plan(g *group, p *program, e *entry) {
	due := stream.Never
	if e.cells != nil || e.observed != nil {
		due = p.windowEnd(e)
	}
	if a := e.alert; a != nil {
		switch {
		case a.closed:
			due = min(due, a.closedAt+s.reopen)
		default:
			due = min(due, a.last+p.quiet)
			if a.pending {
				due = min(due, a.revised+s.pace)
			}
		}
	}
	g.schedule(e, due)
}

// lapse does what is due for a windowed entry at time t.
func (s *life) lapse(c *stream.Context, g *group, p *program, e *entry, t int64) {
	a := e.alert
	if a != nil && !a.closed && a.pending && a.revised+s.pace <= t {
		s.revise(c, p, e, t, StateUpdated, false)
	}
	if (e.cells != nil || e.observed != nil) && p.windowEnd(e) <= t {
		if a != nil && !a.closed {
			capture(p, e)
		}
		e.cells, e.hits = nil, 0
		if e.observed != nil {
			e.observed, e.evidence = nil, nil
		}
	}
	if a != nil && !a.closed && a.last+p.quiet <= t {
		a.closed, a.closedAt = true, t
		if p.stage != populated {
			e.hits = 0 // what comes back is counted from here
		}
		s.revise(c, p, e, t, StateClosed, false)
	}
	if a != nil && a.closed && a.closedAt+s.reopen <= t {
		e.alert = nil
	}
	if e.alert == nil && e.cells == nil && e.observed == nil {
		g.drop(e)
		return
	}
	s.plan(g, p, e)
}

// --- state ---

func (a *alert) append(dst []byte) []byte {
	dst = appendBytes(dst, a.id)
	for _, n := range []int64{a.revision, a.first, a.last, a.closedAt, a.count, int64(a.severity), a.decade, a.revised} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = appendBool(appendBool(dst, a.closed), a.pending)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(a.confidence))
	dst = appendOrigin(dst, &a.origin)
	dst = appendFloats(dst, a.observed)
	return appendEvidence(dst, a.evidence)
}

func (r *reader) alert() *alert {
	a := &alert{id: r.string()}
	var severity int64
	for _, n := range []*int64{&a.revision, &a.first, &a.last, &a.closedAt, &a.count, &severity, &a.decade, &a.revised} {
		*n = r.varint()
	}
	a.severity = Severity(severity)
	a.closed, a.pending = r.bool(), r.bool()
	a.confidence = math.Float64frombits(r.uint64())
	a.origin = r.origin()
	a.observed = r.floats()
	a.evidence = r.evidence()
	return a
}

func appendOrigin(dst []byte, x *origin) []byte {
	dst = appendBytes(dst, x.entityName)
	dst = appendAddress(appendAddress(appendAddress(dst, x.initiator), x.responder), x.exporter)
	for _, n := range []int64{x.initiatorPort, x.responderPort, x.protocol} {
		dst = binary.AppendVarint(dst, n)
	}
	return appendBytes(appendBytes(dst, x.communityID), x.direction)
}

func (r *reader) origin() origin {
	x := origin{entityName: r.string()}
	for _, a := range []*netip.Addr{&x.initiator, &x.responder, &x.exporter} {
		*a = r.item().address
	}
	for _, n := range []*int64{&x.initiatorPort, &x.responderPort, &x.protocol} {
		*n = r.varint()
	}
	x.communityID, x.direction = r.string(), r.string()
	return x
}

func appendFloats(dst []byte, fs []float64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(fs)))
	for _, f := range fs {
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
	}
	return dst
}

func (r *reader) floats() []float64 {
	n := r.count(8)
	var fs []float64
	for range n {
		fs = append(fs, math.Float64frombits(r.uint64()))
	}
	return fs
}

func appendEvidence(dst []byte, es []evidence) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(es)))
	for _, e := range es {
		dst = appendBytes(dst, e.name)
		dst = binary.AppendUvarint(dst, uint64(len(e.values)))
		for _, v := range e.values {
			dst = binary.AppendUvarint(appendBytes(dst, v.value), uint64(v.count))
		}
	}
	return dst
}

func (r *reader) evidence() []evidence {
	n := r.count(2)
	var es []evidence
	for range n {
		e := evidence{name: r.string()}
		for range r.count(2) {
			v := evidenceValue{value: r.string(), count: int64(r.uvarint())}
			if _, err := decodeItem([]byte(v.value)); err != nil {
				r.fail(err)
			}
			e.values = append(e.values, v)
		}
		es = append(es, e)
	}
	return es
}
