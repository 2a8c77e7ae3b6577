// Package collector receives NetFlow, IPFIX and sFlow, decodes it to flow
// records and brings these to Kafka, or prints them. What Kafka cannot take
// goes to a spool on disk; what is lost is counted.
package collector

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/collector/spool"
	"github.com/weir-flow/weir/internal/kafka"
)

// tickInterval is the wall clock between ticks.
const tickInterval = 50 * time.Millisecond

// Dependencies of a Collector.
type Dependencies struct {
	Log *slog.Logger
	// Registry gets the metrics weir_collector_*; nil: none.
	Registry prometheus.Registerer
	// Producer writes to Kafka, with kafka.RoleProducer and ProducerOptions; it
	// is closed after the collector has stopped. Not needed for stdout.
	Producer Producer
	// TopicPrefix of the deployment, "weir." by default.
	TopicPrefix string
	// Partitions asks for the number of partitions of the raw topic. When it
	// fails the number that the spool remembers is taken; without one it is
	// asked again.
	Partitions func(context.Context) (int, error)
	// Stdout gets NDJSON with output stdout.
	Stdout io.Writer
}

// Collector receives, decodes and sends.
type Collector struct {
	cfg   Config
	deps  Dependencies
	log   *slog.Logger
	table *ie.Table
	stats *decode.Stats

	spool   *spool.Spool
	sender  *sender
	seq     *Sequencer
	printer *printer
	dead    *deadLetters

	sockets  []*socket
	decoders []*worker
	readers  sync.WaitGroup
	ticker   sync.WaitGroup
	done     chan struct{}
	failed   func(error)

	receiving                             atomic.Bool
	waiting                               atomic.Pointer[error] // what the start waits for
	kernelDrops, refused, shifted, panics atomic.Uint64
	dropMu                                sync.Mutex
	dropped                               map[netip.Addr]uint64
}

// worker is a decoder with what it feeds. With stream time by export all
// sockets share one, under its lock.
type worker struct {
	mu      sync.Mutex
	decoder *decode.Decoder
	handler decode.Handler
	current []byte // the datagram being decoded
	source  netip.Addr
	seen    bool // rejected once: kept once
}

// New returns a collector that does nothing yet.
func New(cfg Config, deps Dependencies) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("collector.%w", err)
	}
	if cfg.Output == OutputKafka && (deps.Producer == nil || deps.Partitions == nil) {
		return nil, errors.New("collector: output kafka needs a producer")
	}
	if cfg.Output == OutputStdout && deps.Stdout == nil {
		return nil, errors.New("collector: output stdout needs a writer")
	}
	table, err := ie.Load()
	if err != nil {
		return nil, err
	}
	return &Collector{cfg: cfg, deps: deps, log: deps.Log, table: table, stats: new(decode.Stats), dropped: make(map[netip.Addr]uint64)}, nil
}

// Name implements lifecycle.Component.
func (c *Collector) Name() string { return "collector" }

// partitionsWait and partitionsMaxWait bound the wait between two questions
// for the number of partitions.
const (
	partitionsWait    = 100 * time.Millisecond
	partitionsMaxWait = 2 * time.Second
)

// Start opens the spool and the sockets. A collector that never knew how many
// partitions there are waits for Kafka, until ctx is done.
func (c *Collector) Start(ctx context.Context, fail func(error)) (err error) {
	c.failed, c.done = fail, make(chan struct{})
	defer func() {
		if err != nil {
			c.abandon()
		}
	}()
	if c.cfg.Output == OutputStdout {
		c.printer = &printer{w: c.deps.Stdout, failed: func(err error) { fail(fmt.Errorf("write to standard output: %w", err)) }}
		c.dead = newDeadLetters(nil, "", "", c.log)
	} else if err := c.startKafka(ctx); err != nil {
		return err
	}
	if err := c.register(c.deps.Registry); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	if err := c.listen(ctx); err != nil {
		return err
	}
	if c.sender != nil {
		c.sender.start()
	}
	for i, s := range c.sockets {
		w := c.decoders[min(i, len(c.decoders)-1)]
		c.readers.Add(1)
		go pprof.Do(context.Background(), pprof.Labels("collector", "reader-"+strconv.Itoa(i)), func(context.Context) {
			defer c.readers.Done()
			if err := s.run(func(b []byte, source netip.Addr, arrival int64) { c.datagram(w, b, source, arrival) }, c.batchDone); err != nil {
				fail(fmt.Errorf("read from %v: %w", s.conn.LocalAddr(), err))
			}
		})
	}
	c.ticker.Add(1)
	go c.tick()
	c.receiving.Store(true)
	return nil
}

