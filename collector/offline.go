package collector

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/internal/capture"
)

// Offline decodes recorded datagrams with no socket and no Kafka: the same
// decoder, stream time (by export) and numbering as the live collector.
type Offline struct {
	cfg     Config
	decoder *decode.Decoder
	seq     *Sequencer // nil when printing
	print   *printer
	handler decode.Handler
	ticked  int64
	clock   *exportClock
}

// OfflineDependencies of an Offline: give Out, or Print.
type OfflineDependencies struct {
	Log *slog.Logger
	// Partitions of the raw stream, a power of two, when Out is given.
	Partitions int
	// Out takes records and ticks.
	Out Out
	// Print takes flows, options and counters as NDJSON instead.
	Print io.Writer
	// Reject is told what could not be decoded; may be nil.
	Reject func(*decode.Error)
}

// tickEvery is the stream time, ms, between the ticks of an Offline.
const tickEvery = 1000

// NewOffline returns one. Listeners, output and spool of the configuration
// mean nothing to it; stream time is by export.
func NewOffline(cfg Config, deps OfflineDependencies) (*Offline, error) {
	if (deps.Out == nil) == (deps.Print == nil) {
		return nil, errors.New("collector: give an Offline either Out or Print")
	}
	if deps.Out != nil && (deps.Partitions < 1 || deps.Partitions&(deps.Partitions-1) != 0) {
		return nil, errors.New("collector: partitions must be a power of two")
	}
	table, err := ie.Load()
	if err != nil {
		return nil, err
	}
	cfg.StreamTime = StreamTimeExport
	o := &Offline{cfg: cfg, decoder: decode.New(cfg.decodeConfig(nil), table)}
	odd := func(h *decode.Header, shift int64) { logOdd(deps.Log, h, shift) }
	if deps.Print != nil {
		o.clock = newExportClock(cfg.ClockTolerance.Milliseconds(), odd)
		o.print = &printer{w: deps.Print}
		o.handler = &printFeed{p: o.print, clock: o.clock, reject: deps.Reject}
	} else {
		o.seq = newSequencer(cfg, "offline", 1, deps.Partitions, 0, odd, deps.Out)
		o.clock = o.seq.clock
		o.handler = &feed{s: o.seq, reject: deps.Reject}
	}
	return o, nil
}

// Datagram decodes one datagram of a recording.
func (o *Offline) Datagram(d capture.Datagram) {
	var arrival int64
	if !d.Time.IsZero() {
		arrival = d.Time.UnixMilli()
	}
	o.decoder.Datagram(d.Payload, d.Source.Addr(), arrival, o.handler)
	if o.seq == nil {
		return
	}
	if now := o.clock.now.Load(); now >= o.ticked+tickEvery {
		o.ticked = now
		o.seq.Tick(time.Time{})
	}
}

// Close sends the last ticks, or writes what was gathered.
func (o *Offline) Close() error {
	o.decoder.Close()
	if o.seq != nil {
		o.seq.End(time.Time{}, o.cfg.FinalAdvance)
		return nil
	}
	return o.print.flush()
}

// Stats counts what was decoded.
func (o *Offline) Stats() *decode.Stats { return o.decoder.Stats() }

func logOdd(log *slog.Logger, h *decode.Header, shift int64) {
	if log != nil {
		log.Warn("exporter's clock differs from the others', its times are shifted to theirs", "exporter", h.Exporter, "domain", h.Domain, "protocol", h.Protocol.String(), "shift", time.Duration(shift)*time.Millisecond)
	}
}
