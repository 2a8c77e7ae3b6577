package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/internal/telemetry"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show which build this is",
		Long: `Shows the version, the commit it was built from and the Go release that built
it: what a bug report should begin with.`,
		Example: examples("weir version"),
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := telemetry.CurrentBuild()
			commit := b.Commit
			if b.Modified {
				commit += " with local changes"
			}
			_, err := fmt.Fprintf(a.out, "weir %s\ncommit %s\n%s\n", b.Version, commit, b.GoVersion)
			return err
		},
	}
}
