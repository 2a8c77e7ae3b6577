package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// kinds are what the first member of a printed record says of it.
var kinds = map[string]string{"FlowRecord": "flow", "EnrichedFlow": "flow", "Tick": "tick"}

// json writes the code that prints a record as a flat JSON object.
func (f *file) json(s *avsc.Schema) error {
	name, owner := s.ShortName(), f.flattenedInto(s)
	kind, isRoot := kinds[name]
	outer := ""
	if owner != nil {
		outer = "false"
	}
	if isRoot {
		f.p(`// AppendJSON appends the record as one flat JSON object on one line, without
// the newline: the Avro field names, addresses as text, times in ms since the
// epoch. What is zero or empty is left out where that means "not sent".
func (r *%s) AppendJSON(dst []byte) []byte {
	dst = r.appendFields(append(dst, %s...)%s)
	return append(dst, '}')
}
`, name, "`{\"kind\":\""+kind+"\"`", prefixed(", ", outer))
	}
	param := ""
	if owner != nil {
		param = ", flattened bool"
		f.p("// appendFields appends the members of the object; flattened: among those of\n// its owner, whose members win over members of the same name.")
	}
	f.p("func (r *%s) appendFields(dst []byte%s) []byte {", name, param)
	extras := ""
	for _, field := range s.Fields {
		if field.Type.Kind == avsc.Array && field.Type.Items.ShortName() == "Extra" {
			extras = "r." + goName(field.Name) // last, so that a reader sees the fields first
			continue
		}
		code, err := jsonField(s, field)
		if err != nil {
			return err
		}
		if owner != nil && hasField(owner, field.Name) {
			code = "if !flattened {\n" + code + "\n}"
		}
		if code != "" {
			f.p("%s", code)
		}
	}
	if extras != "" {
		f.p("dst = jsonExtras(dst, %s)", extras)
	}
	f.p("return dst\n}\n")
	return nil
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// flattenedInto returns the record among whose members those of s are printed.
func (f *file) flattenedInto(s *avsc.Schema) *avsc.Schema {
	for _, r := range f.all {
		for _, field := range r.Fields {
			if field.JSON == "flatten" && field.Type == s {
				return r.Schema
			}
		}
	}
	return nil
}

func hasField(s *avsc.Schema, name string) bool {
	return slices.ContainsFunc(s.Fields, func(f *avsc.Field) bool { return f.Name == name })
}

func jsonField(s *avsc.Schema, field *avsc.Field) (string, error) {
	v, n := "r."+goName(field.Name), field.Name
	always, code := "", ""
	condition := ""
	switch field.JSON {
	case "":
	case "always":
		always = "Always"
	case "port":
		always, condition = "Always", fmt.Sprintf("%s != 0 || hasPorts(r.ProtocolIdentifier)", v)
	case "icmp":
		code = fmt.Sprintf("dst = jsonICMP(dst, %q, %s)", n, v)
	case "omit":
		return "", nil
	case "flatten":
		return fmt.Sprintf("dst = %s.appendFields(dst, true)", v), nil
	default:
		return "", fmt.Errorf("%s.%s: unknown json attribute %q", s.Name, n, field.JSON)
	}
	if field.ValidWhen != "" {
		if !hasField(s, field.ValidWhen) {
			return "", fmt.Errorf("%s.%s: validWhen names no field: %q", s.Name, n, field.ValidWhen)
		}
		always, condition = "Always", "r."+goName(field.ValidWhen)
	}
	if code == "" {
		code = jsonValue(field, v, always)
	}
	if condition != "" {
		code = "if " + condition + " {\n" + code + "\n}"
	}
	return code, nil
}

func jsonValue(field *avsc.Field, v, always string) string {
	n, t := field.Name, field.Type
	if inner := t.Optional(); inner != nil {
		arg := ""
		if inner.ShortName() == "FlowRecord" {
			arg = ", false"
		}
		return fmt.Sprintf("if %[1]s.Set {\ndst = append(jsonKey(dst, %[2]q), '{')\ndst = append(%[1]s.Value.appendFields(dst%[3]s), '}')\n}", v, n, arg)
	}
	switch t.Kind {
	case avsc.Boolean:
		return fmt.Sprintf("dst = jsonBool(dst, %q, %s)", n, v)
	case avsc.Int:
		return fmt.Sprintf("dst = jsonLong%s(dst, %q, int64(%s))", always, n, v)
	case avsc.Long:
		return fmt.Sprintf("dst = jsonLong%s(dst, %q, %s)", always, n, v)
	case avsc.Double:
		code := fmt.Sprintf("dst = jsonDoubleAlways(dst, %q, %s)", n, v)
		if always == "" {
			code = fmt.Sprintf("if %s != 0 {\n%s\n}", v, code)
		}
		return code
	case avsc.String:
		return fmt.Sprintf("dst = jsonString(dst, %q, %s)", n, v)
	case avsc.Enum:
		return fmt.Sprintf("dst = jsonSymbol(dst, %q, %s.String())", n, v)
	case avsc.Fixed:
		return fmt.Sprintf("dst = jsonID(dst, %q, %s)", n, v)
	case avsc.Bytes:
		kind := map[string]string{"ip": "Addr", "mac": "MAC", "": "Hex"}[field.Go]
		return fmt.Sprintf("dst = json%s%s(dst, %q, %s)", kind, always, n, v)
	case avsc.Record:
		return fmt.Sprintf("if n := len(dst); true {\ndst = append(jsonKey(dst, %q), '{')\nm := len(dst)\nif dst = %s.appendFields(dst); len(dst) == m {\ndst = dst[:n]\n} else {\ndst = append(dst, '}')\n}\n}", n, v)
	case avsc.Array:
		element := map[avsc.Kind]string{
			avsc.Long:   "dst = strconv.AppendInt(dst, %s[i], 10)",
			avsc.String: "dst = AppendJSONText(dst, %s[i])",
			avsc.Record: "dst = append(%s[i].appendFields(append(dst, '{')), '}')",
		}[t.Items.Kind]
		if element == "" {
			panic("gen: no JSON for an array of " + string(t.Items.Kind))
		}
		element = fmt.Sprintf(element, v)
		return fmt.Sprintf("if len(%[1]s) > 0 {\ndst = append(jsonKey(dst, %[2]q), '[')\nfor i := range %[1]s {\nif i > 0 {\ndst = append(dst, ',')\n}\n%[3]s\n}\ndst = append(dst, ']')\n}", v, n, element)
	}
	panic("gen: no JSON for " + string(t.Kind))
}

// reservedNames writes the set of member names that an extra must not take.
func (f *file) reservedNames() {
	names := map[string]bool{"kind": true, "icmpType": true, "icmpCode": true}
	for _, r := range f.all {
		walk(r.Schema, func(s *avsc.Schema) {
			if slices.ContainsFunc(s.Fields, func(f *avsc.Field) bool {
				return f.JSON == "flatten" || f.Type.Kind == avsc.Array && f.Type.Items.ShortName() == "Extra"
			}) {
				for _, field := range s.Fields {
					names[field.Name] = true
				}
			}
		})
	}
	var quoted []string
	for name := range names {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	slices.Sort(quoted)
	f.p("// reservedName reports that a printed record has a member of that name, so that\n// an extra cannot have it.\nfunc reservedName(name string) bool {\nswitch name {\ncase %s:\nreturn true\n}\nreturn false\n}", strings.Join(quoted, ",\n"))
}
