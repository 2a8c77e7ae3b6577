package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

func (a *app) enricherCommand() *cobra.Command {
	return a.serviceCommand("enricher", "Join and enrich flows",
		`Reads collected flow records from Kafka, joins both directions of a conversation
and the copies that several exporters sent of it, tells who began it, and adds
what is known of both ends: geography, AS, assets, intelligence. What it writes
is committed together with what it read: exactly once.`+serviceHelp,
		examples(
			"weir enricher -c weir.yaml",
			"weir enricher --set enricher.geo.databases=[country.mmdb,asn.mmdb]",
		), pipeline.RoleEnricher)
}
