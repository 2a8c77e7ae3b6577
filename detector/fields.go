package detector

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-flow/weir/detector/lang"
	"github.com/weir-flow/weir/schemas"
)

// flow is what expressions of filters, keys and aggregates see.
type flow = schemas.EnrichedFlow

// Field is one name that rules may use about a flow.
type Field struct {
	Name string
	Doc  string
	Kind lang.Kind
	// Symbols are the texts that may be used for the values, such as "tcp".
	Symbols []string

	value lang.Value[*flow]
	// set writes the field into a flow of a rule's test.
	set func(f *flow, text string) error
}

// vocabulary is the one table of fields: expressions, the flows of rule tests
// and the reference in the docs all come from it.
type vocabulary struct {
	fields []Field
	byName map[string]*Field
	names  []string
}

func (v *vocabulary) Lookup(name string) (lang.Value[*flow], bool) {
	if f, ok := v.byName[name]; ok {
		return f.value, true
	}
	return lang.Value[*flow]{}, false
}

func (v *vocabulary) Names() []string { return v.names }

// Fields returns the fields that rules may use, in the order of the docs.
func Fields() []Field { return newVocabulary().fields }

func newVocabulary() *vocabulary {
	v := &vocabulary{fields: fieldTable(), byName: make(map[string]*Field)}
	for i := range v.fields {
		f := &v.fields[i]
		v.byName[f.Name] = f
		v.names = append(v.names, f.Name)
	}
	return v
}

func integerField(name, doc string, get func(*flow) int64, set func(*flow, int64)) Field {
	return symbolField(name, doc, nil, get, set)
}

// symbolField is an integer whose values have names; the first name of a
// value is the one shown.
func symbolField(name, doc string, symbols []symbol, get func(*flow) int64, set func(*flow, int64)) Field {
	f := Field{Name: name, Doc: doc, Kind: lang.Int, value: lang.Value[*flow]{Kind: lang.Int, Int: get}}
	if symbols != nil {
		f.value.Symbols = make(map[string]int64)
		for _, s := range symbols {
			f.value.Symbols[s.name] = s.value
			f.Symbols = append(f.Symbols, s.name)
		}
	}
	f.set = func(fl *flow, text string) error {
		if n, ok := f.value.Symbols[text]; ok {
			set(fl, n)
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a value of %s%s", text, name, lang.Suggest(text, f.Symbols))
		}
		set(fl, n)
		return nil
	}
	return f
}

func textField(name, doc string, get func(*flow) string, set func(*flow, string)) Field {
	return Field{Name: name, Doc: doc, Kind: lang.String,
		value: lang.Value[*flow]{Kind: lang.String, String: get},
		set:   func(f *flow, text string) error { set(f, text); return nil }}
}

func boolField(name, doc string, get func(*flow) bool, set func(*flow, bool)) Field {
	return Field{Name: name, Doc: doc, Kind: lang.Bool,
		value: lang.Value[*flow]{Kind: lang.Bool, Bool: get},
		set: func(f *flow, text string) error {
			b, err := strconv.ParseBool(text)
			if err != nil {
				return fmt.Errorf("%s is true or false, not %q", name, text)
			}
			if set == nil {
				return fmt.Errorf("%s follows from other fields and cannot be set", name)
			}
			set(f, b)
			return nil
		}}
}

func addressField(name, doc string, field func(*flow) *netip.Addr) Field {
	return Field{Name: name, Doc: doc, Kind: lang.Address,
		value: lang.Value[*flow]{Kind: lang.Address, Address: func(f *flow) netip.Addr { return *field(f) }},
		set: func(f *flow, text string) error {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return fmt.Errorf("%s: %q is not an address", name, text)
			}
			*field(f) = a
			return nil
		}}
}

