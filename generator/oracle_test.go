package generator

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"

	"github.com/weir-flow/weir/internal/capture"
)

// decoded is a flow record as goflow2 reads it, in our terms.
type decoded struct {
	Src, Dst                      netip.Addr
	SrcPort, DstPort              uint64
	Protocol, Octets, Packets     uint64
	Flags                         uint64
	ReverseOctets, ReversePackets uint64
	Start, End                    int64 // ms since the epoch
	Sampler                       uint64
	ICMP                          uint64
	Name, JA3, Agent, Target      string
	Status, RCode, TLSVersion     uint64
}

// oracle decodes datagrams with goflow2 and checks what holds of every one.
type oracle struct {
	t         testing.TB
	templates map[netip.AddrPort]netflow.NetFlowTemplateSystem
	sequence  map[netip.AddrPort]uint32 // expected next
	last      time.Time
	stats     map[string]ExporterStats
	record    func(exporter netip.AddrPort, exported time.Time, d decoded)
}

func newOracle(t testing.TB) *oracle {
	return &oracle{t: t, templates: map[netip.AddrPort]netflow.NetFlowTemplateSystem{},
		sequence: map[netip.AddrPort]uint32{}, stats: map[string]ExporterStats{},
		record: func(netip.AddrPort, time.Time, decoded) {}}
}

func (o *oracle) Emit(d capture.Datagram) error {
	if d.Time.Before(o.last) {
		o.t.Errorf("datagram of %v comes after one of %v", d.Time, o.last)
	}
	o.last = d.Time
	if len(d.Payload) > 1450 {
		o.t.Errorf("datagram of %d octets", len(d.Payload))
	}
	s := o.stats[d.Source.String()]
	s.Address = d.Source.String()
	s.Datagrams++
	var err error
	switch version := binary.BigEndian.Uint16(d.Payload); version {
	case 5:
		err = o.legacy(d, &s)
	default:
		err = o.templated(d, version, &s)
	}
	o.stats[d.Source.String()] = s
	if err != nil {
		return fmt.Errorf("goflow2: %w", err)
	}
	return nil
}

func (o *oracle) next(source netip.AddrPort, got, step uint32) {
	if want, ok := o.sequence[source]; ok && got != want {
		o.t.Errorf("%v: sequence %d, want %d", source, got, want)
	}
	o.sequence[source] = got + step
}

func (o *oracle) legacy(d capture.Datagram, s *ExporterStats) error {
	var p netflowlegacy.PacketNetFlowV5
	if err := netflowlegacy.DecodeMessageVersion(bytes.NewBuffer(d.Payload), &p); err != nil {
		return err
	}
	if len(d.Payload) != 24+48*int(p.Count) || len(p.Records) != int(p.Count) {
		return fmt.Errorf("v5 count %d in %d octets", p.Count, len(d.Payload))
	}
	o.next(d.Source, p.FlowSequence, uint32(p.Count))
	exported := time.Unix(int64(p.UnixSecs), int64(p.UnixNSecs))
	for _, r := range p.Records {
		s.Records++
		s.Octets += uint64(r.DOctets)
		s.Packets += uint64(r.DPkts)
		addr := func(a netflowlegacy.IPAddress) netip.Addr {
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(a))))
		}
		o.record(d.Source, exported, decoded{
			Src: addr(r.SrcAddr), Dst: addr(r.DstAddr), SrcPort: uint64(r.SrcPort), DstPort: uint64(r.DstPort),
			Protocol: uint64(r.Proto), Octets: uint64(r.DOctets), Packets: uint64(r.DPkts), Flags: uint64(r.TCPFlags),
			Start: relative(exported, p.SysUptime, r.First), End: relative(exported, p.SysUptime, r.Last),
		})
	}
	return nil
}

// relative is RFC 3954's arithmetic, modulo 2^32: x is at or before uptime.
func relative(exported time.Time, uptime, x uint32) int64 {
	return exported.UnixMilli() - int64(uptime-x)
}

