package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var (
	noon     = time.Date(2026, 3, 2, 12, 0, 0, 123456789, time.UTC)
	exporter = netip.MustParseAddrPort("192.0.2.1:40000")
	receiver = netip.MustParseAddrPort("192.0.2.9:2055")
	payload  = []byte("an odd number of octets")
	addrCmp  = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

// serialize builds a packet with gopacket, which shares no code with ours.
func serialize(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, parts...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

func ip4(t testing.TB, body []byte) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP,
		SrcIP: exporter.Addr().AsSlice(), DstIP: receiver.Addr().AsSlice()}
	udp := &layers.UDP{SrcPort: layers.UDPPort(exporter.Port()), DstPort: layers.UDPPort(receiver.Port())}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	return serialize(t, ip, udp, gopacket.Payload(body))
}

func pcapFile(t testing.TB, link layers.LinkType, packets ...[]byte) []byte {
	var out bytes.Buffer
	w := pcapgo.NewWriterNanos(&out)
	if err := w.WriteFileHeader(65535, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: noon, CaptureLength: len(p), Length: len(p)}, p); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// readAll returns copies of all datagrams, the counts, and how it ended (nil
// for io.EOF).
func readAll(t testing.TB, file []byte) ([]Datagram, Stats, error) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, Stats{}, err
	}
	var got []Datagram
	for {
		d, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got, r.Stats(), nil
		}
		if err != nil {
			return got, r.Stats(), err
		}
		d.Payload = bytes.Clone(d.Payload)
		got = append(got, d)
	}
}

func want(n int) []Datagram {
	var out []Datagram
	for range n {
		out = append(out, Datagram{Time: noon, Source: exporter, Destination: receiver, Payload: payload})
	}
	return out
}

func check(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(got, want, addrCmp); d != "" {
		t.Errorf("(-got +want)\n%s", d)
	}
}

func TestLinkTypes(t *testing.T) {
	packet := ip4(t, payload)
	eth := func(kinds ...uint16) []byte {
		b := make([]byte, 12)
		for i, k := range kinds {
			b = binary.BigEndian.AppendUint16(b, k)
			if i < len(kinds)-1 {
				b = append(b, 0x60, 0x07)
			}
		}
		return append(b, packet...)
	}
	sll2 := append(binary.BigEndian.AppendUint16(nil, 0x0800), make([]byte, 18)...)
	sll := append(make([]byte, 14), 0x08, 0x00)
	for name, c := range map[string]struct {
		link   layers.LinkType
		packet []byte
	}{
		"ethernet":      {linkEthernet, eth(0x0800)},
		"802.1Q":        {linkEthernet, eth(0x8100, 0x0800)},
		"QinQ":          {linkEthernet, eth(0x88A8, 0x8100, 0x0800)},
		"padded":        {linkEthernet, append(eth(0x0800), 0, 0, 0, 0)},
		"SLL":           {linkSLL, append(sll, packet...)},
		"SLL2":          {linkSLL2, append(sll2, packet...)},
		"raw":           {linkRaw, packet},
		"raw BSD":       {linkRawBSD, packet},
		"IPv4":          {linkIPv4, packet},
		"null":          {linkNull, append([]byte{2, 0, 0, 0}, packet...)},
		"loop":          {linkLoop, append([]byte{0, 0, 0, 2}, packet...)},
		"segmentoffset": {linkRaw, zeroTotalLength(packet)},
	} {
		t.Run(name, func(t *testing.T) {
			got, stats, err := readAll(t, pcapFile(t, c.link, c.packet))
			check(t, err, nil)
			check(t, got, want(1))
			check(t, stats, Stats{Packets: 1, Datagrams: 1})
		})
	}
}

func zeroTotalLength(p []byte) []byte {
	p = bytes.Clone(p)
	p[2], p[3] = 0, 0
	return p
}

