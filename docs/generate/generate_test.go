package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/pipeline"
)

const root = "../.."

func TestPagesAreFresh(t *testing.T) {
	pages, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is stale: run make docs and commit it%s", name, firstDifference(string(got), string(want)))
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return " (-got, +want)\n- " + g[i] + "\n+ " + w[i]
		}
	}
	return ": one is longer"
}

// Every configuration struct keeps to the house's rules: a comment that is
// more than the name, a tag, a default, a name for the environment that no
// other key has.
func TestEveryConfigurationKeyIsWellKept(t *testing.T) {
	src := newSource(root)
	envs, paths := map[string]string{}, map[string]bool{}
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, f := range config.Fields(pipeline.DefaultConfig()) {
		doc, err := src.field(f.Owner, f.Go)
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
		if len(strings.Fields(doc)) < 3 {
			t.Errorf("%s (%s.%s): the comment says nothing: %q", f.Path, f.Owner, f.Go, doc)
		}
		if !strings.HasSuffix(strings.TrimRight(doc, ")"), ".") {
			t.Errorf("%s: the comment is no sentence: %q", f.Path, doc)
		}
		sf, _ := f.Owner.FieldByName(f.Go)
		tag, ok := sf.Tag.Lookup("yaml")
		key, _, _ := strings.Cut(tag, ",")
		if !ok || !snake.MatchString(key) {
			t.Errorf("%s: the tag of %s.%s is %q; want a snake_case key", f.Path, f.Owner, f.Go, sf.Tag)
		}
		if rest := strings.ReplaceAll(string(sf.Tag), `yaml:"`+tag+`"`, ""); strings.Contains(rest, "yaml") {
			t.Errorf("%s: malformed tag %q", f.Path, sf.Tag)
		}
		if paths[f.Path] {
			t.Errorf("%s: two fields have this key", f.Path)
		}
		paths[f.Path] = true
		if other, taken := envs[f.Env]; taken && f.Env != "" {
			t.Errorf("%s and %s are both set by %s", f.Path, other, f.Env)
		}
		envs[f.Env] = f.Path
		if f.Env == "" && !f.Section && !strings.Contains(f.Path, "[]") && !strings.Contains(f.Path, ".*") {
			t.Errorf("%s: no environment variable sets it", f.Path)
		}
	}
	if len(paths) < 20 {
		t.Errorf("only %d keys were walked", len(paths))
	}
}

// The defaults are written down, valid, and survive being dumped and loaded.
func TestDefaultsLoadFromTheirDump(t *testing.T) {
	want := pipeline.DefaultConfig()
	if err := want.Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	dump, err := config.Dump(want)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, dump, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(pipeline.Config{}, config.Source{File: path})
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	again, err := config.Dump(got.Config)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(dump) {
		t.Errorf("what is dumped does not load%s", firstDifference(string(again), string(dump)))
	}
}

// Every key can be set by its variable: the value is its default again.
func TestEveryKeyCanBeSetByEnvironment(t *testing.T) {
	for _, f := range config.Fields(pipeline.DefaultConfig()) {
		if f.Env == "" || !f.Default.IsValid() {
			continue
		}
		text, err := config.Dump(struct {
			V any `yaml:"v"`
		}{f.Default.Interface()})
		if err != nil {
			t.Fatal(err)
		}
		var n yaml.Node
		if err := yaml.Unmarshal(text, &n); err != nil {
			t.Fatal(err)
		}
		value, err := yaml.Marshal(n.Content[0].Content[1])
		if err != nil {
			t.Fatal(err)
		}
		l, err := config.Load(pipeline.DefaultConfig(), config.Source{Environ: []string{f.Env + "=" + strings.TrimSpace(string(value))}})
		if err != nil {
			t.Errorf("%s=%s: %v", f.Env, value, err)
			continue
		}
		if len(l.Warnings) > 0 || l.Origin(f.Path).Source == "" {
			t.Errorf("%s does not set %s: %v", f.Env, f.Path, l.Warnings)
		}
	}
}

func TestMetricsAreWellKept(t *testing.T) {
	r, err := registered()
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^weir_[a-z0-9]+(_[a-z0-9]+)+$`)
	for _, m := range r.metrics {
		if strings.HasPrefix(m.Name, "weir_") && !name.MatchString(m.Name) {
			t.Errorf("%s: want weir_<role>_<what>_<unit>", m.Name)
		}
		if len(strings.Fields(m.Help)) < 2 {
			t.Errorf("%s: the help says nothing: %q", m.Name, m.Help)
		}
		if (m.Type == "counter") != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s: is a %s; counters, and only they, end in _total", m.Name, m.Type)
		}
	}
}

func TestRecorderReadsDescriptions(t *testing.T) {
	r := &recorder{metrics: map[string]metric{}}
	r.MustRegister(
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_x_a_total", Help: `Says "a", twice.`, ConstLabels: prometheus.Labels{"stage": "s"}}, []string{"b", "c"}),
		prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_x_g", Help: "G."}, nil),
		prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_x_h_seconds", Help: "H."}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_x_f_total", Help: "F."}, func() float64 { return 0 }),
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_x_g2", Help: "G2."}),
	)
	want := map[string]metric{
		"weir_x_a_total":   {Name: "weir_x_a_total", Help: `Says "a", twice.`, Type: "counter", Labels: []string{"b", "c"}, Const: []string{"stage"}},
		"weir_x_g":         {Name: "weir_x_g", Help: "G.", Type: "gauge"},
		"weir_x_h_seconds": {Name: "weir_x_h_seconds", Help: "H.", Type: "histogram"},
		"weir_x_f_total":   {Name: "weir_x_f_total", Help: "F.", Type: "counter"},
		"weir_x_g2":        {Name: "weir_x_g2", Help: "G2.", Type: "gauge"},
	}
	if !reflect.DeepEqual(r.metrics, want) {
		t.Errorf("(-got, +want)\n- %+v\n+ %+v", r.metrics, want)
	}
}

// The example configuration works, and what it comments out is spelled right.
func TestExampleConfiguration(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "deploy/weir.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"ELASTICSEARCH_API_KEY=x", "KAFKA_PASSWORD=x"}
	commented := regexp.MustCompile(`(?m)^( *)#( *[a-z_]+:(?: |$)| +- )`)
	for name, text := range map[string]string{
		"as it is":                string(data),
		"with everything enabled": commented.ReplaceAllString(string(data), "$1$2"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "weir.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := config.Load(pipeline.DefaultConfig(), config.Source{File: path, Environ: environ})
			if err != nil {
				t.Fatalf("%s", config.Explain(err))
			}
			if enabled := l.Config.Kafka.SASL.Mechanism != ""; enabled != (name != "as it is") {
				t.Errorf("what is commented out is enabled: %v", enabled)
			}
		})
	}
}

// Links between the pages lead somewhere, and every page can be reached from
// the index.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	indexed := map[string]bool{}
	var pages []string
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(root, "docs", "README.md")
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			full := filepath.Join(filepath.Dir(page), target)
			if _, err := os.Stat(full); err != nil {
				t.Errorf("%s links to %s, which is not there", page, target)
			}
			if page == index {
				indexed[full] = true
			}
		}
	}
	for _, page := range pages {
		if page != index && !indexed[page] {
			t.Errorf("%s is not in docs/README.md", page)
		}
	}
}

// Every direct dependency is explained, and nothing that is no longer one.
func TestDependenciesAreExplained(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var required []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(\S+) v\S+( // indirect)?$`).FindAllStringSubmatch(string(mod), -1) {
		required = append(required, m[1])
	}
	var explained []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		explained = append(explained, m[1])
	}
	for _, e := range explained {
		if !slices.Contains(required, e) {
			t.Errorf("%s is explained and not in go.mod", e)
		}
	}
	imported := imports(t)
	for _, r := range required {
		used := slices.ContainsFunc(imported, func(i string) bool { return i == r || strings.HasPrefix(i, r+"/") })
		if used && !slices.Contains(explained, r) {
			t.Errorf("%s is used and not explained in docs/dependencies.md", r)
		}
	}
}

// imports returns what the module's files import from other modules.
func imports(t *testing.T) []string {
	t.Helper()
	spec := regexp.MustCompile(`(?m)^\s*(?:import )?(?:[a-zA-Z_.]+ )?"([a-z0-9.-]+\.[a-z]+/[^"\s]+)"$`)
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "tools" || d.Name() == "testdata") {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range spec.FindAllStringSubmatch(string(data), -1) {
			if !strings.HasPrefix(m[1], module+"/") {
				out = append(out, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
