package decode

import (
	"math"
	"net/netip"
	"testing"
)

func opt9(id int, scope, fields []int) *enc {
	return new(enc).u16(id, len(scope)*2, len(fields)*2).u16(scope...).u16(fields...)
}

func opt10(id, scopes int, fields ...int) *enc {
	e := new(enc).u16(id, len(fields)/2, scopes)
	return e.u16(fields...)
}

func TestSampling(t *testing.T) {
	for _, tc := range []struct {
		name     string
		sets     [][]byte
		interval int64
		assumed  bool
	}{
		{"none", [][]byte{set(2, tmpl(256, 1, 4)), set(256, new(enc).u32(1))}, 1, true},
		{"34 in the data", [][]byte{set(2, tmpl(256, 34, 4)), set(256, new(enc).u32(512))}, 512, false},
		{"34 of two octets", [][]byte{set(2, tmpl(256, 34, 2)), set(256, new(enc).u16(512))}, 512, false},
		{"34 is zero", [][]byte{set(2, tmpl(256, 34, 4)), set(256, new(enc).u32(0))}, 1, true},
		{"50 in the data", [][]byte{set(2, tmpl(256, 50, 4)), set(256, new(enc).u32(64))}, 64, false},
		{"305 and 306", [][]byte{set(2, tmpl(256, 305, 4, 306, 4)), set(256, new(enc).u32(1, 999))}, 1000, false},
		{"305 and 306, several", [][]byte{set(2, tmpl(256, 305, 4, 306, 4)), set(256, new(enc).u32(10, 990))}, 100, false},
		{"305 alone", [][]byte{set(2, tmpl(256, 305, 4)), set(256, new(enc).u32(100))}, 100, false},
		{"309 and 310", [][]byte{set(2, tmpl(256, 309, 4, 310, 4)), set(256, new(enc).u32(5, 1000))}, 200, false},
		{"311", [][]byte{set(2, tmpl(256, 311, 8)), set(256, new(enc).u64(math.Float64bits(0.01)))}, 100, false},
		{"options of the domain", [][]byte{set(3, opt10(300, 1, 149, 4, 34, 4, 35, 1)), set(300, new(enc).u32(1, 32).u8(1)), set(2, tmpl(256, 1, 4)), set(256, new(enc).u32(1))}, 32, false},
		{"options by selector", [][]byte{set(3, opt10(300, 1, 302, 8, 304, 2, 305, 4, 306, 4)), set(300, new(enc).u64(5).u16(1).u32(1, 15).u64(6).u16(3).u32(1, 31)),
			set(2, tmpl(256, 302, 8)), set(256, new(enc).u64(6))}, 32, false},
		{"a selector nobody explained", [][]byte{set(3, opt10(300, 1, 302, 8, 305, 4)), set(300, new(enc).u64(5).u32(16)), set(2, tmpl(256, 302, 8)), set(256, new(enc).u64(9))}, 1, true},
		{"by no sampler", [][]byte{set(3, opt10(300, 1, 48, 1, 50, 4)), set(300, new(enc).u8(5).u32(16)), set(2, tmpl(256, 48, 1)), set(256, new(enc).u8(0))}, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := one1(t, feed(newDecoder(t), ipfix(1, 1, tc.sets...)))
			equal(t, "interval", r.SamplingInterval, tc.interval)
			equal(t, "assumed", r.SamplingAssumed, tc.assumed)
		})
	}
}

func TestV9OptionsBySampler(t *testing.T) {
	h := feed(newDecoder(t), v9(1, 1, 0,
		set(1, opt9(300, []int{1, 4}, []int{48, 1, 49, 1, 50, 2})), set(300, new(enc).u32(1).u8(3, 2).u16(128).u32(1).u8(4, 1).u16(256)),
		set(0, v9tmpl(256, 48, 1, 1, 4)), set(256, new(enc).u8(4).u32(9).u8(3).u32(9))))
	if len(h.flows) != 2 || len(h.events) != 2 {
		t.Fatalf("got %d flows, %d events; want 2, 2 (%v)", len(h.flows), len(h.events), h.rejected)
	}
	equal(t, "sampler 4", [2]int64{h.flows[0].SamplingInterval, int64(h.flows[0].SamplingAlgorithm)}, [2]int64{256, 1})
	equal(t, "sampler 3", [2]int64{h.flows[1].SamplingInterval, int64(h.flows[1].SamplingAlgorithm)}, [2]int64{128, 2})
	equal(t, "options are no flows", h.kinds[0], KindOptions)
	equal(t, "scope", extra(&h.events[0], "scopeSystem"), "1")
	equal(t, "what it amounts to", h.events[0].SamplingInterval, 128)
	equal(t, "interval in the event", extra(&h.events[0], "samplerRandomInterval"), "128")
}

func TestSamplingOverride(t *testing.T) {
	d := newDecoder(t, func(c *Config) {
		c.Identify = func(a netip.Addr) Identity {
			return Identity{Name: "edge", Realm: "r", SamplingInterval: 10, Configured: a == source}
		}
	})
	h := feed(d, ipfix(1, 1, set(2, tmpl(256, 34, 4)), set(256, new(enc).u32(512))), v5(1, 1, 1, v5Record(1, 2)))
	for _, r := range h.flows {
		equal(t, "interval", r.SamplingInterval, 10)
		equal(t, "name, realm", r.ExporterName+" "+r.Realm, "edge r")
	}
}

func TestApplicationAndInterfaceNames(t *testing.T) {
	h := feed(newDecoder(t), v9(1, 1, 0,
		set(1, opt9(300, []int{1, 4}, []int{95, 4, 96, 8})), set(300, new(enc).u32(1).u8(13, 0, 1, 2).str("dropbox\x00")),
		set(1, opt9(301, []int{2, 4}, []int{82, 4, 83, 8})), set(301, new(enc).u32(7).str("Gi0\x00uplink\x00\x00")),
		set(0, v9tmpl(256, 95, 4, 10, 4, 14, 4)), set(256, new(enc).u8(13, 0, 1, 2).u32(7, 8).u8(3, 0, 0, 53).u32(8, 7))))
	if len(h.flows) != 2 {
		t.Fatalf("flows: got %d, want 2 (%v)", len(h.flows), h.rejected)
	}
	a, b := &h.flows[0], &h.flows[1]
	equal(t, "application", a.ApplicationId+" "+a.ApplicationName, "13:258 dropbox")
	equal(t, "ingress", a.IngressInterfaceName, "Gi0")
	equal(t, "egress of the other", b.EgressInterfaceName, "Gi0")
	equal(t, "unknown application", b.ApplicationId+" "+b.ApplicationName, "3:53 ")
}

func TestOptionsEnterpriseBit(t *testing.T) {
	body := new(enc).u16(300, 2, 1, 149, 4, 0x8000|205, 65535).u32(35632)
	h := feed(newDecoder(t), ipfix(1, 1, set(3, body), set(300, new(enc).u32(1).vstr("x.example"))))
	if len(h.events) != 1 {
		t.Fatalf("events: got %d, want 1 (%v)", len(h.events), h.rejected)
	}
	equal(t, "name", extra(&h.events[0], "ntop.dnsQuery"), "x.example")
}
