package asset_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-flow/weir/enricher/asset"
	"github.com/weir-flow/weir/schemas"
)

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const inventoryYAML = `
assets:
  - address: [10.0.0.0/8, "2001:db8::/32"]
    id: net-1
    name: campus
    group: clients
  - address: 10.1.2.3
    id: srv-7
    name: mail
    roles: [mail-server, dns-server]
    owner: it@example.org
    group: servers
    criticality: high
`

const inventoryCSV = `# exported by hand
Address,ID,Roles,Criticality,Name
10.1.2.3,srv-8,scanner; backup,4,nessus
192.168.0.0/16,net-2,,,"branch, old"
`

func TestLookup(t *testing.T) {
	table, err := asset.Load([]string{write(t, "a.yaml", inventoryYAML)})
	if err != nil {
		t.Fatal(err)
	}
	both, err := asset.Load([]string{write(t, "a.yaml", inventoryYAML), write(t, "b.CSV", inventoryCSV)})
	if err != nil {
		t.Fatal(err)
	}
	campus := &schemas.Asset{Id: "net-1", Name: "campus", Group: "clients"}
	mail := &schemas.Asset{Id: "srv-7", Name: "mail", Roles: []string{"mail-server", "dns-server"}, Owner: "it@example.org", Group: "servers", Criticality: 3}
	nessus := &schemas.Asset{Id: "srv-8", Name: "nessus", Roles: []string{"scanner", "backup"}, Criticality: 4}
	for _, tc := range []struct {
		name    string
		table   *asset.Table
		address string
		want    *schemas.Asset
	}{
		{"the network's", table, "10.9.9.9", campus},
		{"the longest network's", table, "10.1.2.3", mail},
		{"IPv4 in IPv6", table, "::ffff:10.1.2.3", mail},
		{"IPv6", table, "2001:db8::7", campus},
		{"none", table, "192.0.2.1", nil},
		{"the later file's", both, "10.1.2.3", nessus},
		{"from the csv", both, "192.168.3.4", &schemas.Asset{Id: "net-2", Name: "branch, old"}},
	} {
		if d := cmp.Diff(tc.want, tc.table.Lookup(netip.MustParseAddr(tc.address))); d != "" {
			t.Errorf("%s, %s (-want, +got)\n%s", tc.name, tc.address, d)
		}
	}
	if got := both.Len(); got != 4 {
		t.Errorf("networks (-got, +want)\n- %d\n+ 4", got)
	}
}

func TestRefuses(t *testing.T) {
	for _, tc := range []struct{ name, file, content, want string }{
		{"no address", "a.yaml", "- id: x\n", ":1: address: missing"},
		{"a wrong address", "a.yaml", "- address: 10.0.0.1\n- address: 10.0.0.300\n", `:2: address: "10.0.0.300"`},
		{"a typing error in a key", "a.yaml", "- address: 10.0.0.1\n  ownr: me\n", `unknown key "ownr"`},
		{"a wrong criticality", "a.yaml", "- {address: 10.0.0.1, criticality: huge}\n", "criticality"},
		{"not a list", "a.yaml", "address: 10.0.0.1\n", "want a list"},
		{"not YAML", "a.yaml", "- [\n", "a.yaml"},
		{"a csv without addresses", "a.csv", "id,name\n1,x\n", "no column address"},
		{"an unknown column", "a.csv", "address,colour\n10.0.0.1,red\n", `unknown column "colour"`},
		{"a wrong address in a csv", "a.csv", "address\n10.0.0.1\nten\n", ":3: address"},
		{"a short row", "a.csv", "address,id\n10.0.0.1\n", "wrong number of fields"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.file, tc.content)
			_, err := asset.Load([]string{path})
			var fe *asset.FileError
			if !errors.As(err, &fe) || fe.File != path || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error (-got, +want)\n- %v\n+ %s ... %s", err, path, tc.want)
			}
		})
	}
	if _, err := asset.Load([]string{"/nonexistent/a.yaml"}); err == nil {
		t.Error("a missing file was accepted")
	}
	if table, err := asset.Load(nil); err != nil || table.Len() != 0 {
		t.Errorf("no file: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("a.yaml", inventoryYAML)
	f.Add("a.csv", inventoryCSV)
	f.Add("a.yaml", "- &a [*a]")
	f.Add("a.csv", "address\n\"")
	f.Fuzz(func(t *testing.T, name, content string) {
		ext := ".yaml"
		if strings.HasSuffix(name, ".csv") {
			ext = ".csv"
		}
		_, _ = asset.Load([]string{write(t, "f"+ext, content)})
	})
}
