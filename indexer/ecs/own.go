package ecs

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-flow/weir/schemas"
)

// netflow writes the elements of a record that ECS has no field for, under
// the names that Filebeat gave them: IANA names in snake case.
func (e *Encoder) netflow(w *writer, name string, r *schemas.FlowRecord) {
	m := w.open(name)
	w.word("type", "netflow_flow")
	n := w.open("exporter")
	w.address("address", r.ExporterAddress)
	if r.ExporterSource != r.ExporterAddress {
		w.address("source_address", r.ExporterSource)
	}
	w.integer("source_id", r.ObservationDomainId)
	w.time("timestamp", r.ExportTimeMilliseconds)
	switch r.ExportProtocol {
	case schemas.ExportProtocolNETFLOW_V1:
		w.count("version", 1)
	case schemas.ExportProtocolNETFLOW_V5:
		w.count("version", 5)
	case schemas.ExportProtocolNETFLOW_V7:
		w.count("version", 7)
	case schemas.ExportProtocolNETFLOW_V9:
		w.count("version", 9)
	case schemas.ExportProtocolIPFIX:
		w.count("version", 10)
	}
	w.word("protocol", protocolNames.of(int(r.ExportProtocol)))
	w.integer("sequence", r.ExportSequence)
	w.close(n)
	w.integer("template_id", int64(r.TemplateId))
	w.integer("sampling_interval", r.SamplingInterval)
	w.integer("sampling_algorithm", int64(r.SamplingAlgorithm))
	w.integer("octet_delta_count", r.OctetDeltaCount)
	w.integer("packet_delta_count", r.PacketDeltaCount)
	w.integer("reverse_octet_delta_count", r.ReverseOctetDeltaCount)
	w.integer("reverse_packet_delta_count", r.ReversePacketDeltaCount)
	w.integer("reverse_tcp_control_bits", int64(r.ReverseTcpControlBits))
	w.integer("dropped_octet_delta_count", r.DroppedOctetDeltaCount)
	w.integer("dropped_packet_delta_count", r.DroppedPacketDeltaCount)
	w.integer("tcp_control_bits", int64(r.TcpControlBits))
	w.integer("ip_class_of_service", int64(r.IpClassOfService))
	if r.IcmpSeen {
		w.count("icmp_type_code", int64(r.IcmpTypeCode))
	}
	if r.FlowDirectionSeen {
		w.count("flow_direction", int64(r.FlowDirection))
	}
	w.integer("bgp_source_as_number", r.BgpSourceAsNumber)
	w.integer("bgp_destination_as_number", r.BgpDestinationAsNumber)
	w.address("ip_next_hop_address", r.IpNextHopAddress)
	w.address("bgp_next_hop_address", r.BgpNextHopAddress)
	w.integer("source_prefix_length", int64(r.SourcePrefixLength))
	w.integer("destination_prefix_length", int64(r.DestinationPrefixLength))
	w.integer("post_vlan_id", int64(r.PostVlanId))
	a := w.openArray("mpls_labels")
	for _, l := range r.MplsLabels {
		w.comma()
		w.b = strconv.AppendInt(w.b, l, 10)
	}
	w.closeArray(a)
	w.integer("ingress_vrfid", r.IngressVRFID)
	w.integer("egress_vrfid", r.EgressVRFID)
	w.integer("nat_event", int64(r.NatEvent))
	w.integer("firewall_event", int64(r.FirewallEvent))
	w.integer("flow_end_reason", int64(r.FlowEndReason))
	w.integer("flow_label_ipv6", r.FlowLabelIPv6)
	w.integer("minimum_ttl", int64(r.MinimumTTL))
	w.integer("maximum_ttl", int64(r.MaximumTTL))
	w.text("application_id", r.ApplicationId)
	w.close(m)
}

// names are the words of an enumeration, by its number.
type names []string

func (n names) of(i int) string {
	if i < 0 || i >= len(n) {
		return ""
	}
	return n[i]
}

var (
	protocolNames = names{"", "netflow_v1", "netflow_v5", "netflow_v7", "netflow_v9", "ipfix", "sflow_v5"}
	stateNames    = names{"", "syn_only", "refused", "answered", "unanswered", "established", "reset", "closed"}
	roleNames     = names{"guess", "port", "time", "flags", "exported"}
	memberNames   = names{"forward", "reverse", "duplicate_forward", "duplicate_reverse"}
)

