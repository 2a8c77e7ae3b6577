package decode

import (
	"math"
	"testing"

	"github.com/weir-flow/weir/schemas"
)

// basic is a template of what most exporters send, with v9's relative times.
var basic = []int{8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 6, 1, 1, 4, 2, 4, 22, 4, 21, 4}

func basicRecord(octets int) *enc {
	e := new(enc)
	e.ip("10.0.0.1").ip("10.0.0.2").u16(1234, 80).u8(6, 0x1b).u32(octets, 3, 90_000, 95_000)
	return e
}

func TestV9(t *testing.T) {
	d := newDecoder(t)
	body := basicRecord(100)
	body.raw(*basicRecord(200)).u8(0, 0, 0) // and padding
	h := feed(d, v9(7, 42, 100_000, set(0, v9tmpl(256, basic...)), set(256, body)))
	if len(h.flows) != 2 || len(h.rejected) != 0 {
		t.Fatalf("got %d flows, rejected %v; want 2, none", len(h.flows), h.rejected)
	}
	r := &h.flows[1]
	equal(t, "addresses", r.SourceIPAddress.String()+" "+r.DestinationIPAddress.String(), "10.0.0.1 10.0.0.2")
	equal(t, "ports", [2]int32{r.SourceTransportPort, r.DestinationTransportPort}, [2]int32{1234, 80})
	equal(t, "counters", [2]int64{r.OctetDeltaCount, r.PacketDeltaCount}, [2]int64{200, 3})
	equal(t, "times", [2]int64{r.FlowStartMilliseconds, r.FlowEndMilliseconds}, [2]int64{testTime*1000 - 10_000, testTime*1000 - 5_000})
	equal(t, "flags", r.TcpControlBits, 0x1b)
	equal(t, "protocol", r.ExportProtocol, schemas.ExportProtocolNETFLOW_V9)
	equal(t, "domain", r.ObservationDomainId, 42)
	equal(t, "sequence", r.ExportSequence, 7)
	equal(t, "template", r.TemplateId, 256)
	equal(t, "sampling", r.SamplingInterval, 1)
	equal(t, "assumed", r.SamplingAssumed, true)
	equal(t, "exporter", r.ExporterAddress, source)
	if h.flows[0].FlowId == r.FlowId || r.FlowId == (schemas.FlowId{}) {
		t.Errorf("flow ids %v and %v are not ids", h.flows[0].FlowId, r.FlowId)
	}
	again := feed(newDecoder(t), v9(7, 42, 100_000, set(0, v9tmpl(256, basic...)), set(256, body)))
	equal(t, "the id is a function of the datagram", again.flows[1].FlowId, r.FlowId)
}

func TestUptimeWrap(t *testing.T) {
	// The uptime wrapped 1 s ago; the flow began 2 s before that.
	e := new(enc)
	e.ip("10.0.0.1").ip("10.0.0.2").u16(1, 2).u8(17, 0).u32(1, 1, math.MaxUint32-1999, 500)
	h := feed(newDecoder(t), v9(1, 1, 1000, set(0, v9tmpl(256, basic...)), set(256, e)))
	r := one1(t, h)
	equal(t, "v9 start", r.FlowStartMilliseconds, testTime*1000-3000)
	equal(t, "v9 end", r.FlowEndMilliseconds, testTime*1000-500)

	h = feed(newDecoder(t), v5(1, 1000, 1, v5Record(math.MaxUint32-1999, 500)))
	r = one1(t, h)
	equal(t, "v5 start", r.FlowStartMilliseconds, testTime*1000+250-3000)
	equal(t, "v5 end", r.FlowEndMilliseconds, testTime*1000+250-500)
}

