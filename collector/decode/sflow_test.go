package decode

import (
	"testing"

	"github.com/weir-flow/weir/schemas"
)

func sflow(seq int, samples ...[]byte) []byte {
	e := new(enc)
	e.u32(5, 1).ip("192.0.2.77").u32(3, seq, 60_000, len(samples))
	for _, s := range samples {
		e.raw(s)
	}
	return *e
}

func sample(format int, body *enc) []byte { return *new(enc).u32(format, len(*body)).raw(*body) }

// flowSample is the start of a sample with n flow records.
func flowSample(n int, records ...[]byte) []byte {
	e := new(enc)
	e.u32(9, 0<<24|5, 512, 5120, 0, 3, 4, n)
	for _, r := range records {
		e.raw(r)
	}
	return sample(1, e)
}

func rawHeader(protocol, frame int, h *enc) []byte {
	body := new(enc).u32(protocol, frame, 4, len(*h)).raw(*h)
	for len(*body)%4 != 0 {
		body.u8(0)
	}
	return sample(1, body)
}

func ipv4TCP() *enc {
	return new(enc).u8(0x45, 0x28).u16(1000, 1, 0).u8(63, 6).u16(0).ip("10.0.0.1").ip("10.0.0.2").u16(1234, 443).u32(1, 2).u8(0x50, 0x12).u16(1, 2, 3)
}

func TestSFlowHeaders(t *testing.T) {
	mac := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	v6 := new(enc).u32(6<<28|0x28<<20|77).u16(20).u8(0, 61).ip("2001:db8::1").ip("2001:db8::2").u8(6, 0, 0, 0, 0, 0, 0, 0).u16(1234, 443).u32(1, 2).u8(0x50, 0x12).u16(1, 2, 3)
	for _, tc := range []struct {
		name   string
		record []byte
		src    string
		check  func(t *testing.T, r *schemas.FlowRecord)
	}{
		{"Ethernet", rawHeader(1, 1018, new(enc).raw(mac).u16(0x800).raw(*ipv4TCP())), "10.0.0.1", func(t *testing.T, r *schemas.FlowRecord) {
			equal(t, "mac", r.DestinationMacAddress.String(), "01:02:03:04:05:06")
		}},
		{"QinQ", rawHeader(1, 1018, new(enc).raw(mac).u16(0x88A8, 0xE064, 0x8100, 0x2065, 0x800).raw(*ipv4TCP())), "10.0.0.1", func(t *testing.T, r *schemas.FlowRecord) {
			equal(t, "vlan", r.VlanId, 100)
			equal(t, "customer vlan", extra(r, "dot1qCustomerVlanId"), "101")
		}},
		{"MPLS", rawHeader(1, 1018, new(enc).raw(mac).u16(0x8847).u32(16<<12|255, 17<<12|0x100|255).raw(*ipv4TCP())), "10.0.0.1", func(t *testing.T, r *schemas.FlowRecord) {
			equalSlice(t, "labels", r.MplsLabels, []int64{16, 17})
		}},
		{"raw IPv4", rawHeader(11, 1018, ipv4TCP()), "10.0.0.1", func(t *testing.T, r *schemas.FlowRecord) {
			equal(t, "tos", r.IpClassOfService, 0x28)
		}},
		{"raw IPv6 with an extension header", rawHeader(12, 1018, v6), "2001:db8::1", func(t *testing.T, r *schemas.FlowRecord) {
			equal(t, "label", r.FlowLabelIPv6, 77)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := one1(t, feed(newDecoder(t), sflow(1, flowSample(1, tc.record))))
			equal(t, "source", r.SourceIPAddress.String(), tc.src)
			equal(t, "ports", [2]int32{r.SourceTransportPort, r.DestinationTransportPort}, [2]int32{1234, 443})
			equal(t, "protocol, flags", [2]int32{r.ProtocolIdentifier, r.TcpControlBits}, [2]int32{6, 0x12})
			equal(t, "octets are the frame's", r.OctetDeltaCount, 1018)
			equal(t, "packets", r.PacketDeltaCount, 1)
			equal(t, "sampling", r.SamplingInterval, 512)
			equal(t, "interfaces", [2]int64{r.IngressInterface, r.EgressInterface}, [2]int64{3, 4})
			equal(t, "identity", r.ExporterAddress.String(), "192.0.2.77")
			equal(t, "source", r.ExporterSource, source)
			tc.check(t, r)
		})
	}
}

