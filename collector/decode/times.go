package decode

import "github.com/weir-flow/weir/schemas"

// uptimeTime turns a time relative to the exporter's start into ms since the
// epoch. boot is export time less uptime. A time more than 2^31 ms ahead of
// the uptime was taken before the uptime wrapped.
func uptimeTime(boot int64, uptime, x uint32) int64 {
	t := boot + int64(x)
	if x > uptime && x-uptime > 1<<31 {
		t -= 1 << 32
	}
	return t
}

// resolveTimes sets start and end of the flow.
func (d *Decoder) resolveTimes(r *schemas.FlowRecord) {
	s := &d.s
	start, end := s.seen&sawStart != 0, s.seen&sawEnd != 0
	if s.seen&(startUptime|endUptime) != 0 {
		s.uptimeEnd = s.end
		s.start, start = d.fromUptime(s.start, start, s.seen&startUptime != 0, r)
		s.end, end = d.fromUptime(s.end, end, s.seen&endUptime != 0, r)
	}
	if s.seen&sawDuration != 0 {
		if start && !end {
			s.end, end = s.start+s.duration, true
		} else if end && !start {
			s.start, start = s.end-s.duration, true
		}
	}
	if s.seen&sawObserved != 0 { // NSEL: the time of the event
		if !end {
			s.end, end = s.observed, true
		}
	}
	switch {
	case start && end:
	case start:
		s.end = s.start
	case end:
		s.start = s.end
	default:
		s.end = d.base.ExportTimeMilliseconds
		if s.start = s.end; s.seen&sawDuration != 0 {
			s.start -= s.duration
		}
	}
	r.FlowStartMilliseconds, r.FlowEndMilliseconds = s.start, s.end
}

// fromUptime resolves IEs 21 and 22: in v9 by the header, in IPFIX by
// systemInitTimeMilliseconds, of the record or of the options. Without it the
// exporter's start is unknown; then the flow's end is taken for the time of
// export, which keeps its duration.
func (d *Decoder) fromUptime(t int64, have, relative bool, r *schemas.FlowRecord) (int64, bool) {
	if !relative {
		return t, have
	}
	if r.ExportProtocol != schemas.ExportProtocolIPFIX {
		return uptimeTime(r.ExportTimeMilliseconds-int64(d.hdr.Uptime), d.hdr.Uptime, uint32(t)), true
	}
	boot := d.domain.initTime
	if d.s.seen&sawInit != 0 {
		boot = d.s.initTime
	}
	if boot > 0 {
		// The uptime now is what the clocks say of it, modulo 2^32.
		if uptime := r.ExportTimeMilliseconds - boot; uptime >= 0 {
			wraps := uptime >> 32 << 32
			return uptimeTime(boot+wraps, uint32(uptime), uint32(t)), true
		}
		return boot + t, true
	}
	last := t
	if d.s.seen&endUptime != 0 {
		last = d.s.uptimeEnd
	}
	return r.ExportTimeMilliseconds - int64(uint32(last-t)), true
}
