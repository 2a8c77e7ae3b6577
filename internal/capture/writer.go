package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"
)

// snapLength declared in written files: above any UDP datagram with headers.
const snapLength = 262144

// Writer writes datagrams to a nanosecond pcap file as Ethernet, IPv4 or
// IPv6, UDP, with correct checksums. It is not safe for concurrent use.
type Writer struct {
	file *os.File // nil for a stream
	buf  *bufio.Writer
	pcap *pcapgo.Writer
	out  []byte
	id   uint16 // IPv4 identification
}

// Create creates or truncates a pcap file.
func Create(path string) (*Writer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w, err := NewWriter(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	w.file = f
	return w, nil
}

// NewWriter writes the pcap to a stream, which Close flushes but leaves open.
func NewWriter(out io.Writer) (*Writer, error) {
	w := &Writer{buf: bufio.NewWriterSize(out, 1<<18)}
	w.pcap = pcapgo.NewWriterNanos(w.buf)
	return w, w.pcap.WriteFileHeader(snapLength, linkEthernet)
}

// Write appends one datagram. Source and Destination must be of one address
// family, Time must fit the format (1970 to 2106).
func (w *Writer) Write(d Datagram) error {
	source, destination := d.Source.Addr().Unmap(), d.Destination.Addr().Unmap()
	if !source.IsValid() || !destination.IsValid() || source.Is4() != destination.Is4() {
		return fmt.Errorf("capture: cannot write datagram from %v to %v: two addresses of one family are needed", d.Source, d.Destination)
	}
	if s := d.Time.Unix(); s < 0 || s > math.MaxUint32 {
		return fmt.Errorf("capture: time %v is outside what pcap can hold", d.Time)
	}
	udpLength := 8 + len(d.Payload)
	if udpLength > maxIPBody-20 {
		return fmt.Errorf("capture: datagram of %d octets is more than UDP can carry", len(d.Payload))
	}
	w.out = appendEthernet(w.out[:0], source, destination)
	if source.Is4() {
		w.id++
		w.out = appendIPv4(w.out, source, destination, udpLength, w.id)
	} else {
		w.out = appendIPv6(w.out, source, destination, udpLength)
	}
	w.out = appendUDP(w.out, d, source, destination)
	info := gopacket.CaptureInfo{Timestamp: d.Time, CaptureLength: len(w.out), Length: len(w.out)}
	return w.pcap.WritePacket(info, w.out)
}

// Close flushes, and closes the file that Create made.
func (w *Writer) Close() error {
	err := w.buf.Flush()
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
	}
	return err
}

// appendEthernet makes locally administered addresses from the IP addresses,
// so that a reader of the file can tell the hosts apart on this layer too.
func appendEthernet(b []byte, source, destination netip.Addr) []byte {
	s, d := source.As16(), destination.As16()
	b = append(append(b, 0x02, 0x00), d[12:]...)
	b = append(append(b, 0x02, 0x00), s[12:]...)
	if source.Is4() {
		return binary.BigEndian.AppendUint16(b, etherIPv4)
	}
	return binary.BigEndian.AppendUint16(b, etherIPv6)
}

func appendIPv4(b []byte, source, destination netip.Addr, body int, id uint16) []byte {
	start := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(20+body))
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, 0, 0, 64, 17, 0, 0)
	s, d := source.As4(), destination.As4()
	b = append(append(b, s[:]...), d[:]...)
	binary.BigEndian.PutUint16(b[start+10:], ^fold(sum(0, b[start:])))
	return b
}

func appendIPv6(b []byte, source, destination netip.Addr, body int) []byte {
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(body))
	b = append(b, 17, 64)
	s, d := source.As16(), destination.As16()
	return append(append(b, s[:]...), d[:]...)
}

// appendUDP computes the checksum over the pseudo-header too (RFC 768, RFC
// 8200 section 8.1); for both families that is addresses, protocol, length.
func appendUDP(b []byte, d Datagram, source, destination netip.Addr) []byte {
	start, length := len(b), 8+len(d.Payload)
	b = binary.BigEndian.AppendUint16(b, d.Source.Port())
	b = binary.BigEndian.AppendUint16(b, d.Destination.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(append(b, 0, 0), d.Payload...)
	acc := uint64(17 + length)
	// IPv4 in its 16-octet form adds a constant (the mapped prefix), so each
	// family is summed in its own.
	if source.Is4() {
		s, d := source.As4(), destination.As4()
		acc = sum(sum(acc, s[:]), d[:])
	} else {
		s, d := source.As16(), destination.As16()
		acc = sum(sum(acc, s[:]), d[:])
	}
	check := ^fold(sum(acc, b[start:]))
	if check == 0 {
		check = 0xFFFF // zero means "none"
	}
	binary.BigEndian.PutUint16(b[start+6:], check)
	return b
}

// sum adds up big-endian 16-bit words (RFC 1071).
func sum(acc uint64, b []byte) uint64 {
	for len(b) >= 2 {
		acc += uint64(b[0])<<8 | uint64(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint64(b[0]) << 8
	}
	return acc
}

func fold(acc uint64) uint16 {
	for acc > 0xFFFF {
		acc = acc>>16 + acc&0xFFFF
	}
	return uint16(acc)
}
