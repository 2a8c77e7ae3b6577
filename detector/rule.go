package detector

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Rule is a detection rule as its file says it. docs/detections.md explains
// every field.
type Rule struct {
	// ID names the rule for good: alerts, state and suppressions refer to it.
	ID string `yaml:"id"`
	// Version grows with every change of meaning; it is part of alert ids.
	Version int `yaml:"version"`
	// Name is the stable title of its alerts.
	Name string `yaml:"name"`
	// Description says what it finds and how.
	Description string `yaml:"description"`
	// Severity of its alerts, unless Escalate raises it.
	Severity Severity `yaml:"severity"`
	// Risk score, 0 to 100; the severity's number when 0.
	Risk int `yaml:"risk"`
	// Attack places it in MITRE ATT&CK.
	Attack []Attack `yaml:"attack"`
	// References for the reader of an alert.
	References []string `yaml:"references"`
	// Investigate says what to look at first.
	Investigate []string `yaml:"investigate"`
	// FalsePositives that are known, and what to do about them.
	FalsePositives []string `yaml:"false_positives"`
	// Filter is the condition on a flow.
	Filter Text `yaml:"filter"`
	// Key is what state is kept for.
	Key []Text `yaml:"key"`
	// Entity is the part of the key that the alert is about; the first.
	Entity string `yaml:"entity"`
	// Window over which aggregates are taken.
	Window Window `yaml:"window"`
	// Slice of pre-aggregation, for keys that do not begin with the initiator;
	// the pace at which candidates are sent, for rules with a population.
	Slice Duration `yaml:"slice"`
	// UnsampledOnly: flows of sampling exporters are not counted, since what
	// the rule looks for does not survive sampling.
	UnsampledOnly bool `yaml:"unsampled_only"`
	// Aggregates over the flows of a key, in the order of the file.
	Aggregates Aggregates `yaml:"aggregates"`
	// Condition over the aggregates that raises the alert.
	Condition Text `yaml:"condition"`
	// Population asks what the rest of the network does.
	Population *Population `yaml:"population"`
	// Escalate raises the severity while a condition holds.
	Escalate []Escalation `yaml:"escalate"`
	// Reason is the sentence of an alert, with {entity}, {count}, {window},
	// {name} and the names of aggregates in braces.
	Reason string `yaml:"reason"`
	// Confidence is a number from 0 to 1 over the aggregates.
	Confidence Text `yaml:"confidence"`
	// Suppress leaves flows out, for a reason and until a day.
	Suppress []Suppression `yaml:"suppress"`
	// Evidence names the top aggregates that alerts show; all of them when
	// empty.
	Evidence []string `yaml:"evidence"`
	// Quiet is how long the condition must not hold before the alert is
	// closed; two windows when 0.
	Quiet Duration `yaml:"quiet"`
	// Keys bounds how many keys of internal entities a key group (there are
	// 1,024) may hold; external ones get a quarter of it. 4,096 when 0.
	Keys int `yaml:"keys"`
	// Tests of the rule.
	Tests []Test `yaml:"tests"`

	file string
}

// File is where the rule was read from.
func (r *Rule) File() string { return r.file }

// Techniques returns the ATT&CK technique ids, for listings.
func (r *Rule) Techniques() []string {
	var ids []string
	for _, a := range r.Attack {
		ids = append(ids, a.Techniques...)
	}
	return slices.Compact(ids)
}

// Severity is the number that Elastic Security maps: low 21, medium 47, high
// 73, critical 99.
type Severity int

// The severities.
const (
	Low      Severity = 21
	Medium   Severity = 47
	High     Severity = 73
	Critical Severity = 99
)

// String returns the severity's name.
func (s Severity) String() string {
	switch s {
	case Low:
		return "low"
	case Medium:
		return "medium"
	case High:
		return "high"
	case Critical:
		return "critical"
	}
	return fmt.Sprint(int(s))
}

// UnmarshalYAML reads a severity by its name.
func (s *Severity) UnmarshalYAML(n *yaml.Node) error {
	for _, v := range []Severity{Low, Medium, High, Critical} {
		if n.Value == v.String() {
			*s = v
			return nil
		}
	}
	return nodeError(n, "severity is low, medium, high or critical, not %q", n.Value)
}

// Attack is a tactic of MITRE ATT&CK and techniques of it.
type Attack struct {
	Tactic     string   `yaml:"tactic"`
	Techniques []string `yaml:"techniques"`
}

// Text is an expression and where it stands.
type Text struct {
	Value        string
	line, column int
	block        bool
}

