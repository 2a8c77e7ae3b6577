package generator

import (
	"encoding/binary"
	"time"
)

// message is the datagram being written.
type message struct {
	buf      []byte
	count    int    // records of any kind in it
	data     int    // data records in it
	setStart int    // offset of the open set, 0 for none
	setID    uint16 // of the open set
	sent     int    // messages in this second
}

const (
	// Set ids, RFC 3954 section 5 and RFC 7011 section 3.3.2.
	setTemplates9, setOptions9         = 0, 1
	setTemplatesIPFIX, setOptionsIPFIX = 2, 3

	samplerID = 1
	// longestOption is more than a row of any options table needs.
	longestOption = 80
	// setOverhead is a set's header and padding.
	setOverhead = 8
)

func (e *exporter) encodeTemplated(r *record) error {
	t := e.templateFor(r)
	m := &e.message
	if m.count > 0 && len(m.buf)+setOverhead+t.longest > maxPayload {
		if err := e.finishTemplated(); err != nil {
			return err
		}
	}
	if m.count == 0 {
		e.begin()
	}
	e.openSet(t.id)
	m.buf = e.appendRecord(m.buf, t, r)
	m.count++
	m.data++
	return nil
}

// begin writes a header whose length or count finishTemplated fills in.
func (e *exporter) begin() {
	m := &e.message
	b := m.buf[:0]
	if e.protocol == netflow9 {
		b = append(b, 0, 9, 0, 0)
		b = binary.BigEndian.AppendUint32(b, e.uptimeAt(e.now*1000))
		b = binary.BigEndian.AppendUint32(b, uint32(e.now))
	} else {
		b = append(b, 0, 10, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(e.now))
	}
	b = binary.BigEndian.AppendUint32(b, e.sequence)
	m.buf = binary.BigEndian.AppendUint32(b, e.domain)
	m.setStart = 0
}

// openSet continues the open set when it has this id.
func (e *exporter) openSet(id uint16) {
	m := &e.message
	if m.setStart > 0 && m.setID == id {
		return
	}
	e.closeSet()
	m.setStart, m.setID = len(m.buf), id
	m.buf = binary.BigEndian.AppendUint16(m.buf, id)
	m.buf = append(m.buf, 0, 0)
}

// closeSet pads v9's FlowSets to four octets (RFC 3954 section 5.3). IPFIX
// asks for none, and after variable-length records it only raises doubts.
func (e *exporter) closeSet() {
	m := &e.message
	if m.setStart == 0 {
		return
	}
	if e.protocol == netflow9 {
		for (len(m.buf)-m.setStart)%4 != 0 {
			m.buf = append(m.buf, 0)
		}
	}
	binary.BigEndian.PutUint16(m.buf[m.setStart+2:], uint16(len(m.buf)-m.setStart))
	m.setStart = 0
}

// finishTemplated sends the message. The sequence counts messages in v9, data
// records (those of options too) in IPFIX.
func (e *exporter) finishTemplated() error {
	e.closeSet()
	m := &e.message
	if e.protocol == netflow9 {
		binary.BigEndian.PutUint16(m.buf[2:], uint16(m.count))
		e.sequence++
	} else {
		binary.BigEndian.PutUint16(m.buf[2:], uint16(len(m.buf)))
		e.sequence += uint32(m.data)
	}
	m.count, m.data = 0, 0
	return e.send()
}

// sendTemplates sends all templates, and the options that tell the sampling
// and the names of interfaces and applications.
func (e *exporter) sendTemplates() error {
	if e.protocol == netflow5 {
		return nil
	}
	m := &e.message
	for i := range e.templates {
		if m.count > 0 && len(m.buf)+8+8*len(e.templates[i].fields) > maxPayload {
			if err := e.finishTemplated(); err != nil {
				return err
			}
		}
		if m.count == 0 {
			e.begin()
		}
		if e.protocol == netflow9 {
			e.openSet(setTemplates9)
		} else {
			e.openSet(setTemplatesIPFIX)
		}
		m.buf = appendTemplate(m.buf, &e.templates[i])
		m.count++
		e.stats.Templates++
	}
	if err := e.finishTemplated(); err != nil {
		return err
	}
	for _, o := range e.options() {
		if err := e.sendOptions(&o); err != nil {
			return err
		}
	}
	return nil
}

func appendTemplate(b []byte, t *template) []byte {
	b = binary.BigEndian.AppendUint16(b, t.id)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.fields)))
	for _, f := range t.fields {
		b = appendSpecifier(b, f)
	}
	return b
}

