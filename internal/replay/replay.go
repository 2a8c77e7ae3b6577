// Package replay sends recorded export datagrams to a collector over UDP, as
// their exporters did.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/weir-flow/weir/internal/capture"
)

// Options of a replay.
type Options struct {
	// To is the collector.
	To netip.AddrPort
	// Speed scales the recorded pace: 2 is twice as fast, 0 does not wait at
	// all. It is not used when Rate is set, nor for recordings without times.
	Speed float64
	// Rate is a steady pace in datagrams a second, 0 for the recorded one.
	Rate float64
	// Progress, when set, is called once a second and at the end of each
	// file.
	Progress func(Progress)
}

// DefaultRate is the pace, in datagrams a second, of recordings that have no
// times: slow enough for any socket's buffer.
const DefaultRate = 1000

// Progress is where a replay is.
type Progress struct {
	// File that is being read.
	File string
	// Done: the file was sent to its end.
	Done bool
	// Datagrams and Bytes sent so far, over all files.
	Datagrams, Bytes uint64
	// Refused counts datagrams that the system did not take, such as when
	// nothing listens at a loopback address.
	Refused uint64
	// Sources is the number of exporters met.
	Sources int
	// Time of the last datagram in the recording; zero without times.
	Time time.Time
	// Capture counts what the file held.
	Capture capture.Stats
}

// Run sends the files one after the other and returns the totals. A recording
// that ends in the middle of a packet is sent up to there, and is an error at
// the end.
func Run(ctx context.Context, files []string, o Options) (Progress, error) {
	r := &run{o: o, clock: systemClock{}, sockets: map[netip.AddrPort]*net.UDPConn{}, taken: map[netip.Addr]netip.Addr{}}
	defer r.close()
	return r.files(ctx, files)
}

type run struct {
	o       Options
	clock   clock
	sockets map[netip.AddrPort]*net.UDPConn
	// taken maps loopback addresses to the exporters that send from them.
	taken    map[netip.Addr]netip.Addr
	p        Progress
	reported time.Time
	lastErr  error
}

// clock is time, which tests replace.
type clock interface {
	Now() time.Time
	SleepUntil(ctx context.Context, t time.Time) error
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) SleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (r *run) files(ctx context.Context, files []string) (Progress, error) {
	var torn []error
	for _, f := range files {
		err := r.file(ctx, f)
		var cut *capture.TruncatedError
		switch {
		case errors.As(err, &cut):
			torn = append(torn, err)
		case err != nil:
			return r.p, errors.Join(append(torn, err)...)
		}
	}
	if r.p.Datagrams == 0 && r.lastErr != nil {
		return r.p, fmt.Errorf("nothing was sent to %s: %w", r.o.To, r.lastErr)
	}
	return r.p, errors.Join(torn...)
}

func (r *run) file(ctx context.Context, name string) error {
	c, err := capture.Open(name)
	if err != nil {
		return err
	}
	defer c.Close()
	r.p.File, r.p.Done = name, false
	p := pacer{speed: r.o.Speed, rate: r.o.Rate}
	start := r.clock.Now()
	for {
		d, err := c.Next()
		if err != nil {
			r.p.Done = errors.Is(err, io.EOF)
			r.p.Capture = c.Stats()
			r.report()
			if r.p.Done {
				return nil
			}
			return err
		}
		if err := r.clock.SleepUntil(ctx, start.Add(p.next(d.Time))); err != nil {
			return err
		}
		if err := r.send(d); err != nil {
			return err
		}
		if now := r.clock.Now(); now.Sub(r.reported) >= time.Second {
			r.reported = now
			r.p.Capture = c.Stats()
			r.report()
		}
	}
}

func (r *run) report() {
	if r.o.Progress != nil {
		r.o.Progress(r.p)
	}
}

func (r *run) send(d capture.Datagram) error {
	s, err := r.socket(d.Source)
	if err != nil {
		return err
	}
	if _, err := s.Write(d.Payload); err != nil {
		// UDP promises nothing: the rest of the recording is still worth
		// sending, as an exporter would.
		r.p.Refused++
		r.lastErr = err
		return nil //nolint:nilerr // counted, and told at the end if nothing was sent
	}
	r.p.Datagrams++
	r.p.Bytes += uint64(len(d.Payload))
	if !d.Time.IsZero() {
		r.p.Time = d.Time
	}
	return nil
}

// maxSockets bounds the files held open; exporters beyond it share one.
const maxSockets = 256

// socket returns the socket of an exporter. Each has its own, and where the
// collector is on loopback its own address too: sequence numbers and templates
// of two exporters must not meet in one.
func (r *run) socket(source netip.AddrPort) (*net.UDPConn, error) {
	if s, ok := r.sockets[source]; ok {
		return s, nil
	}
	if len(r.sockets) >= maxSockets {
		source = netip.AddrPort{}
		if s, ok := r.sockets[source]; ok {
			return s, nil
		}
	}
	local := r.localAddress(source.Addr().Unmap())
	s, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(r.o.To))
	if err != nil && local != nil {
		// Not every system answers to all of 127/8.
		s, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.o.To))
	}
	if err != nil {
		return nil, fmt.Errorf("send to %s: %w", r.o.To, err)
	}
	r.sockets[source] = s
	r.p.Sources = len(r.sockets)
	return s, nil
}

// localAddress returns the address to send from, nil when the system shall
// choose. On loopback exporter A.B.C.D becomes 127.1.C.D, as it does when the
// generator plays it, so that the same exporter keeps one identity. The first
// to have an address keeps it.
func (r *run) localAddress(source netip.Addr) *net.UDPAddr {
	if !r.o.To.Addr().Is4() || !r.o.To.Addr().IsLoopback() || !source.Is4() {
		return nil
	}
	a := source.As4()
	if !source.IsLoopback() {
		a[0], a[1] = 127, 1
	}
	local := netip.AddrFrom4(a)
	for local == r.o.To.Addr() || r.taken[local] != source && r.taken[local].IsValid() {
		local = local.Next()
	}
	r.taken[local] = source
	if !local.IsLoopback() {
		return nil
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
}

func (r *run) close() {
	for _, s := range r.sockets {
		_ = s.Close() // nothing is buffered in a UDP socket of ours
	}
}

// pacer says when, counted from the start, each datagram of a file is due.
type pacer struct {
	speed, rate float64
	sent        int
	first       time.Time
	due         time.Duration
}

func (p *pacer) next(t time.Time) time.Duration {
	n := p.sent
	p.sent++
	rate := p.rate
	if rate == 0 && t.IsZero() && p.speed != 0 {
		rate = DefaultRate
	}
	switch {
	case rate > 0:
		p.due = time.Duration(float64(n) / rate * float64(time.Second))
	case p.speed > 0 && !t.IsZero():
		if p.first.IsZero() {
			p.first = t
		}
		// Captures of several queues are not strictly in order; time here
		// does not go back.
		p.due = max(p.due, time.Duration(float64(t.Sub(p.first))/p.speed))
	}
	return p.due
}
