// Package geotest writes small MMDB files, for tests and for demonstrations
// that must not depend on anyone's database.
package geotest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"
)

// Entry is what a database shall say of a network. Empty fields are left out.
type Entry struct {
	Network                                                             netip.Prefix
	ASNumber                                                            uint32
	ASOrganization                                                      string
	CountryISOCode, CountryName, ContinentCode, RegionISOCode, CityName string
	// Latitude and Longitude in degrees, written when not both are zero.
	Latitude, Longitude float64
}

// Layout is one of the ways in which vendors lay out a record.
type Layout int

// The layouts: MaxMind's nested one (DB-IP uses it too), IPinfo's with text
// for everything, and the flat one of community databases.
const (
	MaxMind Layout = iota
	IPinfo
	Flat
)

// Write writes a database in MaxMind's layout to path, through a file beside
// it, so that whoever reads path never sees half of it. buildEpoch is the
// database's age in seconds since the epoch.
func Write(path string, buildEpoch int64, entries []Entry) error {
	return WriteLayout(path, buildEpoch, MaxMind, entries)
}

// WriteLayout is Write in a given layout.
func WriteLayout(path string, buildEpoch int64, layout Layout, entries []Entry) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch: buildEpoch, DatabaseType: "Weir-Synthetic", Languages: []string{"en"},
		// Examples live in documentation and private networks.
		IncludeReservedNetworks: true,
		RecordSize:              28,
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := tree.Insert(netipx.PrefixIPNet(e.Network), layout.record(e)); err != nil {
			return fmt.Errorf("network %s: %w", e.Network, err)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	if _, err = tree.WriteTo(f); err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (l Layout) record(e Entry) mmdbtype.Map {
	m := mmdbtype.Map{}
	text := func(m mmdbtype.Map, key mmdbtype.String, v string) {
		if v != "" {
			m[key] = mmdbtype.String(v)
		}
	}
	located := e.Latitude != 0 || e.Longitude != 0
	switch l {
	case MaxMind:
		names := func(v string) mmdbtype.Map { return mmdbtype.Map{"en": mmdbtype.String(v)} }
		if e.ASNumber != 0 {
			m["autonomous_system_number"] = mmdbtype.Uint32(e.ASNumber)
		}
		text(m, "autonomous_system_organization", e.ASOrganization)
		if e.CountryISOCode != "" {
			m["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(e.CountryISOCode), "names": names(e.CountryName)}
		}
		if e.ContinentCode != "" {
			m["continent"] = mmdbtype.Map{"code": mmdbtype.String(e.ContinentCode)}
		}
		if e.RegionISOCode != "" {
			m["subdivisions"] = mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(e.RegionISOCode)}}
		}
		if e.CityName != "" {
			m["city"] = mmdbtype.Map{"names": names(e.CityName)}
		}
		if located {
			m["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(e.Latitude), "longitude": mmdbtype.Float64(e.Longitude)}
		}
	case IPinfo:
		if e.ASNumber != 0 {
			m["asn"] = mmdbtype.String(fmt.Sprintf("AS%d", e.ASNumber))
		}
		text(m, "as_name", e.ASOrganization)
		text(m, "country", e.CountryName)
		text(m, "country_code", e.CountryISOCode)
		text(m, "continent_code", e.ContinentCode)
		text(m, "region_code", e.RegionISOCode)
		text(m, "city", e.CityName)
		if located {
			m["lat"] = mmdbtype.String(fmt.Sprint(e.Latitude))
			m["lng"] = mmdbtype.String(fmt.Sprint(e.Longitude))
		}
	case Flat:
		if e.ASNumber != 0 {
			m["autonomous_system_number"] = mmdbtype.Uint32(e.ASNumber)
		}
		text(m, "autonomous_system_organization", e.ASOrganization)
		text(m, "country_code", e.CountryISOCode)
		text(m, "country_name", e.CountryName)
		text(m, "continent_code", e.ContinentCode)
		text(m, "state_code", e.RegionISOCode)
		text(m, "city", e.CityName)
		if located {
			m["latitude"] = mmdbtype.Float32(e.Latitude)
			m["longitude"] = mmdbtype.Float32(e.Longitude)
		}
	}
	return m
}
