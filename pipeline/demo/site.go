package demo

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-flow/weir/enricher"
	"github.com/weir-flow/weir/enricher/geo/geotest"
	"github.com/weir-flow/weir/enricher/intel"
	"github.com/weir-flow/weir/generator"
)

// WriteWorld writes what a site would bring along, for the generated
// enterprise: a geolocation database, an inventory, and a list of Tor relays.
func WriteWorld(dir string, now time.Time, c *enricher.Config) error {
	database := filepath.Join(dir, "geo.mmdb")
	var entries []geotest.Entry
	for _, n := range generator.Internet() {
		entries = append(entries, geotest.Entry{Network: n.Prefix, ASNumber: n.AS, ASOrganization: n.Name, CountryISOCode: n.Country})
	}
	if err := geotest.Write(database, now.Unix(), entries); err != nil {
		return fmt.Errorf("geolocation database: %w", err)
	}
	inventory := filepath.Join(dir, "assets.yaml")
	if err := writeInventory(inventory); err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	relays := filepath.Join(dir, "tor-relays.txt")
	var b strings.Builder
	b.WriteString("# Tor relays of the generated Internet\n")
	for _, r := range generator.TorRelays() {
		fmt.Fprintln(&b, r.Addr())
	}
	if err := os.WriteFile(relays, []byte(b.String()), 0o644); err != nil {
		return err
	}
	c.Geo.Databases = []string{database}
	c.Assets.Files = []string{inventory}
	c.Intel.Feeds = []intel.Feed{{Name: "tor-relays", File: relays, Format: "text", Category: "tor", Confidence: 95, TLP: "CLEAR"}}
	return nil
}

// WriteSite writes the site of the generated enterprise to dir, and beside it a
// configuration, weir.yaml, that knows it and takes its time from the exports.
// It returns the path of the configuration.
func WriteSite(dir string, now time.Time) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	var c enricher.Config
	if err := WriteWorld(dir, now, &c); err != nil {
		return "", err
	}
	feeds := []map[string]any{}
	for _, f := range c.Intel.Feeds {
		feeds = append(feeds, map[string]any{"name": f.Name, "file": f.File, "format": f.Format, "category": f.Category, "confidence": f.Confidence, "tlp": f.TLP})
	}
	b, err := yaml.Marshal(map[string]any{
		"collector": map[string]any{"stream_time": "export"},
		"enricher": map[string]any{
			"geo":    map[string]any{"databases": c.Geo.Databases},
			"assets": map[string]any{"files": c.Assets.Files},
			"intel":  map[string]any{"feeds": feeds},
		},
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "weir.yaml")
	head := "# What the generated enterprise knows of itself; written by weir generate --site.\n"
	return path, os.WriteFile(path, append([]byte(head), b...), 0o644)
}

// asset is an entry of the inventory as the enricher reads it.
type asset struct {
	Address     string   `yaml:"address"`
	ID          string   `yaml:"id"`
	Name        string   `yaml:"name"`
	Roles       []string `yaml:"roles"`
	Owner       string   `yaml:"owner,omitempty"`
	Group       string   `yaml:"group,omitempty"`
	Criticality string   `yaml:"criticality,omitempty"`
}

func writeInventory(path string) error {
	var list []asset
	for _, g := range generator.Groups() {
		list = append(list, asset{Address: g.Prefix.String(), ID: g.Name, Name: g.Name, Roles: []string{g.Role}, Group: g.Name})
	}
	for _, a := range generator.Assets() {
		prefix := netip.PrefixFrom(a.Address, a.Address.BitLen())
		list = append(list, asset{Address: prefix.String(), ID: a.Name, Name: a.Name, Roles: []string{a.Role}, Owner: a.Owner, Criticality: a.Criticality})
	}
	b, err := yaml.Marshal(map[string][]asset{"assets": list})
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
