package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder applies YAML nodes to a struct, key by key, so that every error has
// a path and a place and one error does not hide the next.
type decoder struct {
	layer
	environ map[string]string
	renamed map[string]string
	origins map[string]Origin
	errs    Errors
}

// layer is the source that is being applied.
type layer struct {
	source string
	// dir is what relative secret files are relative to.
	dir string
	// lines of the file, for Explain.
	lines []string
	// commas: a text may list its items as a,b,c, as environments do.
	commas bool
	// visited counts mappings and values: anchors can make a small file
	// endless.
	visited int
}

// maxVisits is far above any real configuration.
const maxVisits = 100_000

// spent reports, once, that a source is endless.
func (d *decoder) spent(path string, n *yaml.Node) bool {
	d.visited++
	if d.visited == maxVisits {
		d.errorf(path, n, "this file repeats its anchors without end; write the values out")
	}
	return d.visited >= maxVisits
}

func (d *decoder) begin(l layer) { d.layer = l }

func (d *decoder) origin(line, column int) Origin {
	o := Origin{Source: d.source}
	if d.lines != nil {
		o.Line, o.Column = line, column
		if line >= 1 && line <= len(d.lines) {
			o.text = d.lines[line-1]
		}
	}
	return o
}

func (d *decoder) errorf(path string, n *yaml.Node, format string, args ...any) {
	e := &Error{Path: path, Problem: fmt.Sprintf(format, args...)}
	if n != nil {
		e.Origin = d.origin(n.Line, n.Column)
	} else {
		e.Origin = d.origin(0, 0)
	}
	d.errs = append(d.errs, e)
}

// value applies a node to v, the value of the key at path.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value) {
	if d.spent(path, n) {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return // a key without a value keeps its default
	}
	if path != "" {
		d.origins[path] = d.origin(n.Line, n.Column)
	}
	t := v.Type()
	switch {
	case t == durationType:
		d.duration(path, n, v)
	case isLeafType(t):
		d.leaf(path, n, v)
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		if !v.IsNil() {
			p.Elem().Set(v.Elem())
		}
		d.value(path, n, p.Elem())
		v.Set(p)
	case t.Kind() == reflect.Struct:
		d.section(path, n, v)
	case t.Kind() == reflect.Slice:
		d.list(path, n, v)
	case t.Kind() == reflect.Map:
		d.mapping(path, n, v)
	default:
		d.leaf(path, n, v)
	}
}

func (d *decoder) section(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		what := "this section"
		if path == "" {
			what = "the file"
		}
		d.errorf(path, n, "want keys with values in %s, not %s", what, describe(n))
		return
	}
	fields := structFields(v.Type())
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	d.pairs(path, n, func(key, val *yaml.Node) {
		full := join(path, key.Value)
		if i := slices.Index(known, key.Value); i >= 0 {
			d.value(full, val, v.FieldByIndex(fields[i].index))
			return
		}
		d.unknown(full, key, path, known)
	})
}

// pairs calls yield for each key of a mapping, merged ones (<<) first, and
// refuses a key that is there twice.
func (d *decoder) pairs(path string, n *yaml.Node, yield func(key, val *yaml.Node)) {
	if d.spent(path, n) {
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() != "!!merge" {
			continue
		}
		sources := []*yaml.Node{n.Content[i+1]}
		if sources[0].Kind == yaml.SequenceNode {
			sources = sources[0].Content
		}
		for _, s := range sources {
			if s.Kind == yaml.AliasNode {
				s = s.Alias
			}
			if s.Kind == yaml.MappingNode && s != n {
				d.pairs(path, s, yield)
			}
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			continue
		}
		if line, ok := seen[key.Value]; ok {
			d.errorf(join(path, key.Value), key, "is set twice, first in line %d; keep one", line)
			continue
		}
		seen[key.Value] = key.Line
		yield(key, val)
	}
}

func (d *decoder) unknown(full string, key *yaml.Node, section string, known []string) {
	if now, ok := d.renamed[full]; ok {
		if now == "" {
			d.errorf(full, key, "this key is gone; remove it")
		} else {
			d.errorf(full, key, "this key is now called %s", now)
		}
		return
	}
	msg := "unknown key"
	if s := Suggest(key.Value, known); s != "" {
		msg += "; did you mean " + join(section, s) + "?"
	} else if len(known) <= 16 {
		msg += "; the keys here are " + strings.Join(known, ", ")
	}
	d.errorf(full, key, "%s", msg)
}