// UnmarshalYAML notes the place of the text.
func (t *Text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return nodeError(n, "an expression is a text")
	}
	*t = Text{Value: strings.TrimRight(n.Value, "\n"), line: n.Line, column: n.Column}
	switch n.Style {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		t.block = true
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		t.column++
	}
	return nil
}

// place returns where a position of the expression stands in the file. A
// block begins on the line below, indented deeper than we are told.
func (t Text) place(line, column int) (int, int) {
	if t.block {
		return t.line + line, column
	}
	if line == 1 {
		return t.line, t.column + column - 1
	}
	return t.line + line - 1, column
}

// Duration is a length of time: 90s, 15m, 6h, 1d.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := parseDuration(n.Value)
	if err != nil {
		return nodeError(n, "%q is not a duration such as 90s, 15m, 6h or 1d", n.Value)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) ms() int64 { return time.Duration(d).Milliseconds() }

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		v, err := time.ParseDuration(days + "h")
		return 24 * v, err
	}
	return time.ParseDuration(s)
}

// Window is one of three kinds.
type Window struct {
	// Tumbling windows follow each other without overlap.
	Tumbling Duration `yaml:"tumbling"`
	// Sliding windows are as long as this and move by Hop.
	Sliding Duration `yaml:"sliding"`
	// Hop of a sliding window; a tenth of it when 0.
	Hop Duration `yaml:"hop"`
	// Session windows end after a gap as long as this.
	Session Duration `yaml:"session"`
}

// Aggregates is a mapping that keeps the order of the file.
type Aggregates []Aggregate

// Aggregate is one aggregate: a name, a kind, an expression, and options.
type Aggregate struct {
	Name string
	Kind string
	Of   Text
	// Where restricts it to flows for which this holds.
	Where Text
	// Size is the second number of a beacon.
	Size Text
	// Limit is how many items a top shows.
	Limit int
	// Per is the unit of a rate.
	Per Duration

	node *yaml.Node
}

// UnmarshalYAML reads name: {kind: expression, option: ...}.
func (a *Aggregates) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return nodeError(n, "aggregates are a mapping of names")
	}
	kinds := aggregateKinds()
	var kindNames []string
	for _, k := range kinds {
		kindNames = append(kindNames, k.name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, body := n.Content[i], n.Content[i+1]
		if body.Kind != yaml.MappingNode {
			return nodeError(body, "aggregate %s: write {kind: expression}, such as {count: true}", name.Value)
		}
		g := Aggregate{Name: name.Value, node: body}
		for j := 0; j+1 < len(body.Content); j += 2 {
			key, value := body.Content[j], body.Content[j+1]
			var err error
			switch {
			case slices.Contains(kindNames, key.Value) && g.Kind == "":
				g.Kind = key.Value
				err = g.Of.UnmarshalYAML(value)
			case key.Value == "where":
				err = g.Where.UnmarshalYAML(value)
			case key.Value == "size":
				err = g.Size.UnmarshalYAML(value)
			case key.Value == "limit":
				err = value.Decode(&g.Limit)
			case key.Value == "per":
				err = g.Per.UnmarshalYAML(value)
			default:
				err = nodeError(key, "aggregate %s: unknown kind or option %q%s", g.Name, key.Value,
					suggestion(key.Value, append(slices.Clone(kindNames), "where", "size", "limit", "per")))
			}
			if err != nil {
				return err
			}
		}
		if g.Kind == "" {
			return nodeError(body, "aggregate %s has no kind; the kinds are %s", g.Name, strings.Join(kindNames, ", "))
		}
		*a = append(*a, g)
	}
	return nil
}

// Population relates a key that raises the condition to what the whole network
// does: it is a second stage, which sees the candidates and, of every flow
// that passes the filter, the first of its key.
type Population struct {
	// Key of the second stage.
	Key []Text `yaml:"key"`
	// Aggregates over the first flows of all keys that fall on Key.
	Aggregates Aggregates `yaml:"aggregates"`
	// Condition over these aggregates, and over the rule's of the candidate.
	Condition Text `yaml:"condition"`
}

// Escalation is a severity that holds while a condition does.
type Escalation struct {
	When     Text     `yaml:"when"`
	Severity Severity `yaml:"severity"`
}

// Suppression leaves flows out of a rule.
type Suppression struct {
	// When is a condition on the flow.
	When Text `yaml:"when"`
	// Reason for whoever finds it later.
	Reason string `yaml:"reason"`
	// Expires is the day, as 2027-01-31, from which it no longer holds;
	// compared with stream time. Empty: never.
	Expires string `yaml:"expires"`
}
