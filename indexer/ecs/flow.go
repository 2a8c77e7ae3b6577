// Package ecs writes enriched flows as Elastic Common Schema documents.
//
// The contract of the fields stands in docs/elasticsearch.md; the mapping in
// indexer/templates is held to it by a test. A document is appended to the
// caller's buffer: no maps, no reflection, nothing for the collector of
// garbage, because one document is made for each flow.
package ecs

import (
	"net/netip"
	"strings"

	"github.com/weir-flow/weir/schemas"
)

// Version is the ECS version that documents are stamped with: the one of
// stack 8.19.
const Version = "8.17.0"

// Datasets of the data streams.
const (
	DatasetFlow  = "weir.flow"
	DatasetAlert = "weir.alert"
)

// DataStream returns the data stream of a dataset in a namespace.
func DataStream(dataset, namespace string) string {
	return "logs-" + dataset + "-" + namespace
}

// DocumentID returns the id of an enriched flow: the flow id of its first
// member. A collected record is a member of exactly one enriched flow, so the
// id is unique; and it depends on nothing but the datagram, so a repeat has
// the same one.
func DocumentID(f *schemas.EnrichedFlow) schemas.FlowId {
	if len(f.Members) > 0 {
		return f.Members[0].FlowId
	}
	return f.Flow.FlowId
}

// AppendID appends an id as it stands in Elasticsearch: 32 hexadecimal digits.
func AppendID(dst []byte, id schemas.FlowId) []byte { return appendHex(dst, id[:]) }

// Encoder writes documents. It holds scratch space: one goroutine at a time.
type Encoder struct {
	head   string // members that are the same in every document
	ips    []netip.Addr
	hosts  []string
	hashes []string
	order  []uint32

	ciphers map[uint16]string
}

// NewEncoder returns an encoder for the data streams of a namespace, which
// must be a valid part of a data stream's name.
func NewEncoder(namespace string) *Encoder {
	return &Encoder{
		ciphers: cipherNames(),
		head: `,"ecs":{"version":"` + Version + `"},"data_stream":{"type":"logs","dataset":"` + DatasetFlow +
			`","namespace":"` + namespace + `"},"event":{"kind":"event","module":"weir","dataset":"` + DatasetFlow +
			`","action":"network_flow"`,
	}
}

// AppendFlow appends the document of an enriched flow. ingested is the time of
// indexing, ms since the epoch: the one thing in it that is not the flow's.
func (e *Encoder) AppendFlow(dst []byte, f *schemas.EnrichedFlow, ingested int64) []byte {
	r := &f.Flow
	start, end := r.FlowStartMilliseconds, r.FlowEndMilliseconds
	if rev := &f.Reverse; rev.Set {
		start = earliest(start, rev.Value.FlowStartMilliseconds)
		end = max(end, rev.Value.FlowEndMilliseconds)
	}
	e.ips, e.hosts, e.hashes = e.ips[:0], e.hosts[:0], e.hashes[:0]

	w := writer{append(dst, '{')}
	w.time("@timestamp", timestamp(f, end))
	if w.b[len(w.b)-1] == '{' {
		// No clock gave anything usable; a data stream needs a time.
		w.time("@timestamp", ingested)
	}
	w.b = append(w.b, e.head...)
	e.event(&w, f, start, end, ingested)
	e.network(&w, f)
	e.endpoint(&w, f, "source", true)
	e.endpoint(&w, f, "destination", false)
	if biflow(f) {
		peer(&w, f, "client", true)
		peer(&w, f, "server", false)
	}
	e.observer(&w, f)
	e.application(&w, f)
	e.threat(&w, f)
	e.related(&w, f)
	e.netflow(&w, "netflow", r)
	e.weir(&w, f)
	return append(w.b, '}')
}

// biflow reports whether both directions are in the record: stitched by us, or
// exported as one (RFC 5103).
func biflow(f *schemas.EnrichedFlow) bool {
	return f.Stitched || f.InitiatorPackets > 0 && f.ResponderPackets > 0
}

