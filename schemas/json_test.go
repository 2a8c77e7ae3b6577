package schemas

import (
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendJSON(t *testing.T) {
	text := func(name, v string) Extra {
		return Extra{Name: name, Value: ExtraValue{Kind: ExtraString, Bytes: []byte(v)}}
	}
	long := func(name string, v int64) Extra { return Extra{Name: name, Value: ExtraValue{Long: v}} }
	list := func(name string, items ...Extra) Extra {
		return Extra{Name: name, Value: ExtraValue{Kind: ExtraList, List: items}}
	}
	const always = `"exporterAddress":"","protocolIdentifier":0,"octetDeltaCount":0,"packetDeltaCount":0`
	for _, test := range []struct {
		name string
		in   record
		want string
	}{
		{"nothing but what is always there", &FlowRecord{}, `{"kind":"flow",` + always + `}`},
		{"ports of TCP, even when zero", &FlowRecord{ProtocolIdentifier: 6},
			`{"kind":"flow","exporterAddress":"","sourceTransportPort":0,"destinationTransportPort":0,"protocolIdentifier":6,"octetDeltaCount":0,"packetDeltaCount":0}`},
		{"values of every type", &FlowRecord{
			FlowId: FlowId{0xAB, 15: 1}, StreamTime: 1700000000123, Realm: "r",
			ExporterAddress: netip.MustParseAddr("192.0.2.1"), ExportProtocol: ExportProtocolIPFIX, SamplingAssumed: true,
			SourceIPAddress: netip.MustParseAddr("2001:db8::1"), ProtocolIdentifier: 47, OctetDeltaCount: math.MaxInt64, PacketDeltaCount: -1,
			SourceMacAddress: MAC{0, 0x1B, 0x21, 0xA, 0xFF, 1}, MplsLabels: []int64{16, 17},
			Dns: Optional[DNS]{Set: true, Value: DNS{QueryName: "a.example", Response: true, Answers: []DNSAnswer{{Data: "192.0.2.9", Type: 1}}}},
			Tls: Optional[TLS]{Set: true},
		}, `{"kind":"flow","flowId":"ab000000000000000000000000000001","streamTime":1700000000123,"realm":"r","exporterAddress":"192.0.2.1","exportProtocol":"IPFIX","samplingAssumed":true,` +
			`"sourceIPAddress":"2001:db8::1","protocolIdentifier":47,"octetDeltaCount":9223372036854775807,"packetDeltaCount":-1,"sourceMacAddress":"00:1b:21:0a:ff:01","mplsLabels":[16,17],` +
			`"dns":{"queryName":"a.example","responseCode":0,"response":true,"answers":[{"data":"192.0.2.9","type":1}]},"tls":{}}`},
		{"what a helper boolean says is there", &FlowRecord{IcmpSeen: true, FlowDirectionSeen: true},
			`{"kind":"flow","exporterAddress":"","protocolIdentifier":0,"icmpTypeCode":0,"icmpType":0,"icmpCode":0,"octetDeltaCount":0,"packetDeltaCount":0,"flowDirection":0}`},
		{"ICMP type and code", &FlowRecord{IcmpSeen: true, IcmpTypeCode: 3<<8 | 13},
			`{"kind":"flow","exporterAddress":"","protocolIdentifier":0,"icmpTypeCode":781,"icmpType":3,"icmpCode":13,"octetDeltaCount":0,"packetDeltaCount":0}`},
		{"extras", &FlowRecord{Extra: []Extra{
			long("9/1", -5), {Name: "d", Value: ExtraValue{Kind: ExtraDouble, Double: 1.5}}, {Name: "nan", Value: ExtraValue{Kind: ExtraDouble, Double: math.NaN()}},
			text("cisco.x", "v"), {Name: "b", Value: ExtraValue{Kind: ExtraBytes, Bytes: []byte{0xDE, 0xAD}}}, {Name: "none", Value: ExtraValue{Kind: ExtraBytes}},
		}}, `{"kind":"flow",` + always + `,"9/1":-5,"d":1.5,"nan":"NaN","cisco.x":"v","b":"dead","none":""}`},
		{"extras with a field's name", &FlowRecord{Extra: []Extra{
			long("octetDeltaCount", 1), long("kind", 2), long("icmpType", 3), long("members", 4), long("extra.octetDeltaCount", 5),
		}}, `{"kind":"flow",` + always + `,"extra.octetDeltaCount":1,"extra.kind":2,"extra.icmpType":3,"extra.members":4,"extra.extra.octetDeltaCount":5}`},
		{"elements that repeat", &FlowRecord{Extra: []Extra{long("a", 1), long("b", 2), long("a", 3)}},
			`{"kind":"flow",` + always + `,"a":[1,3],"b":2}`},
		{"lists", &FlowRecord{Extra: []Extra{
			list("object", long("x", 1), list("y", long("", 2), text("", "z"))), list("mixed", long("x", 1), long("", 2)), list("repeated", long("x", 1), long("x", 2)), list("empty"),
		}}, `{"kind":"flow",` + always + `,"object":{"x":1,"y":[2,"z"]},"mixed":[{"x":1},2],"repeated":[{"x":1},{"x":2}],"empty":[]}`},
		{"strings", &FlowRecord{UserName: "\"\\\n\r\t\x01\x7fü\U0001F4A5\xff\xc3", Extra: []Extra{text("k\"\x80", "\xed\xa0\x80")}},
			`{"kind":"flow",` + always + `,"userName":"\"\\\n\r\t\u0001` + "\x7fü\U0001F4A5" + `\ufffd\ufffd","k\"\ufffd":"\ufffd\ufffd\ufffd"}`},
		{"enriched", &EnrichedFlow{
			Flow:       FlowRecord{StreamTime: 1, ProtocolIdentifier: 1, Extra: []Extra{long("e", 1)}},
			Reverse:    Optional[FlowRecord]{Set: true, Value: FlowRecord{StreamTime: 2}},
			StreamTime: 3, CommunityId: "1:x", ConnectionState: ConnectionStateSYN_ONLY,
			Initiator: Side{Internal: true, HasLocation: true, Asset: Optional[Asset]{Set: true, Value: Asset{Roles: []string{"a", "b\""}}}},
			Members:   []Member{{Role: MemberRoleDUPLICATE_REVERSE, Extra: []Extra{long("role", 1)}}},
		}, `{"kind":"flow","exporterAddress":"","protocolIdentifier":1,"octetDeltaCount":0,"packetDeltaCount":0,"e":1,` +
			`"reverse":{"streamTime":2,` + always + `},"streamTime":3,"communityId":"1:x","connectionState":"SYN_ONLY","roleConfidence":"GUESS",` +
			`"initiator":{"internal":true,"latitude":0,"longitude":0,"asset":{"roles":["a","b\""]}},"members":[{"role":"DUPLICATE_REVERSE","extra.role":1}]}`},
		{"tick", &Tick{Upstreams: []Upstream{{Id: "c1", Time: 5}, {}}}, `{"kind":"tick","upstreams":[{"id":"c1","time":5},{}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := string(test.in.AppendJSON([]byte("before")))
			got, ok := strings.CutPrefix(got, "before")
			if !ok || got != test.want {
				t.Errorf("(-got +want)\n-%s\n+%s", got, test.want)
			}
		})
	}
}

// Whatever is in a record, it prints as one line of valid JSON in valid UTF-8
// in which no member comes twice.
func TestJSONIsValid(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		r := newRandom(9)
		in := rt.new()
		var text []byte
		for range 1000 {
			in.Reset()
			r.fill(in)
			text = in.AppendJSON(text[:0])
			if !json.Valid(text) || !utf8.Valid(text) || strings.ContainsAny(string(text), "\n\r") {
				t.Fatalf("not one line of valid JSON: %q", text)
			}
			if name := repeatedMember(t, text); name != "" {
				t.Fatalf("member %q comes twice: %s", name, text)
			}
		}
	})
}

// repeatedMember returns the name of a member that an object holds twice.
func repeatedMember(t *testing.T, text []byte) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	var object func() string
	var value func() string
	value = func() string {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'):
			return object()
		case json.Delim('['):
			for d.More() {
				if name := value(); name != "" {
					return name
				}
			}
			_, err = d.Token()
			if err != nil {
				t.Fatal(err)
			}
		}
		return ""
	}
	object = func() string {
		seen := map[string]bool{}
		for d.More() {
			token, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			name := token.(string)
			if seen[name] {
				return name
			}
			seen[name] = true
			if name := value(); name != "" {
				return name
			}
		}
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	return value()
}

// Many repeated elements, as a hostile exporter may send, cost no more than
// their number.
func TestJSONOfManyExtras(t *testing.T) {
	var r FlowRecord
	for i := range 50_000 {
		r.Extra = append(r.Extra, Extra{Name: "same", Value: ExtraValue{Long: int64(i)}})
	}
	var got struct{ Same []int64 }
	if err := json.Unmarshal(r.AppendJSON(nil), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Same) != 50_000 || got.Same[49_999] != 49_999 {
		t.Errorf("-got %d values +want 50000", len(got.Same))
	}
}
