package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/internal/telemetry"
	"github.com/weir-flow/weir/pipeline"
)

// Exit statuses, which scripts and service managers rely on.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// UsageError is a command line that cannot work: exit status 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// app is what the subcommands share: where they read and write, and the
// global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	environ  []string

	configFile string
	set        []string
	logLevel   string
	logFormat  string

	// running is true once a subcommand's own code was reached; errors before
	// that are cobra's about the command line.
	running bool
}

// run executes a command line and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var usage *UsageError
	var wrongConfig config.Errors
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrongConfig):
		fmt.Fprintf(a.err, "weir: the configuration is wrong\n%s\n", config.Explain(err))
		return exitUsage
	case !a.running, errors.As(err, &usage):
		fmt.Fprintf(a.err, "weir: %v\nSee '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(a.err, "weir: %v\n", err)
		return exitFailed
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Flow records in, enriched documents and alerts out",
		Long: `Weir reads the flow records that routers, firewalls and probes export (NetFlow,
IPFIX, sFlow), joins and enriches them, detects attacks in them as they stream by,
and stores flows and alerts in Elasticsearch. Kafka moves the data between the
services; every service scales by starting more of it.

Each service is a subcommand of this one binary. All read the same YAML file
(--config); every key can also be set by an environment variable
(WEIR_COLLECTOR_LISTEN=...) or by --set, which win in that order.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		// No Args: cobra then answers an unknown command with suggestions.
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SuggestionsMinimumDistance = 2

	f := root.PersistentFlags()
	f.StringVarP(&a.configFile, "config", "c", "", "configuration `FILE` (default $WEIR_CONFIG; without it, built-in defaults)")
	f.StringArrayVar(&a.set, "set", nil, "set one configuration key, as `KEY.PATH=VALUE` with a YAML value; repeatable")
	f.StringVar(&a.logLevel, "log-level", "", "log `LEVEL`: debug, info, warn or error (default telemetry.log_level)")
	f.StringVar(&a.logFormat, "log-format", "", "log `FORMAT`: text, json or auto (default telemetry.log_format)")

	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run the pipeline:"},
		&cobra.Group{ID: "look", Title: "Look at data:"},
		&cobra.Group{ID: "operate", Title: "Set up and maintain:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", a.demoCommand(), a.collectorCommand(), a.enricherCommand(), a.detectorCommand(), a.indexerCommand(), a.allCommand())
	add("look", a.analyzeCommand(), a.tapCommand(), a.generateCommand(), a.replayCommand())
	add("operate", a.setupCommand(), a.rulesCommand(), a.checkCommand(), a.healthCommand(), a.versionCommand())
	root.SetHelpCommandGroupID("operate")
	root.SetCompletionCommandGroupID("operate")
	a.mark(root)
	return root
}

// mark notes when a command's own code is reached.
func (a *app) mark(c *cobra.Command) {
	if f := c.RunE; f != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.running = true
			return f(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		a.mark(sub)
	}
}

// source is where the configuration comes from; flags that stand for a key
// come last.
func (a *app) source() config.Source {
	file := a.configFile
	if file == "" {
		for _, e := range a.environ {
			if name, ok := strings.CutPrefix(e, "WEIR_CONFIG="); ok {
				file = name
			}
		}
	}
	set := a.set[:len(a.set):len(a.set)]
	if a.logLevel != "" {
		set = append(set, "telemetry.log_level="+a.logLevel)
	}
	if a.logFormat != "" {
		set = append(set, "telemetry.log_format="+a.logFormat)
	}
	return config.Source{File: file, Environ: a.environ, Set: set}
}

// load reads the configuration and builds the logger, which writes to
// standard error: standard output is for data.
func (a *app) load() (*config.Loaded[pipeline.Config], *slog.Logger, error) {
	return a.loadWith(pipeline.DefaultConfig())
}

// loadWith is load for commands whose defaults differ.
func (a *app) loadWith(defaults pipeline.Config) (*config.Loaded[pipeline.Config], *slog.Logger, error) {
	l, err := config.Load(defaults, a.source())
	var wrong config.Errors
	if err != nil && !errors.As(err, &wrong) {
		return nil, nil, &UsageError{err} // the file cannot be read
	}
	if err != nil {
		return nil, nil, err
	}
	log, err := telemetry.NewLogger(l.Config.Telemetry, a.err)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range l.Warnings {
		log.Warn(w)
	}
	return l, log, nil
}

// located makes an error about what the configuration names (a rule, a
// database) what weir check says of it: with the line, and exit status 2.
func located(l *config.Loaded[pipeline.Config], err error) error {
	var wrong *pipeline.ConfigError
	if errors.As(err, &wrong) {
		return l.Locate(wrong.Err)
	}
	return err
}

// examples indents the examples of a command's help.
func examples(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }
