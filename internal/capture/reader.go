package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Reader returns the datagrams of one recording in file order. It is not safe
// for concurrent use.
type Reader struct {
	path   string
	file   io.Closer
	frames frameSource // nil for a file of datagrams
	plain  *datagramSource
	defrag defragmenter
	stats  Stats
	err    error // sticky, once the recording has ended
}

// frameSource is what pcap and pcapng readers have in common.
type frameSource interface {
	next() (frame, error)
}

// frame is one captured packet with its link layer.
type frame struct {
	link layers.LinkType
	info gopacket.CaptureInfo
	data []byte
}

// Open opens a recording. The format is told by its content, not its name.
// It returns a *FormatError when the file is of no known format.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newReader(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.file = f
	return r, nil
}

// NewReader reads a recording from a stream. Closing the Reader leaves the
// stream open.
func NewReader(r io.Reader) (*Reader, error) { return newReader(r, "") }

func newReader(in io.Reader, path string) (*Reader, error) {
	br := bufio.NewReaderSize(in, 1<<18)
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		gz, err := gzip.NewReader(br)
		if err != nil {
			return nil, &FormatError{path, "bad gzip header: " + err.Error()}
		}
		br = bufio.NewReaderSize(gz, 1<<18)
	}
	r := &Reader{path: path}
	magic, err := br.Peek(4)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &FormatError{path, "file is empty or too short"}
		}
		return nil, err
	}
	switch {
	case binary.BigEndian.Uint32(magic) == 0x0A0D0D0A:
		// A capture of several interfaces may mix link types.
		ng, err := pcapgo.NewNgReader(br, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, &FormatError{path, "bad pcapng header: " + err.Error()}
		}
		r.frames = &ngFrames{r: ng}
	case isPcap(binary.LittleEndian.Uint32(magic)), isPcap(binary.BigEndian.Uint32(magic)):
		p, err := pcapgo.NewReader(br)
		if err != nil {
			return nil, &FormatError{path, "bad pcap header: " + err.Error()}
		}
		r.frames = &pcapFrames{r: p}
	case bytes.HasPrefix([]byte(DatagramsMagic), magic):
		r.plain, err = newDatagramSource(br)
		if err != nil {
			return nil, &FormatError{path, err.Error()}
		}
	default:
		return nil, &FormatError{path, "unknown magic number"}
	}
	return r, nil
}

func isPcap(magic uint32) bool { return magic == 0xA1B2C3D4 || magic == 0xA1B23C4D }

// Next returns the next datagram, io.EOF at the end, or a *TruncatedError
// when the recording ends inside a packet. Packets that hold no whole UDP
// datagram are passed over and counted.
func (r *Reader) Next() (Datagram, error) {
	for r.err == nil {
		var d Datagram
		var ok bool
		if d, ok, r.err = r.step(); ok {
			r.stats.Datagrams++
			return d, nil
		}
	}
	r.stats.Incomplete += r.defrag.abandon()
	return Datagram{}, r.err
}

func (r *Reader) step() (Datagram, bool, error) {
	if r.plain != nil {
		payload, err := r.plain.next()
		if err != nil {
			return Datagram{}, false, r.ended(err)
		}
		r.stats.Packets++
		return Datagram{Source: r.plain.source, Destination: r.plain.destination, Payload: payload}, true, nil
	}
	f, err := r.frames.next()
	if err != nil {
		return Datagram{}, false, r.ended(err)
	}
	r.stats.Packets++
	d, ok := r.datagram(f)
	return d, ok, nil
}

// ended tells an orderly end from a torn one.
func (r *Reader) ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return &TruncatedError{Path: r.path, Packets: r.stats.Packets, Err: err}
}

func (r *Reader) datagram(f frame) (Datagram, bool) {
	cut := f.info.CaptureLength < f.info.Length
	packet, verdict := networkLayer(f.link, f.data)
	var ip ipPacket
	if verdict == whole {
		ip, verdict = parseIP(packet)
	}
	if verdict == whole && ip.fragment {
		r.stats.Fragments++
		var evicted uint64
		ip.body, evicted, verdict = r.defrag.add(ip)
		r.stats.Incomplete += evicted
		if verdict == waiting {
			return Datagram{}, false
		}
		r.stats.Fragments-- // this one completes a datagram, or is malformed
		cut = false
	}
	var source, destination uint16
	var payload []byte
	if verdict == whole {
		source, destination, payload, verdict = parseUDP(ip.body)
	}
	switch {
	case verdict == whole:
		return Datagram{
			Time:        f.info.Timestamp,
			Source:      netip.AddrPortFrom(ip.source, source),
			Destination: netip.AddrPortFrom(ip.destination, destination),
			Payload:     payload,
		}, true
	case verdict == foreign:
		r.stats.NotUDP++
	case cut:
		r.stats.Cut++
	default:
		r.stats.Malformed++
	}
	return Datagram{}, false
}

// Skipped returns how many packets of the file so far gave no datagram of
// their own: not UDP, cut, malformed, or fragments.
func (r *Reader) Skipped() uint64 {
	s := r.stats
	return s.NotUDP + s.Cut + s.Malformed + s.Fragments
}

// Stats returns the counts so far.
func (r *Reader) Stats() Stats { return r.stats }

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

type pcapFrames struct{ r *pcapgo.Reader }

func (p *pcapFrames) next() (frame, error) {
	data, info, err := p.r.ZeroCopyReadPacketData()
	if errors.Is(err, io.EOF) && info.CaptureLength > 0 {
		err = io.ErrUnexpectedEOF // a packet header with nothing behind it
	}
	return frame{link: p.r.LinkType(), info: info, data: data}, err
}

type ngFrames struct{ r *pcapgo.NgReader }

func (n *ngFrames) next() (frame, error) {
	data, info, err := n.r.ZeroCopyReadPacketData()
	if err != nil {
		if errors.Is(err, io.EOF) && info.CaptureLength > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	var link layers.LinkType
	if len(info.AncillaryData) > 0 {
		link, _ = info.AncillaryData[0].(layers.LinkType)
	}
	return frame{link: link, info: info, data: data}, nil
}
