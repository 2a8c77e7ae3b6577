package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the names of environment variables that set keys.
const EnvPrefix = "WEIR_"

// Field is one key of a configuration struct.
type Field struct {
	// Path of the key from the root: collector.listen. Below a list or a map
	// it is exporters[].name or exporters.*.name.
	Path string
	// Env is the environment variable that sets it; empty below lists and
	// maps, which are set as a whole.
	Env string
	// Go is the field's name and Owner the struct that declares it: where
	// its documentation is.
	Go    string
	Owner reflect.Type
	// Type of the value.
	Type reflect.Type
	// Default is the value in the struct that was walked; invalid below lists
	// and maps.
	Default reflect.Value
	// Section reports that the key holds further keys.
	Section bool
}

// Fields lists every key of a configuration struct, sections before their
// keys, in the order of declaration.
func Fields(root any) []Field {
	var out []Field
	walkFields(reflect.ValueOf(root), reflect.TypeOf(root), "", true, func(f Field) { out = append(out, f) })
	return out
}

func walkFields(v reflect.Value, t reflect.Type, prefix string, env bool, yield func(Field)) {
	for _, sf := range structFields(t) {
		f := Field{Path: join(prefix, sf.key), Go: sf.Name, Owner: sf.owner, Type: sf.Type}
		if env {
			f.Env = envName(f.Path)
		}
		if v.IsValid() {
			f.Default = v.FieldByIndex(sf.index)
		}
		inner, suffix := sf.Type, ""
		for {
			switch {
			case isSection(inner):
				f.Section = true
				if suffix == "" {
					f.Env = ""
				}
				yield(f)
				next := f.Default
				if next.IsValid() && next.Kind() == reflect.Pointer {
					next = next.Elem()
				}
				if suffix != "" {
					next = reflect.Value{}
				}
				walkFields(next, deref(inner), f.Path+suffix, env && suffix == "", yield)
			case inner.Kind() == reflect.Slice && !isLeafType(inner):
				inner, suffix = inner.Elem(), suffix+"[]"
				continue
			case inner.Kind() == reflect.Map && !isLeafType(inner):
				inner, suffix = inner.Elem(), suffix+".*"
				continue
			default:
				yield(f)
			}
			break
		}
	}
}

// structField is a field that YAML can set, embedded structs flattened.
type structField struct {
	reflect.StructField
	key   string
	owner reflect.Type
	index []int
}

func structFields(t reflect.Type) []structField {
	var out []structField
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, opts, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		inline := strings.Contains(opts, "inline")
		if !sf.IsExported() && !(inline && sf.Anonymous) || tag == "-" {
			continue
		}
		if inline {
			for _, in := range structFields(sf.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
			continue
		}
		if tag == "" {
			tag = strings.ToLower(sf.Name) // what the YAML library would take
		}
		out = append(out, structField{StructField: sf, key: tag, owner: t, index: []int{i}})
	}
	return out
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// isSection reports that a type is a struct of keys, not a value.
func isSection(t reflect.Type) bool {
	t = deref(t)
	return t.Kind() == reflect.Struct && !isLeafType(t)
}

var (
	yamlUnmarshaler = reflect.TypeFor[yaml.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
)

// isLeafType reports that a type reads itself from YAML.
func isLeafType(t reflect.Type) bool {
	p := reflect.PointerTo(deref(t))
	return p.Implements(yamlUnmarshaler) || p.Implements(textUnmarshaler)
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

func envName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// TypeName names the type of a value the way the documentation and errors
// call it.
func TypeName(t reflect.Type) string {
	t = deref(t)
	switch {
	case t == durationType:
		return "duration"
	case t == reflect.TypeFor[Bytes]():
		return "size"
	case isSection(t):
		return "section"
	case t == reflect.TypeFor[netip.Addr]():
		return "address"
	case isLeafType(t):
		return strings.ToLower(t.Name())
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return "list of " + plural(TypeName(t.Elem()))
	case reflect.Map:
		return "map of " + plural(TypeName(t.Elem()))
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.String:
		if strings.HasSuffix(t.PkgPath(), "internal/secret") {
			return "secret"
		}
		return "string"
	default:
		return fmt.Sprint(t)
	}
}

func plural(s string) string {
	switch {
	case strings.HasPrefix(s, "list of "):
		return "lists of " + s[len("list of "):]
	case strings.HasPrefix(s, "map of "):
		return "maps of " + s[len("map of "):]
	case strings.HasSuffix(s, "x"), strings.HasSuffix(s, "s"):
		return s + "es"
	}
	return s + "s"
}
