// Package capture reads and writes recorded export datagrams: the NetFlow,
// IPFIX and sFlow packets of a capture file, as the collector would have
// received them from its sockets.
//
// It reads pcap (micro- and nanoseconds, both byte orders), pcapng, and files
// of datagrams (see [DatagramsMagic]), each also gzip-compressed, and writes
// nanosecond pcap. Everything is pure Go and bounded in memory, whatever the
// file says about its own lengths.
package capture

import (
	"fmt"
	"net/netip"
	"time"
)

// Datagram is one UDP datagram of a recording.
type Datagram struct {
	// Time is when the packet was captured, in UTC. It is zero where the
	// recording has no times: files of datagrams, pcapng simple packets.
	Time time.Time
	// Source is the exporter's address and port. It is not valid
	// (IsValid is false) in files of datagrams that do not name one.
	Source netip.AddrPort
	// Destination is the collector's address and port, as Source.
	Destination netip.AddrPort
	// Payload is the UDP payload. The memory belongs to the Reader and is
	// valid until its next call of Next.
	Payload []byte
}

// Stats counts what a Reader met. Every packet of the file ends up in exactly
// one of Datagrams, NotUDP, Cut, Malformed, Fragments, so that the sum of
// those is Packets.
type Stats struct {
	// Packets read whole from the file.
	Packets uint64
	// Datagrams handed out by Next.
	Datagrams uint64
	// NotUDP counts packets of other protocols: ARP, TCP, ICMP, LLDP and kin.
	NotUDP uint64
	// Cut counts packets that the capture shortened (snap length), so that
	// the datagram in them is not whole.
	Cut uint64
	// Malformed counts packets whose headers contradict their length.
	Malformed uint64
	// Fragments counts IP fragments that did not complete a datagram
	// themselves: waiting, merged into one, or evicted.
	Fragments uint64
	// Incomplete counts fragmented datagrams given up because fragments were
	// missing when the bound was reached or the file ended.
	Incomplete uint64
}

// FormatError reports a file that is no recording this package can read.
type FormatError struct {
	Path   string // file name; empty for a stream
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("capture %s: %s; expected pcap, pcapng or a file of datagrams (first line %q)",
		name(e.Path), e.Reason, DatagramsMagic)
}

// TruncatedError reports a recording that ends in the middle of a packet, as
// one does whose writer was stopped or whose disk was full. All whole packets
// before it have been returned: callers usually warn and go on.
type TruncatedError struct {
	Path    string // file name; empty for a stream
	Packets uint64 // whole packets before the tear
	Err     error  // what the decoder met
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("capture %s: file ends inside a packet after %d whole ones (%v); what came before was read",
		name(e.Path), e.Packets, e.Err)
}

// Unwrap returns the decoder's error.
func (e *TruncatedError) Unwrap() error { return e.Err }

func name(path string) string {
	if path == "" {
		return "stream"
	}
	return path
}