// timestamp is when the flow ended, or the best that is known of it.
func timestamp(f *schemas.EnrichedFlow, end int64) int64 {
	for _, t := range [...]int64{end, f.Flow.FlowStartMilliseconds, f.StreamTime, f.Flow.ExportTimeMilliseconds, f.Flow.CollectionTimeMilliseconds} {
		if t > 0 && t <= maxTime {
			return t
		}
	}
	return 0
}

func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Firewall events (IE 233) and the end reason (IE 136) that ECS has words for.
const (
	firewallCreated = 1
	firewallDeleted = 2
	firewallDenied  = 3
	endOfFlow       = 3
)

func (e *Encoder) event(w *writer, f *schemas.EnrichedFlow, start, end, ingested int64) {
	// The object is open since the head.
	r := &f.Flow
	if biflow(f) {
		w.raw("category", `["network","session"]`)
	} else {
		w.raw("category", `["network"]`)
	}
	denied := r.FirewallEvent == firewallDenied
	w.key("type")
	w.b = append(w.b, `["connection"`...)
	switch {
	case denied:
		w.b = append(w.b, `,"denied"`...)
	case r.FirewallEvent == firewallCreated || r.FirewallEvent == firewallDeleted:
		w.b = append(w.b, `,"allowed"`...)
	}
	if !f.Continuation {
		w.b = append(w.b, `,"start"`...)
	}
	if r.FlowEndReason == endOfFlow || r.FirewallEvent == firewallDeleted || f.ConnectionState == schemas.ConnectionStateCLOSED ||
		f.ConnectionState == schemas.ConnectionStateRESET || f.ConnectionState == schemas.ConnectionStateREFUSED {
		w.b = append(w.b, `,"end"`...)
	}
	w.b = append(w.b, ']')
	switch {
	case denied || f.ConnectionState == schemas.ConnectionStateREFUSED:
		w.word("outcome", "failure")
	case f.Answered:
		w.word("outcome", "success")
	}
	w.id("id", DocumentID(f))
	w.time("start", start)
	w.time("end", end)
	if start > 0 && end >= start && end <= maxTime {
		w.count("duration", (end-start)*1e6)
	}
	w.time("created", r.CollectionTimeMilliseconds)
	w.time("ingested", ingested)
	w.b = append(w.b, '}')
}

func (e *Encoder) network(w *writer, f *schemas.EnrichedFlow) {
	r := &f.Flow
	m := w.open("network")
	if a := r.SourceIPAddress.Unmap(); a.Is4() {
		w.word("type", "ipv4")
	} else if a.IsValid() {
		w.word("type", "ipv6")
	}
	w.keyword("iana_number", int64(r.ProtocolIdentifier))
	w.word("transport", transport(r.ProtocolIdentifier))
	w.text("direction", f.NetworkDirection)
	w.text("community_id", f.CommunityId)
	w.count("bytes", f.InitiatorOctets+f.ResponderOctets)
	w.count("packets", f.InitiatorPackets+f.ResponderPackets)
	switch {
	case has(&f.Flow.Dns, &f.Reverse.Value.Dns, f.Reverse.Set):
		w.word("protocol", "dns")
	case has(&f.Flow.Http, &f.Reverse.Value.Http, f.Reverse.Set):
		w.word("protocol", "http")
	case has(&f.Flow.Tls, &f.Reverse.Value.Tls, f.Reverse.Set):
		w.word("protocol", "tls")
	default:
		w.lower("protocol", f.ServiceName)
	}
	w.lower("application", r.ApplicationName)
	v := w.open("vlan")
	w.keyword("id", int64(r.VlanId))
	w.close(v)
	w.close(m)
}

// has reports whether one of the directions carries a record.
func has[T any](forward, reverse *schemas.Optional[T], both bool) bool {
	return forward.Set || both && reverse.Set
}

// lower writes a text that ECS wants in lower case.
func (w *writer) lower(name, s string) {
	if s == "" {
		return
	}
	w.key(name)
	at := len(w.b)
	w.b = schemas.AppendJSONText(w.b, s)
	// Escapes are in lower case already, other than ASCII is left alone.
	for i := at; i < len(w.b); i++ {
		if c := w.b[i]; 'A' <= c && c <= 'Z' {
			w.b[i] = c + 'a' - 'A'
		}
	}
}

