package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// weir is the binary that the tests execute: exit statuses, signals and
// streams are its contract.
var weir string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	weir = filepath.Join(dir, "weir")
	if out, err := exec.Command("go", "build", "-o", weir, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// environment is that of the tests without what would configure Weir.
func environment(extra ...string) []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WEIR_") {
			env = append(env, e)
		}
	}
	return append(env, extra...)
}

type result struct {
	status   int
	out, err string
}

func run(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.CommandContext(t.Context(), weir, args...)
	c.Env, c.Stdout, c.Stderr = environment(env...), &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a configuration names and cannot be used is told by services as by
// weir check, with the status that keeps service managers from trying again.
func TestUnusableFilesAreUsageErrors(t *testing.T) {
	c := file(t, "enricher:\n  geo: {databases: [/dev/null]}\n")
	for _, args := range [][]string{{"check"}, {"enricher"}, {"all"}, {"analyze", "x.pcap"}} {
		r := run(t, nil, append(args, "-c", c)...)
		if r.status != 2 || !strings.Contains(r.err, c+":2:") || !strings.Contains(r.err, "enricher: geo database /dev/null: ") {
			t.Errorf("%v: status %d\n%s", args, r.status, r.err)
		}
	}
}

// commands returns the words of every subcommand, by walking the help.
func commands(t *testing.T) [][]string {
	t.Helper()
	listed := regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) {2,}\S`)
	var all [][]string
	var walk func(path []string)
	walk = func(path []string) {
		all = append(all, path)
		r := run(t, nil, append(slices.Clone(path), "--help")...)
		body, _, _ := strings.Cut(r.out, "\nFlags:")
		_, body, ok := strings.Cut(body, "weir "+strings.Join(append(slices.Clone(path), "[command]"), " "))
		if !ok {
			return
		}
		for _, m := range listed.FindAllStringSubmatch(body, -1) {
			if m[1] != "help" {
				walk(append(slices.Clone(path), m[1]))
			}
		}
	}
	walk(nil)
	return all
}

// Every command explains itself, with examples, and none is a stub.
func TestHelpOfEveryCommand(t *testing.T) {
	all := commands(t)
	if len(all) < 8 {
		t.Fatalf("only %d commands found: %v", len(all), all)
	}
	for _, path := range all {
		name := "weir " + strings.Join(path, " ")
		r := run(t, nil, append(slices.Clone(path), "--help")...)
		if r.status != 0 || r.err != "" {
			t.Errorf("%s --help: status %d, stderr %q", name, r.status, r.err)
		}
		lines := strings.Split(r.out, "\n")
		if text, _, _ := strings.Cut(r.out, "Usage:"); len(strings.Fields(text)) < 10 {
			t.Errorf("%s --help does not explain: %q", name, text)
		}
		for _, l := range lines {
			if len([]rune(l)) > 160 {
				t.Errorf("%s --help: a line of %d characters: %s", name, len(l), l)
			}
		}
		group := strings.Contains(r.out, "[command]")
		if !group && !slices.Contains(path, "completion") && !strings.Contains(r.out, "Examples:\n") {
			t.Errorf("%s --help shows no example", name)
		}
		if regexp.MustCompile(`(?i)not (yet )?implemented|todo|coming soon`).MatchString(r.out) {
			t.Errorf("%s is a stub", name)
		}
	}
}

// The examples of the help use flags that exist.
func TestExamplesUseRealFlags(t *testing.T) {
	flag := regexp.MustCompile(`(?:^| )(--?[a-z][a-z-]*)`)
	for _, path := range commands(t) {
		r := run(t, nil, append(slices.Clone(path), "--help")...)
		_, rest, ok := strings.Cut(r.out, "Examples:\n")
		if !ok || slices.Contains(path, "completion") {
			continue
		}
		body, flags, _ := strings.Cut(rest, "\nFlags:")
		for line := range strings.Lines(body) {
			line, _, _ = strings.Cut(line, "   #")
			if !strings.HasPrefix(strings.TrimSpace(line), "weir "+strings.Join(path, " ")) {
				continue
			}
			// What stands in quotes is a value.
			line = regexp.MustCompile(`'[^']*'`).ReplaceAllString(line, "")
			for _, m := range flag.FindAllStringSubmatch(line, -1) {
				if !regexp.MustCompile(`(?m)^ +(-., )?` + m[1] + `\b|^ +` + m[1] + `, `).MatchString(flags) {
					t.Errorf("weir %s: the example %q uses %s, which is no flag", strings.Join(path, " "), strings.TrimSpace(line), m[1])
				}
			}
		}
	}
}

