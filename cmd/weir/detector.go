package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

func (a *app) detectorCommand() *cobra.Command {
	return a.serviceCommand("detector", "Run the detection rules",
		`Runs the rules over enriched flows and writes alerts to Kafka: opened once,
updated while they go on, closed when it is quiet. Its state survives a kill and
follows its partitions; the alerts are those of an undisturbed run. See
'weir rules' for the rules.`+serviceHelp,
		examples(
			"weir detector -c weir.yaml",
			"weir detector --set detector.rules.dirs=[/etc/weir/rules]",
		), pipeline.RoleDetector)
}
