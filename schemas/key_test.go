package schemas

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func flow(protocol int32, src, dst string) *FlowRecord {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return &FlowRecord{
		ProtocolIdentifier: protocol,
		SourceIPAddress:    s.Addr(), SourceTransportPort: int32(s.Port()),
		DestinationIPAddress: d.Addr(), DestinationTransportPort: int32(d.Port()),
	}
}

func inRealm(realm string, r *FlowRecord) *FlowRecord {
	r.Realm = realm
	return r
}

func TestConversation(t *testing.T) {
	base := func() *FlowRecord { return flow(6, "10.0.0.1:40000", "192.0.2.7:443") }
	for _, test := range []struct {
		name string
		a, b *FlowRecord
		same bool
	}{
		{"itself", base(), base(), true},
		{"other direction", base(), flow(6, "192.0.2.7:443", "10.0.0.1:40000"), true},
		{"other direction, IPv6", flow(17, "[2001:db8::1]:53", "[2001:db8::2]:53535"), flow(17, "[2001:db8::2]:53535", "[2001:db8::1]:53"), true},
		{"one address, two ports", flow(6, "127.0.0.1:1", "127.0.0.1:2"), flow(6, "127.0.0.1:2", "127.0.0.1:1"), true},
		{"IPv4 and the same mapped", base(), flow(6, "[::ffff:10.0.0.1]:40000", "[::ffff:192.0.2.7]:443"), true},
		{"ICMP request and reply", flow(1, "10.0.0.1:0", "10.0.0.2:2048"), flow(1, "10.0.0.2:0", "10.0.0.1:0"), true},
		{"ICMPv6 request and reply", flow(58, "[fe80::1]:0", "[fe80::2]:32768"), flow(58, "[fe80::2]:0", "[fe80::1]:33024"), true},
		{"GRE has no ports", flow(47, "10.0.0.1:7", "10.0.0.2:8"), flow(47, "10.0.0.2:0", "10.0.0.1:0"), true},
		{"other port", base(), flow(6, "10.0.0.1:40001", "192.0.2.7:443"), false},
		{"ports exchanged alone", base(), flow(6, "10.0.0.1:443", "192.0.2.7:40000"), false},
		{"other address", base(), flow(6, "10.0.0.2:40000", "192.0.2.7:443"), false},
		{"other protocol", base(), flow(17, "10.0.0.1:40000", "192.0.2.7:443"), false},
		{"other realm", base(), inRealm("blue", base()), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := ConversationKey(nil, test.a), ConversationKey(nil, test.b)
			if len(a) != 8 {
				t.Errorf("length of the key: -got %d +want 8", len(a))
			}
			if got := string(a) == string(b); got != test.same {
				t.Errorf("same key: -got %v +want %v", got, test.same)
			}
			id := func(r *FlowRecord) FlowId {
				return ConversationID(r.Realm, r.ProtocolIdentifier, r.Source(), r.Destination())
			}
			if got := id(test.a) == id(test.b); got != test.same {
				t.Errorf("same id: -got %v +want %v", got, test.same)
			}
		})
	}
}

// The key is a contract with other producers: this is how to make one.
func TestConversationKeyIsStable(t *testing.T) {
	var want xxhash.Digest
	want.Reset()
	_, _ = want.Write([]byte{
		0, 6, // purpose, protocol
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1, 0x9c, 0x40, // the lower endpoint
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7, 0x01, 0xbb, // the higher one
	})
	_, _ = want.WriteString("blue")
	r := inRealm("blue", flow(6, "192.0.2.7:443", "10.0.0.1:40000"))
	if got := binary.BigEndian.Uint64(ConversationKey(nil, r)); got != want.Sum64() {
		t.Errorf("-got %016x +want %016x", got, want.Sum64())
	}
	if got, want := string(ConversationKey([]byte("x"), r)[:1]), "x"; got != want {
		t.Errorf("dst: -got %q +want %q", got, want)
	}
}

func TestNewFlowId(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	seen := map[FlowId]string{}
	for name, id := range map[string]FlowId{
		"base":     NewFlowId(a, ExportProtocolIPFIX, 1, 2, 3, 4),
		"exporter": NewFlowId(b, ExportProtocolIPFIX, 1, 2, 3, 4),
		"protocol": NewFlowId(a, ExportProtocolNETFLOW_V9, 1, 2, 3, 4),
		"domain":   NewFlowId(a, ExportProtocolIPFIX, 9, 2, 3, 4),
		"sequence": NewFlowId(a, ExportProtocolIPFIX, 1, 9, 3, 4),
		"time":     NewFlowId(a, ExportProtocolIPFIX, 1, 2, 9, 4),
		"position": NewFlowId(a, ExportProtocolIPFIX, 1, 2, 3, 9),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s have the same id %s", name, other, id)
		}
		seen[id] = name
	}
	if seen[NewFlowId(a, ExportProtocolIPFIX, 1, 2, 3, 4)] != "base" {
		t.Error("the id of the same record differs from call to call")
	}
	// Retained topics and documents hold ids: they must not change.
	if got, want := NewFlowId(a, ExportProtocolIPFIX, 1, 2, 3, 4).String(), "51ecf85c0fe15308a8e09f9baa396168"; got != want {
		t.Errorf("-got %s +want %s", got, want)
	}
}

func TestKeysDoNotAllocate(t *testing.T) {
	r := inRealm("a realm with a name that is longer than most of them are, to be sure", flow(6, "10.0.0.1:40000", "192.0.2.7:443"))
	key := make([]byte, 0, 8)
	for name, f := range map[string]func(){
		"ConversationKey": func() { key = ConversationKey(key[:0], r) },
		"ConversationID":  func() { _ = ConversationID(r.Realm, r.ProtocolIdentifier, r.Source(), r.Destination()) },
		"NewFlowId":       func() { _ = NewFlowId(r.SourceIPAddress, ExportProtocolIPFIX, 1, 2, 3, 4) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: -got %v allocations +want 0", name, n)
		}
	}
}
