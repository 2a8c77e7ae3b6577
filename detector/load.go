package detector

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/weir-flow/weir/detector/lang"
	"go.yaml.in/yaml/v3"
)

//go:embed rules/*.yaml
var shipped embed.FS

// RuleError is a fault in a rule's file.
type RuleError struct {
	File         string
	Line, Column int
	Rule         string
	Message      string
}

func (e *RuleError) Error() string {
	place := e.File
	if e.Line > 0 {
		place += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	if e.Rule != "" {
		return fmt.Sprintf("%s: rule %s: %s", place, e.Rule, e.Message)
	}
	return fmt.Sprintf("%s: %s", place, e.Message)
}

func nodeError(n *yaml.Node, format string, args ...any) error {
	return &RuleError{Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)}
}

func suggestion(written string, names []string) string { return lang.Suggest(written, names) }

// LoadRules reads the shipped rules, unless the configuration leaves them out,
// and those of the configured directories, checks and compiles all of them.
// A rule of a directory replaces the shipped one of the same id. Disabled
// rules are read and checked, but left out. The rules are in the order of
// their ids. Errors are *RuleError, joined: one wrong rule hides no other.
func LoadRules(cfg RulesConfig) ([]*Rule, error) {
	var errs []error
	byID := make(map[string]*Rule)
	load := func(name string, data []byte, mayReplace map[string]bool) {
		rules, err := ParseRules(name, data)
		errs = append(errs, err)
		for _, r := range rules {
			if old, ok := byID[r.ID]; ok && !mayReplace[r.ID] {
				errs = append(errs, &RuleError{File: name, Rule: r.ID, Message: fmt.Sprintf("the id is taken by a rule of %s", old.file)})
				continue
			}
			delete(mayReplace, r.ID)
			byID[r.ID] = r
		}
	}
	if !cfg.NoShipped {
		names, err := fs.Glob(shipped, "rules/*.yaml")
		errs = append(errs, err)
		for _, name := range names {
			data, err := shipped.ReadFile(name)
			errs = append(errs, err)
			load("shipped "+name, data, nil)
		}
	}
	replaceable := make(map[string]bool)
	for id := range byID {
		replaceable[id] = true
	}
	for _, dir := range cfg.Dirs {
		if _, err := os.Stat(dir); err != nil {
			errs = append(errs, fmt.Errorf("rules directory: %w", err))
			continue
		}
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			names, _ := filepath.Glob(filepath.Join(dir, pattern)) // only a bad pattern fails
			for _, name := range names {
				data, err := os.ReadFile(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				load(name, data, replaceable)
			}
		}
	}
	var ids []string
	for id := range byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range cfg.Disabled {
		if !slices.Contains(ids, id) {
			errs = append(errs, fmt.Errorf("disabled rule %q does not exist%s", id, suggestion(id, ids)))
		}
	}
	var rules []*Rule
	for _, id := range ids {
		if !slices.Contains(cfg.Disabled, id) {
			rules = append(rules, byID[id])
		}
	}
	return rules, errors.Join(errs...)
}

// ParseRules reads the rules of one file, which may hold several YAML
// documents, and checks that they compile. It returns the good ones and the
// joined errors of the others.
func ParseRules(name string, data []byte) ([]*Rule, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var rules []*Rule
	var errs []error
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			errs = append(errs, &RuleError{File: name, Message: err.Error()})
			break
		}
		r := &Rule{file: name, ID: idOf(doc.Content[0])}
		if err = strict(doc.Content[0], reflect.TypeFor[Rule]()); err == nil {
			err = doc.Decode(r)
		}
		if err == nil {
			_, err = compile(r, newVocabulary())
		}
		if err != nil {
			errs = append(errs, locate(err, name, r.ID))
			continue
		}
		rules = append(rules, r)
	}
	return rules, errors.Join(errs...)
}

// idOf finds the id of a rule that cannot be read.
func idOf(n *yaml.Node) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "id" {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// locate completes the errors of a rule by its file and id.
func locate(err error, file, id string) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range many.Unwrap() {
			errs = append(errs, locate(e, file, id))
		}
		return errors.Join(errs...)
	}
	var known *RuleError
	if errors.As(err, &known) {
		known.File, known.Rule = file, id
		return known
	}
	return &RuleError{File: file, Rule: id, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
}

// strict refuses keys that a type does not know, with a suggestion; the
// library's own check knows neither column nor neighbours.
func strict(n *yaml.Node, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()) {
		return nil
	}
	switch t.Kind() {
	case reflect.Slice:
		if n.Kind == yaml.SequenceNode {
			for _, item := range n.Content {
				if err := strict(item, t.Elem()); err != nil {
					return err
				}
			}
		}
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			return nodeError(n, "a mapping of keys is needed here")
		}
		fields := make(map[string]reflect.Type)
		var names []string
		for i := range t.NumField() {
			if tag := t.Field(i).Tag.Get("yaml"); tag != "" {
				fields[tag] = t.Field(i).Type
				names = append(names, tag)
			}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			field, ok := fields[key.Value]
			if !ok {
				return nodeError(key, "unknown key %q%s", key.Value, suggestion(key.Value, names))
			}
			if err := strict(n.Content[i+1], field); err != nil {
				return err
			}
		}
	}
	return nil
}
