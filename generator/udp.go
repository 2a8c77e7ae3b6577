package generator

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/weir-flow/weir/internal/capture"
)

// maxSockets bounds the exporters of a UDPSink.
const maxSockets = 1024

// UDPSink sends datagrams to a collector, each exporter's from a socket of
// its own. To a collector on the loopback, exporter A.B.C.D sends from
// 127.1.C.D, so that the collector sees distinct exporters; elsewhere from
// this host's address, with a port for each.
type UDPSink struct {
	to    netip.AddrPort
	conns map[netip.AddrPort]*net.UDPConn
	// Sent counts datagrams; Refused those that an ICMP message about an
	// earlier one (nobody listens) was reported on.
	Sent, Refused uint64
}

// NewUDPSink resolves the collector's HOST:PORT. Sockets open as exporters
// appear.
func NewUDPSink(collector string) (*UDPSink, error) {
	a, err := net.ResolveUDPAddr("udp", collector)
	if err != nil {
		return nil, fmt.Errorf("collector address %q: %w; give HOST:PORT", collector, err)
	}
	to := a.AddrPort()
	if a.IP == nil {
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(a.Port))
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	return &UDPSink{to: to, conns: map[netip.AddrPort]*net.UDPConn{}}, nil
}

// Emit sends one datagram. That nobody listens is no error: UDP exporters do
// not know either.
func (s *UDPSink) Emit(d capture.Datagram) error {
	conn := s.conns[d.Source]
	if conn == nil {
		var err error
		if conn, err = s.open(d.Source); err != nil {
			return err
		}
	}
	_, err := conn.Write(d.Payload)
	if isRefused(err) {
		s.Refused++
		_, err = conn.Write(d.Payload) // the error was about an earlier one
		if isRefused(err) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("send to %v: %w", s.to, err)
	}
	s.Sent++
	return nil
}

// open binds a loopback address of the exporter's own.
func (s *UDPSink) open(source netip.AddrPort) (*net.UDPConn, error) {
	if len(s.conns) == maxSockets {
		return nil, fmt.Errorf("more than %d exporters; send fewer at a time", maxSockets)
	}
	var local *net.UDPAddr
	if s.to.Addr().Is4() && s.to.Addr().IsLoopback() {
		a := source.Addr().As16()
		local = &net.UDPAddr{IP: net.IPv4(127, 1, a[14], a[15])}
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(s.to))
	if err != nil && local != nil {
		// Systems other than Linux have but 127.0.0.1: ports must do.
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.to))
	}
	if err != nil {
		return nil, fmt.Errorf("open socket towards %v: %w", s.to, err)
	}
	s.conns[source] = conn
	return conn, nil
}

// Close closes the sockets.
func (s *UDPSink) Close() error {
	var errs []error
	for _, c := range s.conns {
		errs = append(errs, c.Close())
	}
	clear(s.conns)
	return errors.Join(errs...)
}
