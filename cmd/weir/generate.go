package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/capture"
	"github.com/weir-flow/weir/pipeline/demo"
)

func (a *app) generateCommand() *cobra.Command {
	cfg := generator.DefaultConfig()
	var to, file, truth, start, site string
	var speed, rate float64
	var scenarios, benign bool
	c := &cobra.Command{
		Use:   "generate {--to HOST:PORT | --pcap FILE}",
		Short: "Generate the traffic of an enterprise, with attacks in it",
		Long: `Plays hours in the life of an enterprise: workstations, servers, mail and DNS
servers, printers, cameras and guests behind several exporters, which export
NetFlow v5, v9 and IPFIX, sampled and unsampled. Attacks are mixed in by name,
and so are near misses: a vulnerability scanner, a newsletter, a nightly
backup, update checks, a flash crowd, which nobody should be alerted about.

The same seed, duration and rates give the same traffic. --truth writes what
happens in it, attacks and near misses, as NDJSON: what a detector should find,
and what it should not.

--site writes what the enterprise knows of itself (its inventory, with the
registered scanners and mail servers, a geolocation database, a list of Tor
relays) and a configuration that names it: without it a scanner is a scanner,
registered or not.

At --speed 1 it plays in real time. At any other speed let the collector take
its time from the exports (collector.stream_time=export), so that windows keep
their length. --speed 0 does not wait; --rate then keeps it from overrunning the
collector's socket buffer.`,
		Example: examples(
			"weir generate --to 127.0.0.1:2055                       # real time, until stopped or done",
			"weir generate --to 127.0.0.1:2055 --speed 720           # six hours in half a minute",
			"weir generate --pcap day.pcap --duration 24h --seed 7 --truth truth.ndjson",
			"weir generate --pcap day.pcap --site site && weir analyze -c site/weir.yaml day.pcap",
			"weir generate --to 127.0.0.1:2055 --benign --speed 0 --flow-rate 500 --rate 20000",
			"weir generate --scenarios                               # the attacks there are",
		),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if scenarios {
				return a.listScenarios()
			}
			switch {
			case (to == "") == (file == ""):
				return usagef("give either --to HOST:PORT or --pcap FILE")
			case file == "-" && truth == "-":
				return usagef("--pcap - and --truth - would mix on standard output; give one of them a FILE")
			case speed < 0 || rate < 0:
				return usagef("--speed and --rate must not be negative")
			case benign && cmd.Flags().Changed("scenario"):
				return usagef("--benign and --scenario exclude each other")
			}
			if benign {
				cfg.Scenarios = nil
			}
			if !cmd.Flags().Changed("seed") {
				cfg.Seed = rand.Uint64N(1 << 32)
			}
			if err := setStart(&cfg, start, speed, file != "", time.Now()); err != nil {
				return err
			}
			g, err := generator.New(cfg)
			if err != nil {
				return &UsageError{err}
			}
			fmt.Fprintf(a.err, "seed %d, from %s to %s\n", cfg.Seed, cfg.Start.Format(time.RFC3339), cfg.Start.Add(cfg.Duration).Format(time.RFC3339))
			if err := a.writeTruth(truth, g); err != nil {
				return err
			}
			if site != "" {
				path, err := demo.WriteSite(site, cfg.Start)
				if err != nil {
					return fmt.Errorf("--site: %w", err)
				}
				fmt.Fprintf(a.err, "the site's configuration is %s\n", path)
			}
			err = a.play(cmd.Context(), g, to, file, speed, rate)
			s := g.Stats()
			if err != nil && s.Datagrams == 0 {
				return err
			}
			fmt.Fprintf(a.err, "%d flow records of %d conversations in %d datagrams of %d exporters\n", s.Records, s.Conversations, s.Datagrams, len(s.Exporters))
			if errors.Is(err, context.Canceled) {
				fmt.Fprintln(a.err, "stopped")
				return nil
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&to, "to", "", "send to the collector at `HOST:PORT` over UDP")
	f.StringVar(&file, "pcap", "", "write to a capture `FILE` instead; - is standard output")
	f.StringVar(&truth, "truth", "", "write what happens in the traffic as NDJSON to `FILE`; - is standard output")
	f.StringVar(&site, "site", "", "write the enterprise's inventory, geolocation and intelligence, and a configuration that names them, to `DIR`")
	f.Uint64Var(&cfg.Seed, "seed", 0, "the same `NUMBER` gives the same traffic (default random, and printed)")
	f.StringVar(&start, "start", "", "first moment of the generated `TIME`, RFC 3339 (default: so that it ends when the run does)")
	f.DurationVar(&cfg.Duration, "duration", cfg.Duration, "generated time")
	f.IntVar(&cfg.Hosts, "hosts", cfg.Hosts, "hosts of the enterprise")
	f.Float64Var(&cfg.FlowRate, "flow-rate", cfg.FlowRate, "mean flow records per second of generated time")
	f.StringSliceVar(&cfg.Scenarios, "scenario", cfg.Scenarios, "attacks to mix in, by `NAME`; repeatable")
	f.BoolVar(&benign, "benign", false, "no attacks")
	f.BoolVar(&scenarios, "scenarios", false, "list the attacks there are, and exit")
	f.Float64Var(&speed, "speed", 1, "`SECONDS` of generated time in each second; 0 does not wait")
	f.Float64Var(&rate, "rate", 0, "send at most so many `DATAGRAMS` a second; 0 is no limit")
	return c
}

// setStart sets the first moment: as told, or so that the generated time ends
// when the run does.
func setStart(cfg *generator.Config, start string, speed float64, capture bool, now time.Time) error {
	if start != "" {
		t, err := time.Parse(time.RFC3339, start)
		if err != nil {
			return usagef("--start %q: want a time such as 2026-03-01T08:00:00Z", start)
		}
		cfg.Start = t
		return nil
	}
	var takes time.Duration
	if speed > 0 && !capture {
		takes = time.Duration(float64(cfg.Duration) / speed)
	}
	cfg.Start = now.Add(takes - cfg.Duration).Truncate(time.Second)
	return nil
}

func (a *app) listScenarios() error {
	for _, s := range generator.Scenarios() {
		if _, err := fmt.Fprintf(a.out, "%-12s %s (rule %s, at least %v)\n", s.Name, strings.TrimSuffix(s.Description, "."), s.Rule, s.Minimum); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeTruth(file string, g *generator.Generator) error {
	return a.toFile(file, func(w io.Writer) error { return generator.WriteTruth(w, g.Truth()) })
}

// toFile writes to a file, to standard output for "-", and nowhere for "".
func (a *app) toFile(file string, write func(io.Writer) error) error {
	switch file {
	case "":
		return nil
	case "-":
		return write(a.out)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func (a *app) play(ctx context.Context, g *generator.Generator, to, file string, speed, rate float64) error {
	if file != "" {
		return a.toFile(file, func(w io.Writer) error {
			c, err := capture.NewWriter(w)
			if err != nil {
				return err
			}
			return errors.Join(g.Run(ctx, generator.SinkFunc(c.Write)), c.Close())
		})
	}
	udp, err := generator.NewUDPSink(to)
	if err != nil {
		return usagef("--to: %v", err)
	}
	err = g.Run(ctx, generator.Pace(ctx, generator.Limit(ctx, udp, rate), speed))
	if udp.Refused > 0 {
		fmt.Fprintf(a.err, "%d datagrams were refused: does anything listen at %s?\n", udp.Refused, to)
	}
	return errors.Join(err, udp.Close())
}