// weir writes what is Weir's own.
func (e *Encoder) weir(w *writer, f *schemas.EnrichedFlow) {
	r := &f.Flow
	m := w.open("weir")
	w.id("conversation_id", f.ConversationId)
	w.text("realm", r.Realm)
	w.time("stream_time", f.StreamTime)
	w.word("state", stateNames.of(int(f.ConnectionState)))
	w.boolean("answered", f.Answered)
	w.boolean("stitched", f.Stitched)
	w.yes("continuation", f.Continuation)
	w.yes("delayed", f.Delayed)
	w.yes("sampling_assumed", r.SamplingAssumed)
	w.word("role_confidence", roleNames.of(int(f.RoleConfidence)))
	w.text("service", f.ServiceName)
	n := w.open("collector")
	w.text("id", r.CollectorId)
	w.close(n)
	n = w.open("tls")
	ja4 := first(pair(&r.Tls, &f.Reverse.Value.Tls, f.Reverse.Set), func(t *schemas.TLS) string { return t.Ja4 })
	w.text("ja4", ja4)
	w.close(n)
	ownSide(w, "initiator", &f.Initiator, f.InitiatorTcpControlBits)
	ownSide(w, "responder", &f.Responder, f.ResponderTcpControlBits)
	e.intel(w, f)
	w.count("member_count", int64(len(f.Members)))
	e.members(w, f.Members)
	e.extra(w, "extra", r.Extra)
	if f.Reverse.Set {
		// The other record as it was sent: what the two agree on is above.
		rev := &f.Reverse.Value
		n := w.open("reverse")
		w.id("flow_id", rev.FlowId)
		w.time("start", rev.FlowStartMilliseconds)
		w.time("end", rev.FlowEndMilliseconds)
		w.time("created", rev.CollectionTimeMilliseconds)
		iface(w, "ingress", rev.IngressInterface, rev.IngressInterfaceName)
		iface(w, "egress", rev.EgressInterface, rev.EgressInterfaceName)
		w.mac("source_mac", rev.SourceMacAddress)
		w.mac("destination_mac", rev.DestinationMacAddress)
		w.integer("vlan_id", int64(rev.VlanId))
		w.address("post_nat_source_ip", rev.PostNATSourceIPAddress)
		w.address("post_nat_destination_ip", rev.PostNATDestinationIPAddress)
		w.integer("post_napt_source_port", int64(rev.PostNAPTSourceTransportPort))
		w.integer("post_napt_destination_port", int64(rev.PostNAPTDestinationTransportPort))
		w.text("application", rev.ApplicationName)
		w.text("user", rev.UserName)
		e.netflow(w, "netflow", rev)
		e.extra(w, "extra", rev.Extra)
		w.close(n)
	}
	w.close(m)
}

func ownSide(w *writer, name string, s *schemas.Side, flags int32) {
	m := w.open(name)
	w.boolean("internal", s.Internal)
	w.integer("tcp_control_bits", int64(flags))
	if s.Asset.Set {
		a := &s.Asset.Value
		n := w.open("asset")
		w.text("id", a.Id)
		w.text("name", a.Name)
		texts(w, "roles", a.Roles)
		w.text("owner", a.Owner)
		w.text("group", a.Group)
		w.integer("criticality", int64(a.Criticality))
		w.close(n)
	}
	w.close(m)
}

// intel keeps what threat.* cannot: the numbers, and which hit is of which end.
func (e *Encoder) intel(w *writer, f *schemas.EnrichedFlow) {
	a := w.openArray("intel")
	for end, hits := range [...][]schemas.Indicator{f.Initiator.Indicators, f.Responder.Indicators} {
		for i := range hits {
			h := &hits[i]
			w.comma()
			w.b = append(w.b, '{')
			w.word("end", [...]string{"initiator", "responder"}[end])
			w.text("feed", h.Feed)
			w.text("indicator", h.Indicator)
			w.text("type", h.Type)
			w.text("category", h.Category)
			w.integer("confidence", int64(h.Confidence))
			w.text("tlp", h.Tlp)
			w.b = append(w.b, '}')
		}
	}
	w.closeArray(a)
	a = w.openArray("intel_categories")
	for _, hits := range [...][]schemas.Indicator{f.Initiator.Indicators, f.Responder.Indicators} {
		for i := range hits {
			if hits[i].Category != "" {
				w.comma()
				w.b = schemas.AppendJSONText(w.b, hits[i].Category)
			}
		}
	}
	w.closeArray(a)
}