// TestByteOrderAndResolution writes the file header by hand, since no library
// at hand writes big-endian files.
func TestByteOrderAndResolution(t *testing.T) {
	packet := ip4(t, payload)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for magic, fraction := range map[uint32]uint32{0xA1B2C3D4: 123456, 0xA1B23C4D: 123456789} {
			b := order.AppendUint32(nil, magic)
			b = order.AppendUint16(order.AppendUint16(b, 2), 4)
			for _, v := range []uint32{0, 0, 65535, uint32(linkRaw),
				uint32(noon.Unix()), fraction, uint32(len(packet)), uint32(len(packet))} {
				b = order.AppendUint32(b, v)
			}
			got, _, err := readAll(t, append(b, packet...))
			check(t, err, nil)
			w := want(1)
			if magic == 0xA1B2C3D4 {
				w[0].Time = noon.Truncate(time.Microsecond)
			}
			check(t, got, w)
		}
	}
}

func TestPcapngWithMixedLinkTypes(t *testing.T) {
	var out bytes.Buffer
	w, err := pcapgo.NewNgWriter(&out, layers.LinkTypeRaw)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeEthernet, SnapLength: 65535, TimestampResolution: 9})
	if err != nil {
		t.Fatal(err)
	}
	packet := ip4(t, payload)
	for i, p := range [][]byte{packet, append(append(make([]byte, 12), 8, 0), packet...)} {
		info := gopacket.CaptureInfo{Timestamp: noon, CaptureLength: len(p), Length: len(p), InterfaceIndex: i * second}
		if err := w.WritePacket(info, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, stats, err := readAll(t, out.Bytes())
	check(t, err, nil)
	check(t, got, want(2))
	check(t, stats, Stats{Packets: 2, Datagrams: 2})

	got, _, err = readAll(t, out.Bytes()[:out.Len()-7])
	check(t, len(got), 1)
	if torn := new(TruncatedError); !errors.As(err, &torn) {
		t.Errorf("torn pcapng: got error %v, want a TruncatedError", err)
	}
}

func TestIPv6ExtensionHeaders(t *testing.T) {
	source, destination := netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::9]:2055")
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolIPv6HopByHop,
		SrcIP: source.Addr().AsSlice(), DstIP: destination.Addr().AsSlice()}
	hop := &layers.IPv6HopByHop{}
	hop.NextHeader = layers.IPProtocolUDP
	hop.Options = []*layers.IPv6HopByHopOption{{OptionType: 1, OptionData: []byte{0, 0, 0, 0}}}
	udp := &layers.UDP{SrcPort: 40000, DstPort: 2055}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	got, stats, err := readAll(t, pcapFile(t, linkIPv6, serialize(t, ip, hop, udp, gopacket.Payload(payload))))
	check(t, err, nil)
	check(t, stats, Stats{Packets: 1, Datagrams: 1})
	check(t, got, []Datagram{{Time: noon, Source: source, Destination: destination, Payload: payload}})
}

// fragments cuts an IPv4 packet without options at multiples of size.
func fragments(packet []byte, size int, id uint16) [][]byte {
	var out [][]byte
	body := packet[20:]
	for at := 0; at < len(body); at += size {
		end := min(at+size, len(body))
		f := append(bytes.Clone(packet[:20]), body[at:end]...)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[4:], id)
		flags := uint16(at / 8)
		if end < len(body) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], flags)
		out = append(out, f)
	}
	return out
}

func TestFragments(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 500)
	f := fragments(ip4(t, long), 1480, 7)
	if len(f) != 6 {
		t.Fatalf("test is wrong: %d fragments", len(f))
	}
	wanted := []Datagram{{Time: noon, Source: exporter, Destination: receiver, Payload: long}}

	// Out of order, one repeated.
	got, stats, err := readAll(t, pcapFile(t, linkRaw, f[5], f[1], f[0], f[1], f[4], f[2], f[3]))
	check(t, err, nil)
	check(t, got, wanted)
	check(t, stats, Stats{Packets: 7, Datagrams: 1, Fragments: 6})

	// One missing.
	got, stats, err = readAll(t, pcapFile(t, linkRaw, f[0], f[1], f[3], f[4], f[5]))
	check(t, err, nil)
	check(t, len(got), 0)
	check(t, stats, Stats{Packets: 5, Fragments: 5, Incomplete: 1})

	// Overlapping: the first piece sent with a smaller cut as well.
	g := fragments(ip4(t, long), 744, 7)
	_, stats, err = readAll(t, pcapFile(t, linkRaw, f[0], g[1]))
	check(t, err, nil)
	check(t, stats, Stats{Packets: 2, Fragments: 1, Malformed: 1, Incomplete: 1})
}

