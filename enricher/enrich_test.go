package enricher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/weir-flow/weir/enricher/geo/geotest"
	"github.com/weir-flow/weir/enricher/intel"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/lifecycle"
	"github.com/weir-flow/weir/schemas"
)

var _ lifecycle.Component = (*Enricher)(nil)

// site has the files of a small site; versions tell their modification times
// apart without waiting.
type site struct {
	t       testing.TB
	dir     string
	version int
}

func newSite(t testing.TB) *site { return &site{t: t, dir: t.TempDir()} }

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, content string) string {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.touch(name)
}

func (s *site) touch(name string) string {
	s.version++
	at := time.Unix(1_700_000_000+int64(s.version), 0)
	if err := os.Chtimes(s.path(name), at, at); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

func (s *site) geo(name, city string) string {
	s.t.Helper()
	err := geotest.Write(s.path(name), 1_700_000_000, []geotest.Entry{{
		Network: netip.MustParsePrefix("203.0.113.0/24"), ASNumber: 64500, ASOrganization: "Example Net",
		CountryISOCode: "DE", CountryName: "Germany", ContinentCode: "EU", CityName: city, Latitude: 1, Longitude: 2,
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.touch(name)
}

func (s *site) config() func(*Config) {
	return func(c *Config) {
		c.Geo.Databases = []string{s.geo("geo.mmdb", "Berlin")}
		c.Assets.Files = []string{s.write("assets.yaml", "- {address: 10.0.0.1, id: ws-1, roles: [workstation], criticality: low}\n")}
		c.Intel.Feeds = []intel.Feed{
			{Name: "bad", Category: "c2", Confidence: 80, File: s.write("bad.txt", "203.0.113.0/25\nevil.example\n10.0.0.1\n")},
		}
	}
}

var web = flow{src: "10.0.0.1:40000", dst: "203.0.113.5:443", at: 100, start: 10, octets: 500, packets: 5, flags: full, sni: "www.evil.example"}

func TestEnrich(t *testing.T) {
	s := newSite(t)
	d := newDriver(t, s.config())
	d.push(web,
		flow{src: "203.0.113.5:443", dst: "10.0.0.1:40000", at: 100, start: 10, octets: 1, packets: 1, flags: full},
		flow{src: "10.0.0.1:40001", dst: "10.0.0.53:53", proto: protoUDP, at: 101, octets: 1, packets: 1, dns: "evil.example"},
		flow{src: "198.51.100.1:40001", dst: "10.0.0.1:25", at: 102, octets: 1, packets: 1, flags: syn},
		flow{src: "198.51.100.1:40001", dst: "203.0.113.5:8080", at: 103, octets: 1, packets: 1, flags: syn},
		flow{src: "10.0.0.1:5353", dst: "224.0.0.251:5353", proto: protoUDP, at: 104, octets: 1, packets: 1})
	d.tick(1e6)
	side := func(s *schemas.Side) string {
		text := fmt.Sprintf("internal=%t %s", s.Internal, s.Domain)
		if s.AsNumber != 0 {
			text += fmt.Sprintf(" AS%d %s %s %s %s %s (%v,%v)", s.AsNumber, s.AsOrganization, s.CountryIsoCode, s.CountryName, s.ContinentCode, s.CityName, s.Latitude, s.Longitude)
		}
		if s.Asset.Set {
			text += fmt.Sprintf(" asset %s %v %d", s.Asset.Value.Id, s.Asset.Value.Roles, s.Asset.Value.Criticality)
		}
		for _, i := range s.Indicators {
			text += fmt.Sprintf(" <%s %s %s %s %d %s>", i.Feed, i.Type, i.Indicator, i.Category, i.Confidence, i.Tlp)
		}
		return text
	}
	var got []string
	for _, f := range d.out {
		got = append(got, fmt.Sprintf("%s %s | %s | %s", f.NetworkDirection, f.ServiceName, side(&f.Initiator), side(&f.Responder)))
	}
	const (
		ws     = "internal=true  asset ws-1 [workstation] 1"
		berlin = " AS64500 Example Net DE Germany EU Berlin (1,2) <bad ipv4-addr 203.0.113.0/25 c2 80 CLEAR>"
	)
	diff(t, got, []string{
		"outbound https | " + ws + " | internal=false www.evil.example" + berlin + " <bad domain-name evil.example c2 80 CLEAR>",
		"internal domain | " + ws + " | internal=true  <bad domain-name evil.example c2 80 CLEAR>",
		"inbound smtp | internal=false  | " + ws,
		"external http-alt | internal=false  | internal=false " + berlin,
		"internal mdns | " + ws + " | internal=false ",
	})
	if got, want := d.out[0].CommunityId, "1:"; !strings.HasPrefix(got, want) || len(got) != 30 {
		t.Errorf("community id %q", got)
	}
	if n := value(t, d.e.metrics.refused.WithLabelValues("bad", "internal")); n != 1 {
		t.Errorf("internal entries refused (-got, +want)\n- %v\n+ 1", n)
	}
}

// What a probe knew of the application is not lost where a router's record
// is the one that counts, nor are the duplicate's extras.
func TestDuplicateAddsWhatItKnows(t *testing.T) {
	d := newDriver(t, nil)
	plain, probe := web, web
	plain.sni = ""
	probe.exporter, probe.biflow = "192.0.2.2", 0
	d.push(plain, probe)
	r := probe.record(3)
	r.ExporterAddress = netip.MustParseAddr("192.0.2.3")
	r.UserName, r.ApplicationName = "ada", "https"
	r.Extra = []schemas.Extra{{Name: "vendor.score", Value: schemas.ExtraValue{Kind: schemas.ExtraLong, Long: 7}}}
	d.pushRecord(r)
	d.sent = 3
	d.push(flow{src: "10.0.0.8:40000", dst: "203.0.113.9:443", at: 200, octets: 1, packets: 1}) // scratch is used again
	d.tick(1e6)
	f := d.out[0]
	if f.Flow.Tls.Value.ServerName != "www.evil.example" || f.Flow.UserName != "ada" || f.Flow.ApplicationName != "https" || f.Responder.Domain != "www.evil.example" {
		t.Errorf("got %+v, user %q, application %q, domain %q", f.Flow.Tls, f.Flow.UserName, f.Flow.ApplicationName, f.Responder.Domain)
	}
	if e := f.Members[2].Extra; len(e) != 1 || e[0].Name != "vendor.score" || e[0].Value.Long != 7 {
		t.Errorf("extras of the duplicate: %+v", e)
	}
	if next := d.out[1]; next.Flow.Tls.Set || next.Flow.UserName != "" || next.Responder.Domain != "" {
		t.Errorf("the next flow inherits %+v", next.Flow.Tls)
	}
}

// A record of the responder is turned round in every field that belongs to an
// end, and turning it twice gives it back.
func TestExchange(t *testing.T) {
	r := web.record(1)
	r.SourcePrefixLength, r.DestinationPrefixLength = 8, 24
	r.SourceMacAddress, r.DestinationMacAddress = schemas.MAC{1}, schemas.MAC{2}
	r.BgpSourceAsNumber, r.BgpDestinationAsNumber = 1, 2
	r.PostNATSourceIPAddress, r.PostNATDestinationIPAddress = netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
	r.PostNAPTSourceTransportPort, r.PostNAPTDestinationTransportPort = 1, 2
	r.IngressInterface, r.EgressInterface, r.IngressInterfaceName, r.EgressInterfaceName = 1, 2, "a", "b"
	r.IngressVRFID, r.EgressVRFID, r.VlanId, r.PostVlanId = 1, 2, 3, 4
	r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount, r.ReverseTcpControlBits = 9, 8, 7
	r.IpNextHopAddress, r.MinimumTTL, r.IpClassOfService, r.FlowDirection = netip.MustParseAddr("192.0.2.9"), 60, 4, 1
	was := string(r.AppendJSON(nil))
	exchange(r)
	if r.Source().String() != "203.0.113.5:443" || r.SourcePrefixLength != 24 || r.SourceMacAddress != (schemas.MAC{2}) || r.BgpSourceAsNumber != 2 ||
		r.PostNATSourceIPAddress.String() != "198.51.100.2" || r.PostNAPTSourceTransportPort != 2 || r.IngressInterface != 2 || r.IngressInterfaceName != "b" ||
		r.IngressVRFID != 2 || r.VlanId != 4 || r.OctetDeltaCount != 9 || r.PacketDeltaCount != 8 || r.TcpControlBits != 7 {
		t.Errorf("turned round: %s", r.AppendJSON(nil))
	}
	if r.IpNextHopAddress.String() != "192.0.2.9" || r.MinimumTTL != 60 || r.IpClassOfService != 4 || r.FlowDirection != 1 {
		t.Errorf("what belongs to the packets changed: %s", r.AppendJSON(nil))
	}
	exchange(r)
	if got := string(r.AppendJSON(nil)); got != was {
		t.Errorf("turned twice (-got, +want)\n- %s\n+ %s", got, was)
	}
}

func TestHostName(t *testing.T) {
	for host, want := range map[string]string{
		"a.example": "a.example", "a.example:8080": "a.example", "192.0.2.1": "", "192.0.2.1:80": "", "[2001:db8::1]:80": "", "[2001:db8::1]": "", "": "",
	} {
		if got := hostName(host); got != want {
			t.Errorf("%q (-got, +want)\n- %q\n+ %q", host, got, want)
		}
	}
}

// A changed file is taken over; a bad one is refused, counted, reported with
// its name, and what was there stays.
func TestReload(t *testing.T) {
	s := newSite(t)
	var log bytes.Buffer
	cfg := DefaultConfig()
	s.config()(&cfg)
	e, err := New(cfg, Dependencies{Log: slog.New(slog.NewTextHandler(&log, nil)), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "geo database is old") {
		t.Errorf("an old database is not warned of: %s", &log)
	}
	seen := func() string {
		d := newDriverOf(t, e)
		d.push(web)
		d.tick(1e6)
		f := d.out[0]
		return fmt.Sprintf("%s %s %d", f.Responder.CityName, f.Initiator.Asset.Value.Id, len(f.Responder.Indicators))
	}
	check := func(step, want string) {
		t.Helper()
		if got := seen(); got != want {
			t.Errorf("%s (-got, +want)\n- %s\n+ %s", step, got, want)
		}
	}
	check("at first", "Berlin ws-1 2")
	e.Reload()
	if n := value(t, e.metrics.reloads.WithLabelValues("geo", "done")); n != 0 {
		t.Errorf("%v reloads though nothing changed", n)
	}
	s.geo("geo.mmdb", "Hamburg")
	s.write("assets.yaml", "- {address: 10.0.0.0/8, id: net}\n")
	s.write("bad.txt", "evil.example\n")
	e.Reload()
	check("all changed", "Hamburg net 1")
	s.write("geo.mmdb", "broken")
	s.write("assets.yaml", "- broken\n")
	if err := os.Remove(s.path("bad.txt")); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	e.Reload()
	e.Reload() // a bad version is reported once
	check("all broken", "Hamburg net 1")
	for kind, file := range map[string]string{"geo": "geo.mmdb", "assets": "assets.yaml", "intel": "bad.txt"} {
		if n := value(t, e.metrics.reloads.WithLabelValues(kind, "refused")); n != 1 {
			t.Errorf("%s refused (-got, +want)\n- %v\n+ 1", kind, n)
		}
		if n := strings.Count(log.String(), "kind="+kind+" "); n != 1 || !strings.Contains(log.String(), s.path(file)) {
			t.Errorf("%s: reported %d times: %s", kind, n, &log)
		}
	}
	s.geo("geo.mmdb", "Bremen")
	e.Reload()
	check("good again", "Bremen net 1")
}

func TestStart(t *testing.T) {
	s := newSite(t)
	path := s.write("geo.mmdb", "broken")
	cfg := DefaultConfig()
	cfg.Geo.Databases = []string{path}
	_, err := New(cfg, Dependencies{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "take it out of geo.databases") {
		t.Errorf("error %v does not name file and remedy", err)
	}
	e := newEnricher(t, nil)
	if err := e.Stop(t.Context()); err != nil {
		t.Errorf("stopped before it was started: %v", err)
	}
	if err := e.Start(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	_ = e.Stop(late) // whatever it returns, it returns
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"stitch_hold: ":               func(c *Config) { c.StitchHold = -1 },
		"idle_timeout: ":              func(c *Config) { c.IdleTimeout = c.StitchHold },
		"max_held: ":                  func(c *Config) { c.MaxHeld = 1 },
		"max_connections: ":           func(c *Config) { c.MaxConnections = 0 },
		"reload_interval: ":           func(c *Config) { c.ReloadInterval = 0 },
		"internal_networks[1]: ":      func(c *Config) { c.InternalNetworks[1] = netip.Prefix{} },
		"geo.databases[0]: ":          func(c *Config) { c.Geo.Databases = []string{""} },
		"assets.files[0]: ":           func(c *Config) { c.Assets.Files = []string{""} },
		"intel.feeds[0].file: ":       func(c *Config) { c.Intel.Feeds = []intel.Feed{{Name: "x"}} },
		"intel.feeds[1].name: \"x\" ": func(c *Config) { c.Intel.Feeds = []intel.Feed{{Name: "x", File: "f"}, {Name: "x", File: "f"}} },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error (-got, +want)\n- %v\n+ %s...", err, want)
		}
	}
}

func TestConnectionState(t *testing.T) {
	const (
		F, S, R, A = flagFIN, flagSYN, flagRST, flagACK
		P          = 0x08
	)
	for _, tc := range []struct {
		name     string
		o        observed
		state    schemas.ConnectionState
		answered bool
	}{
		{"SYN, nothing back", observed{initiatorFlags: S}, schemas.ConnectionStateSYN_ONLY, false},
		{"SYN, given up with RST", observed{initiatorFlags: S | R}, schemas.ConnectionStateSYN_ONLY, false},
		{"SYN, sampled", observed{initiatorFlags: S, sampled: true}, schemas.ConnectionStateUNKNOWN, false},
		{"handshake, one side seen", observed{initiatorFlags: S | A | P}, schemas.ConnectionStateESTABLISHED, true},
		{"handshake and end, one side seen", observed{initiatorFlags: S | A | F}, schemas.ConnectionStateCLOSED, true},
		{"a middle part, one side seen", observed{initiatorFlags: A | P}, schemas.ConnectionStateUNKNOWN, false},
		{"flags not sent, one side seen", observed{}, schemas.ConnectionStateUNKNOWN, false},
		{"refused", observed{initiatorFlags: S, responderFlags: R | A, responder: true}, schemas.ConnectionStateREFUSED, false},
		{"refused, only the refusal seen", observed{responderFlags: R | A, responder: true}, schemas.ConnectionStateREFUSED, false},
		{"RST, sampled: not all flags were seen", observed{initiatorFlags: S, responderFlags: R | A, responder: true, sampled: true}, schemas.ConnectionStateRESET, true},
		{"established", observed{initiatorFlags: S | A | P, responderFlags: S | A | P, responder: true}, schemas.ConnectionStateESTABLISHED, true},
		{"closed", observed{initiatorFlags: S | A | F, responderFlags: S | A | F, responder: true}, schemas.ConnectionStateCLOSED, true},
		{"reset", observed{initiatorFlags: S | A | P, responderFlags: S | A | R, responder: true}, schemas.ConnectionStateRESET, true},
		{"a half-open scan", observed{initiatorFlags: S | R, responderFlags: S | A, responder: true}, schemas.ConnectionStateRESET, true},
		{"a SYN+ACK nobody took", observed{initiatorFlags: S, responderFlags: S | A, responder: true}, schemas.ConnectionStateANSWERED, true},
		{"both middles", observed{initiatorFlags: A, responderFlags: A | P, responder: true}, schemas.ConnectionStateANSWERED, true},
		{"a refused ACK", observed{initiatorFlags: A, responderFlags: R, responder: true}, schemas.ConnectionStateRESET, false},
		{"flags not sent, both ways", observed{responder: true}, schemas.ConnectionStateANSWERED, true},
		{"UDP, no reply", observed{protocol: protoUDP, expectsReply: true}, schemas.ConnectionStateUNANSWERED, false},
		{"UDP, no reply, sampled", observed{protocol: protoUDP, expectsReply: true, sampled: true}, schemas.ConnectionStateUNKNOWN, false},
		{"UDP, reply", observed{protocol: protoUDP, responder: true}, schemas.ConnectionStateANSWERED, true},
		{"UDP, none waited for", observed{protocol: protoUDP}, schemas.ConnectionStateUNKNOWN, false},
	} {
		o := tc.o
		if o.protocol == 0 {
			o.protocol = protoTCP
			o.initiator = o.initiatorFlags != 0 || !o.responder
		}
		if state, answered := connectionState(o); state != tc.state || answered != tc.answered {
			t.Errorf("%s (-got, +want)\n- %s answered=%t\n+ %s answered=%t", tc.name, state, answered, tc.state, tc.answered)
		}
	}
}

func TestScale(t *testing.T) {
	const most = int64(^uint64(0) >> 1)
	for _, tc := range []struct{ n, rate, want int64 }{{3, 1, 3}, {3, 100, 300}, {most, 2, most}, {most / 2, 1 << 40, most}, {-1, 5, 0}, {-1, 1, 0}} {
		if got := scale(tc.n, tc.rate); got != tc.want {
			t.Errorf("%d * %d (-got, +want)\n- %d\n+ %d", tc.n, tc.rate, got, tc.want)
		}
	}
}

func TestCorrupt(t *testing.T) {
	p := newEnricher(t, nil).NewProcessor()
	good := web.record(1).Append(nil)
	for _, b := range [][]byte{nil, good[:5], good[:len(good)-3], append([]byte{0xc3, 1, 0, 0, 0, 0, 0, 0, 0, 0}, good[10:]...)} {
		if _, err := p.Decode(nil, b); err == nil {
			t.Errorf("%x was accepted", b)
		}
	}
	var framing *schemas.FramingError
	var unknown *schemas.UnknownSchemaError
	if _, err := p.Decode(nil, good[:5]); !errors.As(err, &framing) {
		t.Errorf("a short record: %v is not typed", err)
	}
	if _, err := p.Decode(nil, append([]byte{0xc3, 1, 9, 9, 9, 9, 9, 9, 9, 9}, good[10:]...)); !errors.As(err, &unknown) {
		t.Errorf("a record of an unknown schema: %v is not typed", err)
	}
}

// someState returns the state of a group that has held and remembered
// conversations.
func someState(t testing.TB) []byte {
	d := newDriver(t, nil)
	d.crowd = 1
	d.push(web, flow{src: "10.0.0.1:1", dst: "10.0.0.2:2", proto: protoUDP, at: 100, octets: 1, packets: 1, realm: "x"})
	d.tick(100 + hold)
	again := web
	again.at, again.start = 100+hold, 95
	d.push(again)
	for g := range kafka.Groups {
		if s := d.wrap.AppendState(nil, g); len(s) > 0 {
			return s
		}
	}
	t.Fatal("no state")
	return nil
}

func TestDamagedState(t *testing.T) {
	state := someState(t)
	p := newEnricher(t, nil).NewProcessor()
	if err := p.LoadState(3, state); err != nil {
		t.Fatal(err)
	}
	if got := p.AppendState([]byte("before"), 3); string(got) != "before"+string(state) {
		t.Error("state is not what was loaded")
	}
	if err := p.LoadState(3, nil); err != nil || len(p.AppendState(nil, 3)) != 0 {
		t.Errorf("empty state: %v", err)
	}
	bad := map[string][]byte{"another version": append([]byte{9}, state[1:]...), "a byte too many": append(slices.Clone(state), 0)}
	for n := 1; n < len(state); n++ {
		bad[fmt.Sprintf("the first %d bytes", n)] = state[:n]
	}
	for name, b := range bad {
		var se *StateError
		if err := p.LoadState(3, b); !errors.As(err, &se) || se.Group != 3 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzState loads anything: it is refused, or comes out as it went in and
// can be worked with.
func FuzzState(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0})
	f.Add(someState(f))
	e := newEnricher(f, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		p := e.NewProcessor()
		if p.LoadState(0, b) != nil {
			return
		}
		again := p.AppendState(nil, 0)
		q := e.NewProcessor()
		if err := q.LoadState(0, again); err != nil {
			t.Fatalf("what was accepted cannot be read again: %v", err)
		}
		if third := q.AppendState(nil, 0); string(third) != string(again) {
			t.Errorf("(-got, +want)\n- %x\n+ %x", third, again)
		}
	})
}

func TestConfigYAML(t *testing.T) {
	c := DefaultConfig()
	err := yaml.Unmarshal([]byte(`
stitch_hold: 3s
internal_networks: [192.0.2.0/24, "2001:db8::/32"]
geo: {databases: [a.mmdb]}
intel: {feeds: [{name: x, file: f, format: csv, column: ip, tlp: RED}]}
`), &c)
	if err != nil {
		t.Fatal(err)
	}
	if c.StitchHold != 3*time.Second || len(c.InternalNetworks) != 2 || c.InternalNetworks[1].String() != "2001:db8::/32" ||
		c.Geo.Databases[0] != "a.mmdb" || c.Intel.Feeds[0].Column != "ip" || !c.WaitForDuplicates {
		t.Errorf("got %+v", c)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