// Ready returns nil while the collector receives. That Kafka is away does not
// make it less so: it has its spool.
func (c *Collector) Ready(context.Context) error {
	if !c.receiving.Load() {
		if err := c.waiting.Load(); err != nil {
			return *err
		}
		return errors.New("the sockets are not open")
	}
	return nil
}

func (c *Collector) abandon() {
	for _, s := range c.sockets {
		s.conn.Close()
	}
	if c.spool != nil {
		_ = c.spool.Close() // nothing was put in; why the start failed is told
	}
}

func (c *Collector) startKafka(ctx context.Context) error {
	meta := spool.Meta{Boot: time.Now().UnixNano()}
	if dir := c.cfg.Spool.Dir; dir != "" {
		sp, err := spool.Open(spool.Config{Dir: dir, MaxBytes: int64(c.cfg.Spool.MaxBytes), Sync: c.cfg.Spool.Sync})
		if err != nil {
			return err
		}
		c.spool, meta = sp, sp.Meta()
		if n := sp.Lost(); n > 0 {
			c.log.Warn("the spool had a torn tail, which was cut", "dir", dir, "octets", n)
		}
	} else {
		var id [8]byte
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
		meta.ID, meta.Boot = hex.EncodeToString(id[:]), 1
	}
	topic := c.deps.TopicPrefix + kafka.TopicRaw
	n, err := c.partitions(ctx, topic, meta.Partitions)
	if err != nil {
		return err
	}
	if n < 1 || n > kafka.Groups || n&(n-1) != 0 {
		return fmt.Errorf("%s has %d partitions; it needs a power of two up to %d: run weir setup", topic, n, kafka.Groups)
	}
	if c.spool != nil {
		if err := c.spool.Remember(n, 0); err != nil {
			return err
		}
	}
	c.sender = newSender(c.deps.Producer, topic, n, c.spool, int64(c.cfg.Spool.MemoryBytes), c.cfg.Spool.After, c.log, c.failed)
	c.seq = newSequencer(c.cfg, meta.ID, meta.Boot, n, meta.Floor, c.odd, c.sender.send)
	c.dead = newDeadLetters(c.deps.Producer, c.deps.TopicPrefix+kafka.TopicDeadLetter, fmt.Sprintf("%s-%d", meta.ID, meta.Boot), c.log)
	c.log.Info("collector", "id", meta.ID, "boot", meta.Boot, "partitions", n, "stream_time", string(c.cfg.StreamTime))
	return nil
}

