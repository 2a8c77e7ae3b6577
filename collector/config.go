package collector

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/internal/config"
)

// Config is the section collector of the configuration.
type Config struct {
	// Where to listen, as URLs: netflow://HOST:PORT takes NetFlow v1, v5, v7,
	// v9 and IPFIX, sflow://HOST:PORT takes sFlow v5. The version in the
	// datagram decides: any of them is understood on any port.
	Listen []string `yaml:"listen"`
	// Sockets (SO_REUSEPORT) and goroutines per listener; 0 is one per CPU, at
	// most 4. An exporter stays with one of them. With stream_time export
	// there is always one.
	Workers int `yaml:"workers"`
	// Receive buffer of each socket. The kernel grants no more than its limit
	// (net.core.rmem_max); what it granted is logged, and warned of when less.
	ReadBuffer config.Bytes `yaml:"read_buffer"`
	// Where stream time comes from: arrival of the datagram, or export, the
	// time in its header, for replayed and generated traffic.
	StreamTime StreamTime `yaml:"stream_time"`
	// With stream_time export: how far ticks stay behind the latest export
	// time seen, so that exporters slightly behind are still in order.
	ExportSlack time.Duration `yaml:"export_slack"`
	// With stream_time export: an exporter whose clock is further than this
	// from the others' is reported, and its times are shifted to theirs.
	ClockTolerance time.Duration `yaml:"clock_tolerance"`
	// With stream_time export: how far stream time advances when the collector
	// stops, so that what waits for time downstream (windows) ends: recorded
	// traffic has no successor.
	FinalAdvance time.Duration `yaml:"final_advance"`
	// Where records go: kafka, or stdout (as NDJSON, without Kafka).
	Output Output `yaml:"output"`
	// Realm of the exporters that no entry of exporters names: addresses of
	// different realms are never the same host.
	Realm string `yaml:"realm"`
	// What is known of exporters, by address or network; the most specific
	// entry holds.
	Exporters []Exporter `yaml:"exporters"`
	// Networks that exporters may send from; empty allows all.
	Allow []netip.Prefix `yaml:"allow"`
	// Sampling interval assumed where an exporter does not say one; such
	// records are marked. 1 is unsampled.
	DefaultSampling int64 `yaml:"default_sampling"`
	// Caps on what exporters can make the collector remember.
	Limits Limits `yaml:"limits"`
	// The spool on disk for when Kafka is slow or away.
	Spool Spool `yaml:"spool"`
}

// StreamTime names the source of stream time.
type StreamTime string

// The sources of stream time.
const (
	StreamTimeArrival StreamTime = "arrival"
	StreamTimeExport  StreamTime = "export"
)

// Output names where records go.
type Output string

// The outputs.
const (
	OutputKafka  Output = "kafka"
	OutputStdout Output = "stdout"
)

// Exporter is what is known of the exporters of a network.
type Exporter struct {
	// Address (192.0.2.1) or network (192.0.2.0/24) of the exporters; for
	// sFlow also the agent's.
	Network string `yaml:"network"`
	// Name in records and alerts; empty leaves it to the address.
	Name string `yaml:"name"`
	// Realm of their addresses; empty is collector.realm.
	Realm string `yaml:"realm"`
	// One in how many packets they sample, whatever they say; 0 believes them.
	SamplingInterval int64 `yaml:"sampling_interval"`
}

// Limits bound state; each counts per socket.
type Limits struct {
	// Exporters remembered. Above it one that was silent for ten minutes makes
	// room; otherwise a newcomer's templates hold for one datagram.
	Exporters int `yaml:"exporters"`
	// Observation domains per exporter.
	Domains int `yaml:"domains"`
	// Templates per domain.
	Templates int `yaml:"templates"`
	// Names (applications, interfaces, samplers) per exporter.
	Names int `yaml:"names"`
	// Data held whose template has not come yet.
	PendingBytes config.Bytes `yaml:"pending_bytes"`
}

// Spool configures the log on disk.
type Spool struct {
	// Directory of the spool and of the collector's identity; each collector
	// needs its own. Empty: no spool, and an identity for this run only.
	Dir string `yaml:"dir"`
	// Bound of the disk it takes. Beyond it records are dropped and counted.
	MaxBytes config.Bytes `yaml:"max_bytes"`
	// How often what is spooled is forced to disk: a crash of the machine (not
	// of the process) loses at most this much of it.
	Sync time.Duration `yaml:"sync"`
	// Records go to the spool when Kafka has acknowledged none for this long
	// while some wait.
	After time.Duration `yaml:"after"`
	// Or when this much waits for acknowledgement in memory.
	MemoryBytes config.Bytes `yaml:"memory_bytes"`
}

