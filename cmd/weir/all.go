package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

func (a *app) allCommand() *cobra.Command {
	return a.serviceCommand("all", "Run every service in one process",
		`Runs the whole pipeline in one process, for small sites and for development. The
services still talk through Kafka alone, so that parts can move to processes of
their own later: same configuration, same topics, same state.`+serviceHelp,
		examples(
			"weir setup -c weir.yaml && weir all -c weir.yaml",
		), pipeline.Roles()...)
}