func (o *oracle) templated(d capture.Datagram, version uint16, s *ExporterStats) error {
	templates := o.templates[d.Source]
	if templates == nil {
		templates = netflow.CreateTemplateSystem()
		o.templates[d.Source] = templates
	}
	buf := bytes.NewBuffer(d.Payload[2:])
	var sets []any
	var exported time.Time
	var uptime, sequence, count uint32
	if version == 9 {
		var p netflow.NFv9Packet
		if err := netflow.DecodeMessageNetFlow(buf, templates, &p); err != nil {
			return err
		}
		sets, exported, uptime = p.FlowSets, time.Unix(int64(p.UnixSeconds), 0), p.SystemUptime
		sequence, count = p.SequenceNumber, uint32(p.Count)
	} else {
		var p netflow.IPFIXPacket
		if err := netflow.DecodeMessageIPFIX(buf, templates, &p); err != nil {
			return err
		}
		if int(p.Length) != len(d.Payload) {
			return fmt.Errorf("length %d of %d octets", p.Length, len(d.Payload))
		}
		sets, exported, sequence = p.FlowSets, time.Unix(int64(p.ExportTime), 0), p.SequenceNumber
	}
	if lag := d.Time.Sub(exported); lag < 0 || lag >= time.Second {
		o.t.Errorf("header time %v of a datagram sent at %v", exported, d.Time)
	}
	var all, data uint32
	for _, set := range sets {
		switch set := set.(type) {
		case netflow.TemplateFlowSet:
			all += uint32(len(set.Records))
			s.Templates += uint64(len(set.Records))
		case netflow.NFv9OptionsTemplateFlowSet:
			all += uint32(len(set.Records))
			s.Templates += uint64(len(set.Records))
		case netflow.IPFIXOptionsTemplateFlowSet:
			all += uint32(len(set.Records))
			s.Templates += uint64(len(set.Records))
		case netflow.OptionsDataFlowSet:
			data += uint32(len(set.Records))
			s.Options += uint64(len(set.Records))
		case netflow.DataFlowSet:
			data += uint32(len(set.Records))
			for _, r := range set.Records {
				x := o.values(r.Values, exported, uptime)
				s.Records++
				s.Octets += x.Octets + x.ReverseOctets
				s.Packets += x.Packets + x.ReversePackets
				o.record(d.Source, exported, x)
			}
		default:
			return fmt.Errorf("set of type %T", set)
		}
	}
	if version == 9 {
		o.next(d.Source, sequence, 1)
		if count != all+data {
			o.t.Errorf("v9 header counts %d records of %d", count, all+data)
		}
	} else {
		o.next(d.Source, sequence, data)
	}
	return nil
}

// values reads fields by the numbers of the registries, not our tables.
func (o *oracle) values(fields []netflow.DataField, exported time.Time, uptime uint32) decoded {
	var d decoded
	for _, f := range fields {
		b, _ := f.Value.([]byte)
		var n uint64
		if len(b) <= 8 {
			for _, c := range b {
				n = n<<8 | uint64(c)
			}
		}
		addr, _ := netip.AddrFromSlice(b)
		switch {
		case f.PenProvided && f.Pen == 29305:
			switch f.Type {
			case 1:
				d.ReverseOctets = n
			case 2:
				d.ReversePackets = n
			}
		case f.PenProvided && f.Pen == 35632:
			switch f.Type {
			case 188, 205:
				d.Name = string(b)
			case 489:
				d.JA3 = string(b)
			case 207:
				d.Status = n
			case 208:
				d.RCode = n
			case 495:
				d.TLSVersion = n
			}
		case f.PenProvided:
			o.t.Errorf("unknown enterprise %d", f.Pen)
		default:
			switch f.Type {
			case 1:
				d.Octets = n
			case 2:
				d.Packets = n
			case 4:
				d.Protocol = n
			case 6:
				d.Flags = n
			case 7:
				d.SrcPort = n
			case 11:
				d.DstPort = n
			case 8, 27:
				d.Src = addr
			case 12, 28:
				d.Dst = addr
			case 22:
				d.Start = relative(exported, uptime, uint32(n))
			case 21:
				d.End = relative(exported, uptime, uint32(n))
			case 152:
				d.Start = int64(n)
			case 153:
				d.End = int64(n)
			case 32, 139:
				d.ICMP = n
			case 48:
				d.Sampler = n
			case 460:
				d.Name = string(b)
			case 461:
				d.Target = string(b)
			case 457:
				d.Status = n
			case 468:
				d.Agent = string(b)
			}
		}
	}
	return d
}

