package detector

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated sections of docs/detections.md")

// The reference in the docs is what the code says.
func TestDocs(t *testing.T) {
	const file = "../docs/detections.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections, err := Reference()
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, section := range sections {
		begin, end := "<!-- generated: "+name+" -->\n", "<!-- end -->"
		i := strings.Index(text, begin)
		if i < 0 {
			t.Fatalf("%s has no section %q", file, strings.TrimSpace(begin))
		}
		i += len(begin)
		j := i + strings.Index(text[i:], end)
		text = text[:i] + section + text[j:]
	}
	if text == string(data) {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is stale: run go test ./detector -run TestDocs -update", file)
}

// The example in the docs is a rule that loads and passes its tests.
func TestExampleInDocs(t *testing.T) {
	data, err := os.ReadFile("../docs/detections.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(data), "```yaml\n")
	if !ok {
		t.Fatal("no example")
	}
	example, _, _ = strings.Cut(example, "```")
	rules, err := ParseRules("docs/detections.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range TestRules(rules) {
		if !r.Passed() {
			t.Errorf("%s: %v\n%s", r.Test, r.Err, strings.Join(r.Diff, "\n"))
		}
	}
}