func listField(name, doc string, n func(*flow) int, at func(*flow, int) string, set func(*flow, []string)) Field {
	return Field{Name: name, Doc: doc, Kind: lang.Strings,
		value: lang.Value[*flow]{Kind: lang.Strings, Len: n, Has: func(f *flow, want string) bool {
			for i := range n(f) {
				if at(f, i) == want {
					return true
				}
			}
			return false
		}},
		set: func(f *flow, text string) error {
			set(f, strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }))
			return nil
		}}
}

type symbol struct {
	name  string
	value int64
}

var (
	protocolSymbols = []symbol{{"icmp", 1}, {"igmp", 2}, {"tcp", 6}, {"udp", 17}, {"gre", 47}, {"esp", 50}, {"icmp6", 58}, {"sctp", 132}}
	stateSymbols    = []symbol{
		{"unknown", int64(schemas.ConnectionStateUNKNOWN)}, {"syn_only", int64(schemas.ConnectionStateSYN_ONLY)},
		{"refused", int64(schemas.ConnectionStateREFUSED)}, {"answered", int64(schemas.ConnectionStateANSWERED)},
		{"unanswered", int64(schemas.ConnectionStateUNANSWERED)}, {"established", int64(schemas.ConnectionStateESTABLISHED)},
		{"reset", int64(schemas.ConnectionStateRESET)}, {"closed", int64(schemas.ConnectionStateCLOSED)},
	}
)

// failed: the initiator tried and got nothing.
func failed(f *flow) bool {
	switch f.ConnectionState {
	case schemas.ConnectionStateSYN_ONLY, schemas.ConnectionStateREFUSED, schemas.ConnectionStateUNANSWERED:
		return true
	}
	return false
}

func halfOpen(f *flow) bool {
	return f.Flow.ProtocolIdentifier == 6 && f.InitiatorTcpControlBits&0x12 == 0x02
}

func sampled(f *flow) bool {
	return f.Flow.SamplingInterval > 1 || f.Reverse.Set && f.Reverse.Value.SamplingInterval > 1
}

