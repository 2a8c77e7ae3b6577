package generator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-flow/weir/internal/capture"
)

// fakeClock advances by what is slept, and a little with every look.
type fakeClock struct {
	at    time.Time
	slept []time.Duration
}

func (f *fakeClock) clock() clock {
	return clock{
		now: func() time.Time { return f.at },
		sleep: func(ctx context.Context, d time.Duration) error {
			f.at = f.at.Add(d)
			f.slept = append(f.slept, d)
			return ctx.Err()
		},
	}
}

func TestPaceIsAbsolute(t *testing.T) {
	f := &fakeClock{at: time.Unix(1000, 0)}
	var passed []time.Duration
	p := &pacer{ctx: context.Background(), speed: 10, clock: f.clock(), next: SinkFunc(func(capture.Datagram) error {
		passed = append(passed, f.at.Sub(time.Unix(1000, 0)))
		if len(passed) == 2 {
			f.at = f.at.Add(300 * time.Millisecond) // a slow receiver
		}
		return nil
	})}
	begin := time.Unix(50, 0)
	for _, at := range []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 10 * time.Second, 10*time.Second + time.Millisecond} {
		if err := p.Emit(capture.Datagram{Time: begin.Add(at)}); err != nil {
			t.Fatal(err)
		}
	}
	msec := time.Millisecond
	want := []time.Duration{0, 100 * msec, 400 * msec, 400 * msec, 1000 * msec, 1000 * msec}
	if d := cmp.Diff(passed, want); d != "" {
		t.Errorf("(-got +want)\n%s", d)
	}
}

func TestPaceEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := Pace(ctx, SinkFunc(func(capture.Datagram) error { return nil }), 1)
	if err := s.Emit(capture.Datagram{Time: time.Unix(0, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit(capture.Datagram{Time: time.Unix(3600, 0)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestLimit(t *testing.T) {
	f := &fakeClock{at: time.Unix(1000, 0)}
	l := &limiter{ctx: context.Background(), gap: 200 * time.Microsecond, clock: f.clock(),
		next: SinkFunc(func(capture.Datagram) error { return nil })}
	for range 5001 {
		if err := l.Emit(capture.Datagram{}); err != nil {
			t.Fatal(err)
		}
	}
	if took := f.at.Sub(time.Unix(1000, 0)); took < 999*time.Millisecond || took > 1001*time.Millisecond {
		t.Errorf("5001 datagrams at 5000 a second took %v", took)
	}
	// Quiet spells give no credit.
	f.at = f.at.Add(time.Minute)
	f.slept = nil
	for range 101 {
		if err := l.Emit(capture.Datagram{}); err != nil {
			t.Fatal(err)
		}
	}
	var slept time.Duration
	for _, s := range f.slept {
		slept += s
	}
	if slept < 19*time.Millisecond {
		t.Errorf("101 datagrams after a pause waited %v in all", slept)
	}
}

func closed(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestUDPSink: the collector sees each exporter at an address of its own.
func TestUDPSink(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, conn) })
	s, err := NewUDPSink(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s) })
	got := map[string]netip.AddrPort{}
	buf := make([]byte, 100)
	for _, source := range []string{"10.255.0.1:50001", "10.255.0.2:50002", "10.255.0.1:50001", "[2001:db8::7]:1"} {
		d := capture.Datagram{Source: netip.MustParseAddrPort(source), Payload: []byte(source)}
		if err := s.Emit(d); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) != source {
			t.Errorf("got %q, want %q", buf[:n], source)
		}
		if old, ok := got[source]; ok && old != from {
			t.Errorf("%s came from %v, then from %v", source, old, from)
		}
		got[source] = from
	}
	seen := map[netip.AddrPort]bool{}
	for _, a := range got {
		seen[a] = true
	}
	if len(seen) != 3 || s.Sent != 4 {
		t.Errorf("exporters came from %v, %d sent; want 3 distinct sources, 4 sent", got, s.Sent)
	}
	// Where the system has all of 127/8, addresses differ, not only ports.
	if a := got["10.255.0.2:50002"].Addr(); a != netip.MustParseAddr("127.0.0.1") && a != netip.MustParseAddr("127.1.0.2") {
		t.Errorf("exporter 10.255.0.2 came from %v", a)
	}
}

func TestUDPSinkWithoutListener(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to := conn.LocalAddr().String()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := NewUDPSink(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s) })
	for range 20 {
		if err := s.Emit(capture.Datagram{Source: netip.MustParseAddrPort("10.255.0.1:1"), Payload: []byte("x")}); err != nil {
			t.Errorf("got %v; exporters do not mind", err)
		}
	}
	if _, err := NewUDPSink("nowhere"); err == nil {
		t.Error("an address without a port gave no error")
	}
}
