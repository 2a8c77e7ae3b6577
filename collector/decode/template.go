package decode

import (
	"bytes"
	"encoding/binary"

	"github.com/netsampler/goflow2/v2/decoders/netflow"

	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/schemas"
)

// maxFields bounds a template; the longest known of a vendor has about 200.
const maxFields = 1024

const variable = 0xFFFF

// field is one field of a template as it was sent.
type field struct {
	pen    uint32
	id     uint16
	length uint16
	scope  bool
}

// template is a compiled template: how to decode its records.
type template struct {
	id      uint16
	options bool
	raw     []byte // as sent: most templates come again unchanged
	ops     []op
	size    int // of a record, when it is fixed
	min     int // smallest size of a record
	fixed   bool
	notes   note // what finishing a record must look at
}

// templateSet walks a (options) template set. Each template's extent is
// checked before goflow2 gets it.
func (d *Decoder) templateSet(body []byte, offset int, options bool) {
	v9 := d.hdr.Protocol == schemas.ExportProtocolNETFLOW_V9
	for len(body) >= 4 {
		id := binary.BigEndian.Uint16(body)
		if id == 0 {
			return // padding: no template has this id
		}
		n, count := extent(body, options, v9)
		if n == 0 {
			d.reject(BadTemplate, id, offset)
			return
		}
		switch {
		case count == 0:
			// A withdrawal; over UDP it is ignored (RFC 7011 section 8.4), and v9
			// has none: a template without fields must not replace a good one.
			d.reject(BadTemplate, id, offset)
		case id < 256 || count > maxFields:
			d.reject(BadTemplate, id, offset)
		default:
			d.learn(id, body[:n], offset, options, v9)
		}
		body, offset = body[n:], offset+n
	}
}

// extent returns the length of the first template of body and its number of
// fields; 0, 0 when it does not fit. goflow2 would allocate first.
func extent(body []byte, options, v9 bool) (n, count int) {
	switch {
	case options && v9:
		if len(body) < 6 {
			return 0, 0
		}
		scope, option := int(binary.BigEndian.Uint16(body[2:])), int(binary.BigEndian.Uint16(body[4:]))
		if n = 6 + scope/4*4 + option/4*4; n > len(body) {
			return 0, 0
		}
		return n, scope/4 + option/4
	case options:
		count = int(binary.BigEndian.Uint16(body[2:]))
		if count == 0 {
			return 4, 0 // the withdrawal has no scope count
		}
		if len(body) < 6 || int(binary.BigEndian.Uint16(body[4:])) > count {
			return 0, 0
		}
		n = 6
	default:
		count, n = int(binary.BigEndian.Uint16(body[2:])), 4
	}
	if n+count*4 > len(body) {
		return 0, 0
	}
	for range count {
		if n+4 > len(body) {
			return 0, 0
		}
		if !v9 && body[n]&0x80 != 0 {
			n += 4
		}
		if n += 4; n > len(body) {
			return 0, 0
		}
	}
	return n, count
}

// learn stores a template. A new one for a known id replaces the old one.
func (d *Decoder) learn(id uint16, raw []byte, offset int, options, v9 bool) {
	dom := d.domain
	old := dom.templates[id]
	if old != nil && old.options == options && bytes.Equal(old.raw, raw) {
		d.stats.TemplatesUnchanged.Add(1)
		return
	}
	if old == nil && len(dom.templates) >= d.cfg.Limits.Templates {
		d.reject(TooManyTemplates, id, offset)
		return
	}
	fields, err := parseTemplate(raw, options, v9)
	if err != nil {
		d.reject(BadTemplate, id, offset)
		return
	}
	t := d.compile(fields, v9, options)
	if t.min == 0 {
		// Every field is empty: its records would never end.
		d.reject(BadTemplate, id, offset)
		return
	}
	t.id, t.options, t.raw = id, options, bytes.Clone(raw)
	if dom.templates == nil {
		dom.templates = make(map[uint16]*template)
	}
	dom.templates[id] = t
	if old == nil {
		dom.exporter.Templates++
	}
	d.stats.Templates.Add(1)
	d.release(t)
}

// parseTemplate parses exactly one template, whose extent was checked.
func parseTemplate(raw []byte, options, v9 bool) ([]field, error) {
	buf := bytes.NewBuffer(raw)
	var fields []field
	add := func(in []netflow.Field, scope bool) {
		for _, f := range in {
			// Options templates keep the enterprise bit in the type.
			out := field{id: f.Type, length: f.Length, scope: scope}
			if f.PenProvided {
				out.id, out.pen = f.Type&0x7FFF, f.Pen
			}
			fields = append(fields, out)
		}
	}
	switch {
	case !options:
		version := uint16(10)
		if v9 {
			version = 9
		}
		ts, err := netflow.DecodeTemplateSet(version, buf)
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			add(t.Fields, false)
		}
	case v9:
		ts, err := netflow.DecodeNFv9OptionsTemplateSet(buf)
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			add(t.Scopes, true)
			add(t.Options, false)
		}
	default:
		ts, err := netflow.DecodeIPFIXOptionsTemplateSet(buf)
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			add(t.Scopes, true)
			add(t.Options, false)
		}
	}
	return fields, nil
}

// compile makes the plan. Where several fields feed one target the best one
// has it, and the others are kept as extras; this is decided here, once.
func (d *Decoder) compile(fields []field, v9, options bool) *template {
	t := &template{fixed: true}
	space := ie.IPFIX
	if v9 {
		space = ie.NetFlowV9
	}
	won := make(map[slot]int) // slot -> index of the winning op
	for _, f := range fields {
		if f.length == 0 {
			continue // nothing is sent, and nothing must be spent on it
		}
		o := op{pen: f.pen, id: f.id, width: f.length, scope: f.scope}
		k := ie.Key{Space: space, PEN: f.pen, ID: uint32(f.id)}
		switch e, ok := d.table.Lookup(k); {
		case v9 && f.scope && int(f.id) < len(v9Scopes) && f.id > 0:
			o.name, o.typ = v9Scopes[f.id], ie.Unsigned32
		case ok:
			o.name, o.typ = e.Name, e.Type
		default:
			o.name, o.typ = k.Name(), ie.OctetArray
		}
		if f.length == variable {
			t.fixed = false
			t.min++
		} else {
			t.min += int(f.length)
		}
		o.code = cExtra
		if options {
			if o.code = cOption; f.pen == 0 && f.id == 210 {
				o.code = cSkip
			}
		} else {
			if g, ok := targetOf(space, f.pen, f.id); ok {
				o.code, o.keep = g.code, g.keep
				t.notes |= g.note
				if g.slot != noSlot {
					o.prio = g.prio
					if i, taken := won[g.slot]; !taken {
						won[g.slot] = len(t.ops)
					} else if g.prio < t.ops[i].prio {
						t.ops[i].code, t.ops[i].keep = cExtra, false
						won[g.slot] = len(t.ops)
					} else {
						o.code, o.keep = cExtra, false
					}
				}
			}
		}
		t.ops = append(t.ops, o)
	}
	t.size = t.min
	return t
}

// v9Scopes are the scope types of RFC 3954 section 6.1.
var v9Scopes = [...]string{"", "scopeSystem", "scopeInterface", "scopeLineCard", "scopeCache", "scopeTemplate"}