// partitions asks how many partitions the raw topic has. When nobody answers
// it is as many as the spool remembers; when that never knew, it waits: a
// record cannot be placed before.
func (c *Collector) partitions(ctx context.Context, topic string, remembered int) (int, error) {
	for wait := partitionsWait; ; wait = min(2*wait, partitionsMaxWait) {
		n, err := c.deps.Partitions(ctx)
		if err == nil {
			return n, nil
		}
		if remembered > 0 {
			c.log.Warn("Kafka is not there: starting with the spool", "topic", topic, "partitions", remembered, "error", err)
			return remembered, nil
		}
		err = fmt.Errorf("partitions of %s are not known: %w; run weir setup, or check kafka.brokers", topic, err)
		if told := c.waiting.Swap(&err); told == nil || (*told).Error() != err.Error() {
			c.log.Warn("waiting before the sockets are opened", "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, err
		}
	}
}

func (c *Collector) odd(h *decode.Header, shift int64) {
	c.shifted.Add(1)
	logOdd(c.log, h, shift)
}

func (c *Collector) listen(ctx context.Context) error {
	n := c.cfg.Workers
	if n == 0 {
		n = min(runtime.GOMAXPROCS(0), 4)
	}
	export := c.cfg.StreamTime == StreamTimeExport
	if export {
		n = 1 // one worker, in the order of arrival
	}
	for i, l := range c.cfg.Listen {
		address, err := parseListen(l)
		if err != nil {
			return fmt.Errorf("listen[%d]: %w", i, err)
		}
		sockets, spread, err := listen(ctx, address, n, int(c.cfg.ReadBuffer), &c.kernelDrops)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", l, err)
		}
		c.sockets = append(c.sockets, sockets...)
		if !spread {
			c.log.Warn("exporters cannot be spread over workers here: one worker", "listen", l)
		}
		if got := sockets[0].granted; got > 0 && got < int(c.cfg.ReadBuffer) {
			c.log.Warn("the kernel grants less receive buffer than asked: bursts may be lost; raise net.core.rmem_max", "listen", l, "asked", int(c.cfg.ReadBuffer), "granted", got)
		}
		c.log.Info("listening", "on", l, "address", sockets[0].conn.LocalAddr().String(), "workers", len(sockets), "receive_buffer", sockets[0].granted)
	}
	decoders := len(c.sockets)
	var clock *exportClock
	if export {
		decoders = 1
		clock = newExportClock(c.cfg.ClockTolerance.Milliseconds(), c.odd)
	}
	for range decoders {
		w := &worker{decoder: decode.New(c.cfg.decodeConfig(c.stats), c.table)}
		reject := func(e *decode.Error) {
			// Once per datagram, whatever was wrong with it; a set that waited in
			// vain has no datagram any more.
			if !w.seen && e.Source == w.source {
				w.seen = true
				c.dead.keep(e, w.current)
			}
		}
		if c.printer != nil {
			w.handler = &printFeed{p: c.printer, clock: clock, reject: reject}
		} else {
			w.handler = &feed{s: c.seq, dropped: c.drop, reject: reject, key: make([]byte, 0, 8)}
		}
		c.decoders = append(c.decoders, w)
	}
	return nil
}

// datagram decodes one datagram. A panic costs it and nothing else.
func (c *Collector) datagram(w *worker, b []byte, source netip.Addr, arrival int64) {
	if len(c.cfg.Allow) > 0 && !slices.ContainsFunc(c.cfg.Allow, func(p netip.Prefix) bool { return p.Contains(source) }) {
		c.refused.Add(1)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current, w.source, w.seen = b, source, false
	defer func() {
		if p := recover(); p != nil {
			c.panics.Add(1)
			c.log.Error("decoder panicked", "exporter", source, "panic", p, "stack", string(debug.Stack()))
			c.dead.keep(&decode.Error{Source: source}, b)
		}
	}()
	w.decoder.Datagram(b, source, arrival, w.handler)
}

func (c *Collector) batchDone() {
	if c.sender != nil {
		c.sender.flushSpool()
	}
}

// drop counts a record lost, per exporter.
func (c *Collector) drop(exporter netip.Addr) {
	c.dropMu.Lock()
	defer c.dropMu.Unlock()
	if _, known := c.dropped[exporter]; known || len(c.dropped) < c.cfg.Limits.Exporters {
		c.dropped[exporter]++
	}
}

func (c *Collector) tick() {
	defer c.ticker.Done()
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	remembered := time.Now()
	n := 0
	for {
		select {
		case <-c.done:
			return
		case now := <-t.C:
			if n++; n%20 == 0 {
				for _, s := range c.sockets {
					s.poll()
				}
			}
			if c.printer != nil {
				_ = c.printer.flush() // its failure is reported where it happens
				continue
			}
			c.seq.Tick(now)
			if c.spool != nil && now.Sub(remembered) >= 10*time.Second {
				remembered = now
				c.remember()
			}
		}
	}
}

// remember keeps the stream time reached, for a clock that is set back.
func (c *Collector) remember() {
	if c.cfg.StreamTime == StreamTimeExport {
		return
	}
	if err := c.spool.Remember(len(c.seq.partitions), c.seq.floor()); err != nil {
		c.log.Warn("cannot write to the spool's directory", "error", err)
	}
}

// Stop takes what the kernel still holds, sends the last ticks and waits until
// Kafka has acknowledged everything; what it does not take within two thirds
// of the time left stays in the spool.
func (c *Collector) Stop(ctx context.Context) error {
	c.receiving.Store(false)
	for _, s := range c.sockets {
		s.stop()
	}
	c.readers.Wait()
	close(c.done)
	c.ticker.Wait()
	for _, w := range c.decoders {
		w.current, w.source = nil, netip.Addr{} // what is given up now has no datagram
		w.decoder.Close()
	}
	var errs []error
	if c.printer != nil {
		errs = append(errs, c.printer.flush())
	} else {
		c.seq.End(time.Now(), c.cfg.FinalAdvance)
		wait := ctx
		if deadline, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			wait, cancel = context.WithDeadline(ctx, time.Now().Add(time.Until(deadline)*2/3))
			defer cancel()
		}
		errs = append(errs, c.sender.flush(wait))
		if c.spool != nil {
			c.remember()
			errs = append(errs, c.spool.Close())
		}
	}
	for _, s := range c.sockets {
		s.conn.Close()
	}
	c.summary()
	return errors.Join(errs...)
}

