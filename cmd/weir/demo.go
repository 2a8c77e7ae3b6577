package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/telemetry"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/pipeline/demo"
)

func (a *app) demoCommand() *cobra.Command {
	o := demo.Options{Generator: generator.DefaultConfig(), Speed: 720}
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a generated day, with attacks, through the whole pipeline",
		Long: `Brings up what is missing (a real Apache Kafka and a real Elasticsearch, from a
JDK and Maven; without these a broker in this process), plays some hours in the
life of a generated enterprise as NetFlow and IPFIX over UDP on the loopback,
and shows flows and alerts as they come about. The generated day ends now.

At the end it compares the alerts with the truth about the traffic, and adds up
the counts of every stage. With --once it then ends: with status 0 only when
every attack was found, nothing else was alerted, and the counts agree.
Otherwise the servers stay up for you to look around.`,
		Example: examples(
			"weir demo",
			"weir demo --once --seed 7",
			"weir demo --kafka broker:9092 --elasticsearch http://es:9200",
		),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Speed <= 0 {
				return usagef("--speed %v: must be above 0", o.Speed)
			}
			defaults := pipeline.DefaultConfig()
			defaults.Telemetry.LogLevel = slog.LevelError.String()
			l, log, err := a.loadWith(defaults)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("seed") {
				o.Generator.Seed = rand.Uint64N(1 << 32)
			}
			o.Generator.Start = time.Now().Add(-o.Generator.Duration).Truncate(time.Second)
			if err := o.Generator.Validate(); err != nil {
				return &UsageError{err}
			}
			o.Out, o.Log, o.Terminal = a.out, log, telemetry.IsTerminal(a.out)
			err = demo.Run(cmd.Context(), l.Config, o)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	f := c.Flags()
	f.BoolVar(&o.Once, "once", false, "end by itself, with status 1 when the alerts or the counts are not right")
	f.Uint64Var(&o.Generator.Seed, "seed", 0, "the same `NUMBER` gives the same traffic (default random, and printed)")
	f.DurationVar(&o.Generator.Duration, "duration", o.Generator.Duration, "generated time")
	f.IntVar(&o.Generator.Hosts, "hosts", o.Generator.Hosts, "hosts of the enterprise")
	f.Float64Var(&o.Speed, "speed", o.Speed, "`SECONDS` played in each second")
	f.StringSliceVar(&o.Brokers, "kafka", nil, "use the Kafka at `HOST:PORT` instead of starting one; repeatable")
	f.StringVar(&o.Elasticsearch, "elasticsearch", "", "use the Elasticsearch at `URL` instead of starting one")
	return c
}
