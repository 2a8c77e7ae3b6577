package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

func (a *app) collectorCommand() *cobra.Command {
	c := a.serviceCommand("collector", "Receive NetFlow, IPFIX and sFlow, decode it, bring it to Kafka",
		`Listens for what exporters send over UDP, decodes NetFlow v1, v5, v7, v9, IPFIX
and sFlow v5 to flow records, and brings them to Kafka. When Kafka is slow or
away records go to a spool on disk, and follow in order when it is back. What is
lost is counted.

With --output stdout it prints the records as NDJSON instead, and needs no
Kafka: the quickest way to see what a router sends.`+serviceHelp,
		examples(
			"weir collector --output stdout",
			"weir collector --set 'collector.listen=[netflow://0.0.0.0:9995]' --output stdout | jq .sourceIPAddress",
			"weir collector -c weir.yaml",
		), pipeline.RoleCollector)
	var output string
	c.Flags().StringVar(&output, "output", "", "`WHERE` records go: kafka or stdout (default collector.output)")
	c.PreRun = func(*cobra.Command, []string) {
		if output != "" {
			a.set = append(a.set, "collector.output="+output)
		}
	}
	return c
}