// DefaultConfig runs on one machine.
func DefaultConfig() Config {
	l := decode.DefaultLimits()
	return Config{
		Listen:          []string{"netflow://0.0.0.0:2055", "sflow://0.0.0.0:6343"},
		ReadBuffer:      4 << 20,
		StreamTime:      StreamTimeArrival,
		ExportSlack:     5 * time.Second,
		ClockTolerance:  5 * time.Minute,
		FinalAdvance:    2 * time.Hour,
		Output:          OutputKafka,
		Realm:           "default",
		DefaultSampling: 1,
		Limits:          Limits{Exporters: l.Exporters, Domains: l.Domains, Templates: l.Templates, Names: l.Names, PendingBytes: config.Bytes(l.PendingBytes)},
		Spool:           Spool{Dir: "data/collector", MaxBytes: 4 << 30, Sync: time.Second, After: 2 * time.Second, MemoryBytes: 16 << 20},
	}
}

// Validate reports what is wrong, with the key path within the section.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Listen) == 0 {
		bad("listen: name at least one URL, such as netflow://0.0.0.0:2055")
	}
	for i, l := range c.Listen {
		if _, err := parseListen(l); err != nil {
			bad("listen[%d]: %w", i, err)
		}
	}
	if !slices.Contains([]StreamTime{StreamTimeArrival, StreamTimeExport}, c.StreamTime) {
		bad("stream_time: %q is neither arrival nor export", c.StreamTime)
	}
	if !slices.Contains([]Output{OutputKafka, OutputStdout}, c.Output) {
		bad("output: %q is neither kafka nor stdout", c.Output)
	}
	for i, e := range c.Exporters {
		if _, err := parseNetwork(e.Network); err != nil {
			bad("exporters[%d].network: %w", i, err)
		}
		if e.SamplingInterval < 0 {
			bad("exporters[%d].sampling_interval: must not be negative", i)
		}
	}
	for i, p := range c.Allow {
		if !p.IsValid() {
			bad("allow[%d]: not a network such as 192.0.2.0/24", i)
		}
	}
	for _, n := range []struct {
		key        string
		value, low int64
	}{
		{"workers", int64(c.Workers), 0}, {"read_buffer", int64(c.ReadBuffer), 4096}, {"default_sampling", c.DefaultSampling, 1},
		{"export_slack", int64(c.ExportSlack), 0}, {"clock_tolerance", int64(c.ClockTolerance), int64(time.Second)}, {"final_advance", int64(c.FinalAdvance), 0},
		{"limits.exporters", int64(c.Limits.Exporters), 1}, {"limits.domains", int64(c.Limits.Domains), 1}, {"limits.templates", int64(c.Limits.Templates), 1},
		{"limits.names", int64(c.Limits.Names), 0}, {"limits.pending_bytes", int64(c.Limits.PendingBytes), 0},
		{"spool.memory_bytes", int64(c.Spool.MemoryBytes), 64 << 10}, {"spool.after", int64(c.Spool.After), int64(100 * time.Millisecond)}, {"spool.sync", int64(c.Spool.Sync), 0},
	} {
		if n.value < n.low {
			bad("%s: %d is below the least that works, %d", n.key, n.value, n.low)
		}
	}
	if c.Workers > 64 {
		bad("workers: %d is more than 64", c.Workers)
	}
	if c.Spool.Dir != "" && c.Spool.MaxBytes < 1<<20 {
		bad("spool.max_bytes: %v is below the least that works, 1MiB", c.Spool.MaxBytes)
	}
	if c.Realm == "" {
		bad("realm: must not be empty")
	}
	return errors.Join(errs...)
}

// parseListen returns the address to bind.
func parseListen(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q is no URL: want netflow://HOST:PORT or sflow://HOST:PORT", s)
	}
	if u.Scheme != "netflow" && u.Scheme != "sflow" && u.Scheme != "ipfix" {
		return "", fmt.Errorf("%q: unknown scheme %q: want netflow (v1 to IPFIX) or sflow", s, u.Scheme)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Port() == "" || u.Path != "" || u.RawQuery != "" {
		return "", fmt.Errorf("%q: want %s://HOST:PORT", s, u.Scheme)
	}
	return u.Host, nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network", s)
	}
	return p.Masked(), nil
}

// identify returns what is configured for an address.
func (c Config) identify() func(netip.Addr) decode.Identity {
	type entry struct {
		prefix netip.Prefix
		id     decode.Identity
	}
	var entries []entry
	for _, e := range c.Exporters {
		p, err := parseNetwork(e.Network)
		if err != nil {
			continue // Validate has refused it
		}
		id := decode.Identity{Name: e.Name, Realm: e.Realm, SamplingInterval: e.SamplingInterval, Configured: true}
		if id.Realm == "" {
			id.Realm = c.Realm
		}
		entries = append(entries, entry{p, id})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return b.prefix.Bits() - a.prefix.Bits() })
	return func(a netip.Addr) decode.Identity {
		for _, e := range entries {
			if e.prefix.Contains(a) {
				return e.id
			}
		}
		return decode.Identity{Realm: c.Realm}
	}
}

func (c Config) decodeConfig(stats *decode.Stats) decode.Config {
	return decode.Config{
		Limits:   decode.Limits{Exporters: c.Limits.Exporters, Domains: c.Limits.Domains, Templates: c.Limits.Templates, Names: c.Limits.Names, PendingBytes: int(c.Limits.PendingBytes)},
		Identify: c.identify(), DefaultSampling: c.DefaultSampling, Stats: stats,
	}
}
