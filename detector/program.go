package detector

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/weir-flow/weir/detector/lang"
)

// stage of a rule: where its verdict is given.
type stage int

const (
	// oneStage: the key begins with the initiator, whose flows all come here.
	oneStage stage = iota
	// twoStage: another key; flows are pre-aggregated by slices, and merged.
	twoStage
	// populated: the key begins with the initiator, but the verdict needs what
	// the rest of the network does; candidates are decided by the second stage.
	populated
)

// program is a compiled rule. It belongs to one processor.
type program struct {
	*Rule
	// hash of what decides the shape and meaning of the rule's state: a rule
	// that differs in it starts afresh.
	hash  uint64
	stage stage

	filter   func(*flow) bool
	suppress []suppression
	key      []func([]byte, *flow) []byte
	// entity is the index in key of what alerts are about.
	entity int
	// internal tells the entity's budget.
	internal func(*flow) bool
	// entityName is the name of the entity where the flow knows one.
	entityName func(*flow) string

	session     bool
	pane, panes int64 // ms, count
	aggregates  []*aggregate
	measures    []measure
	condition   func(*scope) bool
	escalate    []escalation
	confidence  func(*scope) float64
	evidence    []int // indices of top aggregates

	slice int64 // ms
	quiet int64 // ms
	keys  int

	population *population

	// What lets the index pass over the rule.
	protocols, ports []int64
}

type population struct {
	key        []func([]byte, *flow) []byte
	aggregates []*aggregate
	condition  func(*scope) bool
}

type suppression struct {
	when  func(*flow) bool
	until int64
}

type escalation struct {
	when     func(*scope) bool
	severity Severity
}

// measure is a number that conditions may name and alerts show: an aggregate,
// or a part of one.
type measure struct {
	name            string
	aggregate, part int
	integral        bool
}

// scope is what conditions see: cells of a key, and, in a population, what was
// observed of the candidate.
type scope struct {
	aggregates []*aggregate
	cells      []cell
	observed   []float64
}

func measuresOf(aggregates []*aggregate) []measure {
	var ms []measure
	for i, a := range aggregates {
		ms = append(ms, measure{a.name, i, 0, a.kind.integral})
		for j, part := range a.kind.parts {
			ms = append(ms, measure{a.name + "." + part, i, j + 1, false})
		}
	}
	return ms
}

// scopeVocabulary is the names of measures.
type scopeVocabulary struct {
	values map[string]lang.Value[*scope]
	names  []string
}

func (v *scopeVocabulary) Lookup(name string) (lang.Value[*scope], bool) {
	value, ok := v.values[name]
	return value, ok
}

func (v *scopeVocabulary) Names() []string { return v.names }

func (v *scopeVocabulary) add(name string, f func(*scope) float64) {
	if v.values == nil {
		v.values = make(map[string]lang.Value[*scope])
	}
	v.values[name] = lang.Value[*scope]{Kind: lang.Float, Float: f}
	v.names = append(v.names, name)
}

func (v *scopeVocabulary) addCells(ms []measure) {
	for _, m := range ms {
		v.add(m.name, func(s *scope) float64 { return s.cells[m.aggregate].value(s.aggregates[m.aggregate], m.part) })
	}
}

var idPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{1,62}$`)

// compile checks a rule and compiles it.
func compile(r *Rule, v *vocabulary) (*program, error) {
	p := &program{Rule: r}
	fault := func(format string, args ...any) error { return &RuleError{Message: fmt.Sprintf(format, args...)} }
	switch {
	case !idPattern.MatchString(r.ID):
		return nil, fault("id: %q must be lower-case letters, digits and dashes, 2 to 63 of them, beginning with a letter", r.ID)
	case r.Version < 1:
		return nil, fault("version: must be at least 1; raise it with every change of meaning")
	case r.Name == "":
		return nil, fault("name: is missing; it is the title of the alerts")
	case r.Severity == 0:
		return nil, fault("severity: is missing; low, medium, high or critical")
	case r.Risk < 0 || r.Risk > 100:
		return nil, fault("risk: %d is not between 0 and 100", r.Risk)
	case r.Condition.Value == "":
		return nil, fault("condition: is missing")
	case len(r.Aggregates) == 0:
		return nil, fault("aggregates: are missing; at least one is needed for the condition")
	case len(r.Key) == 0:
		return nil, fault("key: is missing; such as [initiator.address]")
	case len(r.Key) > 4:
		return nil, fault("key: at most 4 expressions")
	case r.Keys < 0:
		return nil, fault("keys: %d is negative", r.Keys)
	}
	if err := p.compileFilter(r, v); err != nil {
		return nil, err
	}
	if err := p.compileKey(r, v); err != nil {
		return nil, err
	}
	if err := p.compileWindow(r); err != nil {
		return nil, err
	}
	var err error
	if p.aggregates, err = p.compileAggregates(r.Aggregates, v); err != nil {
		return nil, err
	}
	p.measures = measuresOf(p.aggregates)
	if err := p.compileConditions(r, v); err != nil {
		return nil, err
	}
	for i, a := range p.aggregates {
		isTop := a.kind.name == "top"
		if isTop && (len(r.Evidence) == 0 || slices.Contains(r.Evidence, a.name)) {
			p.evidence = append(p.evidence, i)
		}
	}
	for _, name := range r.Evidence {
		if !slices.ContainsFunc(p.evidence, func(i int) bool { return p.aggregates[i].name == name }) {
			return nil, fault("evidence: %q is not a top aggregate of this rule", name)
		}
	}
	if err := checkTexts(p); err != nil {
		return nil, err
	}
	if p.Risk == 0 {
		risk := *r
		risk.Risk = int(r.Severity)
		p.Rule = &risk
	}
	p.keys = r.Keys
	if p.keys == 0 {
		p.keys = 4096
	}
	p.hash = hashOf(r)
	return p, nil
}

var (
	tacticPattern    = regexp.MustCompile(`^TA[0-9]{4}$`)
	techniquePattern = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
)

// checkTexts checks what is shown in alerts.
func checkTexts(p *program) error {
	names := []string{"entity", "name", "count", "window"}
	for _, m := range p.measures {
		names = append(names, m.name)
	}
	for _, s := range placeholder.FindAllString(p.Reason, -1) {
		if name := s[1 : len(s)-1]; !slices.Contains(names, name) {
			return &RuleError{Message: fmt.Sprintf("reason: unknown placeholder %s%s", s, lang.Suggest(name, names))}
		}
	}
	for _, a := range p.Attack {
		if !tacticPattern.MatchString(a.Tactic) {
			return &RuleError{Message: fmt.Sprintf("attack: tactic %q is not an id such as TA0007", a.Tactic)}
		}
		for _, id := range a.Techniques {
			if !techniquePattern.MatchString(id) {
				return &RuleError{Message: fmt.Sprintf("attack: technique %q is not an id such as T1046", id)}
			}
		}
	}
	return nil
}

func located(t Text, err error) error {
	var fault *lang.Error
	if errors.As(err, &fault) {
		line, column := t.place(fault.Line, fault.Column)
		return &RuleError{Line: line, Column: column, Message: fault.Message}
	}
	return &RuleError{Line: t.line, Column: t.column, Message: err.Error()}
}

func compileText[E any](t Text, v lang.Vocabulary[E], kind lang.Kind) (*lang.Expression[E], error) {
	e, err := lang.CompileAs(t.Value, v, kind)
	if err != nil {
		return nil, located(t, err)
	}
	return e, nil
}

func (p *program) compileFilter(r *Rule, v *vocabulary) error {
	if r.Filter.Value == "" {
		return &RuleError{Message: "filter: is missing; `true` takes every flow"}
	}
	filter, err := compileText(r.Filter, v, lang.Bool)
	if err != nil {
		return err
	}
	p.filter = filter.Bool
	if p.UnsampledOnly {
		p.filter = func(f *flow) bool { return filter.Bool(f) && !sampled(f) }
	}
	p.protocols, _ = filter.Bounds("protocol", 8)
	p.ports, _ = filter.Bounds("responder.port", 64)
	for _, s := range r.Suppress {
		when, err := compileText(s.When, v, lang.Bool)
		if err != nil {
			return err
		}
		if s.Reason == "" {
			return &RuleError{Line: s.When.line, Column: s.When.column, Message: "suppress: a reason is missing"}
		}
		until := int64(math.MaxInt64)
		if s.Expires != "" {
			day, err := time.Parse(time.DateOnly, s.Expires)
			if err != nil {
				return &RuleError{Line: s.When.line, Column: s.When.column, Message: fmt.Sprintf("suppress: expires: %q is not a day such as 2027-01-31", s.Expires)}
			}
			until = day.UnixMilli()
		}
		p.suppress = append(p.suppress, suppression{when.Bool, until})
	}
	return nil
}

func compileKeys(texts []Text, v *vocabulary) ([]func([]byte, *flow) []byte, error) {
	var fs []func([]byte, *flow) []byte
	for _, t := range texts {
		e, err := lang.Compile(t.Value, v)
		if err != nil {
			return nil, located(t, err)
		}
		f, err := encoder(e.Value)
		if err != nil {
			return nil, located(t, err)
		}
		fs = append(fs, f)
	}
	return fs, nil
}

func (p *program) compileKey(r *Rule, v *vocabulary) error {
	var err error
	if p.key, err = compileKeys(r.Key, v); err != nil {
		return err
	}
	if r.Entity != "" {
		p.entity = slices.IndexFunc(r.Key, func(t Text) bool { return t.Value == r.Entity })
		if p.entity < 0 {
			return &RuleError{Message: fmt.Sprintf("entity: %q is not one of the key's expressions", r.Entity)}
		}
	}
	p.stage = twoStage
	if r.Key[0].Value == "initiator.address" {
		p.stage = oneStage
	}
	side := strings.SplitN(r.Key[p.entity].Value, ".", 2)[0]
	p.internal = func(*flow) bool { return true }
	p.entityName = func(*flow) string { return "" }
	switch {
	case side == "initiator":
		p.internal = func(f *flow) bool { return f.Initiator.Internal }
		p.entityName = func(f *flow) string { return sideName(&f.Initiator) }
	case side == "responder":
		p.internal = func(f *flow) bool { return f.Responder.Internal }
		p.entityName = func(f *flow) string { return sideName(&f.Responder) }
	}
	return nil
}

func (p *program) compileWindow(r *Rule) error {
	fault := func(format string, args ...any) error {
		return &RuleError{Message: "window: " + fmt.Sprintf(format, args...)}
	}
	w := r.Window
	given := 0
	for _, d := range []Duration{w.Tumbling, w.Sliding, w.Session} {
		if d != 0 {
			given++
			if d.ms() < 1000 || d.ms() > 31*24*3600*1000 {
				return fault("%v is not between 1s and 31d", time.Duration(d))
			}
		}
	}
	if given != 1 {
		return fault("one of tumbling, sliding and session is needed, such as {sliding: 15m, hop: 1m}")
	}
	switch {
	case w.Tumbling != 0:
		p.pane, p.panes = w.Tumbling.ms(), 1
	case w.Session != 0:
		p.pane, p.panes, p.session = w.Session.ms(), 1, true
	default:
		hop := w.Hop.ms()
		if hop == 0 {
			hop = w.Sliding.ms() / 10
		}
		if hop < 1000 || w.Sliding.ms()%hop != 0 || w.Sliding.ms()/hop > 120 {
			return fault("the hop must be at least 1s and divide the size into at most 120 parts")
		}
		p.pane, p.panes = hop, w.Sliding.ms()/hop
	}
	if w.Hop != 0 && w.Sliding == 0 {
		return fault("only a sliding window has a hop")
	}
	p.quiet = r.Quiet.ms()
	if p.quiet == 0 {
		p.quiet = 2 * p.pane * p.panes
	}
	p.slice = r.Slice.ms()
	switch {
	case p.slice < 0:
		return &RuleError{Message: "slice: is negative"}
	case p.slice == 0 && r.Population != nil:
		p.slice = 60_000
	case p.slice == 0:
		p.slice = min(p.pane, 5_000)
	}
	if p.stage == twoStage && (p.session || p.pane%p.slice != 0) {
		return &RuleError{Message: fmt.Sprintf("slice: %dms must divide the tumbling window or the hop of the sliding one; sessions need a key that begins with initiator.address", p.slice)}
	}
	return nil
}

func (p *program) compileAggregates(specs Aggregates, v *vocabulary) ([]*aggregate, error) {
	kinds := aggregateKinds()
	var as []*aggregate
	for _, s := range specs {
		fault := func(format string, args ...any) error {
			return nodeError(s.node, "aggregate %s: "+format, append([]any{s.Name}, args...)...)
		}
		if slices.ContainsFunc(as, func(a *aggregate) bool { return a.name == s.Name }) {
			return nil, fault("the name is used twice")
		}
		if len(as) == 16 {
			return nil, fault("a rule has at most 16")
		}
		kind := kinds[slices.IndexFunc(kinds, func(k *aggregateKind) bool { return k.name == s.Kind })]
		a := &aggregate{name: s.Name, kind: kind, limit: s.Limit, scale: 1, pane: p.pane, panes: p.panes}
		if e, err := lang.Compile(s.Name, &anyName{}); err != nil || e.Kind != lang.Int || !namePattern.MatchString(s.Name) {
			return nil, fault("the name must be lower-case letters, digits and underscores, and no word of the language")
		}
		for option, given := range map[string]bool{"size": s.Size.Value != "", "limit": s.Limit != 0, "per": s.Per != 0} {
			if given && !slices.Contains(kind.options, option) {
				return nil, fault("%s has no option %s", kind.name, option)
			}
		}
		e, err := lang.Compile(s.Of.Value, v)
		if err != nil {
			return nil, located(s.Of, err)
		}
		switch {
		case kind.wants == lang.Invalid:
			if a.encode, err = encoder(e.Value); err != nil {
				return nil, located(s.Of, err)
			}
		case e.Kind != kind.wants:
			return nil, located(s.Of, fmt.Errorf("%s needs %s, this is %s", kind.name, kind.wants, e.Kind))
		case e.Kind == lang.Bool:
			a.test = e.Bool
		default:
			a.number = e.Int
		}
		if s.Where.Value != "" {
			where, err := compileText(s.Where, v, lang.Bool)
			if err != nil {
				return nil, err
			}
			a.where = where.Bool
		}
		if kind.name == "beacon" {
			a.size = func(f *flow) int64 { return f.InitiatorOctets }
			if s.Size.Value != "" {
				size, err := compileText(s.Size, v, lang.Int)
				if err != nil {
					return nil, err
				}
				a.size = size.Int
			}
		}
		if kind.name == "top" && a.limit == 0 {
			a.limit = 10
		}
		if a.limit < 0 || a.limit > topMax {
			return nil, fault("limit: %d is not between 1 and %d", a.limit, topMax)
		}
		if kind.name == "rate" {
			per := max(s.Per.ms(), 0)
			if per == 0 {
				per = 1000
			}
			a.scale = float64(per) / float64(p.pane*p.panes)
		}
		as = append(as, a)
	}
	return as, nil
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// anyName is a vocabulary that knows every name: to tell names from words of
// the language.
type anyName struct{}

func (anyName) Lookup(string) (lang.Value[*flow], bool) {
	return lang.Value[*flow]{Kind: lang.Int, Int: func(*flow) int64 { return 0 }}, true
}
func (anyName) Names() []string { return nil }

func (p *program) compileConditions(r *Rule, v *vocabulary) error {
	own := new(scopeVocabulary)
	own.addCells(p.measures)
	condition, err := compileText(r.Condition, own, lang.Bool)
	if err != nil {
		return err
	}
	p.condition = condition.Bool
	// Severity and confidence are judged where the verdict is given.
	final := own
	if r.Population != nil {
		if p.stage != oneStage {
			return &RuleError{Message: "population: only for rules whose key begins with initiator.address; other keys see all initiators anyway"}
		}
		p.stage = populated
		p.population = new(population)
		if len(r.Population.Key) == 0 || r.Population.Condition.Value == "" || len(r.Population.Aggregates) == 0 {
			return &RuleError{Message: "population: needs key, aggregates and condition"}
		}
		if p.session {
			return &RuleError{Message: "population: needs a tumbling or a sliding window"}
		}
		if p.population.key, err = compileKeys(r.Population.Key, v); err != nil {
			return err
		}
		if p.population.aggregates, err = p.compileAggregates(r.Population.Aggregates, v); err != nil {
			return err
		}
		final = new(scopeVocabulary)
		for i, m := range p.measures {
			final.add(m.name, func(s *scope) float64 { return s.observed[i] })
		}
		for _, m := range measuresOf(p.population.aggregates) {
			if _, taken := final.values[m.name]; taken {
				return &RuleError{Message: fmt.Sprintf("population: the aggregate %q has the name of one of the rule's", m.name)}
			}
		}
		final.addCells(measuresOf(p.population.aggregates))
		verdict, err := compileText(r.Population.Condition, final, lang.Bool)
		if err != nil {
			return err
		}
		p.population.condition = verdict.Bool
	}
	for _, s := range r.Escalate {
		when, err := compileText(s.When, final, lang.Bool)
		if err != nil {
			return err
		}
		if s.Severity == 0 {
			return &RuleError{Line: s.When.line, Column: s.When.column, Message: "escalate: a severity is missing"}
		}
		p.escalate = append(p.escalate, escalation{when.Bool, s.Severity})
	}
	p.confidence = func(*scope) float64 { return 0.8 }
	if r.Confidence.Value != "" {
		e, err := compileText(r.Confidence, final, lang.Float)
		if err != nil {
			return err
		}
		p.confidence = e.Float
	}
	return nil
}

func (p *program) suppressed(f *flow, t int64) bool {
	for i := range p.suppress {
		if t < p.suppress[i].until && p.suppress[i].when(f) {
			return true
		}
	}
	return false
}

// hashOf covers what the state of a rule is made by. The condition is not in
// it: a threshold may change without forgetting what was counted.
func hashOf(r *Rule) uint64 {
	h := xxhash.New()
	text := func(s ...string) {
		for _, s := range s {
			fmt.Fprintf(h, "%d:%s,", len(s), s)
		}
	}
	aggregates := func(as Aggregates) {
		for _, a := range as {
			text(a.Name, a.Kind, a.Of.Value, a.Where.Value, a.Size.Value, fmt.Sprint(a.Per))
		}
	}
	text("1", r.ID, r.Filter.Value, r.Entity, fmt.Sprint(r.Window, r.Slice, r.UnsampledOnly))
	for _, k := range r.Key {
		text(k.Value)
	}
	aggregates(r.Aggregates)
	if r.Population != nil {
		text("population")
		for _, k := range r.Population.Key {
			text(k.Value)
		}
		aggregates(r.Population.Aggregates)
	}
	return h.Sum64()
}
