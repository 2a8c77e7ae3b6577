package enricher

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-flow/weir/enricher/intel"
	"github.com/weir-flow/weir/internal/kafka"
)

// Config of the enricher.
type Config struct {
	// StitchHold is how long, in stream time, a flow waits for its other
	// direction and for the same flow seen by other exporters. 0 switches
	// stitching off. Default 5s.
	StitchHold time.Duration `yaml:"stitch_hold"`
	// WaitForDuplicates keeps a flow of which both directions are there until
	// the end of its hold, so that duplicates are still recognised; switch it
	// off where every flow passes one exporter only. Default true.
	WaitForDuplicates bool `yaml:"wait_for_duplicates"`
	// MaxHeld bounds the flows that wait at any time, over all key groups;
	// beyond it the oldest goes out early. Default 524288, about 700 B each.
	MaxHeld int `yaml:"max_held"`
	// MaxConnections bounds the conversations that are remembered, over all
	// key groups; beyond it the one not seen for longest is forgotten.
	// Default 1048576, about 550 B each.
	MaxConnections int `yaml:"max_connections"`
	// IdleTimeout is the stream time after which a conversation that was not
	// seen again is over. Default 10m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// InternalNetworks are the networks of the site. Default: private (RFC
	// 1918), shared (RFC 6598), loopback, link-local and unique local ones.
	InternalNetworks []netip.Prefix `yaml:"internal_networks"`
	// ReloadInterval is how often the files below are looked at for changes.
	// Default 10s.
	ReloadInterval time.Duration `yaml:"reload_interval"`
	// Geo locates addresses.
	Geo GeoConfig `yaml:"geo"`
	// Assets is the inventory.
	Assets AssetsConfig `yaml:"assets"`
	// Intel is what is known of bad addresses and names.
	Intel IntelConfig `yaml:"intel"`
}

// GeoConfig names the databases.
type GeoConfig struct {
	// Databases are MMDB files, of MaxMind's, IPinfo's, DB-IP's or the flat
	// layout: country, city and AS, one or both address families each. What
	// several know is taken from the first. Default none.
	Databases []string `yaml:"databases"`
}

// AssetsConfig names the inventories.
type AssetsConfig struct {
	// Files are inventories in YAML or CSV. Default none.
	Files []string `yaml:"files"`
}

// IntelConfig names the feeds.
type IntelConfig struct {
	// Feeds are lists of addresses, networks and names. Default none.
	Feeds []intel.Feed `yaml:"feeds"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	var internal []netip.Prefix
	for _, p := range []string{
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"100.64.0.0/10",                 // RFC 6598
		"127.0.0.0/8", "169.254.0.0/16", // loopback, link-local
		"::1/128", "fe80::/10", "fc00::/7",
	} {
		internal = append(internal, netip.MustParsePrefix(p))
	}
	return Config{
		StitchHold: 5 * time.Second, WaitForDuplicates: true,
		MaxHeld: 512 * kafka.Groups, MaxConnections: 1024 * kafka.Groups,
		IdleTimeout: 10 * time.Minute, ReloadInterval: 10 * time.Second,
		InternalNetworks: internal,
	}
}

// Validate checks the configuration without opening a file.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.StitchHold < 0 || c.StitchHold > time.Minute {
		bad("stitch_hold: %s is not within 0 and 1m", c.StitchHold)
	}
	if c.IdleTimeout <= c.StitchHold {
		bad("idle_timeout: %s is not above stitch_hold (%s)", c.IdleTimeout, c.StitchHold)
	}
	// One per key group is the least that makes sense.
	if c.MaxHeld < kafka.Groups {
		bad("max_held: %d is below %d, one per key group", c.MaxHeld, kafka.Groups)
	}
	if c.MaxConnections < kafka.Groups {
		bad("max_connections: %d is below %d, one per key group", c.MaxConnections, kafka.Groups)
	}
	if c.ReloadInterval < 100*time.Millisecond {
		bad("reload_interval: %s is below 100ms", c.ReloadInterval)
	}
	for i, p := range c.InternalNetworks {
		if !p.IsValid() || p.Addr().Is4In6() {
			bad("internal_networks[%d]: not a network", i)
		}
	}
	for i, f := range c.Geo.Databases {
		if f == "" {
			bad("geo.databases[%d]: empty file name", i)
		}
	}
	for i, f := range c.Assets.Files {
		if f == "" {
			bad("assets.files[%d]: empty file name", i)
		}
	}
	names := map[string]bool{}
	for i, f := range c.Intel.Feeds {
		if err := f.Validate(); err != nil {
			bad("intel.feeds[%d].%w", i, err)
		}
		if names[f.Name] {
			bad("intel.feeds[%d].name: %q stands there twice", i, f.Name)
		}
		names[f.Name] = true
	}
	return errors.Join(errs...)
}
