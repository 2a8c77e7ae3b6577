package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/weir-flow/weir/internal/replay"
)

func (a *app) replayCommand() *cobra.Command {
	var to string
	var o replay.Options
	c := &cobra.Command{
		Use:   "replay FILE... --to HOST:PORT",
		Short: "Send recorded export datagrams to a collector",
		Long: `Sends the export datagrams of capture files (pcap, pcapng, files of datagrams,
each also gzip-compressed) to a collector over UDP, one file after the other:
at the recorded pace, a multiple of it (--speed), or a steady rate (--rate).

Each recorded exporter sends from a socket of its own. A collector on loopback
also sees an address of its own for each (A.B.C.D sends from 127.1.C.D), so that
their sequence numbers and templates stay apart; elsewhere all datagrams come
from this host's address.

Flows keep the times they were recorded with. For windows of the same length
as then, whatever the speed, let the collector take its time from the exports:
collector.stream_time=export.`,
		Example: examples(
			"weir replay monday.pcap --to 127.0.0.1:2055",
			"weir replay monday.pcap.gz --to collector:2055 --speed 60   # an hour a minute",
			"weir replay *.pcap --to 127.0.0.1:2055 --rate 20000         # datagrams a second",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case o.Speed < 0:
				return usagef("--speed %v: must not be negative", o.Speed)
			case o.Rate < 0:
				return usagef("--rate %v: must not be negative", o.Rate)
			case o.Rate > 0 && cmd.Flags().Changed("speed"):
				return usagef("--speed and --rate exclude each other")
			}
			var err error
			if o.To, err = resolveUDP(cmd.Context(), to); err != nil {
				return err
			}
			o.Progress = func(p replay.Progress) {
				state := "sending"
				if p.Done {
					state = "sent"
				}
				fmt.Fprintf(a.err, "%s %s: %d datagrams, %d bytes, %d exporters\n", state, p.File, p.Datagrams, p.Bytes, p.Sources)
			}
			p, err := replay.Run(cmd.Context(), files, o)
			if p.Refused > 0 {
				fmt.Fprintf(a.err, "%d datagrams were refused: does anything listen at %s?\n", p.Refused, o.To)
			}
			if errors.Is(err, context.Canceled) {
				fmt.Fprintf(a.err, "stopped after %d datagrams\n", p.Datagrams)
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "the collector, as `HOST:PORT`")
	c.Flags().Float64Var(&o.Speed, "speed", 1, "`TIMES` the recorded pace; 0 does not wait at all")
	c.Flags().Float64Var(&o.Rate, "rate", 0, "a steady number of `DATAGRAMS` a second instead of the recorded pace")
	must(c.MarkFlagRequired("to"))
	return c
}

// resolveUDP resolves HOST:PORT once: a replay goes to one collector.
func resolveUDP(ctx context.Context, s string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return netip.AddrPort{}, usagef("--to %q: want HOST:PORT, such as 127.0.0.1:2055", s)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return netip.AddrPort{}, usagef("--to %q: %v", s, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--to %q: %w", s, err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(n)), nil
}

// must turns the impossible errors of flag definitions into panics at start,
// which every test of the command line would meet.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
