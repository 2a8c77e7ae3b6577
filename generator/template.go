package generator

import "encoding/binary"

// element says which value of a record a template field carries.
type element uint8

const (
	elOctets element = iota
	elPackets
	elFlags
	elReverseOctets
	elReversePackets
	elReverseFlags
	elProtocol
	elTOS
	elSrcPort
	elDstPort
	elInput
	elOutput
	elSrcAS
	elDstAS
	elSrcMask
	elDstMask
	elVLAN
	elDirection
	elICMP
	elFirstUptime
	elLastUptime
	elStart
	elEnd
	elEndReason
	elApplication
	elSampler
	elBiflow
	elDNSType
	elDNSCode
	elDNSAnswers
	elTLSVersion
	elHTTPStatus
	// Addresses.
	elSrc
	elDst
	elNextHop
	// Strings of variable length, RFC 7011 section 7.
	elName
	elJA3
	elMethod
	elTarget
	elAgent
	elHTTPVersion
)

const (
	variable   = 65535
	penReverse = 29305 // RFC 5103
	penNtop    = 35632
)

// field is one field of a template: its element on the wire and where its
// value comes from. Templates and data are written from the same table, so
// they cannot disagree.
type field struct {
	id     uint16
	pen    uint32
	length uint16
	value  element
}

// template is a layout of flow records.
type template struct {
	id      uint16
	fields  []field
	longest int // octets of a record
}

// Fields by their IANA numbers (NetFlow v9 shares those below 128).
func common(ip6 bool) []field {
	length, src, dst, hop := uint16(4), uint16(8), uint16(12), uint16(15)
	srcMask, dstMask := uint16(9), uint16(13)
	if ip6 {
		length, src, dst, hop = 16, 27, 28, 62
		srcMask, dstMask = 29, 30
	}
	return []field{
		{src, 0, length, elSrc}, {dst, 0, length, elDst},
		{7, 0, 2, elSrcPort}, {11, 0, 2, elDstPort}, {4, 0, 1, elProtocol}, {5, 0, 1, elTOS},
		{1, 0, 8, elOctets}, {2, 0, 8, elPackets},
		{10, 0, 4, elInput}, {14, 0, 4, elOutput},
		{16, 0, 4, elSrcAS}, {17, 0, 4, elDstAS}, {srcMask, 0, 1, elSrcMask}, {dstMask, 0, 1, elDstMask},
		{hop, 0, length, elNextHop}, {58, 0, 2, elVLAN}, {61, 0, 1, elDirection},
	}
}

// layout returns the fields of one kind of record on this exporter.
func (e *exporter) layout(ip6, biflow bool, kind metaKind) []field {
	f := common(ip6)
	icmpID := uint16(32)
	if ip6 && e.protocol == ipfix {
		icmpID = 139
	}
	f = append(f, field{icmpID, 0, 2, elICMP}, field{95, 0, 4, elApplication})
	if e.protocol == netflow9 {
		f = append(f, field{6, 0, 1, elFlags}, field{22, 0, 4, elFirstUptime}, field{21, 0, 4, elLastUptime})
	} else {
		f = append(f, field{6, 0, 2, elFlags}, field{152, 0, 8, elStart}, field{153, 0, 8, elEnd}, field{136, 0, 1, elEndReason})
	}
	if e.sampling > 1 {
		f = append(f, field{48, 0, 1, elSampler})
	}
	if biflow {
		f = append(f, field{1, penReverse, 8, elReverseOctets}, field{2, penReverse, 8, elReversePackets},
			field{6, penReverse, 2, elReverseFlags}, field{239, 0, 1, elBiflow})
	}
	switch kind {
	case dnsMeta:
		f = append(f, field{205, penNtop, variable, elName}, field{207, penNtop, 1, elDNSType},
			field{208, penNtop, 1, elDNSCode}, field{209, penNtop, 1, elDNSAnswers})
	case tlsMeta:
		f = append(f, field{188, penNtop, variable, elName}, field{495, penNtop, 2, elTLSVersion},
			field{489, penNtop, variable, elJA3})
	case httpMeta:
		f = append(f, field{459, 0, variable, elMethod}, field{460, 0, variable, elName},
			field{461, 0, variable, elTarget}, field{462, 0, variable, elHTTPVersion},
			field{457, 0, 2, elHTTPStatus}, field{468, 0, variable, elAgent})
	}
	return f
}

// prepare makes the templates of the exporter. Ids differ between exporters,
// as they do in life.
func (e *exporter) prepare() {
	kinds := []metaKind{noMeta}
	if e.metadata {
		kinds = append(kinds, dnsMeta, tlsMeta, httpMeta)
	} else if e.queries {
		kinds = append(kinds, dnsMeta)
	}
	shapes := 1
	if e.biflow {
		shapes = 2
	}
	// Full capacity at once: byShape points into the slice.
	e.templates = make([]template, 0, 2*shapes*len(kinds))
	next := uint16(256 + 16*(e.domain%8))
	for six := range 2 {
		for shape := range shapes {
			for _, kind := range kinds {
				t := template{id: next, fields: e.layout(six == 1, shape == 1, kind)}
				for _, f := range t.fields {
					t.longest += f.longest()
				}
				e.templates = append(e.templates, t)
				e.byShape[six][shape][kind] = &e.templates[len(e.templates)-1]
				next++
			}
		}
	}
	// Metadata that an exporter has no elements for is not exported.
	for six := range e.byShape {
		for shape := range e.byShape[six] {
			for kind, t := range e.byShape[six][shape] {
				if t == nil {
					e.byShape[six][shape][kind] = e.byShape[six][shape][noMeta]
				}
			}
		}
	}
}