func (d *decoder) list(path string, n *yaml.Node, v reflect.Value) {
	items := n.Content
	switch {
	case n.Kind == yaml.SequenceNode:
	case n.Kind == yaml.ScalarNode && !isSection(v.Type().Elem()):
		// One item needs no brackets.
		items = []*yaml.Node{n}
		if d.commas && n.Style == 0 {
			items = nil
			for part := range strings.SplitSeq(n.Value, ",") {
				if part = strings.TrimSpace(part); part != "" {
					items = append(items, &yaml.Node{Kind: yaml.ScalarNode, Value: part, Line: n.Line, Column: n.Column})
				}
			}
		}
	default:
		d.errorf(path, n, "want a list, such as [a, b], not %s", describe(n))
		return
	}
	// A list replaces the one below: there is no good way to say which items
	// of a default one wants gone.
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, out.Index(i))
	}
	v.Set(out)
}

func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.errorf(path, n, "want keys with values, such as {key: value}, not %s", describe(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	for iter := v.MapRange(); iter.Next(); {
		out.SetMapIndex(iter.Key(), iter.Value())
	}
	d.pairs(path, n, func(key, val *yaml.Node) {
		k, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		before := len(d.errs)
		d.leaf(join(path, key.Value), key, k)
		if len(d.errs) > before {
			return
		}
		if have := out.MapIndex(k); have.IsValid() {
			elem.Set(have)
		}
		d.value(join(path, key.Value), val, elem)
		out.SetMapIndex(k, elem)
	})
	v.Set(out)
}

func (d *decoder) duration(path string, n *yaml.Node, v reflect.Value) {
	got, ok := d.interpolate(path, n, true)
	switch {
	case !ok:
		return
	case n.Kind != yaml.ScalarNode:
		d.errorf(path, n, "%v", durationError(describe(n)))
		return
	}
	dur, err := parseDuration(got.Value)
	if err != nil {
		// The text as written: what a reference gave may be a secret.
		d.errorf(path, n, "%v", durationError(n.Value))
		return
	}
	v.SetInt(int64(dur))
}

func (d *decoder) leaf(path string, n *yaml.Node, v reflect.Value) {
	isText := v.Kind() == reflect.String || v.Type().Implements(textUnmarshaler)
	got, ok := d.interpolate(path, n, isText)
	if !ok {
		return
	}
	if n.Kind == yaml.ScalarNode && v.Kind() == reflect.String && !isLeafType(v.Type()) {
		v.SetString(got.Value) // 0123 and yes are texts where a text is wanted
		return
	}
	if err := got.Decode(v.Addr().Interface()); err != nil {
		problem := fmt.Sprintf("want %s, not %s", article(TypeName(v.Type())), describe(n))
		// What a reference gave may be a secret: only what stands in the
		// source itself is repeated.
		if isLeafType(v.Type()) && n.Kind == yaml.ScalarNode && got == n {
			problem = strings.TrimPrefix(err.Error(), "yaml: ")
			problem = yamlError.ReplaceAllString(problem, "")
		}
		d.errorf(path, n, "%s", problem)
	}
}

var yamlError = regexp.MustCompile(`^(unmarshal errors:\s*)?(line \d+: )?`)

var reference = regexp.MustCompile(`\$?\$\{[^}]*\}`)

// interpolate replaces ${file:X} and ${env:X} in a scalar; $${ stands for ${.
// The result of a reference is a text where a text is wanted, and is read as
// YAML elsewhere, so that a port can come from the environment.
func (d *decoder) interpolate(path string, n *yaml.Node, asText bool) (*yaml.Node, bool) {
	if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "${") {
		return n, true
	}
	ok := true
	text := reference.ReplaceAllStringFunc(n.Value, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		v, problem := d.resolve(ref[2 : len(ref)-1])
		if problem != "" {
			ok = false
			d.errorf(path, n, "%s", problem)
		}
		return v
	})
	out := *n
	out.Value = text
	if !asText {
		out.Tag, out.Style = "", 0
	}
	return &out, ok
}

// resolve looks a reference up; problem says what to do when it cannot.
func (d *decoder) resolve(ref string) (value, problem string) {
	kind, name, _ := strings.Cut(ref, ":")
	switch kind {
	case "env":
		v, ok := d.environ[name]
		if !ok {
			return "", fmt.Sprintf("${env:%s}: this environment variable is not set; set it, or give the value another way", name)
		}
		return v, ""
	case "file":
		file := name
		if !filepath.IsAbs(file) {
			file = filepath.Join(d.dir, file)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Sprintf("${file:%s}: %v; create the file, readable by Weir, or give the value another way", name, err)
		}
		// Editors and echo end files with a newline that is no part of the
		// secret.
		return strings.TrimRight(string(data), "\r\n"), ""
	default:
		return "", fmt.Sprintf("${%s} refers to nothing; write ${file:/path}, ${env:NAME}, or $${ for the characters themselves", ref)
	}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	default:
		if n.Value == "" {
			return "nothing"
		}
		text := n.Value
		if len(text) > 60 {
			text = text[:60] + "..."
		}
		return fmt.Sprintf("%q", text)
	}
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}
