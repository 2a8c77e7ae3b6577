// Package conformance holds the binary to programs that we did not write.
package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-flow/weir/tests/internal/bed"
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, os.Stderr)) }

// TestSoftflowd lets softflowd, an exporter that we did not write, read
// captures and export them in each of its protocols to a collector that runs
// as users run it. The same datagrams go to nfcapd; both must count the same.
func TestSoftflowd(t *testing.T) {
	for _, tool := range []string{"softflowd", "nfcapd"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed, and CI must have it: apt-get install softflowd nfdump", tool)
			}
			t.Skipf("%s is not installed: apt-get install softflowd nfdump", tool)
		}
	}
	for _, file := range []string{"quasarrat-1337.pcap", "ncsa-port-scan.pcap"} {
		for _, version := range []string{"5", "9", "10"} {
			t.Run(file+" v"+version, func(t *testing.T) {
				weir, theirs := startWeir(t), startNfcapd(t)
				relay := startRelay(t, weir.address, theirs.address)
				export(t, filepath.Join("testdata", file), version, relay.address)
				relay.settle(t, weir.port, theirs.port)
				got, want := weir.totals(t), theirs.totals(t)
				if got != want {
					t.Errorf("flows, packets, octets of %d datagrams (-got, +nfcapd)\n- %v\n+ %v", relay.datagrams.Load(), got, want)
				}
				if want.flows == 0 {
					t.Error("nfcapd saw no flows: nothing was compared")
				}
			})
		}
	}
}

type totals struct{ flows, packets, octets int64 }

// export runs softflowd over a capture. -d: in the foreground; -c none: no
// control socket.
func export(t *testing.T, capture, version, to string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "softflowd", "-r", capture, "-n", to, "-v", version, "-d", "-c", "none", "-p", filepath.Join(t.TempDir(), "pid"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("softflowd: %v\n%s", err, out)
	}
}

// server is a collector under test: its process and where it listens.
type server struct {
	cmd     *exec.Cmd
	address string
	port    int
	out     *bytes.Buffer // what it printed, once it has ended
	done    chan struct{}
}

func (s *server) stop(t *testing.T) string {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not stop", s.cmd.Path)
	}
	return s.out.String()
}

func start(t *testing.T, ready string, cmd *exec.Cmd, port int, log, out func() (*bufio.Scanner, error)) *server {
	t.Helper()
	s := &server{cmd: cmd, port: port, address: fmt.Sprintf("127.0.0.1:%d", port), out: &bytes.Buffer{}, done: make(chan struct{})}
	lines, err := log()
	if err != nil {
		t.Fatal(err)
	}
	printed, err := out()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	isReady := make(chan struct{})
	go func() {
		defer close(s.done)
		seen := false
		other := make(chan struct{})
		go func() {
			defer close(other)
			for lines.Scan() {
				if !seen && strings.Contains(lines.Text(), ready) {
					seen = true
					close(isReady)
				}
				if printed == nil {
					s.out.WriteString(lines.Text() + "\n")
				}
			}
		}()
		if printed != nil {
			for printed.Scan() {
				s.out.WriteString(printed.Text() + "\n")
			}
		}
		<-other
		_ = cmd.Wait()
	}()
	select {
	case <-isReady:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not say %q", cmd.Path, ready)
	}
	return s
}

func startWeir(t *testing.T) *server {
	port := freeUDP(t)
	cmd := exec.Command(bed.Binary(t), "collector", "--output", "stdout", "--log-format", "text", "--log-level", "debug",
		"--set", fmt.Sprintf("collector.listen=[netflow://127.0.0.1:%d]", port), "--set", `telemetry.listen=""`)
	return start(t, "started component=collector", cmd, port, pipe(cmd.StderrPipe), pipe(cmd.StdoutPipe))
}

// totals adds up the records that were printed. A biflow counts for each
// direction, as nfdump counts it.
func (s *server) totals(t *testing.T) (sum totals) {
	t.Helper()
	text := s.stop(t)
	if strings.Contains(text, "Flows: ") {
		m := regexp.MustCompile(`Flows: (\d+), Packets: (\d+), Bytes: (\d+)`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("nfcapd told no totals:\n%s", text)
		}
		_, err := fmt.Sscan(strings.Join(m[1:], " "), &sum.flows, &sum.packets, &sum.octets)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	for line := range strings.Lines(text) {
		var r struct {
			Kind                                            string
			OctetDeltaCount, PacketDeltaCount               int64
			ReverseOctetDeltaCount, ReversePacketDeltaCount int64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if r.Kind != "flow" {
			continue
		}
		sum.flows++
		if r.ReversePacketDeltaCount > 0 {
			sum.flows++
		}
		sum.packets += r.PacketDeltaCount + r.ReversePacketDeltaCount
		sum.octets += r.OctetDeltaCount + r.ReverseOctetDeltaCount
	}
	return sum
}

func startNfcapd(t *testing.T) *server {
	port := freeUDP(t)
	cmd := exec.Command("nfcapd", "-b", "127.0.0.1", "-p", fmt.Sprint(port), "-w", t.TempDir(), "-B", "4000000")
	none := func() (*bufio.Scanner, error) { return nil, nil }
	return start(t, "Startup", cmd, port, pipe(cmd.StderrPipe), none)
}

func pipe[R interface{ Read([]byte) (int, error) }](open func() (R, error)) func() (*bufio.Scanner, error) {
	return func() (*bufio.Scanner, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		return s, nil
	}
}

// relay hands every datagram to several collectors.
type relay struct {
	address   string
	datagrams atomic.Int64
}

func startRelay(t *testing.T, to ...string) *relay {
	t.Helper()
	in, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	if err := in.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	var outs []net.Conn
	for _, a := range to {
		c, err := net.Dial("udp", a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		outs = append(outs, c)
	}
	r := &relay{address: in.LocalAddr().String()}
	go func() {
		b := make([]byte, 65536)
		for {
			n, err := in.Read(b)
			if err != nil {
				return
			}
			for _, c := range outs {
				if _, err := c.Write(b[:n]); err != nil {
					t.Error(err)
				}
			}
			r.datagrams.Add(1)
		}
	}()
	return r
}

// settle waits until the relay and both collectors have read everything.
func (r *relay) settle(t *testing.T, ports ...int) {
	t.Helper()
	_, own, _ := strings.Cut(r.address, ":")
	var self int
	if _, err := fmt.Sscan(own, &self); err != nil {
		t.Fatal(err)
	}
	for _, port := range append([]int{self}, ports...) {
		needle := fmt.Sprintf(":%04X", port)
		empty := func() bool {
			b, err := os.ReadFile("/proc/net/udp")
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				f := strings.Fields(line)
				if len(f) > 4 && strings.HasSuffix(f[1], needle) && !strings.HasSuffix(f[4], ":00000000") {
					return false
				}
			}
			return true
		}
		last := int64(-1)
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			now := r.datagrams.Load()
			if empty() && now > 0 && now == last {
				break
			}
			last = now
			if time.Now().After(end) {
				t.Fatalf("port %d was not read to its end", port)
			}
		}
	}
}

func freeUDP(t *testing.T) int {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}
