package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-flow/weir/internal/capture"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record writes a capture with a datagram of each exporter per offset.
func record(t *testing.T, exporters int, offsets ...time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcap")
	w, err := capture.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range offsets {
		for e := range exporters {
			err := w.Write(capture.Datagram{
				Time:        begin.Add(o),
				Source:      netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(e + 1)}), 2000),
				Destination: netip.MustParseAddrPort("192.0.2.254:2055"),
				Payload:     fmt.Appendf(nil, "datagram %d of exporter %d", i, e),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func listen(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestRunSendsEveryDatagramFromItsExporter(t *testing.T) {
	c, to := listen(t)
	file := record(t, 2, 0, time.Second, 2*time.Second)
	got, err := Run(t.Context(), []string{file, file}, Options{To: to})
	if err != nil {
		t.Fatal(err)
	}
	if got.Datagrams != 12 || got.Sources != 2 || got.Refused != 0 || !got.Done || !got.Time.Equal(begin.Add(2*time.Second)) {
		t.Errorf("progress %+v", got)
	}
	from := map[netip.Addr][]string{}
	buf := make([]byte, 1500)
	for range 12 {
		n, src, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		text := string(buf[:n])
		from[src.Addr()] = append(from[src.Addr()], text[len(text)-1:])
	}
	for _, want := range []string{"127.1.2.1", "127.1.2.2"} {
		if len(from[netip.MustParseAddr(want)]) != 6 {
			t.Errorf("%s did not send the 6 datagrams of its exporter: %v", want, from)
		}
	}
	for src, exporters := range from {
		if len(slices.Compact(exporters)) != 1 {
			t.Errorf("%s sent for several exporters: %v", src, exporters)
		}
	}
}

func TestLocalAddresses(t *testing.T) {
	r := &run{o: Options{To: netip.MustParseAddrPort("127.0.0.1:2055")}, taken: map[netip.Addr]netip.Addr{}}
	for _, tc := range []struct{ source, want string }{
		{"192.0.2.1", "127.1.2.1"}, {"198.51.2.1", "127.1.2.2"}, {"192.0.2.2", "127.1.2.3"}, {"192.0.2.1", "127.1.2.1"},
		{"127.0.0.7", "127.0.0.7"}, {"127.0.0.1", "127.0.0.2"}, {"2001:db8::1", "<nil>"},
	} {
		got := "<nil>"
		if a := r.localAddress(netip.MustParseAddr(tc.source)); a != nil {
			got = a.IP.String()
		}
		if got != tc.want {
			t.Errorf("%s sends from (-got, +want)\n- %s\n+ %s", tc.source, got, tc.want)
		}
	}
	r.o.To = netip.MustParseAddrPort("192.0.2.9:2055")
	if a := r.localAddress(netip.MustParseAddr("192.0.2.1")); a != nil {
		t.Errorf("to elsewhere from %v", a)
	}
}

func TestPace(t *testing.T) {
	at := func(ms ...int) []time.Duration {
		out := make([]time.Duration, len(ms))
		for i, m := range ms {
			out[i] = time.Duration(m) * time.Millisecond
		}
		return out
	}
	recorded := at(0, 100, 50, 400)
	for name, tc := range map[string]struct {
		p       pacer
		noTimes bool
		want    []time.Duration
	}{
		"recorded, never back":  {p: pacer{speed: 1}, want: at(0, 100, 100, 400)},
		"four times as fast":    {p: pacer{speed: 4}, want: at(0, 25, 25, 100)},
		"rate wins":             {p: pacer{speed: 1, rate: 10}, want: at(0, 100, 200, 300)},
		"as fast as it goes":    {p: pacer{}, want: at(0, 0, 0, 0)},
		"no times":              {p: pacer{speed: 1}, noTimes: true, want: at(0, 1, 2, 3)},
		"no times, no waiting":  {p: pacer{}, noTimes: true, want: at(0, 0, 0, 0)},
		"no times, with a rate": {p: pacer{speed: 1, rate: 2}, noTimes: true, want: at(0, 500, 1000, 1500)},
	} {
		t.Run(name, func(t *testing.T) {
			var got []time.Duration
			for _, o := range recorded {
				when := begin.Add(o)
				if tc.noTimes {
					when = time.Time{}
				}
				got = append(got, tc.p.next(when))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("(-got, +want)\n- %v\n+ %v", got, tc.want)
			}
		})
	}
}

// fakeClock jumps to whatever is waited for.
type fakeClock struct{ now time.Time }

func (c *fakeClock) Now() time.Time { return c.now }

func (c *fakeClock) SleepUntil(ctx context.Context, t time.Time) error {
	if t.After(c.now) {
		c.now = t
	}
	return ctx.Err()
}

func TestProgressOncePerSecondAndAtTheEnd(t *testing.T) {
	_, to := listen(t)
	var at []string
	clock := &fakeClock{now: begin}
	r := &run{clock: clock, reported: begin, sockets: map[netip.AddrPort]*net.UDPConn{}, taken: map[netip.Addr]netip.Addr{}, o: Options{To: to, Speed: 1, Progress: func(p Progress) {
		at = append(at, fmt.Sprintf("%v %d %v", clock.now.Sub(begin), p.Datagrams, p.Done))
	}}}
	defer r.close()
	file := record(t, 1, 0, 400*time.Millisecond, 800*time.Millisecond, 1200*time.Millisecond, 1600*time.Millisecond)
	if _, err := r.files(t.Context(), []string{file}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1.2s 4 false", "1.6s 5 true"}; !slices.Equal(at, want) {
		t.Errorf("(-got, +want)\n- %v\n+ %v", at, want)
	}
}

func TestRunStopsWhenAsked(t *testing.T) {
	_, to := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, []string{record(t, 1, 0, time.Hour)}, Options{To: to, Speed: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestTornRecordingIsSentUpToTheTear(t *testing.T) {
	_, to := listen(t)
	file := record(t, 1, 0, 1, 2)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data[:len(data)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Run(t.Context(), []string{file}, Options{To: to})
	var cut *capture.TruncatedError
	if p.Datagrams != 2 || !errors.As(err, &cut) {
		t.Errorf("sent %d, error %v", p.Datagrams, err)
	}
}

func TestNothingListens(t *testing.T) {
	c, to := listen(t)
	c.Close()
	// The first datagram to a closed loopback port brings back an ICMP
	// refusal, which later writes report.
	p, err := Run(t.Context(), []string{record(t, 1, 0, 1, 2, 3, 4, 5)}, Options{To: to})
	if err != nil {
		t.Fatal(err)
	}
	if p.Datagrams+p.Refused != 6 || p.Refused == 0 {
		t.Errorf("progress %+v", p)
	}
}

func TestUnreadableFile(t *testing.T) {
	_, to := listen(t)
	_, err := Run(t.Context(), []string{"/nonexistent.pcap"}, Options{To: to})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent.pcap") {
		t.Errorf("error %v", err)
	}
}
