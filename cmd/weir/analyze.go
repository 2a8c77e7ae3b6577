package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/pipeline"
)

func (a *app) analyzeCommand() *cobra.Command {
	var format string
	var flows bool
	c := &cobra.Command{
		Use:   "analyze FILE...",
		Short: "Find what is in recorded exports, without any server",
		Long: `Takes recorded export datagrams (pcap, pcapng, files of datagrams, each also
gzip-compressed) through decoder, enricher and detector in this process, and
prints the alerts: one line each, or with -o json every revision of every alert
document. It needs neither Kafka nor Elasticsearch.

With --flows it prints the records instead, as the collector decodes them:
NDJSON with the names of IPFIX information elements.

Time is the export time in the datagrams. The configuration says which networks
are internal, and where inventory, geolocation and intelligence are.`,
		Example: examples(
			"weir analyze monday.pcap",
			"weir analyze monday.pcap -o json | jq 'select(.event.kind==\"alert\")'",
			"weir analyze export.pcap --flows | jq -c '[.sourceIPAddress,.octetDeltaCount]'",
			"weir analyze -c weir.yaml *.pcap",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			l, log, err := a.load()
			if err != nil {
				return err
			}
			o := pipeline.AnalyzeOptions{Format: pipeline.AnalyzeFormat(format), Out: a.out, Log: log}
			switch {
			case flows && cmd.Flags().Changed("output") && format != "json":
				return usagef("--flows prints JSON; leave -o %s off", format)
			case flows:
				o.Format = pipeline.AnalyzeFlows
			case format != string(pipeline.AnalyzeTable) && format != string(pipeline.AnalyzeJSON):
				return usagef("-o %q: want table or json", format)
			}
			s, err := pipeline.Analyze(cmd.Context(), l.Config, files, o)
			err = located(l, err)
			if err == nil && o.Format != pipeline.AnalyzeFlows {
				fmt.Fprintf(a.err, "%d datagrams, %d flow records, %d enriched flows, %d alerts", s.Datagrams, s.Records, s.Enriched, s.Alerts)
				if s.Skipped+s.Rejected+s.Refused > 0 {
					fmt.Fprintf(a.err, "; %d packets without UDP, %d undecodable, %d records refused", s.Skipped, s.Rejected, s.Refused)
				}
				fmt.Fprintln(a.err)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&format, "output", "o", "table", "`FORMAT` of the alerts: table or json")
	f.BoolVar(&flows, "flows", false, "print the decoded records as NDJSON instead of alerts")
	return c
}
