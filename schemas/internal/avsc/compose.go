package avsc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Compose writes the schema as one self-contained JSON text: a named type is
// written out where it is first used and referred to by its full name
// afterwards. Full names keep the parsing canonical form, and so the
// fingerprint, the same in every implementation, also for a type that refers
// to itself. Attributes that only our generator reads are left out.
func (s *Schema) Compose() string {
	c := composer{seen: map[string]bool{}}
	c.schema(s, 0)
	c.WriteByte('\n')
	return c.String()
}

type composer struct {
	bytes.Buffer
	seen map[string]bool
}

func (c *composer) schema(s *Schema, depth int) {
	switch s.Kind {
	case Array:
		c.WriteString(`{"type":"array","items":`)
		c.schema(s.Items, depth)
		c.WriteByte('}')
	case Union:
		for i, b := range s.Branches {
			c.WriteByte("[,"[min(i, 1)])
			c.schema(b, depth)
		}
		c.WriteByte(']')
	case Record, Enum, Fixed:
		if c.seen[s.Name] {
			c.WriteString(quote(s.Name))
			return
		}
		c.seen[s.Name] = true
		fmt.Fprintf(c, `{"type":%q,"name":%q`, s.Kind, s.Name)
		if s.Doc != "" {
			fmt.Fprintf(c, `,"doc":%s`, quote(s.Doc))
		}
		switch s.Kind {
		case Fixed:
			fmt.Fprintf(c, `,"size":%d`, s.Size)
		case Enum:
			fmt.Fprintf(c, `,"symbols":%s`, quote(s.Symbols))
			if s.Default != "" {
				fmt.Fprintf(c, `,"default":%q`, s.Default)
			}
		case Record:
			c.fields(s, depth+1)
		}
		c.WriteByte('}')
	default:
		fmt.Fprintf(c, "%q", s.Kind)
	}
}

func (c *composer) fields(s *Schema, depth int) {
	indent := "\n" + strings.Repeat("  ", depth)
	c.WriteString(`,"fields":[`)
	for i, f := range s.Fields {
		if i > 0 {
			c.WriteByte(',')
		}
		fmt.Fprintf(c, `%s{"name":%q,"type":`, indent, f.Name)
		c.schema(f.Type, depth)
		if f.Default != nil {
			c.WriteString(`,"default":`)
			if err := json.Compact(&c.Buffer, f.Default); err != nil {
				panic("avsc: a parsed default is valid JSON: " + err.Error())
			}
		}
		fmt.Fprintf(c, `,"doc":%s}`, quote(f.Doc))
	}
	c.WriteByte(']')
}

// quote writes a value as JSON without escaping < and >, which docs use.
func quote(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("avsc: strings always encode: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}
