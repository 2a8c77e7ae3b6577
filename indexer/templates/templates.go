// Package templates holds the mappings of Weir's data streams and makes
// Elasticsearch component and index templates of them.
//
// The mappings are lists of fields (*.fields), one a line: what a person
// compares with ECS and with the field contract in docs/elasticsearch.md.
package templates

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed common.fields
var commonFields string

//go:embed flow.fields
var flowFields string

//go:embed alert.fields
var alertFields string

// Field is one mapped field.
type Field struct {
	// Name with dots.
	Name string
	// Type in a full distribution; Types.of says what it is elsewhere.
	Type string
	// NoIndex: doc values only.
	NoIndex bool
	// Disabled: an object that is stored and not looked into.
	Disabled bool
	// Value of a constant_keyword.
	Value string
}

// Flow returns the fields of the flow data streams.
func Flow() ([]Field, error) { return fields("weir.flow", commonFields, flowFields) }

// Alert returns the fields of the alert data streams.
func Alert() ([]Field, error) { return fields("weir.alert", commonFields, alertFields) }

func fields(dataset string, lists ...string) ([]Field, error) {
	var all []Field
	for _, list := range lists {
		for line := range strings.Lines(list) {
			f, err := parseField(line)
			if err != nil {
				return nil, err
			}
			if f.Name == "" {
				continue
			}
			f.Value = strings.ReplaceAll(f.Value, "@dataset", dataset)
			all = append(all, f)
		}
	}
	return all, nil
}

func parseField(line string) (Field, error) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return Field{}, nil
	}
	if len(words) < 2 {
		return Field{}, fmt.Errorf("field list: want a name and a type in %q", strings.TrimSpace(line))
	}
	f := Field{Name: words[0], Type: words[1]}
	for _, option := range words[2:] {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "noindex":
			f.NoIndex = true
		case "disabled":
			f.Disabled = true
		case "value":
			f.Value = value
		default:
			return Field{}, fmt.Errorf("field list: %s: unknown option %q", f.Name, option)
		}
	}
	return f, nil
}

// Optional types are those that a server may lack, with the type that stands
// in: the reduced distribution has none of them.
var substitutes = []struct{ name, instead string }{
	{"constant_keyword", "keyword"},
	{"wildcard", "keyword"},
	{"match_only_text", "text"},
}

// OptionalTypes returns the field types to ask a server for.
func OptionalTypes() []string {
	list := make([]string, len(substitutes))
	for i, s := range substitutes {
		list[i] = s.name
	}
	return list
}

// Server is what the server at hand can do.
type Server struct {
	// Lacks are the optional types it does not have.
	Lacks map[string]bool
	// SyntheticSource: documents are rebuilt from doc values, which takes half
	// of the disk. A full distribution without the licence for it stores them
	// all the same, and says nothing.
	SyntheticSource bool
}

func (s Server) typeOf(name string) string {
	for _, sub := range substitutes {
		if sub.name == name && s.Lacks[name] {
			return sub.instead
		}
	}
	return name
}

// Longest term that is indexed; longer ones are kept and not searchable.
// Lucene refuses terms above 32,766 bytes, and with them the document.
const ignoreAbove = 1024

// Mappings returns the mapping of a list of fields for a server. dynamic is
// the root's: false for flows.
func Mappings(list []Field, s Server) map[string]any {
	root := map[string]any{}
	for _, f := range list {
		place(root, strings.Split(f.Name, "."), f.mapping(s))
	}
	return map[string]any{"dynamic": false, "date_detection": false, "properties": root}
}

func place(properties map[string]any, path []string, mapping map[string]any) {
	name := path[0]
	if len(path) == 1 {
		properties[name] = mapping
		return
	}
	object, _ := properties[name].(map[string]any)
	if object == nil {
		object = map[string]any{}
		properties[name] = object
	}
	inner, _ := object["properties"].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		object["properties"] = inner
	}
	place(inner, path[1:], mapping)
}

func (f Field) mapping(s Server) map[string]any {
	m := map[string]any{"type": s.typeOf(f.Type)}
	switch m["type"] {
	case "keyword", "flattened", "wildcard":
		m["ignore_above"] = ignoreAbove
	case "constant_keyword":
		if f.Value != "" {
			m["value"] = f.Value
		}
	case "geo_point":
		m["ignore_malformed"] = true
	}
	if f.NoIndex {
		m["index"] = false
	}
	if f.Disabled {
		m["enabled"] = false
	}
	return m
}

// Open makes an object of a mapping take fields as they come: texts as
// keywords, and every number as a double, because the first document would
// otherwise decide between whole and broken numbers for all that follow.
func Open(mappings map[string]any, object string) {
	if o, ok := mappings["properties"].(map[string]any)[object].(map[string]any); ok {
		o["dynamic"] = true
	}
	mappings["dynamic_templates"] = []any{
		map[string]any{"texts": map[string]any{
			"match_mapping_type": "string",
			"mapping":            map[string]any{"type": "keyword", "ignore_above": ignoreAbove},
		}},
		map[string]any{"whole numbers": map[string]any{"match_mapping_type": "long", "mapping": map[string]any{"type": "double"}}},
		map[string]any{"numbers": map[string]any{"match_mapping_type": "double", "mapping": map[string]any{"type": "double"}}},
	}
}
