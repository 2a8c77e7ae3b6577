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