// hour is a run of one hour with everything in it, small enough for tests.
func hour(seed uint64) Config {
	cfg := DefaultConfig()
	cfg.Seed, cfg.Duration, cfg.Hosts, cfg.FlowRate = seed, time.Hour, 1200, 30
	return cfg
}

func run(t testing.TB, cfg Config, sink Sink) *Generator {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(context.Background(), sink); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGoflow2Agrees decodes a whole run with a decoder that is not ours, and
// compares its counts with the generator's.
func TestGoflow2Agrees(t *testing.T) {
	cfg := hour(3)
	o := newOracle(t)
	sampled, biflows, v6, metadata := 0, 0, 0, 0
	o.record = func(exporter netip.AddrPort, exported time.Time, d decoded) {
		begin, end := cfg.Start.UnixMilli(), cfg.Start.Add(cfg.Duration).UnixMilli()
		if d.Start < begin || d.End < d.Start || d.End > exported.UnixMilli() || d.End > end {
			t.Errorf("%v: record from %d to %d exported at %d", exporter, d.Start, d.End, exported.UnixMilli())
		}
		if d.End-d.Start > 60_000 {
			t.Errorf("%v: record of %d ms, longer than the active timeout", exporter, d.End-d.Start)
		}
		if d.Packets == 0 || d.Octets < 20*d.Packets || d.Octets > 1500*d.Packets {
			t.Errorf("%v: %d packets of %d octets in all", exporter, d.Packets, d.Octets)
		}
		sampled += int(d.Sampler)
		biflows += int(min(d.ReversePackets, 1))
		v6 += len(d.Src.AsSlice()) / 16
		metadata += min(len(d.Name), 1)
	}
	g := run(t, cfg, o)
	for _, want := range g.Stats().Exporters {
		got := o.stats[want.Address]
		got.Name, got.Protocol, got.Sampling = want.Name, want.Protocol, want.Sampling
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("%s (-goflow2 +generator)\n%s", want.Name, d)
		}
		if want.Records == 0 {
			t.Errorf("%s sent no records", want.Name)
		}
	}
	if sampled == 0 || biflows == 0 || v6 == 0 || metadata == 0 {
		t.Errorf("got %d sampled records, %d biflows, %d of IPv6, %d with metadata; want some of each", sampled, biflows, v6, metadata)
	}
}

