package templates_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/weir-flow/weir/indexer/templates"
)

// ecsTypes reads the authority that the field lists are held to.
func ecsTypes(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/ecs-fields.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	types := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), "\t")
		typ, _, _ := strings.Cut(rest, "\t")
		types[name] = typ
	}
	return types
}

func lists(t *testing.T) map[string][]templates.Field {
	t.Helper()
	flow, err := templates.Flow()
	if err != nil {
		t.Fatal(err)
	}
	alert, err := templates.Alert()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]templates.Field{"flow": flow, "alert": alert}
}

// TestFieldsAreECS: a name of ECS has ECS's type, and what is not ECS stands
// under netflow.* (as Filebeat has it) or weir.*.
func TestFieldsAreECS(t *testing.T) {
	ecs := ecsTypes(t)
	if len(ecs) < 400 {
		t.Fatalf("%d fields of ECS", len(ecs))
	}
	for name, list := range lists(t) {
		seen := map[string]bool{}
		for _, f := range list {
			if seen[f.Name] {
				t.Errorf("%s: %s is listed twice", name, f.Name)
			}
			seen[f.Name] = true
			root, _, _ := strings.Cut(f.Name, ".")
			want, known := ecs[f.Name]
			switch {
			case root == "netflow" || root == "weir":
				continue
			case strings.HasPrefix(f.Name, "threat.enrichments."):
				// ECS describes the objects in it as threat.indicator.
				want, known = ecs[strings.Replace(f.Name, "threat.enrichments.indicator", "threat.indicator", 1)]
			}
			if !known {
				t.Errorf("%s: %s is no field of ECS", name, f.Name)
				continue
			}
			if f.Type != want && !(f.Type == "constant_keyword" && want == "keyword") {
				t.Errorf("%s: %s is %s, ECS has %s", name, f.Name, f.Type, want)
			}
		}
	}
}

// TestNoLeafIsAnObject: a.b and a.b.c cannot both be fields.
func TestNoLeafIsAnObject(t *testing.T) {
	for name, list := range lists(t) {
		leaf := map[string]bool{}
		for _, f := range list {
			leaf[f.Name] = f.Type != "nested"
		}
		for _, f := range list {
			for i := range f.Name {
				if f.Name[i] == '.' && leaf[f.Name[:i]] {
					t.Errorf("%s: %s lies under the field %s", name, f.Name, f.Name[:i])
				}
			}
		}
	}
}

func TestMappingsOfServers(t *testing.T) {
	fields := []templates.Field{
		{Name: "a.b", Type: "constant_keyword", Value: "x"}, {Name: "a.c", Type: "wildcard"}, {Name: "m", Type: "match_only_text"},
		{Name: "n", Type: "long", NoIndex: true}, {Name: "o", Type: "object", Disabled: true},
	}
	typeOf := func(m map[string]any, path ...string) map[string]any {
		for _, p := range path {
			m = m["properties"].(map[string]any)[p].(map[string]any)
		}
		return m
	}
	full := templates.Mappings(fields, templates.Server{})
	reduced := templates.Mappings(fields, templates.Server{Lacks: map[string]bool{"constant_keyword": true, "wildcard": true, "match_only_text": true}})
	for _, tc := range []struct {
		got  map[string]any
		want string
	}{
		{typeOf(full, "a", "b"), "constant_keyword"}, {typeOf(full, "a", "c"), "wildcard"}, {typeOf(full, "m"), "match_only_text"},
		{typeOf(reduced, "a", "b"), "keyword"}, {typeOf(reduced, "a", "c"), "keyword"}, {typeOf(reduced, "m"), "text"},
	} {
		if tc.got["type"] != tc.want {
			t.Errorf("got %v, want %s", tc.got, tc.want)
		}
	}
	if typeOf(full, "a", "b")["value"] != "x" || typeOf(reduced, "a", "b")["value"] != nil {
		t.Error("a constant's value belongs to constant_keyword alone")
	}
	if typeOf(full, "n")["index"] != false || typeOf(full, "o")["enabled"] != false || full["dynamic"] != false {
		t.Errorf("options are missing: %v", full)
	}
}
