package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

func (a *app) setupCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "setup [kafka] [elasticsearch]",
		Short: "Make the topics and templates that the services need",
		Long: `Makes what the services rely on and do not make themselves: Kafka's topics, and
Elasticsearch's templates. It is safe to repeat: what is there and as it should
be is left alone, what differs is brought up to date, and nothing is deleted.
Run it before the first start and after every upgrade; --dry-run shows what it
would do.

Without arguments it sets up both. It needs more privileges than the services
do: give it a user of its own.`,
		Example: examples(
			"weir setup -c weir.yaml --dry-run",
			"weir setup -c weir.yaml",
			"weir setup kafka --set kafka.partitions=16",
		),
		Args:      cobra.MatchAll(cobra.OnlyValidArgs, cobra.MaximumNArgs(2)),
		ValidArgs: pipeline.SetupTargets(),
		RunE: func(cmd *cobra.Command, targets []string) error {
			l, log, err := a.load()
			if err != nil {
				return err
			}
			return pipeline.Setup(cmd.Context(), l.Config, log, targets, dryRun, func(line string) {
				fmt.Fprintln(a.out, line)
			})
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done, and do nothing")
	return c
}