// TestFields sends one conversation of each kind through each exporter, and
// compares every field that it sets.
func TestFields(t *testing.T) {
	cfg := hour(1)
	start := cfg.Start.UnixMilli() + 1234
	a, b := endpoint{v4Parts(10, 10, 0, 7), hqEast, 0}, endpoint{v4Parts(23, 53, 1, 2), internet, 64601}
	a6, b6 := endpoint{address{0xfd00_0010_0010_0000, 7}, hqEast, 0}, endpoint{address{0x20010db8_00010000, 9}, internet, 64600}
	for _, c := range []struct {
		name     string
		from, to endpoint
		kind     metaKind
	}{
		{"plain", a, b, noMeta}, {"dns", a, b, dnsMeta}, {"tls", a, b, tlsMeta}, {"http", a, b, httpMeta},
		{"tls6", a6, b6, tlsMeta}, {"plain6", a6, b6, noMeta},
	} {
		w := newWorld()
		talked := talk(c.from, c.to, tcp, 40000, 443)
		talked.start, talked.length, talked.rtt = start, 5000, 20
		talked.exchange(5000, 90_000)
		talked.meta = metadata{kind: c.kind, name: w.add("host.example"), agent: w.add("agent/1.0"), target: w.add("/path"),
			ja3: w.add("abc"), version: 0x0304, status: 28, rcode: 3}
		for _, e := range newExporters(cfg, w, cfg.Start.UnixMilli()) {
			t.Run(c.name+" "+e.name, func(t *testing.T) {
				if e.sampling > 1 {
					e.sampling = 1 // counters as they are; the sampler stays in the templates
				}
				var got []decoded
				o := newOracle(t)
				o.record = func(_ netip.AddrPort, _ time.Time, d decoded) { got = append(got, d) }
				e.sink = o
				e.observe(&talked)
				begin := cfg.Start.Unix()
				for s := begin + 1; s < begin+90; s++ {
					if err := e.tick(s, s == begin+1); err != nil {
						t.Fatal(err)
					}
				}
				at := start + e.hop
				up := decoded{Src: c.from.addr.addr(), Dst: c.to.addr.addr(), SrcPort: 40000, DstPort: 443, Protocol: tcp,
					Octets: talked.up.octets, Packets: talked.up.packets, Flags: complete, Start: at, End: at + 5000}
				down := up
				down.Src, down.Dst, down.SrcPort, down.DstPort = up.Dst, up.Src, up.DstPort, up.SrcPort
				down.Octets, down.Packets, down.Start = talked.down.octets, talked.down.packets, at+20
				if e.metadata || e.queries && c.kind == dnsMeta {
					switch c.kind {
					case dnsMeta:
						up.Name, up.Status, up.RCode = "host.example", 28, 3
					case tlsMeta:
						up.Name, up.JA3, up.TLSVersion = "host.example", "abc", 0x0304
					case httpMeta:
						up.Name, up.Target, up.Agent, up.Status = "host.example", "/path", "agent/1.0", 28
					}
				}
				want := []decoded{up, down}
				switch {
				case e.protocol == netflow5 && c.from == a6:
					want = nil
				case e.biflow:
					up.ReverseOctets, up.ReversePackets = down.Octets, down.Packets
					want = []decoded{up}
				case e.name == "branch-b":
					want[0].Sampler, want[1].Sampler = samplerID, samplerID
				}
				if d := cmp.Diff(got, want, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
					t.Errorf("(-goflow2 +sent)\n%s", d)
				}
			})
		}
	}
}

// TestUptimeWrap: the old router's uptime passes 2^32 ms in mid-window, and
// absolute times still come out right; goflow2 gives the raw fields.
func TestUptimeWrap(t *testing.T) {
	cfg := hour(5)
	var lowest, highest uint32 = 1<<32 - 1, 0
	sink := SinkFunc(func(d capture.Datagram) error {
		if binary.BigEndian.Uint16(d.Payload) != 5 {
			return nil
		}
		uptime := binary.BigEndian.Uint32(d.Payload[4:])
		lowest, highest = min(lowest, uptime), max(highest, uptime)
		return nil
	})
	run(t, cfg, sink)
	if lowest > 60_000 || highest < 1<<32-60_000 {
		t.Errorf("uptimes from %d to %d do not wrap", lowest, highest)
	}
}

func TestSinkErrorEndsRun(t *testing.T) {
	full := errors.New("disk full")
	g, err := New(hour(1))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = g.Run(context.Background(), SinkFunc(func(capture.Datagram) error {
		if n++; n == 100 {
			return full
		}
		return nil
	}))
	if !errors.Is(err, full) || n != 100 {
		t.Errorf("got %v after %d datagrams, want %v after 100", err, n, full)
	}
	if err := g.Run(context.Background(), SinkFunc(func(capture.Datagram) error { return nil })); err == nil {
		t.Error("a second run gave no error")
	}
}
