// Package ecstest has enriched flows for tests.
package ecstest

import (
	"net/netip"

	"github.com/weir-flow/weir/schemas"
)

// Start of the flows that Full and Plain return, ms since the epoch.
const Start = 1767225600000 // 2026-01-01T00:00:00Z

func id(b byte) (f schemas.FlowId) {
	for i := range f {
		f[i] = b
	}
	return f
}

// Full returns an enriched flow in which every field has a value, for tests
// that nothing is forgotten. A test holds it to that.
func Full() *schemas.EnrichedFlow {
	text := func(name, s string) schemas.Extra {
		return schemas.Extra{Name: name, Value: schemas.ExtraValue{Kind: schemas.ExtraString, Bytes: []byte(s)}}
	}
	long := func(name string, n int64) schemas.Extra {
		return schemas.Extra{Name: name, Value: schemas.ExtraValue{Kind: schemas.ExtraLong, Long: n}}
	}
	r := schemas.FlowRecord{
		FlowId: id(0xa1), StreamTime: Start + 61000, CollectorId: "c1", CollectorBoot: 3, CollectorSequence: 77, Realm: "default",
		ExporterAddress: netip.MustParseAddr("192.0.2.1"), ExporterSource: netip.MustParseAddr("192.0.2.2"), ExporterName: "edge-1",
		ExportProtocol: schemas.ExportProtocolIPFIX, ObservationDomainId: 42, ExportSequence: 99,
		ExportTimeMilliseconds: Start + 60500, CollectionTimeMilliseconds: Start + 60600, TemplateId: 256,
		SamplingInterval: 10, SamplingAlgorithm: 1, SamplingAssumed: true,
		FlowStartMilliseconds: Start + 1250, FlowEndMilliseconds: Start + 60000,
		SourceIPAddress: netip.MustParseAddr("10.1.2.3"), DestinationIPAddress: netip.MustParseAddr("203.0.113.9"),
		SourceTransportPort: 51000, DestinationTransportPort: 443, ProtocolIdentifier: 6, TcpControlBits: 0x1b,
		IpClassOfService: 0xb8, IcmpTypeCode: 0x0803, IcmpSeen: true,
		OctetDeltaCount: 1000, PacketDeltaCount: 10, ReverseOctetDeltaCount: 900, ReversePacketDeltaCount: 9, ReverseTcpControlBits: 0x12,
		DroppedOctetDeltaCount: 60, DroppedPacketDeltaCount: 1,
		IngressInterface: 3, EgressInterface: 4, IngressInterfaceName: "ge-0/0/3", EgressInterfaceName: "ge-0/0/4",
		FlowDirection: 1, FlowDirectionSeen: true, BgpSourceAsNumber: 64512, BgpDestinationAsNumber: 64496,
		IpNextHopAddress: netip.MustParseAddr("192.0.2.254"), BgpNextHopAddress: netip.MustParseAddr("192.0.2.253"),
		SourcePrefixLength: 24, DestinationPrefixLength: 22, VlanId: 100, PostVlanId: 200,
		SourceMacAddress: schemas.MAC{0, 0x1b, 0x21, 0xaa, 0xbb, 0xcc}, DestinationMacAddress: schemas.MAC{0xf0, 1, 2, 3, 4, 5},
		MplsLabels: []int64{16001, 3}, IngressVRFID: 7, EgressVRFID: 8,
		PostNATSourceIPAddress: netip.MustParseAddr("198.51.100.7"), PostNATDestinationIPAddress: netip.MustParseAddr("203.0.113.10"),
		PostNAPTSourceTransportPort: 61000, PostNAPTDestinationTransportPort: 8443, NatEvent: 1, FirewallEvent: 2, FlowEndReason: 3,
		FlowLabelIPv6: 12345, MinimumTTL: 57, MaximumTTL: 64, ApplicationId: "13:453", ApplicationName: "Office-365", UserName: `CORP\anna`,
		Dns: schemas.Optional[schemas.DNS]{Set: true, Value: schemas.DNS{
			QueryName: "www.example.com", QueryType: 1, ResponseCode: 3, Response: true, Id: 4711,
			Answers: []schemas.DNSAnswer{{Data: "example.com", Type: 5, Ttl: 300}, {Data: "203.0.113.9", Type: 1, Ttl: 60}},
		}},
		Tls: schemas.Optional[schemas.TLS]{Set: true, Value: schemas.TLS{
			ServerName: "www.example.com", Version: 0x0303, Cipher: 0xc02f, Ja3: "e7d705a3286e19ea42f587b344ee6865",
			Ja3s: "ec74a5c51106f0419184d0dd08fb05bc", Ja4: "t13d1516h2_8daaf6152771_02713d6af862",
			CertificateSubject: "CN=www.example.com", CertificateIssuer: "CN=Example CA,O=Example",
			CertificateNotBefore: Start - 86400000, CertificateNotAfter: Start + 86400000,
			CertificateFingerprint: "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100", Alpn: "h2",
		}},
		Http: schemas.Optional[schemas.HTTP]{Set: true, Value: schemas.HTTP{
			Host: "www.example.com:8080", Url: "/a/b?c=d", Method: "GET", StatusCode: 404,
			UserAgent: `Mozilla/5.0 "quoted" \ back`, ContentType: "text/html; charset=utf-8", Referer: "http://example.org/",
		}},
		Extra: []schemas.Extra{
			text("cisco.username", "bob"), long("octetDeltaCount", 5), long("octetDeltaCount", 6),
			{Name: "9/12235", Value: schemas.ExtraValue{Kind: schemas.ExtraBytes, Bytes: []byte{0xde, 0xad}}},
			{Name: "vendor.ratio", Value: schemas.ExtraValue{Kind: schemas.ExtraDouble, Double: 0.25}},
			{Name: "basicList", Value: schemas.ExtraValue{Kind: schemas.ExtraList, List: []schemas.Extra{long("item", 1), long("item", 2), text("note", "x")}}},
		},
	}
	rev := r
	rev.FlowId = id(0xb2)
	rev.SourceIPAddress, rev.DestinationIPAddress = r.DestinationIPAddress, r.SourceIPAddress
	rev.SourceTransportPort, rev.DestinationTransportPort = r.DestinationTransportPort, r.SourceTransportPort
	side := func(name string) schemas.Side {
		return schemas.Side{
			Internal: true, Domain: name + ".example.com", AsNumber: 64500, AsOrganization: "Example & Söhne", CountryIsoCode: "DE",
			CountryName: "Germany", ContinentCode: "EU", RegionIsoCode: "DE-BE", CityName: "Berlin", Latitude: 52.52, Longitude: 13.405, HasLocation: true,
			Asset: schemas.Optional[schemas.Asset]{Set: true, Value: schemas.Asset{
				Id: "a-" + name, Name: name, Roles: []string{"mail-server", "dns-server"}, Owner: "it", Group: "servers", Criticality: 4,
			}},
			Indicators: []schemas.Indicator{{Feed: "feodo", Indicator: "203.0.113.9", Type: "ipv4-addr", Category: "c2", Confidence: 90, Tlp: "AMBER"}},
		}
	}
	return &schemas.EnrichedFlow{
		Flow: r, Reverse: schemas.Optional[schemas.FlowRecord]{Set: true, Value: rev},
		StreamTime: Start + 61000, ConversationId: id(0xcc), CommunityId: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
		InitiatorOctets: 10000, InitiatorPackets: 100, ResponderOctets: 9000, ResponderPackets: 90,
		InitiatorTcpControlBits: 0x1b, ResponderTcpControlBits: 0x1f,
		ConnectionState: schemas.ConnectionStateCLOSED, Answered: true, Stitched: true, Continuation: true, Delayed: true,
		RoleConfidence: schemas.RoleConfidenceFLAGS, NetworkDirection: "outbound", ServiceName: "https",
		Initiator: side("ws-17"), Responder: side("mail"),
		Members: []schemas.Member{
			{FlowId: id(0xa1), Role: schemas.MemberRoleDUPLICATE_FORWARD, ExporterAddress: r.ExporterAddress, ObservationDomainId: 42, IngressInterface: 3, EgressInterface: 4,
				OctetDeltaCount: 1000, PacketDeltaCount: 10, SamplingInterval: 10, Extra: []schemas.Extra{long("x", 1)}},
			{FlowId: id(0xb2), Role: schemas.MemberRoleREVERSE, ExporterAddress: netip.MustParseAddr("2001:db8::1"), ObservationDomainId: 43, IngressInterface: 5, EgressInterface: 6,
				OctetDeltaCount: 900, PacketDeltaCount: 9, SamplingInterval: 10, Extra: []schemas.Extra{long("x", 2)}},
		},
	}
}