func TestAbsoluteTimes(t *testing.T) {
	ntp := func(ms uint64) uint64 { return (ms/1000+2208988800)<<32 | (ms%1000)<<32/1000 + 1 }
	const start, end = testTime*1000 - 7250, testTime*1000 - 1500
	for _, tc := range []struct {
		name   string
		fields []int
		data   *enc
		want   [2]int64
	}{
		{"milliseconds", []int{152, 8, 153, 8}, new(enc).u64(start, end), [2]int64{start, end}},
		{"milliseconds win over uptime", []int{22, 4, 152, 8, 21, 4, 153, 8}, new(enc).u32(5).u64(start).u32(6).u64(end), [2]int64{start, end}},
		{"seconds", []int{150, 4, 151, 4}, new(enc).u32(testTime-9, testTime-3), [2]int64{(testTime - 9) * 1000, (testTime - 3) * 1000}},
		{"NTP microseconds", []int{154, 8, 155, 8}, new(enc).u64(ntp(start), ntp(end)), [2]int64{start, end}},
		{"NTP nanoseconds", []int{156, 8, 157, 8}, new(enc).u64(ntp(start), ntp(end)), [2]int64{start, end}},
		{"Unix microseconds, as some send them", []int{154, 8, 155, 8}, new(enc).u64(start*1000, end*1000), [2]int64{start, end}},
		{"deltas of the export time", []int{158, 4, 159, 4}, new(enc).u32(7_250_000, 1_500_000), [2]int64{start, end}},
		{"start and duration", []int{152, 8, 161, 4}, new(enc).u64(start).u32(500), [2]int64{start, start + 500}},
		{"end and duration", []int{153, 8, 162, 4}, new(enc).u64(end).u32(500_000), [2]int64{end - 500, end}},
		{"time of an event", []int{323, 8}, new(enc).u64(end), [2]int64{end, end}},
		{"none", []int{2, 4}, new(enc).u32(1), [2]int64{testTime * 1000, testTime * 1000}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, b := range [][]byte{
				ipfix(1, 1, set(2, tmpl(256, tc.fields...)), set(256, tc.data)),
				v9(1, 1, 1000, set(0, v9tmpl(256, tc.fields...)), set(256, tc.data)),
			} {
				r := one1(t, feed(newDecoder(t), b))
				equal(t, "start, end", [2]int64{r.FlowStartMilliseconds, r.FlowEndMilliseconds}, tc.want)
			}
		})
	}
}

func TestIPFIXUptimeByInitTime(t *testing.T) {
	boot := uint64(testTime*1000 - 100_000)
	data := new(enc).u32(90_000, 95_000)
	for name, b := range map[string][][]byte{
		"in the options": {ipfix(1, 1, set(3, new(enc).u16(300, 2, 1, 149, 4, 160, 8)), set(300, new(enc).u32(1).u64(boot)), set(2, tmpl(256, 22, 4, 21, 4)), set(256, data))},
		"in the record":  {ipfix(1, 1, set(2, tmpl(256, 160, 8, 22, 4, 21, 4)), set(256, new(enc).u64(boot).raw(*data)))},
	} {
		r := one1(t, feed(newDecoder(t), b...))
		equal(t, name, [2]int64{r.FlowStartMilliseconds, r.FlowEndMilliseconds}, [2]int64{testTime*1000 - 10_000, testTime*1000 - 5_000})
	}
	// Nobody says it: the duration is right, the end is the export.
	r := one1(t, feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 22, 4, 21, 4)), set(256, data))))
	equal(t, "nowhere", [2]int64{r.FlowStartMilliseconds, r.FlowEndMilliseconds}, [2]int64{testTime*1000 - 5_000, testTime * 1000})
}

func TestIPFIXVariableLengthEnterpriseReverse(t *testing.T) {
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'a'
	}
	fields := []int{8, 4, 12, 4, 0x8000 | 205, 65535, 35632, 0x8000 | 1, 8, 29305, 1, 8, 0x8000 | 2, 4, 29305, 0x8000 | 999, 65535, 4242, 0x8000 | 188, 65535, 35632, 5, 0}
	body := new(enc).ip("10.0.0.1").ip("10.0.0.2").vstr("example.org.").u64(77, 11).u32(7).vstr("zz").vstr(string(long))
	body.ip("10.0.0.3").ip("10.0.0.2").vstr("").u64(78, 12).u32(8).vstr("").vstr("")
	body.u8(0, 0)
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, fields...)), set(256, body)))
	if len(h.flows) != 2 || len(h.rejected) != 0 {
		t.Fatalf("got %d flows, rejected %v; want 2, none", len(h.flows), h.rejected)
	}
	r := &h.flows[0]
	equal(t, "forward", r.OctetDeltaCount, 11)
	equal(t, "reverse", [2]int64{r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount}, [2]int64{77, 7})
	equal(t, "dns", r.Dns.Value.QueryName, "example.org")
	equal(t, "tls", r.Tls.Value.ServerName, string(long))
	equal(t, "unknown element", extra(r, "4242/999"), "7a7a")
	equal(t, "empty dns", h.flows[1].Dns.Set, false)
	equal(t, "empty tls", h.flows[1].Tls.Set, false)
}

