package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/secret"
)

type root struct {
	Kafka     kafka     `yaml:"kafka"`
	Collector collector `yaml:"collector"`
}

type kafka struct {
	Brokers  []string      `yaml:"brokers"`
	Password secret.String `yaml:"password"`
	URLs     []string      `yaml:"urls"`
}

type common struct {
	Workers int `yaml:"workers"`
}

type collector struct {
	common    `yaml:",inline"`
	Listen    []string            `yaml:"listen"`
	Hold      time.Duration       `yaml:"hold"`
	Buffer    config.Bytes        `yaml:"receive_buffer"`
	Pprof     bool                `yaml:"pprof"`
	Rate      float64             `yaml:"rate"`
	Realms    map[string][]string `yaml:"realms"`
	Exporters []exporter          `yaml:"exporters"`
	Internal  []netip.Prefix      `yaml:"internal"`
	TLS       *tls                `yaml:"tls"`
}

type exporter struct {
	Address netip.Addr `yaml:"address"`
	Realm   string     `yaml:"realm"`
}

type tls struct {
	Cert string `yaml:"cert"`
}

func (root) RenamedKeys() map[string]string {
	return map[string]string{"collector.stitch_time": "collector.hold", "collector.legacy": ""}
}

func (r root) Validate() error {
	var errs []error
	for i, l := range r.Collector.Listen {
		if !strings.Contains(l, "://") {
			errs = append(errs, fmt.Errorf("listen[%d]: %q is no listener URL; write netflow://HOST:PORT", i, l))
		}
	}
	if r.Collector.Workers < 1 {
		errs = append(errs, errors.New("workers: must be at least 1"))
	}
	return config.Section("collector", errors.Join(errs...))
}

