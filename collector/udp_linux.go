package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

const controlSize = 64 // room for SO_RXQ_OVFL

// batchReader holds the buffers of recvmmsg; they are made once.
type batchReader struct {
	msgs    [batch]mmsghdr
	iov     [batch]unix.Iovec
	names   [batch]unix.RawSockaddrInet6
	control [batch][controlSize]byte
	buf     []byte
	call    func(fd uintptr) bool
	n       int
	wait    bool
	errno   syscall.Errno
}

func newBatchReader() *batchReader {
	r := &batchReader{buf: make([]byte, batch*maxDatagram)}
	for i := range r.msgs {
		r.iov[i].Base = &r.buf[i*maxDatagram]
		r.iov[i].SetLen(maxDatagram)
		h := &r.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iov[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
	}
	r.call = r.receive
	return r
}

// receive is called with the descriptor; it reports whether it is done.
func (r *batchReader) receive(fd uintptr) bool {
	for i := range r.msgs {
		h := &r.msgs[i].hdr
		h.Namelen = uint32(unsafe.Sizeof(r.names[i]))
		h.SetControllen(controlSize)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.msgs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		r.n, r.errno = 0, errno
		return !r.wait || errno != unix.EAGAIN && errno != unix.EINTR
	}
	r.n, r.errno = int(n), 0
	return true
}

// read receives what is there; with wait, at least one datagram.
func (r *batchReader) read(c syscall.RawConn, wait bool) (int, error) {
	r.n, r.errno, r.wait = 0, 0, wait
	if err := c.Read(r.call); err != nil {
		if wait || r.n > 0 {
			return r.n, err
		}
		// The deadline of stop is over: ask the descriptor itself.
		if err := c.Control(func(fd uintptr) { r.receive(fd) }); err != nil {
			return 0, err
		}
	}
	if r.errno != 0 && r.errno != unix.EAGAIN {
		return r.n, r.errno
	}
	return r.n, nil
}

// datagram returns the i-th datagram of the last read, and the kernel's count
// of drops where it came with it.
func (r *batchReader) datagram(i int) (b []byte, source netip.Addr, drops uint32, counted bool) {
	m := &r.msgs[i]
	b = r.buf[i*maxDatagram : i*maxDatagram+int(m.n)]
	name := &r.names[i]
	switch name.Family {
	case unix.AF_INET:
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		source = netip.AddrFrom4(p.Addr)
	case unix.AF_INET6:
		source = netip.AddrFrom16(name.Addr).Unmap()
	}
	c := r.control[i][:min(int(m.hdr.Controllen), controlSize)]
	for len(c) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		if h.Len < unix.SizeofCmsghdr || int(h.Len) > len(c) {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && h.Len >= unix.SizeofCmsghdr+4 {
			drops, counted = binary.NativeEndian.Uint32(c[unix.SizeofCmsghdr:]), true
		}
		next := (int(h.Len) + 7) &^ 7
		if next >= len(c) {
			break
		}
		c = c[next:]
	}
	return b, source, drops, counted
}

// prepare sets the options of a socket before it is bound.
func prepare(c syscall.RawConn, reuse bool, buffer int) error {
	var err error
	cerr := c.Control(func(fd uintptr) {
		if reuse {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				err = fmt.Errorf("SO_REUSEPORT: %w", err)
				return
			}
		}
		// With the privilege for it the kernel's limit does not hold.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
				err = fmt.Errorf("SO_RCVBUF: %w", err)
				return
			}
		}
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1); err != nil {
			err = fmt.Errorf("SO_RXQ_OVFL: %w", err)
		}
	})
	return errors.Join(cerr, err)
}

// grantedBuffer returns the receive buffer in the unit it was asked in: the
// kernel counts twice as much, for its own use.
func grantedBuffer(c syscall.RawConn) int {
	n := 0 // of a closed socket
	_ = c.Control(func(fd uintptr) { n, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	return n / 2
}

// kernelDrops returns the socket's count of datagrams dropped (SO_MEMINFO).
func kernelDrops(c syscall.RawConn) (n uint32, ok bool) {
	const drops = 8 // SK_MEMINFO_DROPS
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	// It fails for a closed socket: ok stays false.
	_ = c.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && uintptr(size) == unsafe.Sizeof(info)
	})
	return info[drops], ok
}

// spreadBySource gives the sockets of a port a program that picks one by the
// source address alone (classic BPF: no privilege needed). The kernel's own
// choice takes the source port too.
func spreadBySource(c syscall.RawConn, n int) error {
	const netOff = 0xFFF00000 // SKF_NET_OFF: relative to the IP header
	ld := func(size, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: uint16(unix.BPF_LD | unix.BPF_ABS | size), K: k}
	}
	alu := func(op, src, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: uint16(unix.BPF_ALU | op | src), K: k}
	}
	tax := unix.SockFilter{Code: unix.BPF_MISC | unix.BPF_TAX}
	prog := []unix.SockFilter{
		ld(unix.BPF_B, netOff),
		alu(unix.BPF_RSH, unix.BPF_K, 4),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 6, Jt: 2}, // IPv6: skip two
		ld(unix.BPF_W, netOff+12),
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 10},
		ld(unix.BPF_W, netOff+8), tax,
		ld(unix.BPF_W, netOff+12), alu(unix.BPF_XOR, unix.BPF_X, 0), tax,
		ld(unix.BPF_W, netOff+16), alu(unix.BPF_XOR, unix.BPF_X, 0), tax,
		ld(unix.BPF_W, netOff+20), alu(unix.BPF_XOR, unix.BPF_X, 0),
		// Neighbouring addresses shall not share a worker by their low bits.
		alu(unix.BPF_MUL, unix.BPF_K, 0x9E3779B1),
		alu(unix.BPF_RSH, unix.BPF_K, 16),
		alu(unix.BPF_MOD, unix.BPF_K, uint32(n)),
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	var err error
	cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
	})
	return errors.Join(cerr, err)
}