func TestFragmentsAreBounded(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 3000)
	var packets [][]byte
	for id := range uint16(maxReassemblies + 10) {
		packets = append(packets, fragments(ip4(t, long), 1480, id)[0])
	}
	_, stats, err := readAll(t, pcapFile(t, linkRaw, packets...))
	check(t, err, nil)
	n := uint64(len(packets))
	check(t, stats, Stats{Packets: n, Fragments: n, Incomplete: n})
}

func TestSkippedPackets(t *testing.T) {
	arp := append(make([]byte, 12), 0x08, 0x06, 1, 2, 3)
	good := append(append(make([]byte, 12), 8, 0), ip4(t, payload)...)
	tcp := bytes.Clone(good)
	tcp[14+9] = 6
	badUDP := bytes.Clone(good)
	badUDP[14+20+4] = 0xFF
	var out bytes.Buffer
	w := pcapgo.NewWriterNanos(&out)
	if err := w.WriteFileHeader(96, linkEthernet); err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{arp, tcp, badUDP, good, good[:40], {1, 2}} {
		length := len(p)
		if length == 40 {
			length = len(good)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: noon, CaptureLength: len(p), Length: length}, p); err != nil {
			t.Fatal(err)
		}
	}
	got, stats, err := readAll(t, out.Bytes())
	check(t, err, nil)
	check(t, got, want(1))
	check(t, stats, Stats{Packets: 6, Datagrams: 1, NotUDP: 2, Cut: 1, Malformed: 2})
}

// TestTornTail cuts a file everywhere: whole packets before the cut are
// returned, and a cut inside a packet is told from one between packets.
func TestTornTail(t *testing.T) {
	packet := ip4(t, payload)
	file := pcapFile(t, linkRaw, packet, packet)
	for size := 24; size < len(file); size++ {
		got, _, err := readAll(t, file[:size])
		wholeOnes := (size - 24) / (16 + len(packet))
		check(t, got, want(wholeOnes))
		torn := new(TruncatedError)
		if atEdge := (size-24)%(16+len(packet)) == 0; atEdge {
			check(t, err, nil)
		} else if !errors.As(err, &torn) || torn.Packets != uint64(wholeOnes) {
			t.Errorf("cut at %d: got %v, want a TruncatedError after %d packets", size, err, wholeOnes)
		}
	}
}

func TestFileOfDatagrams(t *testing.T) {
	file := []byte(DatagramsMagic + " source=192.0.2.1:40000 destination=192.0.2.9:2055\n")
	for _, p := range []string{"one", "", "three"} {
		file = append(binary.BigEndian.AppendUint32(file, uint32(len(p))), p...)
	}
	d := func(s string) Datagram {
		return Datagram{Source: exporter, Destination: receiver, Payload: []byte(s)}
	}
	got, _, err := readAll(t, file)
	check(t, err, nil)
	check(t, got, []Datagram{d("one"), d(""), d("three")})

	got, _, err = readAll(t, file[:len(file)-1])
	check(t, len(got), 2)
	if torn := new(TruncatedError); !errors.As(err, &torn) {
		t.Errorf("got error %v, want a TruncatedError", err)
	}
}

func TestGzip(t *testing.T) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(pcapFile(t, linkRaw, ip4(t, payload))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, _, err := readAll(t, out.Bytes())
	check(t, err, nil)
	check(t, got, want(1))
}