// Plain returns the flow of a router with little to tell: what most flows
// are. n makes it another one.
func Plain(n int) *schemas.EnrichedFlow {
	var f schemas.FlowId
	for i := range 8 {
		f[i] = byte(uint64(n) >> (8 * i))
	}
	r := schemas.FlowRecord{
		FlowId: f, StreamTime: Start + int64(n), CollectorId: "c1", Realm: "default",
		ExporterAddress: netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 4)}), ExportProtocol: schemas.ExportProtocolNETFLOW_V9, ObservationDomainId: 1,
		ExportSequence: int64(n), ExportTimeMilliseconds: Start + int64(n), CollectionTimeMilliseconds: Start + int64(n), TemplateId: 256, SamplingInterval: 1,
		FlowStartMilliseconds: Start + int64(n) - 2000, FlowEndMilliseconds: Start + int64(n),
		SourceIPAddress: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), DestinationIPAddress: netip.AddrFrom4([4]byte{203, 0, 113, byte(n * 7)}),
		SourceTransportPort: int32(32768 + n%28000), DestinationTransportPort: []int32{443, 53, 80, 25}[n%4], ProtocolIdentifier: 6, TcpControlBits: 0x1b,
		OctetDeltaCount: int64(1000 + n%977), PacketDeltaCount: int64(1 + n%31), IngressInterface: 1, EgressInterface: 2,
		FlowEndReason: 3, MinimumTTL: 63, MaximumTTL: 63,
	}
	return &schemas.EnrichedFlow{
		Flow: r, StreamTime: r.StreamTime, ConversationId: f, CommunityId: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
		InitiatorOctets: r.OctetDeltaCount, InitiatorPackets: r.PacketDeltaCount, InitiatorTcpControlBits: 0x1b,
		ConnectionState: schemas.ConnectionStateESTABLISHED, Answered: true, NetworkDirection: "outbound", ServiceName: "https",
		Initiator: schemas.Side{Internal: true},
		Responder: schemas.Side{AsNumber: 64496, AsOrganization: "Example", CountryIsoCode: "DE", CountryName: "Germany", ContinentCode: "EU",
			Latitude: 52.52, Longitude: 13.4, HasLocation: true},
		Members: []schemas.Member{{FlowId: f, ExporterAddress: r.ExporterAddress, ObservationDomainId: 1, OctetDeltaCount: r.OctetDeltaCount, PacketDeltaCount: r.PacketDeltaCount}},
	}
}
