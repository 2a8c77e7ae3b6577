package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/detector"
	"github.com/weir-flow/weir/internal/config"
)

func (a *app) rulesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "List, show and test the detection rules",
		Long: `A rule is a YAML file: what it looks for, how to investigate what it finds, and
its own tests. The shipped rules are in the binary; detector.rules.dirs adds
directories of your own, where a rule with the id of a shipped one replaces it.`,
		Example: examples("weir rules list", "weir rules show beacon", "weir rules test my-rule.yaml"),
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(a.rulesListCommand(), a.rulesShowCommand(), a.rulesTestCommand())
	return c
}

// rules loads the rules of the configuration; a wrong rule is a wrong
// configuration.
func (a *app) rules() ([]*detector.Rule, error) {
	l, _, err := a.load()
	if err != nil {
		return nil, err
	}
	rules, err := detector.LoadRules(l.Config.Detector.Rules)
	if err != nil {
		return nil, &UsageError{err}
	}
	return rules, nil
}

func (a *app) rulesListCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the rules that are run",
		Long: `Lists the rules that the detector would run with this configuration: their ids,
severities, MITRE ATT&CK techniques and where they come from.`,
		Example: examples("weir rules list", "weir rules list -o json", "weir rules list --set detector.rules.dirs=[/etc/weir/rules]"),
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rules, err := a.rules()
			if err != nil {
				return err
			}
			switch format {
			case "table":
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tSEVERITY\tATT&CK\tNAME\tFROM")
				for _, r := range rules {
					fmt.Fprintf(w, "%s\t%v\t%s\t%s\t%s\n", r.ID, r.Severity, strings.Join(r.Techniques(), " "), r.Name, r.File())
				}
				return w.Flush()
			case "json":
				enc := json.NewEncoder(a.out)
				for _, r := range rules {
					err := enc.Encode(map[string]any{
						"id": r.ID, "version": r.Version, "name": r.Name, "severity": r.Severity.String(),
						"techniques": r.Techniques(), "tests": len(r.Tests), "file": r.File(),
					})
					if err != nil {
						return err
					}
				}
				return nil
			}
			return usagef("--output %q: want table or json", format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "table", "`FORMAT`: table, or json, one object a line")
	return c
}

func (a *app) rulesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show RULE",
		Short: "Show what a rule looks for, and how to investigate its alerts",
		Long: `Shows a rule for whoever has one of its alerts on the desk: what it looks for and
when it fires, what to look at first, and which false positives are known.`,
		Example: examples("weir rules show beacon"),
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			rules, err := a.rules()
			if err != nil {
				return err
			}
			r, err := findRule(rules, args[0])
			if err != nil {
				return err
			}
			return showRule(a.out, r)
		},
	}
}

func findRule(rules []*detector.Rule, id string) (*detector.Rule, error) {
	var ids []string
	for _, r := range rules {
		if r.ID == id {
			return r, nil
		}
		ids = append(ids, r.ID)
	}
	hint := ""
	if s := config.Suggest(id, ids); s != "" {
		hint = "; did you mean " + s + "?"
	}
	return nil, usagef("there is no rule %q%s (weir rules list shows them)", id, hint)
}

func showRule(out io.Writer, r *detector.Rule) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\nversion %d, severity %v, from %s\n\n%s\n", r.ID, r.Name, r.Version, r.Severity, r.File(), strings.TrimSpace(r.Description))
	for _, t := range r.Attack {
		fmt.Fprintf(&b, "\nATT&CK %s: %s", t.Tactic, strings.Join(t.Techniques, ", "))
	}
	fmt.Fprintf(&b, "\n\nLooks at flows where\n  %s\nand fires, %s, when\n  %s\n", r.Filter.Value, window(r.Window), r.Condition.Value)
	for _, e := range r.Escalate {
		fmt.Fprintf(&b, "  %v when %s\n", e.Severity, e.When.Value)
	}
	for _, part := range []struct {
		title string
		items []string
	}{{"To investigate", r.Investigate}, {"Known false positives", r.FalsePositives}, {"References", r.References}} {
		if len(part.items) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s:\n", part.title)
		for _, i := range part.items {
			fmt.Fprintf(&b, "  - %s\n", i)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func window(w detector.Window) string {
	switch {
	case w.Tumbling > 0:
		return "within each " + config.FormatDuration(time.Duration(w.Tumbling))
	case w.Session > 0:
		return "within a session that ends after " + config.FormatDuration(time.Duration(w.Session)) + " of silence"
	}
	return "within any " + config.FormatDuration(time.Duration(w.Sliding))
}

func (a *app) rulesTestCommand() *cobra.Command {
	var quiet bool
	c := &cobra.Command{
		Use:   "test [RULE|FILE]...",
		Short: "Run the tests that rules carry",
		Long: `Runs the tests of rules, each rule by itself and through both stages of the
detector, as the pipeline would: the flows of a test go in, and the alerts it
expects must come out, and no others. Without arguments it tests every rule of
the configuration; a FILE need not be in a rule directory yet.

Exit status: 0 all passed, 1 a test failed, 2 a rule does not load.`,
		Example: examples("weir rules test", "weir rules test beacon spam-sender", "weir rules test my-rule.yaml"),
		RunE: func(_ *cobra.Command, args []string) error {
			rules, err := a.testedRules(args)
			if err != nil {
				return err
			}
			failed := 0
			results := detector.TestRules(rules)
			for _, r := range results {
				switch {
				case r.Err != nil:
					failed++
					fmt.Fprintf(a.out, "FAIL %s: %s: %v\n", r.Rule, r.Test, r.Err)
				case !r.Passed():
					failed++
					fmt.Fprintf(a.out, "FAIL %s: %s (-got, +want)\n  %s\n", r.Rule, r.Test, strings.Join(r.Diff, "\n  "))
				case !quiet:
					fmt.Fprintf(a.out, "ok   %s: %s (%d flows)\n", r.Rule, r.Test, r.Flows)
				}
			}
			fmt.Fprintf(a.out, "%d tests of %d rules, %d failed\n", len(results), len(rules), failed)
			if failed > 0 {
				return fmt.Errorf("%d of %d rule tests failed", failed, len(results))
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print failures and the summary only")
	return c
}

// testedRules are those that the arguments name: rules by id, files by path.
func (a *app) testedRules(args []string) ([]*detector.Rule, error) {
	isFile := func(s string) bool {
		return strings.HasSuffix(s, ".yaml") || strings.HasSuffix(s, ".yml") || strings.ContainsRune(s, '/')
	}
	if len(args) == 0 || !slices.ContainsFunc(args, isFile) {
		rules, err := a.rules()
		if err != nil || len(args) == 0 {
			return rules, err
		}
		return pick(rules, args)
	}
	var out []*detector.Rule
	var errs []error
	for _, arg := range args {
		if !isFile(arg) {
			return nil, usagef("give either rules or files, not both")
		}
		data, err := os.ReadFile(arg)
		if err != nil {
			return nil, &UsageError{err}
		}
		rules, err := detector.ParseRules(arg, data)
		out, errs = append(out, rules...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &UsageError{err}
	}
	return out, nil
}

func pick(rules []*detector.Rule, ids []string) ([]*detector.Rule, error) {
	var out []*detector.Rule
	for _, id := range ids {
		r, err := findRule(rules, id)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
