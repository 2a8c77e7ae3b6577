package detector

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A wrong rule is refused with its place, and a word on what to change.
func TestWrongRules(t *testing.T) {
	for _, tc := range []struct{ from, to, want string }{
		{"id: counting", "id: Counting", `id: "Counting" must be lower-case`},
		{"version: 1", "version: 0", "version: must be at least 1"},
		{"name: Counting", "nam: Counting", `test.yaml:4:1: rule counting: unknown key "nam", did you mean "name"?`},
		{"severity: low", "severity: hgh", `test.yaml:5:11: rule counting: severity is low, medium, high or critical, not "hgh"`},
		{"severity: low", "risk: 3", "severity: is missing"},
		{"severity: low", "severity: low\nrisk: 300", "risk: 300 is not between"},
		{`protocol == "tcp"`, `protcol == "tcp"`, `test.yaml:6:9: rule counting: unknown field "protcol", did you mean "protocol"?`},
		{`protocol == "tcp"`, `"protocol == 'tpc'"`, `test.yaml:6:22: rule counting: unknown value "tpc", did you mean "tcp"?`},
		{`protocol == "tcp"`, "octets", "true or false is needed"},
		{`protocol == "tcp"`, ">-\n  protocol == \"tcp\"\n  and prot == 1", "unknown field"},
		{"[initiator.address]", "[initiator.addr]", `test.yaml:7:7: rule counting: unknown field "initiator.addr", did you mean "initiator.address"?`},
		{"[initiator.address]", "[initiator.roles]", "cannot be counted or be a key"},
		{"[initiator.address]", "[]", "key: is missing"},
		{"[initiator.address]", "[initiator.address]\nentity: responder.address", "not one of the key's"},
		{"{tumbling: 10s}", "{tumbling: 10s, sliding: 1m}", "one of tumbling, sliding and session"},
		{"{tumbling: 10s}", "{tumbling: 10 s}", "is not a duration"},
		{"{tumbling: 10s}", "{tumbling: 10ms}", "not between 1s and 31d"},
		{"{tumbling: 10s}", "{tumblin: 10s}", `unknown key "tumblin", did you mean "tumbling"?`},
		{"{tumbling: 10s}", "{sliding: 1m, hop: 7s}", "must be at least 1s and divide"},
		{"{tumbling: 10s}", "{tumbling: 10s, hop: 5s}", "only a sliding window has a hop"},
		{"{tumbling: 10s}", "{}", "one of tumbling, sliding and session"},
		{"{count: true}", "{cont: true}", `unknown kind or option "cont", did you mean "count"?`},
		{"{count: true}", "{count: octets}", "count needs true or false, this is integer"},
		{"{count: true}", "{sum: failed}", "sum needs integer, this is true or false"},
		{"{count: true}", "{count: true, limit: 3}", "count has no option limit"},
		{"{count: true}", "{where: failed}", "has no kind"},
		{"{count: true}", "{count: true, where: octets}", "true or false is needed"},
		{"{count: true}", "5", "write {kind: expression}"},
		{"flows: {count", "Flows: {count", "must be lower-case letters"},
		{"flows: {count", "true: {count", "must be lower-case letters"},
		{"{top: responder.port}", "{top: responder.port, limit: 99}", "limit: 99 is not between"},
		{"flows >= 3", "flow >= 3", `unknown field "flow", did you mean "flows"?`},
		{"flows >= 3", "flows >= ", "unexpected token"},
		{"flows >= 3", "flows", "true or false is needed"},
		{"flows >= 3", "responder.port == 3", "unknown field"},
		{"condition: flows >= 3", "confidence: 1", "condition: is missing"},
		{"when: flows >= 50", "when: flws >= 50", `did you mean "flows"?`},
		{"when: flows >= 50, severity: high", "when: flows >= 50", "a severity is missing"},
		{"quiet: 20s", "evidence: [flows]", `"flows" is not a top aggregate`},
		{"quiet: 20s", "suppress: [{when: failed}]", "a reason is missing"},
		{"quiet: 20s", "suppress: [{when: failed, reason: x, expires: tomorrow}]", "is not a day"},
		{"quiet: 20s", "keys: -1", "keys: -1 is negative"},
		{"quiet: 20s", "reason: '{entity} did {something}'", `reason: unknown placeholder {something}`},
		{"quiet: 20s", "population: {key: [responder.address]}", "needs key, aggregates and condition"},
		{"quiet: 20s", "population: {key: [responder.address], aggregates: {flows: {count: true}}, condition: flows > 1}", "has the name of one of the rule's"},
		{"quiet: 20s", "attack: [{tactic: discovery}]", `attack: tactic "discovery" is not an id such as TA0007`},
		{"quiet: 20s", "attack: [{tactic: TA0007, techniques: [scan]}]", `attack: technique "scan" is not an id such as T1046`},
		{"quiet: 20s", "tests: [{name: x, flows: [{initiator.adress: 10.0.0.1}]}]", `unknown field "initiator.adress", did you mean "initiator.address"?`},
		{"quiet: 20s", "tests: [{name: x, expected: []}]", `unknown key "expected", did you mean "expect"?`},
		{"[initiator.address]", "[responder.address]\nslice: 3s", "slice: 3000ms must divide"},
		{"id: counting", "id: [", "test.yaml"},
	} {
		text := strings.TrimPrefix(strings.Replace(counting, tc.from, tc.to, 1), "\n")
		_, err := ParseRules("test.yaml", []byte("\n"+text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s (-got, +want)\n- %v\n+ %s", tc.to, err, tc.want)
		}
		var fault *RuleError
		if err != nil && !errors.As(err, &fault) {
			t.Errorf("%s: %T is no *RuleError", tc.to, err)
		}
	}
}

func TestLoadRules(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(rules []*Rule) (list []string) {
		for _, r := range rules {
			list = append(list, r.ID)
		}
		return list
	}
	write("own.yaml", counting+"---\n"+strings.Replace(counting, "id: counting", "id: beacon", 1))
	rules, err := LoadRules(RulesConfig{Dirs: []string{dir}, Disabled: []string{"tor-use"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"beacon", "counting", "ddos-victim", "horizontal-scan", "spam-sender", "worm-spread"}
	if got := ids(rules); !slices.Equal(got, want) {
		t.Errorf("(-got, +want)\n- %v\n+ %v", got, want)
	}
	if rules[0].Name != "Counting" {
		t.Errorf("the shipped beacon was not replaced: %q", rules[0].Name)
	}
	write("twice.yaml", counting)
	write("wrong.yaml", "id: x\n")
	_, err = LoadRules(RulesConfig{Dirs: []string{dir, filepath.Join(dir, "absent")}, Disabled: []string{"tor-usage"}})
	for _, want := range []string{"twice.yaml", "the id is taken", "wrong.yaml", "absent", `"tor-usage" does not exist, did you mean "tor-use"?`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error (-got, +want)\n- %v\n+ %s", err, want)
		}
	}
	if _, err := New(Config{Rules: RulesConfig{NoShipped: true}, UpdatePace: 1e9}, Dependencies{}); err == nil {
		t.Error("a detector without rules was made")
	}
}

// A test that fails says what came and what was expected; a rule without tests
// fails.
func TestTestRules(t *testing.T) {
	r := parse(t, counting+`
tests:
  - name: too high a hope
    flows: [{every: 1s, repeat: 5, initiator.address: 10.0.0.1}, {every: 1s, repeat: 5, initiator.address: 10.0.0.2}]
    expect: [{entity: 10.0.0.1, severity: low}, {entity: 10.0.0.2, severity: high}, {entity: 10.0.0.3}]
  - name: right
    flows: [{every: 1s, repeat: 2, initiator.address: 10.0.0.1}]
    expect: []
`)
	results := TestRules([]*Rule{r, parse(t, counting)})
	if len(results) != 3 || results[0].Passed() || !results[1].Passed() || results[2].Passed() || results[2].Err == nil {
		t.Fatalf("%+v", results)
	}
	want := []string{"- 10.0.0.2, low, after 2s: 10.0.0.2: flows 3 in 10s", "+ 10.0.0.2, high", "+ 10.0.0.3"}
	if got := results[0].Diff; !slices.Equal(got, want) {
		t.Errorf("(-got, +want)\n- %s\n+ %s", strings.Join(got, "\n- "), strings.Join(want, "\n+ "))
	}
}
