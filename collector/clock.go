package collector

import (
	"net/netip"
	"sync/atomic"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/schemas"
)

// maxClocks bounds the exporters whose clocks are compared.
const maxClocks = 1 << 14

// exportClock makes one stream time of the clocks of many exporters, for
// traffic that is replayed or generated: its own time, not ours.
//
// Stream time is the latest time seen. An exporter within the tolerance of it
// is believed. One that is first seen further off, or whose clock steps, is
// reported and shifted: from then on its clock counts from the stream time at
// that moment, so that its records are in order with the others' and time
// still moves when it alone speaks. A step forward of an exporter that set the
// pace is a gap in the recording, and believed: a quiet night is none of a
// clock's faults. sFlow carries no time of day; its uptime is shifted to
// stream time the same way, without a report.
type exportClock struct {
	tolerance int64
	now       atomic.Int64 // latest, ms since the epoch; 0 before the first
	clocks    map[clockKey]*exporterClock
	// odd is called when an exporter is shifted.
	odd func(h *decode.Header, shift int64)
}

type clockKey struct {
	exporter netip.Addr
	domain   uint32
	protocol schemas.ExportProtocol
}

type exporterClock struct{ shift, last int64 }

func newExportClock(tolerance int64, odd func(*decode.Header, int64)) *exportClock {
	return &exportClock{tolerance: tolerance, odd: odd, clocks: make(map[clockKey]*exporterClock)}
}

// time returns the stream time of a datagram and advances the clock. One
// goroutine at a time may call it.
func (c *exportClock) time(h *decode.Header) int64 {
	now := c.now.Load()
	t, carries := h.ExportTime, h.ExportTime > 0
	if !carries {
		t = int64(h.Uptime)
	}
	k := clockKey{h.Exporter, h.Domain, h.Protocol}
	e := c.clocks[k]
	if e == nil {
		if len(c.clocks) >= maxClocks {
			return now
		}
		e = &exporterClock{}
		c.clocks[k] = e
		switch {
		case now == 0 && carries:
		case now == 0:
			e.shift = h.Arrival - t
		case !carries:
			e.shift = now - t
		case t > now+c.tolerance || t < now-c.tolerance:
			c.shift(e, h, now-t)
		}
	} else if s := t + e.shift; !carries && s < e.last {
		e.shift = now - t // the agent has restarted
	} else if s < now-c.tolerance || s > now+c.tolerance && e.last < now-c.tolerance {
		if e.shift = now - t; carries {
			c.shift(e, h, e.shift)
		}
	}
	s := t + e.shift
	e.last = s
	if s > now {
		c.now.Store(s)
	}
	return s
}

func (c *exportClock) shift(e *exporterClock, h *decode.Header, by int64) {
	e.shift = by
	if c.odd != nil {
		c.odd(h, by)
	}
}
