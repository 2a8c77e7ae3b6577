package bed

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weir-flow/weir/generator"
	"github.com/weir-flow/weir/internal/capture"
)

// Day is the traffic that the tests play: an hour and a quarter of 1,000 hosts
// with every attack in it, about 85,000 flow records in 15,000 datagrams.
func Day(seed uint64) generator.Config {
	c := generator.DefaultConfig()
	c.Seed, c.Duration, c.Hosts, c.FlowRate = seed, 75*time.Minute, 1000, 8
	return c
}

// window is how many datagrams may be on their way to the collector. UDP on
// loopback loses nothing as long as the socket's buffer holds them, and the
// smallest default of a kernel holds more than these.
const window = 96

// Player sends generated traffic to a collector, no faster than the collector
// takes it, and stops where the test wants to do something.
type Player struct {
	t         *testing.T
	sink      *generator.UDPSink
	gen       *generator.Generator
	collector *Process
	ctx       context.Context
	rate      float64

	sent int // to the present collector process
	seen int // of them, by its own account

	at      map[int]func()
	emitted int
}

// NewPlayer plays cfg to the bed's collector.
func (b *Bed) NewPlayer(cfg generator.Config, to *Process) *Player {
	b.t.Helper()
	gen, err := generator.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	sink, err := generator.NewUDPSink(b.Listen())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = sink.Close() }) // nothing waits in a UDP socket
	return &Player{t: b.t, sink: sink, gen: gen, collector: to, ctx: b.t.Context(), at: map[int]func(){}}
}

// Limit bounds the datagrams sent in a second.
func (p *Player) Limit(rate float64) *Player { p.rate = rate; return p }

// At has f called before datagram n, counted from 0, is sent.
func (p *Player) At(n int, f func()) { p.at[n] = f }

// Switch makes another process the collector: what is sent and seen counts
// anew.
func (p *Player) Switch(to *Process) { p.collector, p.sent, p.seen = to, 0, 0 }

// Sent is the number of datagrams sent to the present collector process.
func (p *Player) Sent() int { return p.sent }

// Generator tells the truth about what is played.
func (p *Player) Generator() *generator.Generator { return p.gen }

// Play sends everything, and returns when the collector has decoded it.
func (p *Player) Play() {
	p.t.Helper()
	if err := p.gen.Run(p.ctx, generator.Limit(p.ctx, generator.SinkFunc(p.emit), p.rate)); err != nil {
		p.t.Fatal(err)
	}
	for n := range p.at {
		if n >= p.emitted {
			p.t.Fatalf("the test wants to act at datagram %d of %d", n, p.emitted)
		}
	}
	p.Settle()
}

func (p *Player) emit(d capture.Datagram) error {
	if f := p.at[p.emitted]; f != nil {
		f()
	}
	p.emitted++
	if p.sent-p.seen >= window {
		p.await(window / 2)
	}
	p.sent++
	return p.sink.Emit(d)
}

// Settle waits until the collector has taken every datagram sent to it.
func (p *Player) Settle() { p.t.Helper(); p.await(0) }

// await waits until at most n datagrams are on their way.
func (p *Player) await(n int) {
	p.t.Helper()
	p.collector.bed.Eventually("the collector takes what is sent", 30*time.Second, func() error {
		m := p.collector.Metrics()
		p.seen = m.Sum("weir_collector_datagrams_total")
		if drops := m.Sum("weir_collector_kernel_drops_total"); drops > 0 {
			p.t.Fatalf("the kernel dropped %d datagrams", drops)
		}
		if p.sent-p.seen > n {
			return errors.New("not yet")
		}
		return nil
	})
}
