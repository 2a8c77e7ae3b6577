package schemas

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// typical is a flow as a border router sends it: about 200 bytes.
func typical() *FlowRecord {
	return &FlowRecord{
		FlowId: FlowId{1, 2, 3}, StreamTime: 1700000000000, CollectorId: "collector-0", CollectorBoot: 3, CollectorSequence: 123456789, Realm: "default",
		ExporterAddress: netip.MustParseAddr("192.0.2.1"), ExporterSource: netip.MustParseAddr("192.0.2.1"), ExportProtocol: ExportProtocolNETFLOW_V9,
		ObservationDomainId: 256, ExportSequence: 987654, ExportTimeMilliseconds: 1700000000000, CollectionTimeMilliseconds: 1700000000100, TemplateId: 260, SamplingInterval: 100, SamplingAlgorithm: 2,
		FlowStartMilliseconds: 1699999990000, FlowEndMilliseconds: 1699999999000,
		SourceIPAddress: netip.MustParseAddr("10.1.2.3"), DestinationIPAddress: netip.MustParseAddr("198.51.100.77"), SourceTransportPort: 51234, DestinationTransportPort: 443, ProtocolIdentifier: 6,
		TcpControlBits: 27, OctetDeltaCount: 123456, PacketDeltaCount: 120, IngressInterface: 10, EgressInterface: 12, BgpSourceAsNumber: 64512, BgpDestinationAsNumber: 15169,
		IpNextHopAddress: netip.MustParseAddr("192.0.2.254"), SourcePrefixLength: 24, DestinationPrefixLength: 20, VlanId: 100, FlowEndReason: 3,
		Extra: []Extra{{Name: "flowSamplerID", Value: ExtraValue{Long: 1}}, {Name: "octetTotalCount", Value: ExtraValue{Long: 123456}}},
	}
}

// reportRatio measures goavro's way in the same run and reports how many times
// longer it takes.
func reportRatio(b *testing.B, theirs func()) {
	b.StopTimer()
	ours := float64(b.Elapsed()) / float64(b.N)
	const rounds = 500
	start := time.Now()
	for range rounds {
		theirs()
	}
	b.ReportMetric(float64(time.Since(start))/rounds/ours, "x-goavro")
}

func BenchmarkEncode(b *testing.B) {
	r := typical()
	codec, schema := codecOf(b, FlowRecordSchema), parse(b, FlowRecordSchema)
	native := toNative(schema, reflect.ValueOf(r).Elem()) // not measured: kind to goavro
	buf := r.Append(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = r.Append(buf[:0])
	}
	reportRatio(b, func() { buf, _ = codec.SingleFromNative(buf[:0], native) })
}

func BenchmarkDecode(b *testing.B) {
	buf := typical().Append(nil)
	codec := codecOf(b, FlowRecordSchema)
	var r FlowRecord
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if err := r.Unmarshal(buf); err != nil {
			b.Fatal(err)
		}
	}
	reportRatio(b, func() { _, _, _ = codec.NativeFromSingle(buf) })
}

func BenchmarkDecodeEnriched(b *testing.B) {
	flow := typical()
	e := EnrichedFlow{Flow: *flow, Reverse: Optional[FlowRecord]{Set: true, Value: *flow}, StreamTime: flow.StreamTime, CommunityId: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
		InitiatorOctets: 123456, ResponderOctets: 654321, ConnectionState: ConnectionStateCLOSED, NetworkDirection: "outbound", ServiceName: "https",
		Initiator: Side{Internal: true}, Responder: Side{AsNumber: 15169, AsOrganization: "Example", CountryIsoCode: "US"}, Members: make([]Member, 2)}
	buf := e.Append(nil)
	var r EnrichedFlow
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if err := r.Unmarshal(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	r := typical()
	buf := r.AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendJSON(buf[:0])
	}
}

func BenchmarkConversationKey(b *testing.B) {
	r := typical()
	key := make([]byte, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		key = ConversationKey(key[:0], r)
	}
}
