package decode

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/weir-flow/weir/schemas"
)

// optionValue is what an options record says that flow records need.
type optionValue struct {
	s            scratch
	plain        int64 // IE 34 or 50
	algorithm    int32
	port         uint32
	hasPort      bool
	portScope    bool
	portName     string
	application  []byte
	applicationN string
}

// noteOption looks at one field of an options record.
func (d *Decoder) noteOption(o *op, v []byte, x *optionValue) {
	if o.pen != 0 {
		return
	}
	if o.scope && d.hdr.Protocol == schemas.ExportProtocolNETFLOW_V9 && int(o.id) < len(v9Scopes) {
		if o.id == 2 {
			x.port, x.hasPort, x.portScope = u32(v), true, true
		}
		return
	}
	s := &x.s
	switch o.id {
	case 10, 14:
		x.port, x.hasPort = u32(v), true
		x.portScope = x.portScope || o.scope
	case 34, 50:
		if n := int64(u32(v)); n > 0 {
			x.plain, s.seen = n, s.seen|sawInterval
		}
	case 35, 49:
		x.algorithm = int32(u8(v))
	case 304:
		x.algorithm = algorithmOf(u(v))
	case 48, 302:
		s.sampler, s.seen = u(v), s.seen|sawSampler
	case 305:
		s.every, s.seen = u(v), s.seen|sawPacketInterval
	case 306:
		s.space, s.seen = u(v), s.seen|sawPacketSpace
	case 309:
		s.size, s.seen = u(v), s.seen|sawSize
	case 310:
		s.of, s.seen = u(v), s.seen|sawPopulation
	case 311:
		s.probability, s.seen = float(v), s.seen|sawProbability
	case 82:
		x.portName = d.text(v)
	case 83:
		if x.portName == "" {
			x.portName = d.text(v)
		}
	case 95:
		x.application = v
	case 96:
		x.applicationN = d.text(v)
	case 160:
		s.initTime, s.seen = int64(u(v)), s.seen|sawInit
	}
}

// applyOptions remembers what an options record says, and puts the sampling
// it amounts to in the fields of its event.
func (d *Decoder) applyOptions(r *schemas.FlowRecord) {
	x := &d.option
	e, dom := d.exporter, d.domain
	cap := d.cfg.Limits.Names
	if n, ok := x.s.intervalOf(x.plain); ok {
		v := sampling{interval: n, algorithm: x.algorithm}
		r.SamplingInterval, r.SamplingAlgorithm = n, x.algorithm
		t := &dom.sampling
		switch {
		case x.s.seen&sawSampler != 0:
			if t.samplers == nil {
				t.samplers = make(map[uint64]sampling)
			}
			if _, known := t.samplers[x.s.sampler]; known || len(t.samplers) < cap {
				t.samplers[x.s.sampler] = v
			}
		case x.portScope:
			if t.byPort == nil {
				t.byPort = make(map[uint32]sampling)
			}
			if _, known := t.byPort[x.port]; known || len(t.byPort) < cap {
				t.byPort[x.port] = v
			}
		default:
			t.own, t.set = v, true
		}
	}
	if x.s.seen&sawInit != 0 && x.s.initTime > 0 {
		dom.initTime = x.s.initTime
	}
	if x.hasPort && x.portName != "" {
		if e.interfaces == nil {
			e.interfaces = make(map[uint32]string)
		}
		if old, known := e.interfaces[x.port]; old != x.portName && (known || len(e.interfaces) < cap) {
			e.interfaces[x.port] = strings.Clone(x.portName)
		}
	}
	if key, ok := applicationKey(x.application); ok && x.applicationN != "" {
		if e.applications == nil {
			e.applications = make(map[uint64]application)
		}
		if old, known := e.applications[key]; old.name != x.applicationN && (known || len(e.applications) < cap) {
			e.applications[key] = application{id: string(appendApplication(nil, x.application)), name: strings.Clone(x.applicationN)}
		}
	}
}

// applicationKey packs an application id (RFC 6759: one octet of engine, then
// the selector) for lookups.
func applicationKey(v []byte) (uint64, bool) {
	if len(v) < 2 || len(v) > 8 {
		return 0, false
	}
	return uint64(v[0])<<56 | u(v[1:]), true
}

// appendApplication renders engine:selector; a selector too long for a number
// in hexadecimal.
func appendApplication(dst, v []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(v[0]), 10)
	dst = append(dst, ':')
	if len(v) > 9 {
		return hex.AppendEncode(dst, v[1:])
	}
	return strconv.AppendUint(dst, u(v[1:]), 10)
}

func (d *Decoder) applicationID(o *op, v []byte, r *schemas.FlowRecord) {
	if len(v) < 2 {
		d.extra(o, v, r)
		return
	}
	if key, ok := applicationKey(v); ok {
		d.s.application, d.s.seen = key, d.s.seen|sawApplication
		if a, ok := d.exporter.applications[key]; ok {
			r.ApplicationId = a.id
			return
		}
	}
	n := len(d.arena)
	d.arena = appendApplication(d.arena, v)
	r.ApplicationId = str(d.arena[n:])
}
