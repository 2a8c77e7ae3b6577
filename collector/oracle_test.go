package collector

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/internal/capture"
)

// captures are exports of programs that we did not write. records are the
// flows, counters the values of each kind of counter that are not zero: with
// biflow a record may have two. The numbers are tshark's and nfdump's; TestAgainst... ask them anew.
var captures = []struct {
	file                       string
	shared                     bool // its licence keeps it out of the repository
	counters                   int
	octets, packets            int64
	options, countersSamples   uint64
	withoutTemplate, templates uint64
	// lost by sequence numbers: of softflowd's IPFIX tshark finds the same
	// gaps; its numbers do not follow its records.
	lost uint64
}{
	{file: "quasarrat-1337-v5.pcap", counters: 294, octets: 934128, packets: 2461},
	{file: "quasarrat-1337-v9.pcap", counters: 503, octets: 1052634, packets: 3155, templates: 5, options: 2},
	{file: "quasarrat-1337-v10.pcap", counters: 503, octets: 1052634, packets: 3155, templates: 5, options: 2, lost: 6},
	{file: "NEG-ncsa-ddos-backscatter-v10.pcap", counters: 1292, octets: 220250, packets: 4771, templates: 5, options: 3, lost: 3},
	{file: "softflowd/dns-tunnel-iodine-v10.pcap", shared: true, counters: 2, octets: 64176, packets: 434, templates: 5, options: 1},
	{file: "softflowd/synscan-2011-v9.pcap", shared: true, counters: 2002, octets: 88518, packets: 2011, templates: 5, options: 5},
	{file: "ndpi-netflow-fritz.pcap", shared: true, templates: 3},
	{file: "ndpi-netflowv9.pcap", shared: true, withoutTemplate: 23},
	{file: "ndpi-sflow.pcap", shared: true, counters: 1, octets: 82, packets: 1, countersSamples: 8},
}

// path of a capture; those that are not ours to publish are in the shared
// data, ../shared/data beside the repository or where WEIR_SHARED says.
func capturePath(t *testing.T, file string, shared bool) string {
	if !shared {
		return filepath.Join("testdata", file)
	}
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = "../../shared/data"
	}
	path := filepath.Join(root, "wire", file)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("shared data is absent (%v): set WEIR_SHARED to it", err)
	}
	return path
}

type tally struct {
	records         int
	octets, packets []int64
}

func decodeFile(t *testing.T, path string) (tally, *decode.Stats) {
	t.Helper()
	r := newReader(t)
	o, err := NewOffline(DefaultConfig(), OfflineDependencies{Log: quiet, Partitions: 4, Out: r.take})
	if err != nil {
		t.Fatal(err)
	}
	each(t, path, o.Datagram)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	var n tally
	for i := range r.flows {
		f := &r.flows[i]
		n.records++
		for _, v := range []int64{f.OctetDeltaCount, f.ReverseOctetDeltaCount} {
			if v != 0 {
				n.octets = append(n.octets, v)
			}
		}
		for _, v := range []int64{f.PacketDeltaCount, f.ReversePacketDeltaCount} {
			if v != 0 {
				n.packets = append(n.packets, v)
			}
		}
		if f.FlowEndMilliseconds < f.FlowStartMilliseconds || f.FlowStartMilliseconds <= 0 {
			t.Errorf("times of a flow: %d to %d", f.FlowStartMilliseconds, f.FlowEndMilliseconds)
		}
	}
	slices.Sort(n.octets)
	slices.Sort(n.packets)
	return n, o.Stats()
}

func each(t *testing.T, path string, f func(capture.Datagram)) {
	t.Helper()
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		d, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f(d)
	}
}

func sum(ns []int64) (s int64) {
	for _, n := range ns {
		s += n
	}
	return s
}

func TestCaptures(t *testing.T) {
	for _, c := range captures {
		t.Run(c.file, func(t *testing.T) {
			got, stats := decodeFile(t, capturePath(t, c.file, c.shared))
			equal(t, "octets", sum(got.octets), c.octets)
			equal(t, "packets", sum(got.packets), c.packets)
			equal(t, "counters", len(got.octets), c.counters)
			equal(t, "options", stats.Options.Load(), c.options)
			equal(t, "counters samples", stats.Counters.Load(), c.countersSamples)
			equal(t, "templates", stats.Templates.Load(), c.templates)
			equal(t, "sets whose template is not in the capture", stats.Rejected[decode.NoTemplate].Load(), c.withoutTemplate)
			for r := range decode.Reasons {
				if r != decode.NoTemplate && stats.Rejected[r].Load() > 0 {
					t.Errorf("rejected for %v: %d, want 0", r, stats.Rejected[r].Load())
				}
			}
			var lost uint64
			for i := range stats.Protocol {
				lost += stats.Protocol[i].Lost.Load()
			}
			equal(t, "lost by sequence", lost, c.lost)
		})
	}
}