// endpoint writes one end of the conversation: the initiator is the source.
func (e *Encoder) endpoint(w *writer, f *schemas.EnrichedFlow, name string, initiator bool) {
	r := &f.Flow
	side, ip, port, mac := &f.Initiator, r.SourceIPAddress, r.SourceTransportPort, r.SourceMacAddress
	octets, packets := f.InitiatorOctets, f.InitiatorPackets
	natIP, natPort, as := r.PostNATSourceIPAddress, r.PostNAPTSourceTransportPort, r.BgpSourceAsNumber
	if !initiator {
		side, ip, port, mac = &f.Responder, r.DestinationIPAddress, r.DestinationTransportPort, r.DestinationMacAddress
		octets, packets = f.ResponderOctets, f.ResponderPackets
		natIP, natPort, as = r.PostNATDestinationIPAddress, r.PostNAPTDestinationTransportPort, r.BgpDestinationAsNumber
	}
	if side.AsNumber != 0 {
		as = side.AsNumber
	}
	e.relateIP(ip)
	e.relateHost(side.Domain)
	m := w.open(name)
	w.address("ip", ip)
	if hasPorts(r.ProtocolIdentifier) {
		w.count("port", int64(port))
	}
	w.mac("mac", mac)
	w.count("bytes", octets)
	w.count("packets", packets)
	w.text("domain", side.Domain)
	n := w.open("nat")
	// Some devices repeat the untranslated pair where nothing was translated.
	if natIP != ip || natPort != port && natPort != 0 {
		w.address("ip", natIP)
		w.integer("port", int64(natPort))
		e.relateIP(natIP)
	}
	w.close(n)
	n = w.open("as")
	w.integer("number", as)
	o := w.open("organization")
	w.text("name", side.AsOrganization)
	w.close(o)
	w.close(n)
	n = w.open("geo")
	w.text("country_iso_code", side.CountryIsoCode)
	w.text("country_name", side.CountryName)
	w.text("continent_code", side.ContinentCode)
	w.text("region_iso_code", side.RegionIsoCode)
	w.text("city_name", side.CityName)
	if side.HasLocation && side.Latitude >= -90 && side.Latitude <= 90 && side.Longitude >= -180 && side.Longitude <= 180 {
		o := w.open("location")
		w.key("lat")
		w.b = appendFloat(w.b, side.Latitude)
		w.key("lon")
		w.b = appendFloat(w.b, side.Longitude)
		w.close(o)
	}
	w.close(n)
	if initiator {
		n = w.open("user")
		w.text("name", r.UserName)
		w.close(n)
	}
	w.close(m)
}

// hasPorts tells the protocols whose flows have ports, so that port 0 is one.
func hasPorts(protocol int32) bool {
	switch protocol {
	case 6, 17, 33, 132, 136:
		return true
	}
	return false
}

// peer writes client or server: the short copy that ECS wants of a flow with
// both directions.
func peer(w *writer, f *schemas.EnrichedFlow, name string, initiator bool) {
	r := &f.Flow
	m := w.open(name)
	ip, port, octets, packets, domain := r.SourceIPAddress, r.SourceTransportPort, f.InitiatorOctets, f.InitiatorPackets, f.Initiator.Domain
	if !initiator {
		ip, port, octets, packets, domain = r.DestinationIPAddress, r.DestinationTransportPort, f.ResponderOctets, f.ResponderPackets, f.Responder.Domain
	}
	w.address("ip", ip)
	if hasPorts(r.ProtocolIdentifier) {
		w.count("port", int64(port))
	}
	w.count("bytes", octets)
	w.count("packets", packets)
	w.text("domain", domain)
	w.close(m)
}

func (e *Encoder) observer(w *writer, f *schemas.EnrichedFlow) {
	r := &f.Flow
	m := w.open("observer")
	a := w.openArray("ip")
	for i := range f.Members {
		if ip := f.Members[i].ExporterAddress; ip.IsValid() && firstExporter(f.Members, i) {
			w.comma()
			w.addressValue(ip)
		}
	}
	if len(f.Members) == 0 && r.ExporterAddress.IsValid() {
		w.addressValue(r.ExporterAddress)
	}
	w.closeArray(a)
	w.text("name", r.ExporterName)
	iface(w, "ingress", r.IngressInterface, r.IngressInterfaceName)
	iface(w, "egress", r.EgressInterface, r.EgressInterfaceName)
	w.close(m)
}

