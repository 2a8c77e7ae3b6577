package intel_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gaissmai/bart"

	"github.com/weir-flow/weir/enricher/intel"
)

func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "feed")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func internal() *bart.Lite {
	l := &bart.Lite{}
	l.Insert(netip.MustParsePrefix("10.0.0.0/8"))
	l.Insert(netip.MustParsePrefix("fc00::/7"))
	return l
}

func load(t testing.TB, feeds ...intel.Feed) (*intel.Set, []intel.Stats) {
	t.Helper()
	s, stats, err := intel.Load(feeds, internal())
	if err != nil {
		t.Fatal(err)
	}
	return s, stats
}

func text(hits []intel.Hit) string {
	var all []string
	for _, h := range hits {
		i := h.Indicator
		all = append(all, fmt.Sprintf("%s/%s/%s/%d/%s bits %d", i.Feed, i.Type, i.Category, i.Confidence, i.Tlp, h.Bits))
	}
	return strings.Join(all, ", ")
}

func TestAddress(t *testing.T) {
	s, stats := load(t,
		intel.Feed{Name: "tor", Category: "tor", Confidence: 90, TLP: "GREEN", File: write(t, `# exit nodes
203.0.113.7
203.0.113.7 ; again
2001:db8::7
198.51.100.1:9001
`)},
		intel.Feed{Name: "nets", Category: "spam", File: write(t, "203.0.113.0/24 # a block\n203.0.113.0/28\n10.1.2.3\n10.0.0.0/7\n0.0.0.0/0\nfd00::1\n2001:db8::/18\nnot_an_address/33\n")},
	)
	for _, tc := range []struct{ address, want string }{
		{"203.0.113.7", "tor/ipv4-addr/tor/90/GREEN bits 32, nets/ipv4-addr/spam/50/CLEAR bits 28, nets/ipv4-addr/spam/50/CLEAR bits 24"},
		{"::ffff:203.0.113.200", "nets/ipv4-addr/spam/50/CLEAR bits 24"},
		{"2001:db8::7", "tor/ipv6-addr/tor/90/GREEN bits 128"},
		{"198.51.100.1", "tor/ipv4-addr/tor/90/GREEN bits 32"},
		{"10.1.2.3", ""}, {"192.0.2.1", ""}, {"fd00::1", ""},
	} {
		if got := text(s.Address(netip.MustParseAddr(tc.address))); got != tc.want {
			t.Errorf("%s (-got, +want)\n- %s\n+ %s", tc.address, got, tc.want)
		}
	}
	want := intel.Stats{Networks: 2, Internal: 2, Broad: 3, Invalid: 1}
	if stats[1] != want || want.Refused() != 6 {
		t.Errorf("stats (-got, +want)\n- %+v\n+ %+v", stats[1], want)
	}
	if s.Networks() != 5 {
		t.Errorf("networks (-got, +want)\n- %d\n+ 5", s.Networks())
	}
}

func TestDomain(t *testing.T) {
	s, stats := load(t, intel.Feed{Name: "c2", Category: "c2", File: write(t, "Evil.Example.\n*.bad.test\nb\u00fccher.example\ncom\nhttp://x.example/\n")},
		intel.Feed{Name: "more", Category: "phishing", Format: "csv", File: write(t, `# generated
first_seen,domain,confidence_level,tlp,category
2026-01-01,evil.example,75,amber,malware
2026-01-01,"deep.evil.example",101,x,
2026-01-01
`)})
	for _, tc := range []struct{ name, matched, want string }{
		{"evil.example", "evil.example", "c2/domain-name/c2/50/CLEAR bits 0, more/domain-name/malware/75/AMBER bits 0"},
		{"WWW.Evil.Example.", "Evil.Example", "c2/domain-name/c2/50/CLEAR bits 0, more/domain-name/malware/75/AMBER bits 0"},
		{"a.b.deep.evil.example", "deep.evil.example", "more/domain-name/phishing/50/CLEAR bits 0"},
		{"bad.test", "bad.test", "c2/domain-name/c2/50/CLEAR bits 0"},
		{"notevil.example", "", ""}, {"example", "", ""}, {"com", "", ""}, {"", "", ""}, {".", "", ""}, {"a..b", "", ""},
		{strings.Repeat("a.", 200) + "evil.example", "", ""},
	} {
		hits, matched := s.Domain(tc.name)
		if got := text(hits); got != tc.want || matched != tc.matched {
			t.Errorf("%q (-got, +want)\n- %s %s\n+ %s %s", tc.name, matched, got, tc.matched, tc.want)
		}
	}
	if want := (intel.Stats{Names: 3, Broad: 1, Invalid: 1}); stats[0] != want {
		t.Errorf("stats (-got, +want)\n- %+v\n+ %+v", stats[0], want)
	}
	if want := (intel.Stats{Names: 2, Invalid: 1}); stats[1] != want {
		t.Errorf("stats (-got, +want)\n- %+v\n+ %+v", stats[1], want)
	}
}