func TestExitStatus(t *testing.T) {
	good := file(t, "telemetry: {log_level: debug}\n")
	bad := file(t, "telemetry:\n  log_levl: debug\n")
	for _, tc := range []struct {
		name   string
		env    []string
		args   []string
		status int
		err    []string
	}{
		{"no command is the help", nil, nil, 0, nil},
		{"unknown command", nil, []string{"chek"}, 2, []string{`unknown command "chek"`, "Did you mean this?", "check"}},
		{"unknown flag", nil, []string{"check", "--nope"}, 2, []string{"unknown flag: --nope", "weir check --help"}},
		{"missing argument", nil, []string{"tap"}, 2, []string{"accepts 1 arg(s)"}},
		{"missing flag", nil, []string{"replay", "x.pcap"}, 2, []string{`required flag(s) "to" not set`}},
		{"flags that exclude each other", nil, []string{"generate", "--to", "127.0.0.1:1", "--pcap", "x"}, 2, []string{"either"}},
		{"two things on standard output", nil, []string{"generate", "--pcap", "-", "--truth", "-"}, 2, []string{"--truth -"}},
		{"unknown topic", nil, []string{"tap", "enrichd"}, 2, []string{"did you mean enriched?"}},
		{"unknown scenario", nil, []string{"generate", "--pcap", os.DevNull, "--scenario", "wurm"}, 2, []string{"unknown scenario"}},
		{"no such recording", nil, []string{"replay", "/nonexistent.pcap", "--to", "127.0.0.1:9"}, 1, []string{"/nonexistent.pcap"}},
		{"good configuration", nil, []string{"check", good}, 0, []string{good + " is good"}},
		{"good configuration from the environment", []string{"WEIR_CONFIG=" + good}, []string{"check"}, 0, []string{good + " is good"}},
		{"bad configuration, with the line", nil, []string{"check", bad}, 2, []string{bad + ":2:3: telemetry.log_levl: unknown key; did you mean telemetry.log_level?", "    2 |   log_levl: debug\n      |   ^"}},
		{"no such configuration", nil, []string{"check", "/nonexistent.yaml"}, 2, []string{"configuration file /nonexistent.yaml: no such file"}},
		{"bad --set", nil, []string{"check", "--set", "telemetry.listen=nowhere"}, 2, []string{"--set: telemetry.listen: want HOST:PORT"}},
		{"bad environment", []string{"WEIR_TELEMETRY_PPROF=perhaps"}, []string{"check"}, 2, []string{"environment WEIR_TELEMETRY_PPROF: telemetry.pprof: want a boolean"}},
		{"bad --log-level", nil, []string{"check", "--log-level", "loud"}, 2, []string{"telemetry.log_level: want debug, info, warn or error"}},
		{"a file that the configuration names", nil, []string{"check", "--set", "elasticsearch.ca_file=/nonexistent.pem"}, 2, []string{"elasticsearch.ca_file: open /nonexistent.pem"}},
		{"servers that are not there", nil, []string{"check", "--connect", "--set", "kafka.brokers=[127.0.0.1:1]", "--set", "elasticsearch.urls=[http://127.0.0.1:1]"}, 1, []string{"kafka.brokers", "elasticsearch.urls"}},
		{"records to nowhere", nil, []string{"collector", "--output", "printer"}, 2, []string{"collector.output"}},
		{"analyze prints neither", nil, []string{"analyze", "x.pcap", "-o", "xml"}, 2, []string{"want table or json"}},
		{"unknown rule", nil, []string{"rules", "show", "beaco"}, 2, []string{"did you mean beacon?"}},
		{"a rule that does not load", nil, []string{"rules", "test", file(t, "id: x\nnam: y\n")}, 2, []string{`:2:1: `, `unknown key "nam"`}},
		{"setup of something else", nil, []string{"setup", "mail"}, 2, []string{`invalid argument "mail"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := run(t, tc.env, tc.args...)
			if r.status != tc.status {
				t.Errorf("status (-got, +want)\n- %d\n+ %d\n%s", r.status, tc.status, r.err)
			}
			for _, w := range tc.err {
				if !strings.Contains(r.err, w) {
					t.Errorf("stderr (-got, +want)\n- %s\n+ %s", r.err, w)
				}
			}
			if tc.status != 0 && r.out != "" {
				t.Errorf("an error wrote to standard output: %s", r.out)
			}
		})
	}
}

func TestCheckDumpHidesSecretsAndLoadsAgain(t *testing.T) {
	r := run(t, []string{"PW=hunter2"}, "check", "--dump", "--set", "elasticsearch.username=u", "--set", "elasticsearch.password=${env:PW}")
	if r.status != 0 || strings.Contains(r.out+r.err, "hunter2") || !strings.Contains(r.out, "password: '[redacted]'") {
		t.Fatalf("status %d\n%s%s", r.status, r.out, r.err)
	}
	if again := run(t, nil, "check", file(t, r.out)); again.status != 0 {
		t.Errorf("the dump does not load: %s", again.err)
	}
}

func TestVersion(t *testing.T) {
	r := run(t, nil, "version")
	if r.status != 0 || !regexp.MustCompile(`^weir \S+\ncommit .+\ngo1\.`).MatchString(r.out) {
		t.Errorf("status %d: %s", r.status, r.out)
	}
}

func TestCompletion(t *testing.T) {
	r := run(t, nil, "completion", "bash")
	if r.status != 0 || !strings.Contains(r.out, "__start_weir") {
		t.Errorf("status %d", r.status)
	}
	if r := run(t, nil, "__complete", "tap", "enr"); !strings.Contains(r.out, "enriched") {
		t.Errorf("topics are not completed: %s", r.out)
	}
}

func TestRules(t *testing.T) {
	r := run(t, nil, "rules", "list", "-o", "json")
	var ids []string
	for line := range strings.Lines(r.out) {
		var rule struct {
			ID         string
			Techniques []string
			Tests      int
		}
		if err := json.Unmarshal([]byte(line), &rule); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if len(rule.Techniques) == 0 || rule.Tests == 0 {
			t.Errorf("%s has no ATT&CK technique or no test", line)
		}
		ids = append(ids, rule.ID)
	}
	if r.status != 0 || !slices.Contains(ids, "beacon") {
		t.Fatalf("status %d, rules %v: %s", r.status, ids, r.err)
	}
	if r := run(t, nil, "rules", "show", "beacon"); r.status != 0 || !strings.Contains(r.out, "To investigate:") {
		t.Errorf("show: status %d: %s%s", r.status, r.out, r.err)
	}
	if r := run(t, nil, "rules", "test", "beacon"); r.status != 0 || !strings.Contains(r.out, "ok   beacon: ") {
		t.Errorf("test: status %d: %s%s", r.status, r.out, r.err)
	}
	// A rule whose expectation is wrong fails, and says how.
	wrong := file(t, `id: noisy
version: 1
name: Noisy
description: One flow is enough.
severity: low
attack: [{tactic: TA0043, techniques: [T1595]}]
filter: initiator.internal
key: [initiator.address]
window: {tumbling: 5m}
aggregates: {flows: {count: true}}
condition: flows >= 1
reason: "{entity} made {flows} flows."
tests:
  - name: silent, wrongly
    flows: [{initiator.address: 10.0.0.1, responder.address: 198.51.100.1}]
    expect: []
`)
	if r := run(t, nil, "rules", "test", wrong); r.status != 1 || !strings.Contains(r.out, "FAIL noisy: silent, wrongly (-got, +want)") {
		t.Errorf("status %d (want 1): %s%s", r.status, r.out, r.err)
	}
}

// The same seed gives the same traffic; the truth is NDJSON.
func TestGenerateWritesCaptureAndTruth(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) []byte {
		path := filepath.Join(dir, name)
		r := run(t, nil, "generate", "--pcap", path, "--seed", "7", "--start", "2026-03-01T08:00:00Z", "--duration", "20m",
			"--flow-rate", "2", "--hosts", "300", "--scenario", "spam", "--truth", path+".truth")
		if r.status != 0 || !strings.Contains(r.err, "seed 7, from 2026-03-01T08:00:00Z to 2026-03-01T08:20:00Z") {
			t.Fatalf("status %d: %s", r.status, r.err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := write("a.pcap")
	if len(first) < 1000 || !bytes.Equal(first, write("b.pcap")) {
		t.Errorf("the same seed gives other bytes, or none (%d)", len(first))
	}
	truth, err := os.ReadFile(filepath.Join(dir, "a.pcap.truth"))
	if err != nil {
		t.Fatal(err)
	}
	var attacks []string
	for line := range bytes.Lines(truth) {
		var e struct{ Name, Kind string }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Kind == "attack" {
			attacks = append(attacks, e.Name)
		}
	}
	if want := []string{"spam"}; !slices.Equal(attacks, want) {
		t.Errorf("attacks (-got, +want)\n- %v\n+ %v", attacks, want)
	}
}

// What generate plays and the collector prints are the same records, and
// SIGTERM drains it with status 0.
func TestCollectorToStdout(t *testing.T) {
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to := free.LocalAddr().String()
	free.Close()
	c := exec.CommandContext(t.Context(), weir, "collector", "--output", "stdout", "--log-format", "json",
		"--set", "collector.listen=[netflow://"+to+"]", "--set", "telemetry.listen=''", "--set", "collector.stream_time=export")
	c.Env = environment()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer watchdog.Stop()
	// It logs that it listens before it is sent anything.
	ready := bufio.NewScanner(logs)
	for ready.Scan() && !strings.Contains(ready.Text(), to) {
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	r := run(t, nil, "generate", "--to", to, "--seed", "1", "--duration", "10m", "--hosts", "300", "--flow-rate", "1", "--benign", "--speed", "0", "--rate", "500")
	if r.status != 0 {
		t.Fatal(r.err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	flows := 0
	for lines.Scan() {
		var record struct {
			Kind, SourceIPAddress string
			OctetDeltaCount       int64
		}
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		if record.Kind == "flow" && record.SourceIPAddress != "" {
			if flows++; flows == 20 {
				if err := c.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := c.Wait(); err != nil || flows < 20 {
		t.Errorf("%v after %d flows", err, flows)
	}
}

// A recording is analysed without any server.
func TestAnalyze(t *testing.T) {
	pcap := filepath.Join(t.TempDir(), "x.pcap")
	if r := run(t, nil, "generate", "--pcap", pcap, "--seed", "3", "--duration", "30m", "--hosts", "300", "--flow-rate", "3", "--scenario", "spam"); r.status != 0 {
		t.Fatal(r.err)
	}
	r := run(t, nil, "analyze", pcap, "-o", "json")
	if r.status != 0 || !strings.Contains(r.out, "spam-sender") {
		t.Errorf("status %d: %.500s\n%s", r.status, r.out, r.err)
	}
	flows := run(t, nil, "analyze", pcap, "--flows")
	if flows.status != 0 || strings.Count(flows.out, "\n") < 1000 {
		t.Errorf("status %d, %d flows: %s", flows.status, strings.Count(flows.out, "\n"), flows.err)
	}
}

// What generate writes, replay sends; SIGTERM ends it at once with status 0.
func TestReplayAndSignal(t *testing.T) {
	pcap := filepath.Join(t.TempDir(), "x.pcap")
	if r := run(t, nil, "generate", "--pcap", pcap, "--seed", "1", "--duration", "10m", "--hosts", "300", "--flow-rate", "1", "--benign"); r.status != 0 {
		t.Fatal(r.err)
	}
	listen := func() (*net.UDPConn, string) {
		sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sink.Close() })
		return sink, sink.LocalAddr().String()
	}
	_, to := listen()
	r := run(t, nil, "replay", pcap, "--to", to, "--speed", "0")
	if r.status != 0 || !regexp.MustCompile(`sent .*: [1-9]\d* datagrams`).MatchString(r.err) {
		t.Fatalf("status %d: %s", r.status, r.err)
	}

	sink, to := listen()
	c := exec.CommandContext(t.Context(), weir, "replay", pcap, "--to", to) // ten minutes, unless stopped
	c.Env = environment()
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := sink.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sink.ReadFromUDP(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%v: %s", err, errs.String())
	}
}