// longest is the most octets the field can take.
func (f field) longest() int {
	switch {
	case f.length != variable:
		return int(f.length)
	case f.value == elAgent:
		return 160
	}
	return 64
}

func (e *exporter) templateFor(r *record) *template {
	six, shape := 0, 0
	if !r.src.is4() {
		six = 1
	}
	if r.reverse.packets > 0 {
		shape = 1
	}
	return e.byShape[six][shape][r.meta.kind]
}

// appendRecord writes a data record by its template.
func (e *exporter) appendRecord(b []byte, t *template, r *record) []byte {
	for i := range t.fields {
		f := &t.fields[i]
		switch {
		case f.value < elSrc:
			b = appendUint(b, e.number(f.value, r), f.length)
		case f.value == elSrc:
			b = r.src.appendTo(b, f.length)
		case f.value == elDst:
			b = r.dst.appendTo(b, f.length)
		case f.value == elNextHop:
			b = e.appendNextHop(b, r, f.length)
		default:
			b = appendString(b, e.text(f.value, r.meta))
		}
	}
	return b
}

func (e *exporter) appendNextHop(b []byte, r *record, length uint16) []byte {
	if length == 4 {
		return nextHop(r.dstZone).appendTo(b, 4)
	}
	return address{0xfd00_0000_0000_0000, uint64(r.dstZone) + 1}.appendTo(b, 16)
}

func (e *exporter) number(v element, r *record) uint64 {
	switch v {
	case elOctets:
		return r.octets
	case elPackets:
		return r.packets
	case elFlags:
		return uint64(r.flags)
	case elReverseOctets:
		return r.reverse.octets
	case elReversePackets:
		return r.reverse.packets
	case elReverseFlags:
		return uint64(r.reverse.flags)
	case elProtocol:
		return uint64(r.protocol)
	case elTOS:
		return uint64(r.tos)
	case elSrcPort:
		if r.protocol != icmp {
			return uint64(r.srcPort)
		}
	case elDstPort:
		if r.protocol != icmp {
			return uint64(r.dstPort)
		}
	case elInput:
		return uint64(ifIndex(r.srcZone))
	case elOutput:
		return uint64(ifIndex(r.dstZone))
	case elSrcAS:
		return uint64(r.srcAS)
	case elDstAS:
		return uint64(r.dstAS)
	case elSrcMask:
		return maskOf(r.srcZone)
	case elDstMask:
		return maskOf(r.dstZone)
	case elVLAN:
		return uint64(vlan(r.srcZone))
	case elDirection:
		return 0 // metered at ingress
	case elICMP:
		return uint64(r.icmpTypeCode())
	case elFirstUptime:
		return uint64(e.uptimeAt(r.start))
	case elLastUptime:
		return uint64(e.uptimeAt(r.end))
	case elStart:
		return uint64(r.start)
	case elEnd:
		return uint64(r.end)
	case elEndReason:
		return uint64(r.endReason)
	case elApplication:
		return applicationID(r.app)
	case elSampler:
		return samplerID
	case elBiflow:
		return 1 // the source is the initiator
	case elDNSType, elHTTPStatus:
		return uint64(r.meta.status)
	case elDNSCode:
		return uint64(r.meta.rcode)
	case elDNSAnswers:
		return uint64(r.meta.answers)
	case elTLSVersion:
		return uint64(r.meta.version)
	}
	return 0
}

func (e *exporter) text(v element, m *metadata) string {
	switch v {
	case elName:
		return e.world.get(m.name)
	case elJA3:
		return e.world.get(m.ja3)
	case elTarget:
		return e.world.get(m.target)
	case elAgent:
		return e.world.get(m.agent)
	case elMethod:
		return "GET"
	case elHTTPVersion:
		return "HTTP/1.1"
	}
	return ""
}

// icmpTypeCode: the port fields of an ICMP conversation hold type and code of
// either direction.
func (r *record) icmpTypeCode() uint16 {
	if r.protocol == icmp {
		return r.dstPort
	}
	return 0
}

func maskOf(z zone) uint64 {
	if z == internet {
		return 16
	}
	return 24
}

// applicationID is RFC 6759's: classification engine 3 (IANA layer 4), port.
func applicationID(port uint16) uint64 {
	if port == 0 {
		return 0
	}
	return 3<<24 | uint64(port)
}

func appendUint(b []byte, v uint64, length uint16) []byte {
	switch length {
	case 1:
		return append(b, byte(v))
	case 2:
		return binary.BigEndian.AppendUint16(b, uint16(v))
	case 4:
		return binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return binary.BigEndian.AppendUint64(b, v)
}

// appendString writes a variable-length value, RFC 7011 section 7.
func appendString(b []byte, s string) []byte {
	if len(s) < 255 {
		b = append(b, byte(len(s)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 255), uint16(len(s)))
	}
	return append(b, s...)
}