// TestAgainstTshark compares each counter with what tshark reads.
func TestAgainstTshark(t *testing.T) {
	need(t, "tshark", "tshark")
	for _, c := range captures {
		if c.withoutTemplate > 0 || c.countersSamples > 0 || c.counters == 0 {
			continue
		}
		t.Run(c.file, func(t *testing.T) {
			path := capturePath(t, c.file, c.shared)
			var port uint16
			each(t, path, func(d capture.Datagram) { port = d.Destination.Port() })
			out, err := exec.Command("tshark", "-r", path, "-d", fmt.Sprintf("udp.port==%d,cflow", port), "-T", "fields", "-E", "occurrence=a",
				"-e", "cflow.octets", "-e", "cflow.packets").Output()
			if err != nil {
				t.Fatal(err)
			}
			var want tally
			for line := range strings.Lines(string(out)) {
				f := strings.Split(strings.TrimRight(line, "\n")+"\t", "\t")
				want.octets, want.packets = append(want.octets, numbers(t, f[0])...), append(want.packets, numbers(t, f[1])...)
			}
			slices.Sort(want.octets)
			slices.Sort(want.packets)
			got, _ := decodeFile(t, path)
			if !slices.Equal(got.octets, want.octets) || !slices.Equal(got.packets, want.packets) {
				t.Errorf("counters differ (-got +want)\n- %d octets of %d, %d packets\n+ %d octets of %d, %d packets",
					sum(got.octets), len(got.octets), sum(got.packets), sum(want.octets), len(want.octets), sum(want.packets))
			}
		})
	}
}

func numbers(t *testing.T, s string) (ns []int64) {
	for _, f := range strings.Split(s, ",") {
		if f == "" || f == "0" { // of a flow without an answer
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ns = append(ns, n)
	}
	return ns
}

// TestSFlowAgainstTshark compares the one flow sample field by field.
func TestSFlowAgainstTshark(t *testing.T) {
	need(t, "tshark", "tshark")
	path := capturePath(t, "ndpi-sflow.pcap", true)
	out, err := exec.Command("tshark", "-r", path, "-T", "fields", "-E", "occurrence=l", "-e", "sflow_245.agent", "-e", "ip.src", "-e", "ip.dst", "-e", "ip.proto", "-e", "vlan.id", "-e", "eth.src",
		"-Y", "sflow_245.header").Output()
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	o, err := NewOffline(DefaultConfig(), OfflineDependencies{Log: quiet, Partitions: 4, Out: r.take})
	if err != nil {
		t.Fatal(err)
	}
	each(t, path, o.Datagram)
	if len(r.flows) != 1 {
		t.Fatalf("flows: got %d, want 1", len(r.flows))
	}
	f := &r.flows[0]
	got := fmt.Sprintf("%v\t%v\t%v\t%d\t%d\t%v", f.ExporterAddress, f.SourceIPAddress, f.DestinationIPAddress, f.ProtocolIdentifier, f.VlanId, f.SourceMacAddress)
	equal(t, "flow", got, strings.TrimSpace(string(out)))
}

// TestAgainstNfdump sends each capture to nfcapd and compares its totals.
func TestAgainstNfdump(t *testing.T) {
	nfcapd := need(t, "nfcapd", "nfdump")
	totals := regexp.MustCompile(`Flows: (\d+), Packets: (\d+), Bytes: (\d+)`)
	for _, c := range captures {
		if c.withoutTemplate > 0 || c.countersSamples > 0 || c.counters == 0 {
			continue
		}
		t.Run(c.file, func(t *testing.T) {
			path := capturePath(t, c.file, c.shared)
			port := freePort(t)
			cmd := exec.Command(nfcapd, "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-w", t.TempDir(), "-B", "4000000")
			logs, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			lines := bufio.NewScanner(logs)
			for lines.Scan() && !strings.Contains(lines.Text(), "Startup") {
			}
			conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			each(t, path, func(d capture.Datagram) {
				if _, err := conn.Write(d.Payload); err != nil {
					t.Fatal(err)
				}
			})
			waitRead(t, port)
			cmd.Process.Signal(syscall.SIGTERM)
			var m []string
			for lines.Scan() {
				if x := totals.FindStringSubmatch(lines.Text()); x != nil {
					m = x
				}
			}
			cmd.Wait() // its totals tell
			if m == nil {
				t.Fatal("nfcapd told no totals")
			}
			got, _ := decodeFile(t, path)
			equal(t, "flows, packets, octets", fmt.Sprint(got.records, sum(got.packets), sum(got.octets)), strings.Join(m[1:], " "))
		})
	}
}

// need finds a program that we compare with. CI has all of them; elsewhere a
// test goes without.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not installed, and CI must have it: apt-get install %s", program, pkg)
	default:
		t.Skipf("%s is not installed: apt-get install %s", program, pkg)
	}
	return path
}

func freePort(t *testing.T) int {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// waitRead waits until the receive queue of a local UDP port is empty.
func waitRead(t *testing.T, port int) {
	needle := fmt.Sprintf(":%04X ", port)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile("/proc/net/udp")
		if err != nil {
			t.Skip("no /proc/net/udp")
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 4 && strings.Contains(f[1]+" ", needle) && strings.HasSuffix(f[4], ":00000000") {
				return
			}
		}
	}
	t.Fatal("nfcapd did not read everything")
}
