// Package avsc reads Avro schemas: the files of this repository, whose types
// refer to each other across files, and the self-contained schemas that are
// released. The generator makes Go types from it, the reader resolves older
// schemas with it.
package avsc

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Kind of a schema: the names of the Avro specification.
type Kind string

// The kinds that this project's schemas may use. There is no map and no
// float: neither has a deterministic or exact encoding of what exporters send.
const (
	Null    Kind = "null"
	Boolean Kind = "boolean"
	Int     Kind = "int"
	Long    Kind = "long"
	Double  Kind = "double"
	Bytes   Kind = "bytes"
	String  Kind = "string"
	Fixed   Kind = "fixed"
	Enum    Kind = "enum"
	Array   Kind = "array"
	Union   Kind = "union"
	Record  Kind = "record"
)

// Schema is one type. Named types that refer to themselves make a cycle.
type Schema struct {
	Kind Kind
	// Name is the full name of a record, enum or fixed.
	Name string
	// Doc describes a named type.
	Doc string
	// Size of a fixed in bytes.
	Size int
	// Symbols of an enum, and the one that stands for unknown symbols.
	Symbols []string
	Default string
	// Items of an array.
	Items *Schema
	// Branches of a union.
	Branches []*Schema
	// Fields of a record.
	Fields []*Field
}

// Field of a record.
type Field struct {
	Name string
	Doc  string
	Type *Schema
	// Default as JSON; nil when there is none.
	Default json.RawMessage
	// Go refines bytes: "ip" (empty, 4 or 16 bytes), "mac" (empty or 6).
	Go string
	// JSON says how the field is printed: "" unless zero or empty, "always",
	// "port" (always for protocols with ports), "icmp" (also as type and code),
	// "omit", "flatten" (its fields stand among those of its owner).
	JSON string
	// ValidWhen names the boolean field that says whether this one holds a
	// value; then zero is printed as well.
	ValidWhen string
}

// ShortName is the name without its namespace.
func (s *Schema) ShortName() string { return s.Name[strings.LastIndexByte(s.Name, '.')+1:] }

// Optional returns the type T of a union [null, T], nil for other types.
func (s *Schema) Optional() *Schema {
	if s.Kind == Union && len(s.Branches) == 2 && s.Branches[0].Kind == Null {
		return s.Branches[1]
	}
	return nil
}

// Parser parses files in order: each may refer to named types of those before.
// The zero value is ready to use.
type Parser struct{ named map[string]*Schema }

// Parse parses one schema file.
func (p *Parser) Parse(text []byte) (*Schema, error) {
	if p.named == nil {
		p.named = map[string]*Schema{}
	}
	return p.parse(text, "")
}

type node struct {
	Type      json.RawMessage   `json:"type"`
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Doc       string            `json:"doc"`
	Size      int               `json:"size"`
	Symbols   []string          `json:"symbols"`
	Default   json.RawMessage   `json:"default"`
	Items     json.RawMessage   `json:"items"`
	Fields    []json.RawMessage `json:"fields"`
	Go        string            `json:"go"`
	JSON      string            `json:"json"`
	ValidWhen string            `json:"validWhen"`
}

func (p *Parser) parse(text json.RawMessage, namespace string) (*Schema, error) {
	if len(text) == 0 {
		return nil, fmt.Errorf("avsc: a type is missing in namespace %q", namespace)
	}
	switch text[0] {
	case '"':
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return nil, fmt.Errorf("avsc: %w", err)
		}
		return p.reference(name, namespace)
	case '[':
		var branches []json.RawMessage
		if err := json.Unmarshal(text, &branches); err != nil {
			return nil, fmt.Errorf("avsc: %w", err)
		}
		s := &Schema{Kind: Union}
		for _, b := range branches {
			branch, err := p.parse(b, namespace)
			if err != nil {
				return nil, err
			}
			s.Branches = append(s.Branches, branch)
		}
		return s, nil
	}
	var n node
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("avsc: %w", err)
	}
	var kind string
	if json.Unmarshal(n.Type, &kind) != nil { // {"type": {...}} or {"type": [...]}
		return p.parse(n.Type, namespace)
	}
	s := &Schema{Kind: Kind(kind), Doc: n.Doc, Size: n.Size, Symbols: n.Symbols}
	switch s.Kind {
	case Array:
		items, err := p.parse(n.Items, namespace)
		s.Items = items
		return s, err
	case Record, Enum, Fixed:
		if n.Namespace != "" {
			namespace = n.Namespace
		}
		s.Name = fullName(n.Name, namespace)
		namespace = strings.TrimSuffix(strings.TrimSuffix(s.Name, s.ShortName()), ".")
		if p.named[s.Name] != nil {
			return nil, fmt.Errorf("avsc: %s is defined twice: refer to it by its name", s.Name)
		}
		p.named[s.Name] = s
	default:
		return p.reference(kind, namespace)
	}
	if s.Kind == Enum && n.Default != nil {
		if err := json.Unmarshal(n.Default, &s.Default); err != nil {
			return nil, fmt.Errorf("avsc: default of enum %s: %w", s.Name, err)
		}
	}
	for _, text := range n.Fields {
		field, err := p.field(text, namespace)
		if err != nil {
			return nil, fmt.Errorf("%w (in %s)", err, s.Name)
		}
		s.Fields = append(s.Fields, field)
	}
	return s, nil
}

func (p *Parser) field(text json.RawMessage, namespace string) (*Field, error) {
	var n node
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("avsc: %w", err)
	}
	t, err := p.parse(n.Type, namespace)
	if err != nil {
		return nil, err
	}
	return &Field{
		Name: n.Name, Doc: n.Doc, Type: t, Default: n.Default,
		Go: n.Go, JSON: n.JSON, ValidWhen: n.ValidWhen,
	}, nil
}

func (p *Parser) reference(name, namespace string) (*Schema, error) {
	switch k := Kind(name); k {
	case Null, Boolean, Int, Long, Double, Bytes, String:
		return &Schema{Kind: k}, nil
	}
	if s := p.named[fullName(name, namespace)]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("avsc: type %q is not known here: it must be defined before its first use, in this file or in one parsed before", name)
}

func fullName(name, namespace string) string {
	if namespace == "" || strings.ContainsRune(name, '.') {
		return name
	}
	return namespace + "." + name
}