func fieldTable() []Field {
	fields := []Field{
		textField("realm", "Address realm of the exporter.",
			func(f *flow) string { return f.Flow.Realm }, func(f *flow, s string) { f.Flow.Realm = s }),
		symbolField("protocol", "IP protocol: a name, or its number.", protocolSymbols,
			func(f *flow) int64 { return int64(f.Flow.ProtocolIdentifier) }, func(f *flow, n int64) { f.Flow.ProtocolIdentifier = int32(n) }),
		symbolField("state", "How far the connection got. syn_only: TCP never answered; refused: answered by RST at once; unanswered: UDP or ICMP without a reply; answered: both ways, no handshake visible; established, reset, closed: a TCP connection and how it ended so far.", stateSymbols,
			func(f *flow) int64 { return int64(f.ConnectionState) }, setState),
		boolField("answered", "The responder sent something that is not a refusal.",
			func(f *flow) bool { return f.Answered }, func(f *flow, b bool) { f.Answered = b }),
		boolField("failed", "The state is syn_only, refused or unanswered.", failed, nil),
		boolField("half_open", "TCP whose initiator sent SYN and never ACK: no handshake was completed, whether or not the responder answered.", halfOpen, nil),
		boolField("continuation", "Not the first record of its conversation: a long connection is reported in several.",
			func(f *flow) bool { return f.Continuation }, func(f *flow, b bool) { f.Continuation = b }),
		boolField("sampled", "A sampling exporter saw it: it stands for more than what was seen, and much was not seen.", sampled,
			func(f *flow, b bool) {
				f.Flow.SamplingInterval = 1
				if b {
					f.Flow.SamplingInterval = 1000
				}
			}),
		textField("direction", "inbound, outbound, internal or external (ECS network.direction).",
			func(f *flow) string { return f.NetworkDirection }, func(f *flow, s string) { f.NetworkDirection = s }),
		textField("service", "IANA service of the responder's port.",
			func(f *flow) string { return f.ServiceName }, func(f *flow, s string) { f.ServiceName = s }),
		textField("application", "Application name that the exporter gave.",
			func(f *flow) string { return f.Flow.ApplicationName }, func(f *flow, s string) { f.Flow.ApplicationName = s }),
		textField("user", "User that the exporter gave.",
			func(f *flow) string { return f.Flow.UserName }, func(f *flow, s string) { f.Flow.UserName = s }),
		integerField("start", "Start of the flow by the exporter's clock, ms since the epoch.",
			func(f *flow) int64 { return f.Flow.FlowStartMilliseconds }, func(f *flow, n int64) { f.Flow.FlowStartMilliseconds = n }),
		integerField("end", "End of the flow by the exporter's clock, ms since the epoch.",
			func(f *flow) int64 { return f.Flow.FlowEndMilliseconds }, func(f *flow, n int64) { f.Flow.FlowEndMilliseconds = n }),
		integerField("duration", "End minus start, ms.",
			func(f *flow) int64 { return max(0, f.Flow.FlowEndMilliseconds-f.Flow.FlowStartMilliseconds) },
			func(f *flow, n int64) { f.Flow.FlowEndMilliseconds = f.Flow.FlowStartMilliseconds + n }),
		integerField("octets", "Octets of both directions, scaled by sampling.",
			func(f *flow) int64 { return f.InitiatorOctets + f.ResponderOctets }, func(f *flow, n int64) { f.InitiatorOctets, f.ResponderOctets = n, 0 }),
		integerField("packets", "Packets of both directions, scaled.",
			func(f *flow) int64 { return f.InitiatorPackets + f.ResponderPackets }, func(f *flow, n int64) { f.InitiatorPackets, f.ResponderPackets = n, 0 }),
		integerField("tos", "ToS byte: DSCP and ECN.",
			func(f *flow) int64 { return int64(f.Flow.IpClassOfService) }, func(f *flow, n int64) { f.Flow.IpClassOfService = int32(n) }),
		integerField("icmp.type", "ICMP type; -1 when the exporter sent none.",
			func(f *flow) int64 {
				if !f.Flow.IcmpSeen {
					return -1
				}
				return int64(f.Flow.IcmpTypeCode >> 8)
			},
			func(f *flow, n int64) { f.Flow.IcmpSeen, f.Flow.IcmpTypeCode = true, int32(n)<<8 }),
		addressField("exporter.address", "The exporter's identity.", func(f *flow) *netip.Addr { return &f.Flow.ExporterAddress }),
		textField("exporter.name", "Configured name of the exporter.",
			func(f *flow) string { return f.Flow.ExporterName }, func(f *flow, s string) { f.Flow.ExporterName = s }),
		textField("dns.query_name", "Question name of a DNS exchange.",
			func(f *flow) string { return f.Flow.Dns.Value.QueryName }, func(f *flow, s string) { f.Flow.Dns.Set, f.Flow.Dns.Value.QueryName = true, s }),
		integerField("dns.query_type", "Question RR type (IANA).",
			func(f *flow) int64 { return int64(f.Flow.Dns.Value.QueryType) }, func(f *flow, n int64) { f.Flow.Dns.Set, f.Flow.Dns.Value.QueryType = true, int32(n) }),
		integerField("dns.response_code", "RCODE; -1 when no response was seen.",
			func(f *flow) int64 {
				if !f.Flow.Dns.Set || !f.Flow.Dns.Value.Response {
					return -1
				}
				return int64(f.Flow.Dns.Value.ResponseCode)
			},
			func(f *flow, n int64) {
				f.Flow.Dns.Set, f.Flow.Dns.Value.Response, f.Flow.Dns.Value.ResponseCode = true, true, int32(n)
			}),
		textField("tls.server_name", "Server name indication.",
			func(f *flow) string { return f.Flow.Tls.Value.ServerName }, func(f *flow, s string) { f.Flow.Tls.Set, f.Flow.Tls.Value.ServerName = true, s }),
		textField("tls.ja3", "JA3 client fingerprint.",
			func(f *flow) string { return f.Flow.Tls.Value.Ja3 }, func(f *flow, s string) { f.Flow.Tls.Set, f.Flow.Tls.Value.Ja3 = true, s }),
		textField("tls.ja4", "JA4 client fingerprint.",
			func(f *flow) string { return f.Flow.Tls.Value.Ja4 }, func(f *flow, s string) { f.Flow.Tls.Set, f.Flow.Tls.Value.Ja4 = true, s }),
		textField("tls.certificate.subject", "Subject of the server's certificate.",
			func(f *flow) string { return f.Flow.Tls.Value.CertificateSubject }, func(f *flow, s string) { f.Flow.Tls.Set, f.Flow.Tls.Value.CertificateSubject = true, s }),
		textField("tls.certificate.issuer", "Issuer of the server's certificate.",
			func(f *flow) string { return f.Flow.Tls.Value.CertificateIssuer }, func(f *flow, s string) { f.Flow.Tls.Set, f.Flow.Tls.Value.CertificateIssuer = true, s }),
		textField("http.host", "Host of the request.",
			func(f *flow) string { return f.Flow.Http.Value.Host }, func(f *flow, s string) { f.Flow.Http.Set, f.Flow.Http.Value.Host = true, s }),
		textField("http.url", "URL or path of the request.",
			func(f *flow) string { return f.Flow.Http.Value.Url }, func(f *flow, s string) { f.Flow.Http.Set, f.Flow.Http.Value.Url = true, s }),
		textField("http.method", "Request method.",
			func(f *flow) string { return f.Flow.Http.Value.Method }, func(f *flow, s string) { f.Flow.Http.Set, f.Flow.Http.Value.Method = true, s }),
		textField("http.user_agent", "User agent of the request.",
			func(f *flow) string { return f.Flow.Http.Value.UserAgent }, func(f *flow, s string) { f.Flow.Http.Set, f.Flow.Http.Value.UserAgent = true, s }),
		integerField("http.status", "Response status.",
			func(f *flow) int64 { return int64(f.Flow.Http.Value.StatusCode) }, func(f *flow, n int64) { f.Flow.Http.Set, f.Flow.Http.Value.StatusCode = true, int32(n) }),
	}
	fields = append(fields, sideFields("initiator",
		func(f *flow) *schemas.Side { return &f.Initiator },
		func(f *flow) *netip.Addr { return &f.Flow.SourceIPAddress },
		func(f *flow) *int32 { return &f.Flow.SourceTransportPort },
		func(f *flow) *int64 { return &f.InitiatorOctets }, func(f *flow) *int64 { return &f.InitiatorPackets },
		func(f *flow) *int32 { return &f.InitiatorTcpControlBits })...)
	return append(fields, sideFields("responder",
		func(f *flow) *schemas.Side { return &f.Responder },
		func(f *flow) *netip.Addr { return &f.Flow.DestinationIPAddress },
		func(f *flow) *int32 { return &f.Flow.DestinationTransportPort },
		func(f *flow) *int64 { return &f.ResponderOctets }, func(f *flow) *int64 { return &f.ResponderPackets },
		func(f *flow) *int32 { return &f.ResponderTcpControlBits })...)
}

