package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/tap"
)

func (a *app) tapCommand() *cobra.Command {
	var o tap.Options
	var from, to string
	var topics strings.Builder
	var names []string
	for _, t := range tap.Topics {
		fmt.Fprintf(&topics, "\n  %-21s %s", t.Name, t.About)
		names = append(names, t.Name)
	}
	c := &cobra.Command{
		Use:   "tap TOPIC",
		Short: "Print the records of a topic as NDJSON",
		Long: `Prints what a topic holds, one JSON object a line: what is committed, from the
oldest record to the newest at the time of asking, or as it comes with --follow.

--from and --to bound the records by when they were produced: a time (RFC 3339),
a date, or how long ago (15m, 2h, 7d). --where is an expression over the printed
object; empty fields are left out of the output and are there, as zero, in
expressions. Elements whose names are no identifiers are reached by
$env["vendor.element"].

Topics:` + topics.String(),
		Example: examples(
			"weir tap enriched --limit 5",
			"weir tap alerts --follow",
			"weir tap raw --from 15m --where 'destinationTransportPort == 445 && octetDeltaCount > 1e6'",
			"weir tap enriched --where 'initiator.internal && dns.queryName endsWith \".example\"'",
			"weir tap deadletter --meta",
		),
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Topic = args[0]
			if o.Limit < 0 {
				return usagef("--limit %d: must not be negative", o.Limit)
			}
			now := time.Now()
			for _, b := range []struct {
				flag, text string
				to         *time.Time
			}{{"from", from, &o.From}, {"to", to, &o.To}} {
				if b.text == "" {
					continue
				}
				t, err := tap.ParseTime(b.text, now)
				if err != nil {
					return usagef("--%s: %v", b.flag, err)
				}
				*b.to = t
			}
			l, log, err := a.load()
			if err != nil {
				return err
			}
			client, err := kafka.Options(l.Config.Kafka, kafka.Dependencies{Log: log, Service: "tap"}, kafka.RoleConsumer)
			if err != nil {
				return err
			}
			stats, err := tap.Run(cmd.Context(), client, l.Config.Kafka.TopicPrefix, a.out, o)
			var unknown *tap.UnknownTopicError
			var expression *tap.ExpressionError
			if errors.As(err, &unknown) || errors.As(err, &expression) {
				return &UsageError{err}
			}
			if stats.Failed > 0 {
				fmt.Fprintf(a.err, "--where could not be evaluated for %d of %d records, such as: %v\n", stats.Failed, stats.Read, stats.FirstFailure)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "first record to print, by its `TIME` of production")
	f.StringVar(&to, "to", "", "print no record produced at or after this `TIME`")
	f.IntVarP(&o.Limit, "limit", "n", 0, "print at most `N` records")
	f.BoolVarP(&o.Follow, "follow", "f", false, "wait for more at the end; without --from, print only what comes")
	f.StringVar(&o.Where, "where", "", "print only records for which this `EXPR` is true")
	f.BoolVar(&o.Meta, "meta", false, "add topic, partition, offset, time and key as \"@kafka\"")
	f.BoolVar(&o.Ticks, "ticks", false, "print the ticks that move time along, too")
	return c
}