func TestVariableLengthInV9(t *testing.T) {
	h := feed(newDecoder(t), v9(1, 1, 0, set(0, v9tmpl(256, 371, 65535, 1, 4)), set(256, new(enc).vstr("alice").u32(9).vstr("bob").u32(8))))
	if len(h.flows) != 2 || h.flows[1].UserName != "bob" || h.flows[1].OctetDeltaCount != 8 {
		t.Errorf("got %+v, want alice's and bob's", h.flows)
	}
}

func TestOnlyVariableFields(t *testing.T) {
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 371, 65535)), set(256, new(enc).vstr("alice").vstr("bob").u8(0, 0, 0))))
	if len(h.flows) != 2 || len(h.rejected) != 0 {
		t.Fatalf("got %d flows, rejected %v; want 2, none", len(h.flows), h.rejected)
	}
}

func TestTruncatedVariableLengthIsNotSilent(t *testing.T) {
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 371, 65535, 1, 4)), set(256, new(enc).vstr("alice").u32(1).u8(200).str("too short"))))
	equal(t, "flows", len(h.flows), 1)
	equalSlice(t, "rejected", h.reasons(), []Reason{Truncated})
}

func TestEmptyTemplate(t *testing.T) {
	for name, b := range map[string][]byte{
		"v9":                v9(1, 1, 0, set(0, v9tmpl(256)), set(256, new(enc).u32(1))),
		"IPFIX withdrawal":  ipfix(1, 1, set(2, tmpl(256)), set(256, new(enc).u32(1))),
		"zero-width fields": ipfix(1, 1, set(2, tmpl(256, 1, 0, 2, 0)), set(256, new(enc).u32(1))),
	} {
		h := feed(newDecoder(t), b)
		equal(t, name+": flows", len(h.flows), 0)
		equalSlice(t, name+": rejected", h.reasons(), []Reason{BadTemplate})
	}
	// A withdrawal over UDP leaves the template alone (RFC 7011 section 8.4).
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 1, 4))), ipfix(1, 1, set(2, tmpl(256))), ipfix(1, 1, set(256, new(enc).u32(5))))
	equal(t, "after a withdrawal", one1(t, h).OctetDeltaCount, 5)
}

func TestNewTemplateReplacesOld(t *testing.T) {
	h := feed(newDecoder(t), v9(1, 1, 0, set(0, v9tmpl(256, 1, 4))), v9(2, 1, 0, set(0, v9tmpl(256, 2, 4))), v9(3, 1, 0, set(256, new(enc).u32(5))))
	equal(t, "packets", one1(t, h).PacketDeltaCount, 5)
}

func TestTemplatesAreOfSourceDomainAndProtocol(t *testing.T) {
	d := newDecoder(t)
	feed(d, v9(1, 1, 0, set(0, v9tmpl(256, 1, 4))))
	h := feed(d, v9(1, 2, 0, set(256, new(enc).u32(5))), ipfix(1, 1, set(256, new(enc).u32(5))))
	equal(t, "flows", len(h.flows), 0)
	h = feed(d, v9(1, 1, 0, set(256, new(enc).u32(5))))
	one1(t, h)
}

