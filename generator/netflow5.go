package generator

import "encoding/binary"

// NetFlow v5: a header of 24 octets and up to 30 records of 48.
const maxRecords5 = 29 // one less than allowed, to stay within maxPayload + header

func (e *exporter) encode5(r *record) error {
	m := &e.message
	if m.count == 0 {
		m.buf = e.appendHeader5(m.buf[:0])
	}
	b := m.buf
	b = r.src.appendTo(b, 4)
	b = r.dst.appendTo(b, 4)
	b = nextHop(r.dstZone).appendTo(b, 4)
	b = binary.BigEndian.AppendUint16(b, uint16(ifIndex(r.srcZone)))
	b = binary.BigEndian.AppendUint16(b, uint16(ifIndex(r.dstZone)))
	b = binary.BigEndian.AppendUint32(b, uint32(r.packets))
	b = binary.BigEndian.AppendUint32(b, uint32(r.octets))
	b = binary.BigEndian.AppendUint32(b, e.uptimeAt(r.start))
	b = binary.BigEndian.AppendUint32(b, e.uptimeAt(r.end))
	srcPort, dstPort := r.srcPort, r.dstPort
	if r.protocol == icmp {
		srcPort = 0 // the destination port is type*256 + code
	}
	b = binary.BigEndian.AppendUint16(b, srcPort)
	b = binary.BigEndian.AppendUint16(b, dstPort)
	b = append(b, 0, r.flags, r.protocol, r.tos)
	b = binary.BigEndian.AppendUint16(b, uint16(r.srcAS))
	b = binary.BigEndian.AppendUint16(b, uint16(r.dstAS))
	b = append(b, byte(maskOf(r.srcZone)), byte(maskOf(r.dstZone)), 0, 0)
	m.buf = b
	if m.count++; m.count == maxRecords5 {
		return e.finish5()
	}
	return nil
}

func (e *exporter) appendHeader5(b []byte) []byte {
	b = append(b, 0, 5, 0, 0) // count follows
	b = binary.BigEndian.AppendUint32(b, e.uptimeAt(e.now*1000))
	b = binary.BigEndian.AppendUint32(b, uint32(e.now))
	b = binary.BigEndian.AppendUint32(b, 0) // exported on the second
	b = binary.BigEndian.AppendUint32(b, e.sequence)
	return append(b, 0, byte(e.domain), 0, 0) // engine type and id, no sampling
}

// finish5 completes the header; the sequence counts flows.
func (e *exporter) finish5() error {
	m := &e.message
	binary.BigEndian.PutUint16(m.buf[2:], uint16(m.count))
	e.sequence += uint32(m.count)
	m.count = 0
	return e.send()
}
