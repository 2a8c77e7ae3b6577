package decode

import (
	"testing"

	"github.com/weir-flow/weir/schemas"
)

func v5Record(first, last int) []byte {
	e := new(enc)
	e.ip("10.0.0.1").ip("10.0.0.2").ip("10.0.0.254").u16(1, 2).u32(3, 400, first, last).u16(1234, 80).u8(0, 0x1b, 6, 0x10).u16(65001, 65002).u8(24, 16).u16(0)
	return *e
}

func v5(seq, uptime, count int, records ...[]byte) []byte {
	e := new(enc)
	e.u16(5, count).u32(uptime, testTime, 250_000_000, seq).u8(1, 2).u16(1<<14 | 100)
	for _, r := range records {
		e.raw(r)
	}
	return *e
}

func TestV5(t *testing.T) {
	r := one1(t, feed(newDecoder(t), v5(7, 100_000, 1, v5Record(90_000, 95_000))))
	equal(t, "start", r.FlowStartMilliseconds, testTime*1000+250-10_000)
	equal(t, "end", r.FlowEndMilliseconds, testTime*1000+250-5_000)
	equal(t, "sampling", r.SamplingInterval, 100)
	equal(t, "algorithm", r.SamplingAlgorithm, 1)
	equal(t, "assumed", r.SamplingAssumed, false)
	equal(t, "engine", r.ObservationDomainId, 0x0102)
	equal(t, "counters", [2]int64{r.PacketDeltaCount, r.OctetDeltaCount}, [2]int64{3, 400})
	equal(t, "as", [2]int64{r.BgpSourceAsNumber, r.BgpDestinationAsNumber}, [2]int64{65001, 65002})
	equal(t, "prefix", [2]int32{r.SourcePrefixLength, r.DestinationPrefixLength}, [2]int32{24, 16})
	equal(t, "flags, protocol, tos", [3]int32{r.TcpControlBits, r.ProtocolIdentifier, r.IpClassOfService}, [3]int32{0x1b, 6, 0x10})
	equal(t, "next hop", r.IpNextHopAddress.String(), "10.0.0.254")
}

func TestV5InflatedCountYieldsNoPhantoms(t *testing.T) {
	h := feed(newDecoder(t), v5(7, 100_000, 30, v5Record(1, 2)[:48], v5Record(1, 2)[:20]))
	equal(t, "flows", len(h.flows), 1)
	equalSlice(t, "rejected", h.reasons(), []Reason{Truncated})
}

func TestV7(t *testing.T) {
	e := new(enc)
	e.u16(7, 1).u32(100_000, testTime, 0, 1, 0)
	e.raw(v5Record(90_000, 95_000)).ip("10.9.9.9")
	r := one1(t, feed(newDecoder(t), *e))
	equal(t, "protocol", r.ExportProtocol, schemas.ExportProtocolNETFLOW_V7)
	equal(t, "router", extra(r, "ipv4RouterSc"), "10.9.9.9")
	equal(t, "flags", r.TcpControlBits, 0x1b)
	equal(t, "assumed", r.SamplingAssumed, true)
}

func TestV1(t *testing.T) {
	e := new(enc)
	e.u16(1, 1).u32(100_000, testTime, 0)
	e.ip("10.0.0.1").ip("10.0.0.2").ip("10.0.0.254").u16(1, 2).u32(3, 400, 90_000, 95_000).u16(1234, 80).u16(0).u8(6, 0x10, 0x1b, 0, 0, 0).u32(0, 0)
	r := one1(t, feed(newDecoder(t), *e))
	equal(t, "flags, protocol, tos", [3]int32{r.TcpControlBits, r.ProtocolIdentifier, r.IpClassOfService}, [3]int32{0x1b, 6, 0x10})
	equal(t, "start", r.FlowStartMilliseconds, testTime*1000-10_000)
}