func TestSFlowFragmentHasNoPorts(t *testing.T) {
	h := ipv4TCP()
	(*h)[7] = 1
	r := one1(t, feed(newDecoder(t), sflow(1, flowSample(1, rawHeader(11, 100, h)))))
	equal(t, "ports", [2]int32{r.SourceTransportPort, r.DestinationTransportPort}, [2]int32{})
}

func TestSFlowExtendedAndUnknown(t *testing.T) {
	gateway := new(enc).u32(1).ip("192.0.2.5").u32(65000, 65001, 65002, 1, 2, 2, 65010, 65020, 1, 99, 100)
	r := one1(t, feed(newDecoder(t), sflow(1,
		sample(77, new(enc).u32(1, 2, 3)), // unknown sample
		flowSample(5,
			sample(1001, new(enc).u32(0x3064, 1, 200, 2)),
			sample(1002, new(enc).u32(1).ip("192.0.2.4").u32(24, 16)),
			sample(1003, gateway),
			sample(0x7000, new(enc).u32(42)), // enterprise 7, format 0
			rawHeader(11, 1018, ipv4TCP())))))
	equal(t, "vlans", [2]int32{r.VlanId, r.PostVlanId}, [2]int32{100, 200})
	equal(t, "next hop", r.IpNextHopAddress.String(), "192.0.2.4")
	equal(t, "as", [2]int64{r.BgpSourceAsNumber, r.BgpDestinationAsNumber}, [2]int64{65001, 65020})
	equal(t, "bgp next hop", r.BgpNextHopAddress.String(), "192.0.2.5")
	equal(t, "unknown record", extra(r, "sflow.7/0"), "0000002a")
	equal(t, "octets", r.OctetDeltaCount, 1018)
}

func TestSFlowExpandedIPv6Agent(t *testing.T) {
	e := new(enc)
	e.u32(9, 0, 70_000, 512, 5120, 0, 0, 70_000, 0, 3, 1).raw(rawHeader(11, 1018, ipv4TCP()))
	d := new(enc)
	d.u32(5, 2).ip("2001:db8::9").u32(0, 1, 1, 1).raw(sample(3, e))
	r := one1(t, feed(newDecoder(t), *d))
	equal(t, "agent", r.ExporterAddress.String(), "2001:db8::9")
	equal(t, "input", r.IngressInterface, 70_000)
}

func TestSFlowCounters(t *testing.T) {
	e := new(enc)
	e.u32(5, 7, 2)
	g := new(enc)
	g.u32(7, 6).u64(1_000_000_000).u32(1, 3).u64(123456).u32(1, 2, 3, 4, 5, 6).u64(654321).u32(1, 2, 3, 4, 5, 0)
	e.raw(sample(1, g)).raw(sample(2, new(enc).u32(1, 2, 3)))
	h := feed(newDecoder(t), sflow(1, sample(2, e)))
	if len(h.events) != 1 || len(h.flows) != 0 {
		t.Fatalf("got %d events, %d flows; want 1, 0 (%v)", len(h.events), len(h.flows), h.rejected)
	}
	equal(t, "kind", h.kinds[0], KindCounters)
	equal(t, "in", extra(&h.events[0], "ifInOctets"), "123456")
	equal(t, "out", extra(&h.events[0], "ifOutOctets"), "654321")
	equal(t, "ethernet", extra(&h.events[0], "sflow.ethernet"), "000000010000000200000003")
}

// 0xFFFFFFFF records in 80 octets once asked for 103 GB.
func TestSFlowInflatedCounts(t *testing.T) {
	e := new(enc)
	e.u32(9, 0, 70_000, 512, 5120, 0, 0, 70_000, 0, 3, 0xFFFFFFFF)
	h := feed(newDecoder(t), sflow(1, sample(3, e)))
	equal(t, "flows", len(h.flows), 1)
	d := new(enc)
	d.u32(5, 1).ip("192.0.2.77").u32(0, 1, 1, 0xFFFFFFFF)
	h = feed(newDecoder(t), *d)
	equalSlice(t, "rejected", h.reasons(), []Reason{Truncated})
	h = feed(newDecoder(t), sflow(1, flowSample(1, *new(enc).u32(1, 0xFFFFFFFC, 11, 100, 0, 0xFFFFFFFF))))
	equalSlice(t, "rejected", h.reasons(), []Reason{BadSample})
	gateway := new(enc).u32(1).ip("192.0.2.5").u32(65000, 65001, 65002, 0xFFFFFFFF, 2, 0x40000001, 5)
	h = feed(newDecoder(t), sflow(1, flowSample(1, sample(1003, gateway))))
	equal(t, "the record is kept as octets", extra(&h.flows[0], "sflow.extendedGateway") != "", true)
}
