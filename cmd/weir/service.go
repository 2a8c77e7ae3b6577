package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

// serviceHelp is what the help of every service ends with.
const serviceHelp = `

It waits for servers that are not there yet, and says so at /readyz. SIGTERM
drains and exits with status 0 within shutdown_grace; a second one ends it at
once. More of it, started with the same configuration, shares the work.`

// serviceCommand runs roles until it is told to stop.
func (a *app) serviceCommand(use, short, long, example string, roles ...pipeline.Role) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: example,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, log, err := a.load()
			if err != nil {
				return err
			}
			return located(l, pipeline.Run(cmd.Context(), l.Config, pipeline.Options{Roles: roles, Log: log, Stdout: a.out}))
		},
	}
}