func TestManyNames(t *testing.T) {
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, "host%d.example\n", i)
	}
	s, _ := load(t, intel.Feed{Name: "many", File: write(t, b.String())})
	if s.Names() != 20000 {
		t.Errorf("names (-got, +want)\n- %d\n+ 20000", s.Names())
	}
	for i := range 20000 {
		if hits, _ := s.Domain(fmt.Sprintf("host%d.example", i)); len(hits) != 1 {
			t.Fatalf("host%d.example is not found", i)
		}
		if hits, _ := s.Domain(fmt.Sprintf("host%d.test", i)); len(hits) != 0 {
			t.Fatalf("host%d.test is found", i)
		}
	}
}

func TestRefuses(t *testing.T) {
	for name, feed := range map[string]intel.Feed{
		"a missing file":          {Name: "x", File: "/nonexistent/feed"},
		"another format":          {Name: "x", File: write(t, "<html>\n<body>\n")},
		"no column of indicators": {Name: "x", Format: "csv", File: write(t, "colour,size\nred,1\n")},
		"a column that is not":    {Name: "x", Format: "csv", Column: "ioc", File: write(t, "ip\n203.0.113.1\n")},
		"a quote that never ends": {Name: "x", Format: "csv", File: write(t, "ip\n\"203.0.113.1\n")},
		"a line that never ends":  {Name: "x", File: write(t, strings.Repeat("x", 1<<20))},
	} {
		_, _, err := intel.Load([]intel.Feed{feed}, internal())
		var fe *intel.FileError
		if !errors.As(err, &fe) || fe.File != feed.File || fe.Feed != "x" {
			t.Errorf("%s: error %v does not name feed and file", name, err)
		}
	}
	for _, f := range []intel.Feed{{}, {Name: "x"}, {Name: "x", File: "f", Format: "stix"}, {Name: "x", File: "f", Column: "ip"},
		{Name: "x", File: "f", Confidence: 101}, {Name: "x", File: "f", TLP: "PINK"}} {
		if f.Validate() == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("203.0.113.7\nevil.example\n", "text")
	f.Add("ip,tlp\n203.0.113.0/24,RED\n\"", "csv")
	f.Add("::ffff:1.2.3.4/100\nfe80::1%eth0\n[::1]:80", "text")
	f.Fuzz(func(t *testing.T, content, format string) {
		s, _, err := intel.Load([]intel.Feed{{Name: "x", File: write(t, content), Format: format}}, internal())
		if err != nil {
			return
		}
		for line := range strings.Lines(content) {
			s.Domain(strings.TrimSpace(line))
		}
		// The guard holds whatever the feed says.
		if hits := s.Address(netip.MustParseAddr("10.1.2.3")); len(hits) > 0 {
			t.Errorf("an internal address is hit: %s", text(hits))
		}
	})
}

func BenchmarkAddress(b *testing.B) {
	var c strings.Builder
	for i := range 200000 {
		fmt.Fprintf(&c, "%d.%d.%d.%d\n", 20+i%150, i>>4&255, i>>12&255, i&255)
	}
	s, _ := load(b, intel.Feed{Name: "x", File: write(b, c.String())})
	addrs := make([]netip.Addr, 4096)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{byte(20 + i%180), byte(i * 7), byte(i * 13), byte(i * 31)})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Address(addrs[i&4095])
	}
}

func BenchmarkDomainMiss(b *testing.B) {
	var c strings.Builder
	for i := range 500000 {
		fmt.Fprintf(&c, "host%d.example\n", i)
	}
	s, _ := load(b, intel.Feed{Name: "x", File: write(b, c.String())})
	names := make([]string, 4096)
	for i := range names {
		names[i] = fmt.Sprintf("cdn%d.static.example.org", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Domain(names[i&4095])
	}
}
