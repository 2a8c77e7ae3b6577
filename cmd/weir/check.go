package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/internal/config"
	"github.com/weir-flow/weir/pipeline"
)

func (a *app) checkCommand() *cobra.Command {
	var dump, connect bool
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Validate a configuration and every file it names",
		Long: `Reads the configuration as the services would (the file, the environment, --set)
and every file it names: secrets, certificates, rules, databases, lists. It
connects to nothing and starts nothing. All keys that are wrong are reported at
once, with the line at fault; the files are read when the keys are right.
--connect also asks the servers.

Exit status: 0 the configuration is good, 2 it is not, 1 a server (--connect)
cannot be used.`,
		Example: examples(
			"weir check weir.yaml",
			"weir check -c /etc/weir/weir.yaml --connect",
			"weir check weir.yaml --set detector.rules.dirs=[/etc/weir/rules]",
			"weir check --dump      # the configuration in effect, secrets hidden",
		),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if a.configFile != "" && a.configFile != args[0] {
					return usagef("both --config %s and %s are given; which one?", a.configFile, args[0])
				}
				a.configFile = args[0]
			}
			l, log, err := a.load()
			if err != nil {
				return err
			}
			if err := pipeline.CheckFiles(l.Config); err != nil {
				return l.Locate(err)
			}
			if dump {
				text, err := config.Dump(l.Config)
				if err != nil {
					return err
				}
				if _, err := a.out.Write(text); err != nil {
					return err
				}
			}
			name := a.source().File
			if name == "" {
				name = "the configuration (no file, defaults)"
			}
			if connect {
				if err := pipeline.CheckServers(cmd.Context(), l.Config, log); err != nil {
					return err
				}
				fmt.Fprintf(a.err, "%s is good, and its servers answer\n", name)
				return nil
			}
			fmt.Fprintf(a.err, "%s is good\n", name)
			return nil
		},
	}
	c.Flags().BoolVar(&connect, "connect", false, "also try the servers that the configuration names")
	c.Flags().BoolVar(&dump, "dump", false, "print the configuration in effect, with secrets hidden")
	return c
}