func defaults() root {
	return root{
		Kafka: kafka{Brokers: []string{"127.0.0.1:9092"}},
		Collector: collector{
			common: common{Workers: 2},
			Listen: []string{"netflow://0.0.0.0:2055"},
			Hold:   5 * time.Second,
			Buffer: 4e6,
			Realms: map[string][]string{"default": {"10.0.0.0/8"}},
		},
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLayersGoOnTopOfEachOther(t *testing.T) {
	file := write(t, "weir.yaml", `
kafka:
  brokers: [a:9092, b:9092]
  password: ${file:pw}
  urls: ["https://${env:USER}@h", "$${env:USER}"]
collector:
  hold: 7s
  receive_buffer: 1MiB
  workers: ${env:WORKERS}
  listen: netflow://127.0.0.1:1
  realms: {plant: [192.168.0.0/16]}
  exporters:
    - {address: 192.0.2.1, realm: plant}
  internal: [10.0.0.0/8]
  tls: {cert: x.pem}
  pprof:
  rate: 1
`)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "pw"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := config.Load(defaults(), config.Source{
		File: file,
		Environ: []string{
			"USER=u", "WORKERS=3", "WEIR_COLLECTOR_HOLD=8s", "WEIR_COLLECTOR_RATE=2.5",
			"WEIR_KAFKA_BROKERS=c:1,d:2", "WEIR_COLLECTOR_PORT=tcp://10.0.0.1:2055",
			"WEIR_COLLECTOR_LISTN=x", "WEIR_CONFIG=x", "WEIR_CACHE=x", "WEIR_TEST_KAFKA=x",
		},
		Set: []string{"collector.hold=9s", "collector.listen=[netflow://127.0.0.1:2055]", "collector.pprof=true", "collector.realms.lab=[a, b]"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := root{
		Kafka: kafka{Brokers: []string{"c:1", "d:2"}, Password: "hunter2", URLs: []string{"https://u@h", "${env:USER}"}},
		Collector: collector{
			common: common{Workers: 3},
			Listen: []string{"netflow://127.0.0.1:2055"},
			Hold:   9 * time.Second, Buffer: 1 << 20, Pprof: true, Rate: 2.5,
			Realms:    map[string][]string{"default": {"10.0.0.0/8"}, "plant": {"192.168.0.0/16"}, "lab": {"a", "b"}},
			Exporters: []exporter{{Address: netip.MustParseAddr("192.0.2.1"), Realm: "plant"}},
			Internal:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			TLS:       &tls{Cert: "x.pem"},
		},
	}
	if !reflect.DeepEqual(l.Config, want) {
		t.Errorf("(-got, +want)\n- %+v\n+ %+v", l.Config, want)
	}
	wantWarnings := []string{"environment variable WEIR_COLLECTOR_LISTN names no configuration key and is ignored; did you mean WEIR_COLLECTOR_LISTEN?"}
	if !slices.Equal(l.Warnings, wantWarnings) {
		t.Errorf("warnings (-got, +want)\n- %q\n+ %q", l.Warnings, wantWarnings)
	}
	for path, want := range map[string]string{
		"collector.receive_buffer":       file + ":8:19",
		"collector.exporters[0].address": file + ":13:17",
		"collector.hold":                 "--set",
		"collector.rate":                 "environment WEIR_COLLECTOR_RATE",
		"nowhere":                        "default",
	} {
		if got := l.Origin(path).String(); got != want {
			t.Errorf("origin of %s (-got, +want)\n- %s\n+ %s", path, got, want)
		}
	}
	if d := defaults(); !reflect.DeepEqual(d.Collector.Realms, map[string][]string{"default": {"10.0.0.0/8"}}) {
		t.Errorf("loading changed the defaults: %v", d.Collector.Realms)
	}
}

func TestNothingGivenIsTheDefaults(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "comment": "# nothing\n", "sections": "kafka:\ncollector:\n  # listen: []\n"} {
		t.Run(name, func(t *testing.T) {
			l, err := config.Load(defaults(), config.Source{File: write(t, "weir.yaml", text)})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(l.Config, defaults()) {
				t.Errorf("(-got, +want)\n- %+v\n+ %+v", l.Config, defaults())
			}
		})
	}
}

// FILE in want stands for the path of the configuration file.
func TestBadConfigurations(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		env, set   []string
		want       []string
	}{
		{
			name: "unknown key with a suggestion", file: "collector:\n  lisen: [netflow://:1]\n",
			want: []string{"FILE:2:3: collector.lisen: unknown key; did you mean collector.listen?"},
		},
		{
			name: "unknown section", file: "colector: {}\n",
			want: []string{"FILE:1:1: colector: unknown key; did you mean collector?"},
		},
		{
			name: "unknown key like nothing", file: "kafka:\n  zzzzzzzz: 1\n",
			want: []string{"FILE:2:3: kafka.zzzzzzzz: unknown key; the keys here are brokers, password, urls"},
		},
		{
			name: "unknown key in a list", file: "collector:\n  exporters:\n    - adddress: 192.0.2.1\n",
			want: []string{"FILE:3:7: collector.exporters[0].adddress: unknown key; did you mean collector.exporters[0].address?"},
		},
		{
			name: "key of another style", file: "collector:\n  receiveBuffer: 1MB\n",
			want: []string{"FILE:2:3: collector.receiveBuffer: unknown key; did you mean collector.receive_buffer?"},
		},
		{
			name: "renamed and removed keys", file: "collector:\n  stitch_time: 5s\n  legacy: 1\n",
			want: []string{
				"FILE:2:3: collector.stitch_time: this key is now called collector.hold",
				"FILE:3:3: collector.legacy: this key is gone; remove it",
			},
		},
		{
			name: "wrong types, all at once", file: "collector:\n  workers: many\n  pprof: perhaps\n  rate: {}\n  listen: {a: b}\nkafka: 7\n",
			want: []string{
				`FILE:2:12: collector.workers: want an integer, not "many"`,
				`FILE:3:10: collector.pprof: want a boolean, not "perhaps"`,
				"FILE:4:9: collector.rate: want a number, not keys with values",
				"FILE:5:11: collector.listen: want a list, such as [a, b], not keys with values",
				`FILE:6:8: kafka: want keys with values in this section, not "7"`,
			},
		},
		{
			name: "duration without a unit", file: "collector: {hold: 5}\n",
			want: []string{`FILE:1:19: collector.hold: want a duration with its unit, such as 250ms, 5s, 2m, 1h30m or 7d, not "5"`},
		},
		{
			name: "size without a unit", file: "collector: {receive_buffer: 64}\n",
			want: []string{`FILE:1:29: collector.receive_buffer: want a size with its unit, such as 512kB, 4MB or 1GiB, not "64"`},
		},
		{
			name: "address that is none", file: "collector:\n  exporters: [{address: router1}]\n",
			want: []string{`FILE:2:25: collector.exporters[0].address: ParseAddr("router1"): unable to parse IP`},
		},
		{
			name: "missing secret file", file: "kafka:\n  password: ${file:/nonexistent/pw}\n",
			want: []string{"FILE:2:13: kafka.password: ${file:/nonexistent/pw}: open /nonexistent/pw: no such file or directory; create the file, readable by Weir, or give the value another way"},
		},
		{
			name: "missing secret variable", file: "kafka:\n  password: ${env:NO_SUCH}\n",
			want: []string{"FILE:2:13: kafka.password: ${env:NO_SUCH}: this environment variable is not set; set it, or give the value another way"},
		},
		{
			name: "reference of no kind", file: "kafka:\n  password: ${PASSWORD}\n",
			want: []string{"FILE:2:13: kafka.password: ${PASSWORD} refers to nothing; write ${file:/path}, ${env:NAME}, or $${ for the characters themselves"},
		},
		{
			name: "a secret is not repeated", file: "collector: {hold: \"${env:SECRET}\", workers: \"${env:SECRET}\", receive_buffer: \"${env:SECRET}\"}\n", env: []string{"SECRET=hunter2"},
			want: []string{
				`FILE:1:19: collector.hold: want a duration with its unit, such as 250ms, 5s, 2m, 1h30m or 7d, not "${env:SECRET}"`,
				`FILE:1:45: collector.workers: want an integer, not "${env:SECRET}"`,
				`FILE:1:78: collector.receive_buffer: want a size, not "${env:SECRET}"`,
			},
		},
		{
			name: "key set twice", file: "kafka:\n  brokers: [a]\n  brokers: [b]\n",
			want: []string{"FILE:3:3: kafka.brokers: is set twice, first in line 2; keep one"},
		},
		{
			name: "not YAML", file: "kafka:\n  brokers: [a\ncollector: {}\n",
			want: []string{"FILE:1:1: not valid YAML: did not find expected ',' or ']'"},
		},
		{
			name: "two documents", file: "kafka: {}\n---\nkafka: {}\n",
			want: []string{"FILE:2:1: holds a second YAML document; Weir reads one, so join them or split the file"},
		},
		{
			name: "endless anchors", file: "collector: &c\n  <<: [{<<: *c}]\n",
			want: []string{"FILE:1:12: collector: this file repeats its anchors without end; write the values out"},
		},
		{
			name: "a list as the file", file: "- kafka\n",
			want: []string{"FILE:1:1: want keys with values in the file, not a list"},
		},
		{
			name: "validation points at the value", file: "collector:\n  workers: 0\n  listen:\n    - netflow://:1\n    - 2055\n",
			want: []string{
				`FILE:5:7: collector.listen[1]: "2055" is no listener URL; write netflow://HOST:PORT`,
				"FILE:2:12: collector.workers: must be at least 1",
			},
		},
		{
			name: "environment of the wrong type", env: []string{"WEIR_COLLECTOR_WORKERS=many"},
			want: []string{`environment WEIR_COLLECTOR_WORKERS: collector.workers: want an integer, not "many"`},
		},
		{
			name: "validation of the environment", env: []string{"WEIR_COLLECTOR_LISTEN=2055"},
			want: []string{`environment WEIR_COLLECTOR_LISTEN: collector.listen[0]: "2055" is no listener URL; write netflow://HOST:PORT`},
		},
		{
			name: "unknown key of --set", set: []string{"collector.listn=x"},
			want: []string{"--set: collector.listn: unknown key; did you mean collector.listen?"},
		},
		{
			name: "--set without a value", set: []string{"collector.listen"},
			want: []string{`--set: want key.path=value, such as collector.listen=[netflow://127.0.0.1:2055], not "collector.listen"`},
		},
		{
			name: "--set below a value", set: []string{"collector.workers.x=1"},
			want: []string{"--set: collector.workers: want an integer, not keys with values"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := config.Source{Environ: tc.env, Set: tc.set}
			if tc.file != "" {
				src.File = write(t, "weir.yaml", tc.file)
			}
			_, err := config.Load(defaults(), src)
			var es config.Errors
			if !errors.As(err, &es) {
				t.Fatalf("error %v (%T), want config.Errors", err, err)
			}
			want := strings.ReplaceAll(strings.Join(tc.want, "\n"), "FILE", src.File)
			if err.Error() != want {
				t.Errorf("(-got, +want)\n- %s\n+ %s", strings.ReplaceAll(err.Error(), "\n", "\n- "), strings.ReplaceAll(want, "\n", "\n+ "))
			}
		})
	}
}

func TestMissingFileIsNotAConfigurationAtFault(t *testing.T) {
	_, err := config.Load(defaults(), config.Source{File: "/nonexistent/weir.yaml"})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/weir.yaml") {
		t.Errorf("error %v", err)
	}
}

func TestExplainPointsAtTheColumn(t *testing.T) {
	file := write(t, "weir.yaml", "collector:\n  lisen: [x]\n")
	_, err := config.Load(defaults(), config.Source{File: file})
	want := file + ":2:3: collector.lisen: unknown key; did you mean collector.listen?\n" +
		"    2 |   lisen: [x]\n" +
		"      |   ^"
	if got := config.Explain(err); got != want {
		t.Errorf("(-got, +want)\n%s\n%s", got, want)
	}
}

func TestSectionCompletesPaths(t *testing.T) {
	err := config.Section("enricher", errors.Join(
		errors.New("listen[0].address: bad"),
		fmt.Errorf("enricher: geo.databases[1]: %w", fs.ErrNotExist),
		errors.New("nothing fits"),
		fmt.Errorf("two %w and %w", fs.ErrExist, fs.ErrClosed),
	))
	want := "enricher.listen[0].address: bad\nenricher.geo.databases[1]: file does not exist\nenricher: nothing fits\nenricher: two file already exists and file already closed"
	if err.Error() != want {
		t.Errorf("(-got, +want)\n- %v\n+ %s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, fs.ErrClosed) {
		t.Error("the causes are lost")
	}
	if config.Section("x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	l, err := config.Load(defaults(), config.Source{File: write(t, "weir.yaml", `
collector:
  exporters:
    - &base {address: 192.0.2.1, realm: a}
    - {<<: *base, realm: b}
`)})
	if err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr("192.0.2.1")
	if want := []exporter{{a, "a"}, {a, "b"}}; !slices.Equal(l.Config.Collector.Exporters, want) {
		t.Errorf("(-got, +want)\n- %v\n+ %v", l.Config.Collector.Exporters, want)
	}
}

func TestDumpLoadsAgainAndHidesSecrets(t *testing.T) {
	cfg := defaults()
	cfg.Kafka.Password = "hunter2"
	cfg.Kafka.URLs = []string{"https://u:hunter2@h:9200/p@q"}
	cfg.Collector.TLS = &tls{Cert: "x.pem"}
	cfg.Collector.Internal = []netip.Prefix{}
	cfg.Collector.Exporters = []exporter{{netip.MustParseAddr("2001:db8::1"), "a"}}
	cfg.Collector.Hold = 36 * time.Hour
	dump, err := config.Dump(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(dump), "hunter2") {
		t.Errorf("the dump shows a secret:\n%s", dump)
	}
	l, err := config.Load(root{}, config.Source{File: write(t, "weir.yaml", string(dump))})
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	cfg.Kafka.Password = secret.Redacted
	cfg.Kafka.URLs = []string{"https://u:[redacted]@h:9200/p@q"}
	if !reflect.DeepEqual(l.Config, cfg) {
		t.Errorf("(-got, +want)\n- %+v\n+ %+v\n%s", l.Config, cfg, dump)
	}
}

func TestFields(t *testing.T) {
	var got []string
	for _, f := range config.Fields(defaults()) {
		got = append(got, fmt.Sprintf("%s|%s|%s", f.Path, f.Env, config.TypeName(f.Type)))
	}
	want := []string{
		"kafka||section",
		"kafka.brokers|WEIR_KAFKA_BROKERS|list of strings",
		"kafka.password|WEIR_KAFKA_PASSWORD|secret",
		"kafka.urls|WEIR_KAFKA_URLS|list of strings",
		"collector||section",
		"collector.workers|WEIR_COLLECTOR_WORKERS|integer",
		"collector.listen|WEIR_COLLECTOR_LISTEN|list of strings",
		"collector.hold|WEIR_COLLECTOR_HOLD|duration",
		"collector.receive_buffer|WEIR_COLLECTOR_RECEIVE_BUFFER|size",
		"collector.pprof|WEIR_COLLECTOR_PPROF|boolean",
		"collector.rate|WEIR_COLLECTOR_RATE|number",
		"collector.realms|WEIR_COLLECTOR_REALMS|map of lists of strings",
		"collector.exporters|WEIR_COLLECTOR_EXPORTERS|list of sections",
		"collector.exporters[].address||address",
		"collector.exporters[].realm||string",
		"collector.internal|WEIR_COLLECTOR_INTERNAL|list of prefixes",
		"collector.tls||section",
		"collector.tls.cert|WEIR_COLLECTOR_TLS_CERT|string",
	}
	if !slices.Equal(got, want) {
		t.Errorf("(-got, +want)\n- %s\n+ %s", strings.Join(got, "\n- "), strings.Join(want, "\n+ "))
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]config.Bytes{"0": 0, "1B": 1, "512kB": 512e3, "4MB": 4e6, "1.5 GiB": 3 << 29, "2mb": 2e6} {
		got, err := config.ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) (-got, +want)\n- %d %v\n+ %d", text, got, err, want)
		}
		again, err := config.ParseBytes(got.String())
		if err != nil || again != got {
			t.Errorf("%q writes %q, which reads as %d", text, got, again)
		}
	}
	for _, text := range []string{"", "64", "-1MB", "MB", "1XB", "NaNMB", "99999999999GiB", "1e30GB"} {
		if got, err := config.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
	for d, want := range map[time.Duration]string{
		5 * time.Second: "5s", 5 * time.Minute: "5m", 90 * time.Minute: "1h30m", 48 * time.Hour: "2d", 0: "0s", 50 * time.Millisecond: "50ms", 10 * time.Minute: "10m",
	} {
		if got := config.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) (-got, +want)\n- %s\n+ %s", d, got, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"brokers", "listen", "receive_buffer", "stream_time", "tls"}
	for word, want := range map[string]string{
		"broker": "brokers", "lsiten": "listen", "streamTime": "stream_time", "receive": "receive_buffer", "elephants": "", "xyz": "",
	} {
		if got := config.Suggest(word, known); got != want {
			t.Errorf("Suggest(%q) (-got, +want)\n- %q\n+ %q", word, got, want)
		}
	}
}

// FuzzLoad: whatever is in a file, loading returns.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{"", "kafka: {}", "a: &a [*a]", "? {a: b}\n: c", "collector: {<<: [{}, 1], realms: {1: 2}}", "collector: &c {<<: *c}", "x: !!binary zzz", "collector: {workers: ${env:X}}", "- ? - : -", "collector: {exporters: [1, {address: }]}"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "weir.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := config.Load(defaults(), config.Source{File: path, Set: []string{"collector.rate=" + text}}); err == nil {
			if _, err := config.Dump(l.Config); err != nil {
				t.Errorf("what was loaded cannot be dumped: %v", err)
			}
		} else if err.Error() == "" || config.Explain(err) == "" {
			t.Error("an error without words")
		}
	})
}