func setState(f *flow, n int64) {
	f.ConnectionState = schemas.ConnectionState(n)
	f.Answered = n != int64(schemas.ConnectionStateUNKNOWN) && !failed(f)
}

func sideFields(name string, side func(*flow) *schemas.Side, address func(*flow) *netip.Addr, port func(*flow) *int32,
	octets, packets func(*flow) *int64, flags func(*flow) *int32) []Field {
	n := func(s string) string { return name + "." + s }
	asset := func(f *flow) *schemas.Asset { return &side(f).Asset.Value }
	assetText := func(field, doc string, at func(*schemas.Asset) *string) Field {
		return textField(n(field), doc,
			func(f *flow) string {
				if !side(f).Asset.Set {
					return ""
				}
				return *at(asset(f))
			},
			func(f *flow, s string) { side(f).Asset.Set = true; *at(asset(f)) = s })
	}
	return []Field{
		addressField(n("address"), "Address of the "+name+", before NAT where that was exported.", address),
		integerField(n("port"), "Its transport port.",
			func(f *flow) int64 { return int64(*port(f)) }, func(f *flow, v int64) { *port(f) = int32(v) }),
		integerField(n("octets"), "Octets it sent, scaled by sampling.",
			func(f *flow) int64 { return *octets(f) }, func(f *flow, v int64) { *octets(f) = v }),
		integerField(n("packets"), "Packets it sent, scaled.",
			func(f *flow) int64 { return *packets(f) }, func(f *flow, v int64) { *packets(f) = v }),
		integerField(n("flags"), "TCP flags it sent, OR-ed over the flow: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.",
			func(f *flow) int64 { return int64(*flags(f)) }, func(f *flow, v int64) { *flags(f) = int32(v) }),
		boolField(n("internal"), "It lies in the configured internal networks.",
			func(f *flow) bool { return side(f).Internal }, func(f *flow, b bool) { side(f).Internal = b }),
		textField(n("domain"), "DNS name of its address.",
			func(f *flow) string { return side(f).Domain }, func(f *flow, s string) { side(f).Domain = s }),
		textField(n("country"), "Country, ISO 3166-1 alpha-2.",
			func(f *flow) string { return side(f).CountryIsoCode }, func(f *flow, s string) { side(f).CountryIsoCode = s }),
		integerField(n("as.number"), "AS of its address.",
			func(f *flow) int64 { return side(f).AsNumber }, func(f *flow, v int64) { side(f).AsNumber = v }),
		textField(n("as.organization"), "Organisation of that AS.",
			func(f *flow) string { return side(f).AsOrganization }, func(f *flow, s string) { side(f).AsOrganization = s }),
		assetText("name", "Name in the asset inventory.", func(a *schemas.Asset) *string { return &a.Name }),
		assetText("owner", "Owner in the asset inventory.", func(a *schemas.Asset) *string { return &a.Owner }),
		assetText("group", "Group in the asset inventory.", func(a *schemas.Asset) *string { return &a.Group }),
		integerField(n("criticality"), "Criticality in the asset inventory: 0 unknown, 1 low to 4 critical.",
			func(f *flow) int64 {
				if !side(f).Asset.Set {
					return 0
				}
				return int64(asset(f).Criticality)
			},
			func(f *flow, v int64) { side(f).Asset.Set = true; asset(f).Criticality = int32(v) }),
		listField(n("roles"), "Roles in the asset inventory, such as scanner, mail-server, dns-server.",
			func(f *flow) int {
				if !side(f).Asset.Set {
					return 0
				}
				return len(asset(f).Roles)
			},
			func(f *flow, i int) string { return asset(f).Roles[i] },
			func(f *flow, list []string) { side(f).Asset.Set = true; asset(f).Roles = list }),
		listField(n("indicators"), "Categories of the intelligence that its address or name hit, such as tor, c2, spam.",
			func(f *flow) int { return len(side(f).Indicators) },
			func(f *flow, i int) string { return side(f).Indicators[i].Category },
			func(f *flow, list []string) {
				side(f).Indicators = side(f).Indicators[:0]
				for _, category := range slices.Compact(list) {
					side(f).Indicators = append(side(f).Indicators, schemas.Indicator{Category: category})
				}
			}),
	}
}

// sideName is the best name of one end: the inventory's, else DNS.
func sideName(s *schemas.Side) string {
	if s.Asset.Set && s.Asset.Value.Name != "" {
		return s.Asset.Value.Name
	}
	return s.Domain
}