// A set without its template costs nothing of the rest, waits, and is decoded
// when the template comes, with the ids it would have had.
func TestDataBeforeTemplate(t *testing.T) {
	first := ipfix(1, 1, set(256, new(enc).u32(5, 6)), set(2, tmpl(257, 2, 4)), set(257, new(enc).u32(9)))
	d := newDecoder(t)
	h := feed(d, first)
	equal(t, "the rest", one1(t, h).PacketDeltaCount, 9)
	equal(t, "held", d.Stats().Held.Load(), 1)
	h = feed(d, ipfix(9, 1, set(2, tmpl(256, 1, 4))))
	if len(h.flows) != 2 || h.flows[0].OctetDeltaCount != 5 || h.flows[1].OctetDeltaCount != 6 {
		t.Fatalf("released: got %+v, want octets 5 and 6", h.flows)
	}
	equal(t, "header of its own datagram", h.flows[0].ExportSequence, 1)
	equal(t, "released", d.Stats().Released.Load(), 1)
	equal(t, "held octets", d.Stats().HeldOctets.Load(), 0)

	known := newDecoder(t)
	feed(known, ipfix(0, 1, set(2, tmpl(256, 1, 4))))
	equal(t, "flow id", h.flows[0].FlowId, feed(known, first).flows[0].FlowId)
}

func TestPendingIsBounded(t *testing.T) {
	d := newDecoder(t, func(c *Config) { c.Limits.PendingBytes = 64 << 10 })
	h := new(heard)
	for i := range 1000 {
		d.Datagram(ipfix(1, i%40, set(256, new(enc).raw(make([]byte, 1000)))), source, 1, h)
		if n := d.Stats().HeldOctets.Load(); n > 16<<10 {
			t.Fatalf("one exporter holds %d octets of 65536, want at most a quarter", n)
		}
	}
	s := d.Stats()
	d.Close()
	equal(t, "held octets in the end", s.HeldOctets.Load(), 0)
	equal(t, "all accounted for", s.Dropped.Load(), 1000)
	equal(t, "as rejections", s.Rejected[NoTemplate].Load(), 1000)
}

func TestV9CountIsNotTrusted(t *testing.T) {
	for _, count := range []byte{0, 1, 200} {
		b := v9(1, 1, 0, set(0, v9tmpl(256, 1, 4)), set(256, new(enc).u32(1)), set(256, new(enc).u32(2)))
		b[3] = count
		equal(t, "flows", len(feed(newDecoder(t), b).flows), 2)
	}
}

func TestOctetsChoice(t *testing.T) {
	all := []int{352, 4, 23, 4, 85, 4, 1, 4}
	data := new(enc).u32(4, 3, 2, 1)
	for i, want := range []int64{1, 2, 3, 4} {
		n := len(all) - 2*i
		h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, all[:n]...)), set(256, (*data)[:2*n].p())))
		r := one1(t, h)
		equal(t, "octets", r.OctetDeltaCount, want)
		if i < 3 {
			equal(t, "the other in extra", extra(r, "layer2OctetDeltaCount"), "4")
		}
		if i == 0 {
			equal(t, "total", extra(r, "octetTotalCount"), "2")
			equal(t, "post", extra(r, "postOctetDeltaCount"), "3")
		}
	}
}

func (e enc) p() *enc { return &e }

func TestICMPStays(t *testing.T) {
	h := feed(newDecoder(t), ipfix(1, 1,
		set(2, tmpl(256, 4, 1, 32, 2)), set(256, new(enc).u8(1).u16(0x0301)),
		set(2, tmpl(257, 4, 1, 176, 1, 177, 1)), set(257, new(enc).u8(1, 0, 0)),
		set(2, tmpl(258, 4, 1, 178, 1, 179, 1)), set(258, new(enc).u8(58, 129, 0)),
		set(2, tmpl(259, 4, 1, 11, 2)), set(259, new(enc).u8(1).u16(0x0800))))
	for i, want := range []int32{0x0301, 0, 129 << 8, 0x0800} {
		equal(t, "type and code", h.flows[i].IcmpTypeCode, want)
		equal(t, "seen", h.flows[i].IcmpSeen, true)
	}
}

