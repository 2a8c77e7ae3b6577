package geo_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-flow/weir/enricher/geo"
	"github.com/weir-flow/weir/enricher/geo/geotest"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

var berlin = geotest.Entry{
	Network: prefix("203.0.113.0/24"), ASNumber: 64500, ASOrganization: "Example Net",
	CountryISOCode: "DE", CountryName: "Germany", ContinentCode: "EU", RegionISOCode: "BE", CityName: "Berlin",
	Latitude: 52.5, Longitude: 13.25,
}

func write(t testing.TB, name string, layout geotest.Layout, entries ...geotest.Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := geotest.WriteLayout(path, 1_700_000_000, layout, entries); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *geo.Database {
	t.Helper()
	d, err := geo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func lookup(t *testing.T, ds geo.Databases, a string) (geo.Record, bool) {
	t.Helper()
	var r geo.Record
	found, err := ds.Lookup(addr(a), &r)
	if err != nil {
		t.Fatal(err)
	}
	return r, found
}

var ignore = cmpopts.IgnoreUnexported(geo.Record{})

func TestLayouts(t *testing.T) {
	v6 := berlin
	v6.Network = prefix("2001:db8::/32")
	want := geo.Record{
		ASNumber: 64500, ASOrganization: "Example Net",
		CountryISOCode: "DE", CountryName: "Germany", ContinentCode: "EU", RegionISOCode: "DE-BE", CityName: "Berlin",
		Latitude: 52.5, Longitude: 13.25, HasLocation: true,
	}
	for name, layout := range map[string]geotest.Layout{"MaxMind": geotest.MaxMind, "IPinfo": geotest.IPinfo, "flat": geotest.Flat} {
		t.Run(name, func(t *testing.T) {
			d := open(t, write(t, "x.mmdb", layout, berlin, v6))
			if got := d.Built().Unix(); got != 1_700_000_000 {
				t.Errorf("build time (-got, +want)\n- %d\n+ 1700000000", got)
			}
			for _, a := range []string{"203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1", "203.0.113.9"} {
				got, found := lookup(t, geo.Databases{d}, a)
				if diff := cmp.Diff(want, got, ignore); diff != "" || !found {
					t.Errorf("%s: found %t (-want, +got)\n%s", a, found, diff)
				}
			}
			if got, found := lookup(t, geo.Databases{d}, "198.51.100.1"); found {
				t.Errorf("an address of no network has %+v", got)
			}
		})
	}
}

func TestSeveralComplete(t *testing.T) {
	city := open(t, write(t, "city.mmdb", geotest.MaxMind, geotest.Entry{Network: berlin.Network, CountryISOCode: "DE", CountryName: "Germany", CityName: "Berlin"}))
	asn := open(t, write(t, "asn.mmdb", geotest.Flat, geotest.Entry{Network: berlin.Network, ASNumber: 64500, ASOrganization: "Example Net"},
		geotest.Entry{Network: prefix("198.51.100.0/24"), ASNumber: 64501, ASOrganization: "Other Net"}))
	// Another opinion on the country must not be mixed with the first's city.
	other := open(t, write(t, "other.mmdb", geotest.IPinfo, geotest.Entry{Network: berlin.Network, CountryISOCode: "FR", CountryName: "France", ContinentCode: "EU", Latitude: 1, Longitude: 2}))
	all := geo.Databases{city, asn, other}
	got, _ := lookup(t, all, "203.0.113.1")
	want := geo.Record{ASNumber: 64500, ASOrganization: "Example Net", CountryISOCode: "DE", CountryName: "Germany", CityName: "Berlin"}
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("(-want, +got)\n%s", diff)
	}
	got, _ = lookup(t, all, "198.51.100.1")
	want = geo.Record{ASNumber: 64501, ASOrganization: "Other Net"}
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("(-want, +got)\n%s", diff)
	}
	if found, err := all.Lookup(netip.Addr{}, &got); found || err != nil {
		t.Errorf("no address: found %t, error %v", found, err)
	}
}

func TestUnreadable(t *testing.T) {
	good, err := os.ReadFile(write(t, "x.mmdb", geotest.MaxMind, berlin))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"empty": nil, "text": []byte("not a database"), "cut": good[:len(good)/3], "missing": nil} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name+".mmdb")
			if name != "missing" {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := geo.Open(path)
			var fe *geo.FileError
			if !errors.As(err, &fe) || fe.File != path || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "geo.databases") {
				t.Errorf("error %v does not name the file and the remedy", err)
			}
		})
	}
}

// FuzzOpen changes bytes of a database: whatever it says then, it must not
// bring the process down.
func FuzzOpen(f *testing.F) {
	path := write(f, "x.mmdb", geotest.MaxMind, berlin)
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{})
	f.Add(20, []byte{0xff, 0xff, 0xff})
	f.Add(len(good)-200, []byte{0xe0, 0x20, 0x08})
	f.Add(len(good)-10, []byte{0})
	f.Fuzz(func(t *testing.T, at int, change []byte) {
		b := append([]byte(nil), good...)
		if at >= 0 && at < len(b) {
			copy(b[at:], change)
		}
		file := filepath.Join(t.TempDir(), "x.mmdb")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := geo.Open(file)
		if err != nil {
			return
		}
		var r geo.Record
		for _, a := range []string{"203.0.113.9", "2001:db8::1", "0.0.0.0"} {
			_, _ = geo.Databases{d}.Lookup(addr(a), &r)
		}
	})
}

func TestLookupDoesNotAllocate(t *testing.T) {
	ds := geo.Databases{open(t, write(t, "x.mmdb", geotest.MaxMind, berlin))}
	a := addr("203.0.113.9")
	var r geo.Record
	if n := testing.AllocsPerRun(100, func() { _, _ = ds.Lookup(a, &r) }); n != 0 {
		t.Errorf("allocations (-got, +want)\n- %v\n+ 0", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	var entries []geotest.Entry
	for i := range 20000 {
		e := berlin
		e.Network = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>12), byte(i >> 4), byte(i << 4), 0}), 24)
		e.ASNumber = uint32(i % 3000)
		entries = append(entries, e)
	}
	ds := geo.Databases{open(b, write(b, "x.mmdb", geotest.MaxMind, entries...))}
	addrs := make([]netip.Addr, 4096)
	for i := range addrs {
		addrs[i] = entries[i*7919%len(entries)].Network.Addr().Next()
	}
	var r geo.Record
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = ds.Lookup(addrs[i&4095], &r)
	}
}
