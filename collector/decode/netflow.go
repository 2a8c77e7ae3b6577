package decode

import (
	"encoding/binary"

	"github.com/weir-flow/weir/schemas"
)

// netflow9 decodes NetFlow v9 (RFC 3954).
func (d *Decoder) netflow9() {
	b := d.data
	if len(b) < 20 {
		d.reject(TooShort, 0, 0)
		return
	}
	d.hdr.Uptime = binary.BigEndian.Uint32(b[4:])
	d.hdr.ExportTime = int64(binary.BigEndian.Uint32(b[8:])) * 1000
	seq, id := binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[16:])
	dom := d.domainOf(domainKey{protocol: schemas.ExportProtocolNETFLOW_V9, id: id})
	if dom == nil {
		d.reject(TooManyDomains, 0, 0)
		return
	}
	d.begin(schemas.ExportProtocolNETFLOW_V9, dom, b[:20], seq)
	// Count (octets 2 and 3) is left unread: exporters put records, sets and
	// other things there. The datagram's end is what ends it.
	d.sets(20, len(b), 0, 1)
	d.observe(seq, 1, true) // datagrams
}

// ipfix decodes an IPFIX message (RFC 7011).
func (d *Decoder) ipfix() {
	b := d.data
	if len(b) < 16 {
		d.reject(TooShort, 0, 0)
		return
	}
	end := int(binary.BigEndian.Uint16(b[2:]))
	d.hdr.ExportTime = int64(binary.BigEndian.Uint32(b[4:])) * 1000
	seq, id := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	dom := d.domainOf(domainKey{protocol: schemas.ExportProtocolIPFIX, id: id})
	if dom == nil {
		d.reject(TooManyDomains, 0, 0)
		return
	}
	d.begin(schemas.ExportProtocolIPFIX, dom, b[:16], seq)
	if end > len(b) || end < 16 {
		d.unknown = true
		d.reject(Truncated, 0, len(b))
		end = len(b)
	}
	d.sets(16, end, 2, 3)
	d.observe(seq, d.records, !d.unknown) // data records, options included
}

// sets walks the sets up to end. What a set cannot give never costs the
// others.
func (d *Decoder) sets(offset, end int, templateID, optionsID uint16) {
	for end-offset >= 4 {
		b := d.data[offset:end]
		id, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 {
			if len(b) > 4 || id != 0 { // four octets of zeros are padding
				d.unknown = true
				d.reject(BadSet, id, offset)
			}
			return
		}
		if n > len(b) {
			d.unknown = true
			d.reject(Truncated, id, offset)
			n = len(b) // the records that are there are whole
		}
		body := b[4:n]
		switch {
		case id == templateID:
			d.templateSet(body, offset+4, false)
		case id == optionsID:
			d.templateSet(body, offset+4, true)
		case id < 256: // reserved
		default:
			if t := d.domain.templates[id]; t != nil {
				d.dataSet(t, body, offset+4)
			} else {
				d.unknown = true
				d.hold(id, body, offset+4)
			}
		}
		offset += n
	}
}

// dataSet decodes the records of a data set.
func (d *Decoder) dataSet(t *template, b []byte, offset int) {
	d.base.TemplateId = int32(t.id)
	mark := len(b)
	for len(b) >= t.min {
		if !t.fixed && padding(b) {
			return
		}
		at := offset + mark - len(b)
		if !d.spend(at) {
			return
		}
		arena := len(d.arena)
		r := d.record(uint64(at))
		if t.options {
			d.option = optionValue{}
		}
		rest, ok := d.run(t, b, r)
		if !ok {
			d.unknown = true
			d.reject(Truncated, t.id, at)
			return
		}
		b = rest
		d.records++
		if t.options {
			d.applyOptions(r)
			d.event(KindOptions)
		} else {
			d.finish(t.notes, r)
			d.flow()
		}
		d.arena = d.arena[:arena]
	}
}

// padding reports whether what is left of a set of variable-length records is
// its padding: at most three zeros (RFC 7011 section 3.3.1). Records of that
// size would hold nothing.
func padding(b []byte) bool {
	if len(b) > 3 {
		return false
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// finish settles what the fields of a record say only together.
func (d *Decoder) finish(n note, r *schemas.FlowRecord) {
	if r.IcmpSeen && r.IcmpTypeCode == 0 && !isICMP(r.ProtocolIdentifier) {
		r.IcmpSeen = false // one template for all protocols: this is its filler
	}
	if !r.IcmpSeen && isICMP(r.ProtocolIdentifier) && r.SourceTransportPort == 0 {
		// Where no element carries them, type and code come as the port.
		r.IcmpTypeCode, r.IcmpSeen = r.DestinationTransportPort, true
	}
	d.resolveTimes(r)
	d.resolveSampling(r, n)
	e := d.exporter
	if n&nApplication != 0 && r.ApplicationName == "" && d.s.seen&sawApplication != 0 {
		r.ApplicationName = e.applications[d.s.application].name
	}
	if e.interfaces != nil {
		r.IngressInterfaceName = e.interfaces[uint32(r.IngressInterface)]
		r.EgressInterfaceName = e.interfaces[uint32(r.EgressInterface)]
	}
	if n&nDNS != 0 {
		d.finishDNS(r)
	}
}

func isICMP(protocol int32) bool { return protocol == 1 || protocol == 58 }