func TestDualStackTemplate(t *testing.T) {
	fields := []int{8, 4, 12, 4, 27, 16, 28, 16}
	zero := make([]byte, 16)
	body := new(enc).ip("10.0.0.1").ip("10.0.0.2").raw(zero).raw(zero).raw(zero[:8]).ip("2001:db8::1").ip("2001:db8::2")
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, fields...)), set(256, body)))
	equal(t, "IPv4", h.flows[0].SourceIPAddress.String()+" "+h.flows[0].DestinationIPAddress.String(), "10.0.0.1 10.0.0.2")
	equal(t, "IPv6", h.flows[1].SourceIPAddress.String()+" "+h.flows[1].DestinationIPAddress.String(), "2001:db8::1 2001:db8::2")
}

func TestReducedSizeAndOversize(t *testing.T) {
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 1, 3, 2, 1, 10, 2, 153, 8, 16, 2, 0x8000|999, 2, 4242, 434, 2)),
		set(256, new(enc).u8(1, 0, 2, 9).u16(7).u64(5000).u16(65001, 0xABCD, 0xFFFE))))
	r := one1(t, h)
	equal(t, "3 octets", r.OctetDeltaCount, 65538)
	equal(t, "1 octet", r.PacketDeltaCount, 9)
	equal(t, "2 octets", r.IngressInterface, 7)
	equal(t, "as", r.BgpSourceAsNumber, 65001)
	equal(t, "signed", extra(r, "mibObjectValueInteger"), "-2")
	equal(t, "unknown", extra(r, "4242/999"), "abcd")
}

func TestExtraKinds(t *testing.T) {
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 311, 8, 57, 6, 43, 4, 82, 8, 276, 1, 322, 4, 520, 32, 313, 3, 198, 8)),
		set(256, new(enc).u64(math.Float64bits(0.5)).u8(1, 2, 3, 4, 5, 6).ip("192.0.2.9").str("eth\x00junk").u8(1).u32(99).raw(make([]byte, 32)).str("\xff\xfe\x00").u64(math.MaxUint64))))
	r := one1(t, h)
	for name, want := range map[string]string{
		"samplingProbability": "0.5", "postDestinationMacAddress": "01:02:03:04:05:06", "ipv4RouterSc": "192.0.2.9", "interfaceName": "eth",
		"dataRecordsReliability": "1", "observationTimeSeconds": "99", "ipHeaderPacketSection": "fffe00", "octetDeltaSumOfSquares": "ffffffffffffffff",
	} {
		equal(t, name, extra(r, name), want)
	}
}

func TestTextIsValidUTF8(t *testing.T) {
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 371, 6)), set(256, new(enc).str("caf\xe9\x00\x00"))))
	equal(t, "Latin-1", one1(t, h).UserName, "café")
}

func TestV9VendorNumbers(t *testing.T) {
	h := feed(newDecoder(t), v9(1, 1, 0, set(0, v9tmpl(256, 40000, 5, 40001, 4, 40003, 2, 57677, 11, 33002, 2, 50000, 2)),
		set(256, new(enc).str("alice").ip("198.51.100.1").u16(4000).str("example.org").u16(1001, 7))))
	r := one1(t, h)
	equal(t, "user", r.UserName, "alice")
	equal(t, "nat", r.PostNATSourceIPAddress.String(), "198.51.100.1")
	equal(t, "napt", r.PostNAPTSourceTransportPort, 4000)
	equal(t, "ntop", r.Dns.Value.QueryName, "example.org")
	equal(t, "asa", extra(r, "cisco.firewallEventExtended"), "1001")
	equal(t, "unknown", extra(r, "0/50000"), "0007")
}

func TestMPLSVlanMAC(t *testing.T) {
	h := feed(newDecoder(t), v9(1, 1, 0, set(0, v9tmpl(256, 70, 3, 71, 3, 72, 3, 58, 2, 56, 6, 80, 6)),
		set(256, new(enc).u8(0x00, 0x01, 0x00, 0x12, 0x34, 0x51, 0, 0, 0).u16(0xE064).u8(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12))))
	r := one1(t, h)
	equalSlice(t, "labels", r.MplsLabels, []int64{16, 0x12345})
	equal(t, "vlan", r.VlanId, 100)
	equal(t, "mac", r.SourceMacAddress.String(), "01:02:03:04:05:06")
}