func firstExporter(members []schemas.Member, i int) bool {
	for j := range i {
		if members[j].ExporterAddress == members[i].ExporterAddress {
			return false
		}
	}
	return true
}

func iface(w *writer, name string, id int64, ifName string) {
	m := w.open(name)
	n := w.open("interface")
	w.keyword("id", id)
	w.text("name", ifName)
	w.close(n)
	w.close(m)
}

// threat writes what intelligence says of the ends. The hits of a flow stand
// side by side in arrays; alerts, which are few, have one object for each.
func (e *Encoder) threat(w *writer, f *schemas.EnrichedFlow) {
	if len(f.Initiator.Indicators)+len(f.Responder.Indicators) == 0 {
		return
	}
	all := func(name string, value func(h *schemas.Indicator) string) {
		a := w.openArray(name)
		for _, hits := range [...][]schemas.Indicator{f.Initiator.Indicators, f.Responder.Indicators} {
			for i := range hits {
				if s := value(&hits[i]); s != "" {
					w.comma()
					w.b = schemas.AppendJSONText(w.b, s)
				}
			}
		}
		w.closeArray(a)
	}
	m := w.open("threat")
	n := w.open("indicator")
	a := w.openArray("ip")
	threatIP(w, f.Initiator.Indicators, f.Flow.SourceIPAddress)
	threatIP(w, f.Responder.Indicators, f.Flow.DestinationIPAddress)
	w.closeArray(a)
	all("name", func(h *schemas.Indicator) string { return h.Indicator })
	all("type", func(h *schemas.Indicator) string { return h.Type })
	all("provider", func(h *schemas.Indicator) string { return h.Feed })
	all("confidence", func(h *schemas.Indicator) string { return confidence(h.Confidence) })
	o := w.open("marking")
	all("tlp", func(h *schemas.Indicator) string { return h.Tlp })
	w.close(o)
	w.close(n)
	n = w.open("feed")
	all("name", func(h *schemas.Indicator) string { return h.Feed })
	w.close(n)
	w.close(m)
}

// threatIP writes the address of an end that was hit by an address or network.
func threatIP(w *writer, hits []schemas.Indicator, ip netip.Addr) {
	for i := range hits {
		if strings.HasSuffix(hits[i].Type, "-addr") && ip.IsValid() {
			w.comma()
			w.addressValue(ip)
			return
		}
	}
}

// The sets of related.* are small, but an exporter may send a DNS answer of
// any length: past this many, the rest is in dns.answers only.
const maxRelated = 32

func (e *Encoder) relateIP(a netip.Addr) {
	if !a.IsValid() || len(e.ips) >= maxRelated {
		return
	}
	for _, x := range e.ips {
		if x == a {
			return
		}
	}
	e.ips = append(e.ips, a)
}

func (e *Encoder) relateHost(s string) { e.hosts = relate(e.hosts, s) }
func (e *Encoder) relateHash(s string) { e.hashes = relate(e.hashes, s) }

func relate(set []string, s string) []string {
	if s == "" || len(set) >= maxRelated {
		return set
	}
	for _, x := range set {
		if x == s {
			return set
		}
	}
	return append(set, s)
}

func (e *Encoder) related(w *writer, f *schemas.EnrichedFlow) {
	m := w.open("related")
	a := w.openArray("ip")
	for _, ip := range e.ips {
		w.comma()
		w.addressValue(ip)
	}
	w.closeArray(a)
	texts(w, "hosts", e.hosts)
	texts(w, "hash", e.hashes)
	if f.Flow.UserName != "" {
		a := w.openArray("user")
		w.b = schemas.AppendJSONText(w.b, f.Flow.UserName)
		w.closeArray(a)
	}
	w.close(m)
}

func texts(w *writer, name string, list []string) {
	a := w.openArray(name)
	for _, s := range list {
		w.comma()
		w.b = schemas.AppendJSONText(w.b, s)
	}
	w.closeArray(a)
}
