package tap

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/weir-flow/weir/schemas"
)

// filter is a compiled --where expression over the object that is printed.
type filter struct {
	program *vm.Program
	// zero holds every field of the topic's records with its zero value:
	// empty fields are left out of the objects, and are there in expressions.
	zero map[string]any
}

// ExpressionError is a --where that does not compile; it points at the column.
type ExpressionError struct{ Err error }

func (e *ExpressionError) Error() string { return "--where: " + e.Err.Error() }
func (e *ExpressionError) Unwrap() error { return e.Err }

func newFilter(expression string, record reflect.Type) (*filter, error) {
	f := &filter{zero: map[string]any{}}
	if record != nil {
		f.zero = zeroFields(record)
	}
	// Fields have their types, so that comparing one with something else is
	// refused here. Undefined names are allowed: elements without a field of
	// their own are found under their names.
	program, err := expr.Compile(expression, expr.Env(f.zero), expr.AllowUndefinedVariables(), expr.AsBool())
	if err != nil {
		return nil, &ExpressionError{err}
	}
	f.program = program
	return f, nil
}

// match evaluates the expression on a JSON object.
func (f *filter) match(object []byte) (bool, error) {
	d := json.NewDecoder(strings.NewReader(string(object)))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return false, err
	}
	env := maps.Clone(f.zero)
	overlay(env, m)
	out, err := expr.Run(f.program, env)
	if err != nil {
		return false, err
	}
	ok, isBool := out.(bool)
	if !isBool {
		return false, fmt.Errorf("the expression gives %v, not true or false", out)
	}
	return ok, nil
}

// overlay puts the values of an object over the zero ones, nested objects
// likewise.
func overlay(env, object map[string]any) {
	for k, v := range object {
		v = number(v)
		if nested, ok := v.(map[string]any); ok {
			if zero, ok := env[k].(map[string]any); ok {
				below := maps.Clone(zero)
				overlay(below, nested)
				env[k] = below
				continue
			}
		}
		env[k] = v
	}
}

// number turns JSON's numbers into those of expressions: 443 in [80, 443]
// holds for an integer and not for a float.
func number(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.Atoi(v.String()); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		for i := range v {
			v[i] = number(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = number(v[k])
		}
	}
	return v
}

// zeroFields returns what the JSON of an empty record would hold, were empty
// fields not left out. Go names are the Avro ones with an upper-case letter in
// front.
func zeroFields(t reflect.Type) map[string]any {
	out := map[string]any{}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		r, n := utf8.DecodeRuneInString(f.Name)
		name := string(unicode.ToLower(r)) + f.Name[n:]
		if f.Type == reflect.TypeFor[schemas.FlowRecord]() {
			// The record of an enriched flow is part of the flat object.
			maps.Copy(out, zeroFields(f.Type))
			continue
		}
		if name == "extra" {
			continue // its elements stand under their own names
		}
		out[name] = zeroValue(f.Type)
	}
	out["kind"] = ""
	return out
}

func zeroValue(t reflect.Type) any {
	switch {
	case t.Kind() == reflect.Bool:
		return false
	case t.Kind() == reflect.Float64:
		return 0.0
	case t.Kind() == reflect.Int32 && t.PkgPath() != "":
		return "" // an enumeration, as text
	case t.Kind() == reflect.Int32, t.Kind() == reflect.Int64:
		return 0
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return []any{}
	case t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Optional["):
		inner := t.Field(1).Type
		if inner == reflect.TypeFor[schemas.FlowRecord]() {
			return map[string]any{}
		}
		return zeroFields(inner)
	case t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[schemas.Side]().PkgPath():
		return zeroFields(t)
	}
	return "" // texts, addresses, identifiers
}
