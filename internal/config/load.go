// Package config is the one way configuration gets in: defaults, then a YAML
// file, then the environment, then --set, each on top of the one before, into
// a struct whose fields are the keys. Unknown keys are refused, every error
// names the key and the place it was set, and all of them come at once.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Source is where a configuration comes from.
type Source struct {
	// File is the path of the YAML file; empty: none.
	File string
	// Environ holds KEY=value pairs as of os.Environ. Variables named
	// WEIR_<KEY_PATH> set keys, their values read as YAML; all of them serve
	// ${env:X}.
	Environ []string
	// Set holds key.path=value pairs, the values read as YAML.
	Set []string
}

// Validator is implemented by configurations that can be wrong as a whole.
// Errors begin with the path of the key at fault: "collector.listen[0]: ...".
type Validator interface{ Validate() error }

// Renamer is implemented by root structs some of whose keys had other names.
type Renamer interface {
	// RenamedKeys maps the old path of a key to its new one; to "" when the
	// key is gone.
	RenamedKeys() map[string]string
}

// Loaded is a configuration and where each of its values was set.
type Loaded[T any] struct {
	Config T
	// Warnings about what was ignored, such as environment variables that
	// look meant for us and name no key.
	Warnings []string

	origins map[string]Origin
}

// Origin returns where the key, or the nearest key above it, was set.
func (l *Loaded[T]) Origin(path string) Origin { return originOf(l.origins, path) }

// Load builds a configuration on top of its defaults. The error is Errors
// when the configuration is at fault, and something else when its file cannot
// be read.
func Load[T any](defaults T, src Source) (*Loaded[T], error) {
	l := &Loaded[T]{Config: defaults, origins: map[string]Origin{}}
	d := &decoder{origins: l.origins, environ: environ(src.Environ)}
	if r, ok := any(defaults).(Renamer); ok {
		d.renamed = r.RenamedKeys()
	}
	root := reflect.ValueOf(&l.Config).Elem()
	if src.File != "" {
		if err := d.file(src.File, root); err != nil {
			return nil, err
		}
	}
	l.Warnings = d.environment(src.Environ, root)
	for _, s := range src.Set {
		d.set(s, root)
	}
	if len(d.errs) > 0 {
		return nil, d.errs // validating half a configuration would mislead
	}
	if v, ok := any(l.Config).(Validator); ok {
		if err := v.Validate(); err != nil {
			return nil, l.Locate(err)
		}
	}
	return l, nil
}

// Locate turns errors that begin with a key's path into Errors that also say
// where the key was set.
func (l *Loaded[T]) Locate(err error) Errors {
	var out Errors
	for _, e := range flatten(err) {
		path, problem := splitPath(e.Error())
		out = append(out, &Error{Path: path, Origin: originOf(l.origins, path), Problem: problem, Cause: e})
	}
	return out
}

// originOf finds the nearest key at or above path that was set.
func originOf(origins map[string]Origin, path string) Origin {
	for path != "" {
		if o, ok := origins[path]; ok {
			return o
		}
		cut := max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['))
		path = path[:max(cut, 0)]
	}
	return Origin{}
}

func environ(pairs []string) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		m[k] = v
	}
	return m
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// file applies the YAML file. The error is for a file that cannot be read;
// what is wrong inside goes to d.errs.
func (d *decoder) file(name string, root reflect.Value) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("configuration file %s: %w", name, errors.Unwrap(err))
	}
	d.begin(layer{source: name, dir: filepath.Dir(name), lines: strings.Split(string(data), "\n")})
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil // an empty file sets nothing
	case err != nil:
		d.syntax(err)
		return nil
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(err)
		return nil
	default:
		d.errorf("", &second, "holds a second YAML document; Weir reads one, so join them or split the file")
		return nil
	}
	d.value("", doc.Content[0], root)
	return nil
}

func (d *decoder) syntax(err error) {
	text := err.Error()
	m := yamlLine.FindStringSubmatch(text)
	line := 1
	if m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	d.errs = append(d.errs, &Error{Origin: d.origin(line, 1), Problem: "not valid YAML: " + text, Cause: err})
}

// serviceLinks are variables that Kubernetes sets in every container for a
// Service called weir-something: not ours, and not worth a warning.
var serviceLinks = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)$`)

// environment applies WEIR_ variables and returns warnings about those that
// name no key. They are not refused: other software sets variables too.
func (d *decoder) environment(pairs []string, root reflect.Value) (warnings []string) {
	byEnv := map[string]Field{}
	for _, f := range Fields(root.Interface()) {
		if f.Env != "" {
			byEnv[f.Env] = f
		}
	}
	names := make([]string, 0, len(byEnv))
	for name := range byEnv {
		names = append(names, name)
	}
	pairs = slices.Sorted(slices.Values(pairs))
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		f, ok := byEnv[name]
		switch {
		case ok:
			d.begin(layer{source: "environment " + name})
			d.text(f.Path, value, root)
		case !strings.HasPrefix(name, EnvPrefix), reserved[name], serviceLinks.MatchString(name):
		default:
			w := "environment variable " + name + " names no configuration key and is ignored"
			if s := Suggest(name, names); s != "" {
				w += "; did you mean " + s + "?"
			}
			warnings = append(warnings, w)
		}
	}
	return warnings
}

// reserved variables begin with the prefix and are not keys.
var reserved = map[string]bool{
	"WEIR_CONFIG": true, "WEIR_SHARED": true,
	// The local servers' cache, and the servers of a test run.
	"WEIR_CACHE": true, "WEIR_TEST_KAFKA": true, "WEIR_TEST_ELASTICSEARCH": true,
}

// set applies one key.path=value.
func (d *decoder) set(assignment string, root reflect.Value) {
	path, value, ok := strings.Cut(assignment, "=")
	path = strings.TrimSpace(path)
	d.begin(layer{source: "--set"})
	if !ok || path == "" {
		d.errorf("", nil, "want key.path=value, such as collector.listen=[netflow://127.0.0.1:2055], not %q", assignment)
		return
	}
	d.text(path, value, root)
}

// text applies a value that came as text on its own, by wrapping it in the
// mappings that lead to it.
func (d *decoder) text(path, value string, root reflect.Value) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		// A bare URL or expression need not be YAML to be a value.
		doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}}}
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"} // an empty text is an empty value, not an absent one
	if len(doc.Content) > 0 {
		n = doc.Content[0]
	}
	d.commas = true
	keys := strings.Split(path, ".")
	for i := len(keys) - 1; i >= 0; i-- {
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Tag: "!!str", Value: keys[i]}, n,
		}}
	}
	d.value("", n, root)
}