func TestUnknownFormats(t *testing.T) {
	for name, file := range map[string]string{
		"empty":         "",
		"text":          "hello, world",
		"magic":         DatagramsMagic + "7\n",
		"word":          DatagramsMagic + " colour=192.0.2.1:1\n",
		"address":       DatagramsMagic + " source=here\n",
		"no line end":   DatagramsMagic,
		"bad gzip":      "\x1f\x8b\x00\x00",
		"pcap header":   "\xd4\xc3\xb2\xa1\x02\x00",
		"pcapng header": "\x0a\x0d\x0d\x0a\x00\x00",
	} {
		_, err := NewReader(bytes.NewReader([]byte(file)))
		if format := new(FormatError); !errors.As(err, &format) {
			t.Errorf("%s: got error %v, want a FormatError", name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent.pcap")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}

// TestWriterRoundTrip holds written packets to gopacket's decoder and
// checksum verification, and then to our own reader.
func TestWriterRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.pcap")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	written := []Datagram{
		{Time: noon, Source: exporter, Destination: receiver, Payload: payload},
		{Time: noon.Add(time.Second), Source: netip.MustParseAddrPort("[2001:db8::1]:1"),
			Destination: netip.MustParseAddrPort("[fd00::9]:4739"), Payload: bytes.Repeat([]byte{0xFF, 0x01, 0x80}, 3001)},
		{Time: noon.Add(2 * time.Second), Source: exporter, Destination: receiver, Payload: []byte{}},
	}
	for _, d := range written {
		if err := w.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for range written {
		data, _, err := frames.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Errorf("gopacket cannot decode: %v", e.Error())
		}
		udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		if err, mismatches := p.VerifyChecksums(); err != nil || len(mismatches) > 0 {
			t.Errorf("checksums: %v, %v", err, mismatches)
		}
	}
	got, _, err := readAll(t, file)
	check(t, err, nil)
	check(t, got, written)
}

func TestWriterRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	six := netip.MustParseAddrPort("[2001:db8::1]:1")
	for name, d := range map[string]Datagram{
		"mixed families": {Time: noon, Source: exporter, Destination: six},
		"no addresses":   {Time: noon},
		"before 1970":    {Source: exporter, Destination: receiver},
		"too long":       {Time: noon, Source: exporter, Destination: receiver, Payload: make([]byte, 65508)},
	} {
		if err := w.Write(d); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestSharedCaptures reads recordings of real exporters. The counts are
// capinfos' (all packets are UDP).
func TestSharedCaptures(t *testing.T) {
	dir := os.Getenv("WEIR_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("shared data is absent at %s (set WEIR_SHARED): %v", dir, err)
	}
	for file, n := range map[string]uint64{
		"ndpi-netflow-fritz.pcap": 1, "ndpi-netflowv9.pcap": 10, "ndpi-sflow.pcap": 9,
	} {
		r, err := Open(filepath.Join(dir, "data", "wire", file))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, io.EOF) || r.Stats().Datagrams != n || r.Skipped() != 0 {
			t.Errorf("%s: got %v, %+v, want EOF after %d datagrams", file, err, r.Stats(), n)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzReader(f *testing.F) {
	packet := ip4(f, payload)
	f.Add(pcapFile(f, linkRaw, packet))
	long := fragments(ip4(f, bytes.Repeat([]byte("y"), 3000)), 1480, 1)
	f.Add(pcapFile(f, linkRaw, long...))
	f.Add(pcapFile(f, linkEthernet, append(append(make([]byte, 12), 0x81, 0, 0, 1, 8, 0), packet...)))
	f.Add([]byte(DatagramsMagic + "\n\x00\x00\x00\x01x"))
	var ng bytes.Buffer
	w, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeRaw)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: noon, CaptureLength: len(packet), Length: len(packet)}, packet); err != nil {
		f.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		f.Fatal(err)
	}
	f.Add(ng.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		for {
			d, err := r.Next()
			if err != nil {
				break
			}
			if len(d.Payload) > maxDatagram {
				t.Fatalf("payload of %d octets", len(d.Payload))
			}
		}
		s := r.Stats()
		if sum := s.Datagrams + s.NotUDP + s.Cut + s.Malformed + s.Fragments; sum != s.Packets {
			t.Errorf("counts do not add up: %+v", s)
		}
	})
}
