package detector

import (
	"strings"
	"testing"
)

// The shipped rules are tested by their own tests.
func TestShippedRules(t *testing.T) {
	rules, err := LoadRules(RulesConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range TestRules(rules) {
		t.Run(r.Rule+"/"+r.Test, func(t *testing.T) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if len(r.Diff) > 0 {
				t.Errorf("alerts (-got, +want)\n%s", strings.Join(r.Diff, "\n"))
			}
		})
	}
}
