package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// DatagramsMagic begins the first line of a file of datagrams, the simplest
// recording there is (by habit named *.dgrams):
//
//	weir-datagrams 1 [source=ADDRESS:PORT] [destination=ADDRESS:PORT]\n
//	then, until the end: length (4 octets, big-endian), payload
//
// It has no times. A file is the datagrams of one exporter, which the first
// line may name; an exporter's address is part of its identity, so the
// datagrams of several belong in several files, or in a pcap.
const DatagramsMagic = "weir-datagrams 1"

// maxDatagram is the largest UDP payload (jumbograms aside).
const maxDatagram = 65535

type datagramSource struct {
	r                   *bufio.Reader
	source, destination netip.AddrPort
	buf                 []byte
}

func newDatagramSource(r *bufio.Reader) (*datagramSource, error) {
	line, err := firstLine(r)
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(line, DatagramsMagic)
	if !ok || rest != "" && rest[0] != ' ' {
		return nil, fmt.Errorf("unknown first line %q", line)
	}
	s := &datagramSource{r: r}
	for _, word := range strings.Fields(rest) {
		key, value, _ := strings.Cut(word, "=")
		addr, err := netip.ParseAddrPort(value)
		if err != nil {
			return nil, fmt.Errorf("first line: %q: %w", word, err)
		}
		switch key {
		case "source":
			s.source = addr
		case "destination":
			s.destination = addr
		default:
			return nil, fmt.Errorf("first line: unknown word %q; there are source and destination", word)
		}
	}
	return s, nil
}

// firstLine reads at most 200 octets: a wrong file has no line end nearby.
func firstLine(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < 200 {
		c, err := r.ReadByte()
		if err != nil {
			return "", errors.New("first line has no end")
		}
		if c == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, c)
	}
	return "", errors.New("first line is too long")
}

func (s *datagramSource) next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxDatagram {
		return nil, fmt.Errorf("datagram of %d octets, more than UDP can carry", n)
	}
	if s.buf == nil {
		s.buf = make([]byte, maxDatagram)
	}
	if _, err := io.ReadFull(s.r, s.buf[:n]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return s.buf[:n], nil
}