// members writes the records that the flow was made of. The first is the
// document's id; of a flow with no other the counters stand in netflow.*.
func (e *Encoder) members(w *writer, members []schemas.Member) {
	if len(members) < 2 {
		return
	}
	a := w.openArray("members")
	for i := range members {
		m := &members[i]
		w.comma()
		w.b = append(w.b, '{')
		w.id("flow_id", m.FlowId)
		w.word("role", memberNames.of(int(m.Role)))
		w.address("exporter", m.ExporterAddress)
		w.integer("source_id", m.ObservationDomainId)
		w.integer("ingress", m.IngressInterface)
		w.integer("egress", m.EgressInterface)
		w.integer("octet_delta_count", m.OctetDeltaCount)
		w.integer("packet_delta_count", m.PacketDeltaCount)
		w.integer("sampling_interval", m.SamplingInterval)
		e.extra(w, "extra", m.Extra)
		w.b = append(w.b, '}')
	}
	w.closeArray(a)
}

// extra writes elements under their names. A name that was sent more than
// once (RFC 7011 section 8 allows it) has an array: Elasticsearch refuses a
// member that is there twice.
func (e *Encoder) extra(w *writer, name string, list []schemas.Extra) {
	if len(list) == 0 {
		return
	}
	m := w.open(name)
	e.extraMembers(w, list, 0)
	w.close(m)
}

func (e *Encoder) extraMembers(w *writer, list []schemas.Extra, depth int) {
	// Lists nest: each level has its own part of the scratch space.
	base := len(e.order)
	for i := range list {
		e.order = append(e.order, uint32(i))
	}
	order := e.order[base:]
	slices.SortStableFunc(order, func(a, b uint32) int { return strings.Compare(list[a].Name, list[b].Name) })
	for i := 0; i < len(order); {
		x := &list[order[i]]
		same := i + 1
		for same < len(order) && list[order[same]].Name == x.Name {
			same++
		}
		w.comma()
		if odd(x.Name) {
			w.b = append(w.b, `"0x`...)
			for j := range len(x.Name) {
				w.b = append(w.b, hexLower[x.Name[j]>>4], hexLower[x.Name[j]&15])
			}
			w.b = append(w.b, '"')
		} else {
			w.b = schemas.AppendJSONText(w.b, x.Name)
		}
		w.b = append(w.b, ':')
		if same == i+1 {
			e.extraValue(w, &x.Value, depth)
		} else {
			w.b = append(w.b, '[')
			for _, j := range order[i:same] {
				w.comma()
				e.extraValue(w, &list[j].Value, depth)
			}
			w.b = append(w.b, ']')
		}
		i = same
	}
	e.order = e.order[:base]
}

// odd tells the names that stand in hexadecimal digits: Elasticsearch refuses
// an empty one and one with a NUL, and what is not UTF-8 could look the same
// as another. So that no two names become one, those that look like such
// digits already are odd too.
func odd(name string) bool {
	if name == "" || strings.HasPrefix(name, "0x") {
		return true
	}
	for i := range len(name) {
		if name[i] < ' ' {
			return true
		}
		if name[i] >= utf8.RuneSelf {
			return !utf8.ValidString(name)
		}
	}
	return false
}

func (e *Encoder) extraValue(w *writer, v *schemas.ExtraValue, depth int) {
	switch v.Kind {
	case schemas.ExtraDouble:
		w.b = appendFloat(w.b, v.Double)
	case schemas.ExtraString:
		w.b = schemas.AppendJSONText(w.b, v.Bytes)
	case schemas.ExtraBytes:
		w.b = append(w.b, '"')
		w.b = appendHex(w.b, v.Bytes)
		w.b = append(w.b, '"')
	case schemas.ExtraList:
		if depth >= schemas.MaxExtraDepth {
			w.b = append(w.b, "null"...) // the schema allows none
			return
		}
		w.b = append(w.b, '{')
		e.extraMembers(w, v.List, depth+1)
		w.b = append(w.b, '}')
	default:
		w.b = strconv.AppendInt(w.b, v.Long, 10)
	}
}
