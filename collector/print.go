package collector

import (
	"bytes"
	"io"
	"sync"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/schemas"
)

// printer writes flows, options and counters as NDJSON. It may be shared.
type printer struct {
	mu     sync.Mutex
	w      io.Writer
	buf    []byte
	err    error
	failed func(error)
}

// printLimit is how much is gathered before it is written; a reader sees the
// rest at the next flush.
const printLimit = 64 << 10

func (p *printer) flow(r *schemas.FlowRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = append(r.AppendJSON(p.buf), '\n')
	p.limit()
}

func (p *printer) event(k decode.Kind, r *schemas.FlowRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = append(appendEvent(p.buf, k, r), '\n')
	p.limit()
}

func (p *printer) limit() {
	if len(p.buf) >= printLimit {
		p.write()
	}
}

func (p *printer) write() {
	if len(p.buf) == 0 {
		return
	}
	if p.err == nil {
		if _, p.err = p.w.Write(p.buf); p.err != nil && p.failed != nil {
			p.failed(p.err)
		}
	}
	p.buf = p.buf[:0]
}

// flush writes what was gathered.
func (p *printer) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write()
	return p.err
}

// flowOnly are the members that a flow always has; an event has no counters.
var flowOnly = []byte(`,"protocolIdentifier":0,"octetDeltaCount":0,"packetDeltaCount":0`)

// appendEvent appends an options or counters record: as a flow, of its kind.
func appendEvent(dst []byte, k decode.Kind, r *schemas.FlowRecord) []byte {
	const flow = `{"kind":"flow"`
	n := len(dst)
	dst = r.AppendJSON(dst)
	tail := bytes.Replace(dst[n+len(flow):], flowOnly, nil, 1)
	return append(append(append(dst[:n], `{"kind":"`...), k...), append([]byte{'"'}, tail...)...)
}

// printFeed is the decode.Handler that prints.
type printFeed struct {
	p      *printer
	clock  *exportClock // nil: arrival
	time   int64
	reject func(*decode.Error)
}

func (f *printFeed) Begin(h *decode.Header) {
	if f.time = h.Arrival; f.clock != nil {
		f.time = f.clock.time(h)
	}
}

func (f *printFeed) Flow(r *schemas.FlowRecord) {
	r.StreamTime = f.time
	f.p.flow(r)
}

func (f *printFeed) Event(k decode.Kind, r *schemas.FlowRecord) {
	r.StreamTime = f.time
	f.p.event(k, r)
}

func (f *printFeed) Reject(e *decode.Error) {
	if f.reject != nil {
		f.reject(e)
	}
}
