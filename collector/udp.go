package collector

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// batch is how many datagrams one system call may bring.
const batch = 64

// maxDatagram is the largest UDP payload: a smaller buffer would cut silently.
const maxDatagram = 65535

// socket is one UDP socket with its reader.
type socket struct {
	conn     *net.UDPConn
	raw      syscall.RawConn
	reader   *batchReader
	stopping atomic.Bool
	granted  int // octets of receive buffer
	drops    *atomic.Uint64
	seen     atomic.Uint32 // the kernel's own count of drops, as far as it is counted
}

// listen opens n sockets on one address. The kernel spreads exporters over
// them by source address, so that one exporter's datagrams stay in order.
// spread is false when it could not be told to; n is 1 then.
func listen(ctx context.Context, address string, n, buffer int, drops *atomic.Uint64) (sockets []*socket, spread bool, err error) {
	defer func() {
		if err != nil {
			for _, s := range sockets {
				s.conn.Close()
			}
			sockets = nil
		}
	}()
	for i := 0; i < n; i++ {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepare(c, n > 1, buffer) }}
		pc, err := lc.ListenPacket(ctx, "udp", address)
		if err != nil {
			return sockets, false, err
		}
		s := &socket{conn: pc.(*net.UDPConn), drops: drops, reader: newBatchReader()}
		sockets = append(sockets, s)
		if s.raw, err = s.conn.SyscallConn(); err != nil {
			return sockets, false, err
		}
		s.granted = grantedBuffer(s.raw)
		address = s.conn.LocalAddr().String() // port 0 was chosen
		if i == 0 && n > 1 {
			if err := spreadBySource(s.raw, n); err != nil {
				// Without it the kernel spreads by source port too, and an
				// exporter's templates could reach another worker than its data.
				return sockets, false, nil
			}
		}
	}
	return sockets, true, nil
}

// run reads until stop, and then what the kernel still holds. handle is called
// per datagram, after per batch.
func (s *socket) run(handle func(b []byte, source netip.Addr, arrival int64), after func()) error {
	for {
		n, err := s.reader.read(s.raw, true)
		s.deliver(n, handle, after)
		if err == nil || errors.Is(err, syscall.EINTR) {
			continue
		}
		if !s.stopping.Load() {
			return err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		s.drain(handle, after)
		return nil
	}
}

// drain takes what has arrived before stop, until a read finds nothing or
// fails. It is bounded, for exporters do not stop with us.
func (s *socket) drain(handle func([]byte, netip.Addr, int64), after func()) {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		n, err := s.reader.read(s.raw, false)
		s.deliver(n, handle, after)
		if n == 0 || err != nil {
			break
		}
	}
	s.poll()
}

func (s *socket) deliver(n int, handle func([]byte, netip.Addr, int64), after func()) {
	if n == 0 {
		return
	}
	now := time.Now().UnixMilli()
	for i := range n {
		b, source, drops, counted := s.reader.datagram(i)
		if counted {
			s.dropped(drops)
		}
		if source.IsValid() {
			handle(b, source, now)
		}
	}
	after()
}

// dropped accounts the kernel's count, of 32 bits that wrap.
func (s *socket) dropped(now uint32) {
	for {
		old := s.seen.Load()
		if int32(now-old) <= 0 {
			return
		}
		if s.seen.CompareAndSwap(old, now) {
			s.drops.Add(uint64(now - old))
			return
		}
	}
}

// poll asks for the kernel's count: with datagrams it comes only when there
// is another one after the loss.
func (s *socket) poll() {
	if n, ok := kernelDrops(s.raw); ok {
		s.dropped(n)
	}
}

// stop makes run take what is there and return.
func (s *socket) stop() {
	s.stopping.Store(true)
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // fails where the socket is closed, and run has returned
}