// appendSpecifier writes a field specifier, RFC 7011 section 3.2.
func appendSpecifier(b []byte, f field) []byte {
	if f.pen == 0 {
		b = binary.BigEndian.AppendUint16(b, f.id)
		return binary.BigEndian.AppendUint16(b, f.length)
	}
	b = binary.BigEndian.AppendUint16(b, f.id|0x8000)
	b = binary.BigEndian.AppendUint16(b, f.length)
	return binary.BigEndian.AppendUint32(b, f.pen)
}

// options is a table that describes the exporter. Its first field is the
// scope.
type options struct {
	id     uint16
	fields []field
	rows   []func(b []byte) []byte
}

// NetFlow v9 scope types, RFC 3954 section 6.1.
const (
	scopeSystem    = 1
	scopeInterface = 2
)

func (e *exporter) options() []options {
	base := 320 + 16*uint16(e.domain%8)
	var out []options
	if e.sampling > 1 {
		out = append(out, options{
			id:     base,
			fields: []field{{id: scopeSystem, length: 4}, {id: 48, length: 1}, {id: 49, length: 1}, {id: 50, length: 4}},
			rows: []func([]byte) []byte{func(b []byte) []byte {
				b = binary.BigEndian.AppendUint32(b, uint32(e.source.Addr().As4()[3]))
				b = append(b, samplerID, 2) // random sampling
				return binary.BigEndian.AppendUint32(b, uint32(e.sampling))
			}},
		})
	}
	return append(out, e.interfaceTable(base+1), e.applicationTable(base+2))
}

// interfaceTable names the interfaces: interfaceName, interfaceDescription.
func (e *exporter) interfaceTable(id uint16) options {
	o := options{id: id}
	if e.protocol == netflow9 {
		o.fields = []field{{id: scopeInterface, length: 4}, {id: 82, length: 16}, {id: 83, length: 32}}
	} else {
		o.fields = []field{{id: 10, length: 4}, {id: 82, length: variable}, {id: 83, length: variable}}
	}
	for z := range zones {
		o.rows = append(o.rows, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(b, ifIndex(z))
			b = appendText(b, "ge-0/0/"+string(rune('0'+z)), o.fields[1].length)
			return appendText(b, "to "+zoneNames[z], o.fields[2].length)
		})
	}
	return o
}

// applicationTable names the applications: applicationId, applicationName.
func (e *exporter) applicationTable(id uint16) options {
	o := options{id: id}
	if e.protocol == netflow9 {
		o.fields = []field{{id: scopeSystem, length: 4}, {id: 95, length: 4}, {id: 96, length: 24}}
	} else {
		o.fields = []field{{id: 95, length: 4}, {id: 96, length: variable}}
	}
	for _, s := range services {
		o.rows = append(o.rows, func(b []byte) []byte {
			if e.protocol == netflow9 {
				b = binary.BigEndian.AppendUint32(b, uint32(e.source.Addr().As4()[3]))
			}
			b = appendUint(b, applicationID(s.port), 4)
			return appendText(b, s.name, o.fields[len(o.fields)-1].length)
		})
	}
	return o
}

// appendText writes a string of variable or fixed length, padded with zeros.
func appendText(b []byte, s string, length uint16) []byte {
	if length == variable {
		return appendString(b, s)
	}
	end := len(b) + int(length)
	b = append(b, s...)
	for len(b) < end {
		b = append(b, 0)
	}
	return b[:end]
}

// sendOptions sends one table with its template, in messages of their own.
func (e *exporter) sendOptions(o *options) error {
	m := &e.message
	e.begin()
	if e.protocol == netflow9 {
		e.openSet(setOptions9)
		m.buf = binary.BigEndian.AppendUint16(m.buf, o.id)
		m.buf = binary.BigEndian.AppendUint16(m.buf, 4)
		m.buf = binary.BigEndian.AppendUint16(m.buf, uint16(4*(len(o.fields)-1)))
	} else {
		e.openSet(setOptionsIPFIX)
		m.buf = binary.BigEndian.AppendUint16(m.buf, o.id)
		m.buf = binary.BigEndian.AppendUint16(m.buf, uint16(len(o.fields)))
		m.buf = binary.BigEndian.AppendUint16(m.buf, 1)
	}
	for _, f := range o.fields {
		m.buf = appendSpecifier(m.buf, f)
	}
	m.count++
	e.stats.Templates++
	for _, row := range o.rows {
		if len(m.buf)+setOverhead+longestOption > maxPayload {
			if err := e.finishTemplated(); err != nil {
				return err
			}
			e.begin()
		}
		e.openSet(o.id)
		m.buf = row(m.buf)
		m.count++
		m.data++
		e.stats.Options++
	}
	return e.finishTemplated()
}

func microseconds(us int64) time.Time { return time.UnixMicro(us).UTC() }
