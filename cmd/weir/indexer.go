package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

func (a *app) indexerCommand() *cobra.Command {
	return a.serviceCommand("indexer", "Write flows and alerts to Elasticsearch",
		`Writes enriched flows and alerts as ECS documents into Elasticsearch's data
streams. Offsets are committed after Elasticsearch has acknowledged, and every
document has an id of its own, so that nothing is lost and nothing is there
twice. While Elasticsearch is away it waits; what Elasticsearch refuses goes to
the dead letter ('weir tap deadletter'). 'weir setup' puts the templates.`+serviceHelp,
		examples(
			"weir indexer -c weir.yaml",
			"weir indexer --set elasticsearch.urls=[https://es1:9200] --set 'elasticsearch.api_key=${file:/run/secrets/key}'",
		), pipeline.RoleIndexer)
}