// summary says what was received and what was lost.
func (c *Collector) summary() {
	var flows uint64
	for i := range c.stats.Protocol {
		flows += c.stats.Protocol[i].Flows.Load()
	}
	attrs := []any{"datagrams", c.stats.Datagrams.Load(), "records", flows, "kernel_drops", c.kernelDrops.Load()}
	if c.sender != nil {
		x := c.sender.stats
		attrs = append(attrs, "acknowledged", x.acked.Load(), "dropped", x.droppedFull.Load()+x.droppedSpool.Load()+x.droppedProduce.Load())
	}
	c.log.Info("collector stopped", attrs...)
	c.dropMu.Lock()
	defer c.dropMu.Unlock()
	for a, n := range c.dropped {
		c.log.Warn("records lost", "exporter", a, "records", n)
	}
}

// Addresses are those that are listened on, in the order of the configuration,
// once per socket.
func (c *Collector) Addresses() []net.Addr {
	var as []net.Addr
	for _, s := range c.sockets {
		as = append(as, s.conn.LocalAddr())
	}
	return as
}

// Stats counts what was decoded.
func (c *Collector) Stats() *decode.Stats { return c.stats }

// ExporterHealth is what is known of one exporter.
type ExporterHealth struct {
	Source netip.Addr
	decode.Exporter
	// Dropped records: decoded, and lost for want of room.
	Dropped uint64
}

// Exporters returns the health of each exporter remembered. It holds up the
// receive path for as long as it takes to copy the counters.
func (c *Collector) Exporters() []ExporterHealth {
	var all []ExporterHealth
	for _, w := range c.decoders {
		w.mu.Lock()
		w.decoder.Exporters(func(a netip.Addr, e decode.Exporter) bool {
			all = append(all, ExporterHealth{Source: a, Exporter: e})
			return true
		})
		w.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b ExporterHealth) int { return a.Source.Compare(b.Source) })
	c.dropMu.Lock()
	defer c.dropMu.Unlock()
	for i := range all {
		if i == 0 || all[i].Source != all[i-1].Source { // once, should two sockets know it
			all[i].Dropped = c.dropped[all[i].Source]
		}
	}
	return all
}

// KernelDrops counts datagrams that the kernel dropped.
func (c *Collector) KernelDrops() uint64 { return c.kernelDrops.Load() }

// DeadLetters returns the latest datagrams that could not be decoded.
func (c *Collector) DeadLetters() []DeadLetter { return c.dead.last() }
