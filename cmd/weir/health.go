package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/internal/telemetry"
)

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Ask the service on this host whether it is ready",
		Long: `Asks /readyz of the service that listens at telemetry.listen on this host, and
prints its answer: a line for each of its checks. It is the health check of
containers, whose image holds nothing but this binary.

Exit status: 0 ready, 1 not ready or nobody answers.`,
		Example: examples("weir health", "weir health --set telemetry.listen=127.0.0.1:9601"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, _, err := a.load()
			if err != nil {
				return err
			}
			answer, err := telemetry.Probe(cmd.Context(), l.Config.Telemetry)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.out, answer)
			return err
		},
	}
}