func TestLayer7(t *testing.T) {
	ntop := 35632
	h := feed(newDecoder(t), ipfix(1, 1,
		set(2, tmpl(256, 7, 2, 0x8000|205, 65535, ntop, 0x8000|207, 2, ntop, 0x8000|208, 1, ntop, 0x8000|206, 2, ntop)),
		set(256, new(enc).u16(53).vstr("a.example").u16(28).u8(3).u16(77)),
		set(2, tmpl(257, 0x8000|188, 65535, ntop, 0x8000|489, 65535, ntop, 0x8000|495, 2, ntop)),
		set(257, new(enc).vstr("b.example").vstr("abc").u16(0x303)),
		set(2, tmpl(258, 460, 65535, 461, 65535, 459, 65535, 457, 2, 468, 65535)),
		set(258, new(enc).vstr("c.example").vstr("/x").vstr("GET").u16(404).vstr("curl")),
		set(2, tmpl(259, 0x8000|830, 16, 8057, 0x8000|12, 4, 8057, 0x8000|1, 1, 8057)),
		set(259, new(enc).raw([]byte("0123456789abcdef")).ip("192.0.2.7").u8(0))))
	if len(h.flows) != 4 {
		t.Fatalf("flows: got %d, want 4 (%v)", len(h.flows), h.rejected)
	}
	dns := h.flows[0].Dns.Value
	equal(t, "dns", [4]any{dns.QueryName, dns.QueryType, dns.ResponseCode, dns.Response}, [4]any{"a.example", int32(28), int32(3), true})
	equal(t, "dns id", dns.Id, 77)
	tls := h.flows[1].Tls.Value
	equal(t, "tls", [3]any{tls.ServerName, tls.Ja3, tls.Version}, [3]any{"b.example", "abc", int32(0x303)})
	http := h.flows[2].Http.Value
	equal(t, "http", [5]any{http.Host, http.Url, http.Method, http.StatusCode, http.UserAgent}, [5]any{"c.example", "/x", "GET", int32(404), "curl"})
	equal(t, "ja3 as octets", h.flows[3].Tls.Value.Ja3, "30313233343536373839616263646566")
	dns = h.flows[3].Dns.Value
	if len(dns.Answers) != 1 || dns.Answers[0].Data != "192.0.2.7" || dns.Answers[0].Type != 1 || !dns.Response {
		t.Errorf("answers: got %+v, want 192.0.2.7", dns)
	}
}

func TestNSEL(t *testing.T) {
	h := feed(newDecoder(t), v9(1, 1, 5000, set(0, v9tmpl(263, 148, 4, 8, 4, 7, 2, 12, 4, 11, 2, 4, 1, 176, 1, 177, 1, 225, 4, 226, 4, 227, 2, 228, 2, 233, 1, 33002, 2, 323, 8, 152, 8, 231, 4, 232, 4, 40000, 20)),
		set(263, new(enc).u32(77).ip("10.0.0.1").u16(1234).ip("10.0.0.2").u16(443).u8(6, 0, 0).ip("198.51.100.1").ip("10.0.0.2").u16(4000, 443).u8(2).u16(2030).u64(testTime*1000-10, testTime*1000-5000).u32(111, 222).raw(make([]byte, 20)))))
	r := one1(t, h)
	equal(t, "event", r.FirewallEvent, 2)
	equal(t, "counters", [2]int64{r.OctetDeltaCount, r.ReverseOctetDeltaCount}, [2]int64{111, 222})
	equal(t, "times", [2]int64{r.FlowStartMilliseconds, r.FlowEndMilliseconds}, [2]int64{testTime*1000 - 5000, testTime*1000 - 10})
	equal(t, "nat", r.PostNATSourceIPAddress.String(), "198.51.100.1")
	equal(t, "flow id of the exporter", extra(r, "flowId"), "77")
}

func TestExporterInTheData(t *testing.T) {
	h := feed(newDecoder(t), ipfix(1, 1, set(2, tmpl(256, 130, 4, 1, 4)), set(256, new(enc).ip("203.0.113.5").u32(1))))
	r := one1(t, h)
	equal(t, "identity", r.ExporterAddress.String(), "203.0.113.5")
	equal(t, "source", r.ExporterSource, source)
}
