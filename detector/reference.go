package detector

import (
	"fmt"
	"strings"

	"github.com/weir-flow/weir/detector/lang"
)

// Reference returns the tables of fields, functions, aggregates and shipped
// rules in Markdown: the part of docs/detections.md that follows from the
// code, by the name of its section.
func Reference() (map[string]string, error) {
	sections := make(map[string]string)
	var b strings.Builder
	b.WriteString("| field | type | what it is |\n|---|---|---|\n")
	for _, f := range Fields() {
		doc := f.Doc
		if len(f.Symbols) > 0 {
			doc += " Values: `" + strings.Join(f.Symbols, "`, `") + "`."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Kind, doc)
	}
	sections["fields"] = b.String()
	b.Reset()
	b.WriteString("| function | what it gives |\n|---|---|\n")
	for _, f := range lang.Functions() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f[0], f[1])
	}
	sections["functions"] = b.String()
	b.Reset()
	b.WriteString("| aggregate | of | what it gives |\n|---|---|---|\n")
	for _, k := range aggregateKinds() {
		of := k.wants.String()
		if k.wants == lang.Invalid {
			of = "text, integer, address or true/false"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, of, k.doc)
	}
	sections["aggregates"] = b.String()
	b.Reset()
	rules, err := LoadRules(RulesConfig{})
	if err != nil {
		return nil, err
	}
	b.WriteString("| rule | severity | ATT&CK | what it finds | raised when |\n|---|---|---|---|---|\n")
	for _, r := range rules {
		condition := r.Condition.Value
		if r.Population != nil {
			condition += ", and " + r.Population.Condition.Value
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | `%s` |\n", r.ID, r.Severity, strings.Join(r.Techniques(), ", "),
			r.Description, strings.Join(strings.Fields(condition), " "))
	}
	sections["rules"] = b.String()
	return sections, nil
}
