package detector

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// officeFlows are like an ordinary day: names, web sites, file servers.
func officeFlows(n int) (flows []*flow) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		f := tcpFlow(int64(i)*4, netip.AddrFrom4([4]byte{10, 10, byte(r.IntN(12)), byte(r.IntN(250))}).String(), 443)
		f.Flow.SamplingInterval = 1
		f.ConnectionState, f.Answered = schemas.ConnectionStateCLOSED, true
		f.InitiatorTcpControlBits = 0x1b
		f.InitiatorOctets = int64(r.IntN(5000))
		f.Flow.FlowStartMilliseconds = f.StreamTime
		switch x := r.IntN(100); {
		case x < 25: // DNS
			f.Flow.ProtocolIdentifier, f.Flow.DestinationTransportPort = 17, 53
			f.Flow.DestinationIPAddress = netip.AddrFrom4([4]byte{10, 20, 0, 53})
			f.Responder.Internal, f.ConnectionState = true, schemas.ConnectionStateANSWERED
		case x < 60: // web
			f.Flow.DestinationIPAddress = netip.AddrFrom4([4]byte{23, 53, byte(r.IntN(4)), byte(r.IntN(120))})
			f.Flow.Tls.Set, f.Flow.Tls.Value.ServerName = true, "www.amberworks.example"
		case x < 70: // public servers
			f.Flow.SourceIPAddress = netip.AddrFrom4([4]byte{62, byte(r.IntN(200)), byte(r.IntN(250)), byte(r.IntN(250))})
			f.Initiator.Internal = false
			f.Flow.DestinationIPAddress = netip.AddrFrom4([4]byte{10, 30, 0, 80})
			f.Responder.Internal = true
		default:
			f.Flow.DestinationIPAddress = netip.AddrFrom4([4]byte{10, 20, 17, byte(r.IntN(8))})
			f.Flow.DestinationTransportPort = []int32{445, 88, 389, 993, 8080}[r.IntN(5)]
			f.Responder.Internal = true
		}
		flows = append(flows, f)
	}
	return flows
}

// A flow that no rule's filter lets pass costs no memory.
func TestNoAllocationWithoutMatch(t *testing.T) {
	p := newProcessor(life{60_000, 0, newMetrics(nil)}, newTestDetector(t).programs())
	f := tcpFlow(0, "62.1.2.3", 443) // outside to outside
	f.Initiator.Internal = false
	value := f.Append(nil)
	c := &stream.Context{Group: 3, Watermark: testBegin}
	n := testing.AllocsPerRun(100, func() {
		if _, err := p.Decode(nil, value); err != nil {
			t.Fatal(err)
		}
		if changed, err := p.Apply(c); changed || err != nil {
			t.Fatalf("changed %v, error %v", changed, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a flow that matches nothing, want none", n)
	}
}

// benchmarkRules returns the shipped rules, copied under other ids, with other
// ports and thresholds, up to n.
func benchmarkRules(b *testing.B, n int) (rules []*Rule) {
	shippedRules, err := LoadRules(RulesConfig{})
	if err != nil {
		b.Fatal(err)
	}
	rules = shippedRules
	ports := strings.NewReplacer("[135, 139, 445, 1433]", "[%d, 3389]", "[25, 465, 587, 2525]", "[%d, 26]", "[9001, 9030]", "[%d, 9031]")
	for i := 0; len(rules) < n; i++ {
		id := shippedRules[i%6].ID
		data, err := shipped.ReadFile("rules/" + id + ".yaml")
		if err != nil {
			b.Fatal(err)
		}
		text := strings.Replace(string(data), "id: "+id, fmt.Sprintf("id: %s-%d", id, i), 1)
		text = strings.ReplaceAll(ports.Replace(text), "%d", fmt.Sprint(1000+i))
		// A catalogue's rules mostly look at one protocol and some ports.
		if id == "beacon" || id == "ddos-victim" || id == "horizontal-scan" {
			text = strings.Replace(text, "not continuation", fmt.Sprintf("not continuation and responder.port in [%d, %d]", 2000+i, 443+i%8*300), 1)
		}
		rules = append(rules, must(ParseRules(id, []byte(text)))...)
	}
	return rules
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{6, 50} {
		b.Run(fmt.Sprint(n, " rules"), func(b *testing.B) {
			d := newTestDetector(b, benchmarkRules(b, n)...)
			p := d.NewProcessor()
			flows := officeFlows(100_000)
			values := make([][]byte, len(flows))
			keys := make([]int, len(flows))
			for i, f := range flows {
				values[i] = f.Append(nil)
				keys[i] = kafka.KeyGroup(stream.AddressKey(nil, f.Flow.Realm, f.Flow.SourceIPAddress))
			}
			c := &stream.Context{Watermark: testBegin}
			b.ReportAllocs()
			b.ResetTimer()
			begin := cpuSeconds(b)
			for i := range b.N {
				k := i % len(flows)
				c.Group = keys[k]
				if _, err := p.Decode(nil, values[k]); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Apply(c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuSeconds(b)-begin)*1e6/float64(b.N), "cpu-s/M")
		})
	}
}

// cpuSeconds is what the process has used: on a shared machine the clock says
// more of the neighbours.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkMemory tells what a host costs: each calls thirty web sites twice.
func BenchmarkMemory(b *testing.B) {
	const hosts = 20_000
	for range b.N {
		p := newTestDetector(b).NewProcessor().(*processor)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := &stream.Context{Watermark: testBegin}
		f := officeFlows(100)[50]
		for round := range 60 {
			for h := range hosts {
				p.flow = *f
				p.flow.StreamTime += int64(round) * 1000
				p.flow.Flow.SourceIPAddress = netip.AddrFrom4([4]byte{10, byte(h >> 16), byte(h >> 8), byte(h)})
				p.flow.Flow.DestinationIPAddress = netip.AddrFrom4([4]byte{23, 53, 0, byte(round % 30)})
				p.flow.Flow.ProtocolIdentifier, p.flow.Flow.DestinationTransportPort = 6, 443
				p.flow.Initiator.Internal, p.flow.Responder.Internal = true, false
				p.flow.ConnectionState, p.flow.Answered = schemas.ConnectionStateCLOSED, true
				c.Group = h % kafka.Groups
				if _, err := p.Apply(c); err != nil {
					b.Fatal(err)
				}
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/hosts, "B/host")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/hosts/31, "B/key")
		runtime.KeepAlive(p)
	}
}

func BenchmarkDecode(b *testing.B) {
	var f flow
	value := officeFlows(50)[30].Append(nil)
	b.ReportAllocs()
	for range b.N {
		if err := f.Unmarshal(value); err != nil {
			b.Fatal(err)
		}
	}
}
