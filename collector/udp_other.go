//go:build !linux

package collector

import (
	"errors"
	"net/netip"
	"syscall"
)

// batchReader reads one datagram a call where there is no recvmmsg.
type batchReader struct {
	buf    []byte
	n      int
	source netip.Addr
}

func newBatchReader() *batchReader { return &batchReader{buf: make([]byte, maxDatagram)} }

func (r *batchReader) read(c syscall.RawConn, wait bool) (int, error) {
	var err error
	got := false
	call := func(fd uintptr) bool {
		var from syscall.Sockaddr
		r.n, from, err = syscall.Recvfrom(int(fd), r.buf, 0)
		if err == syscall.EAGAIN {
			err = nil
			return !wait
		}
		if err == nil {
			got = true
			switch a := from.(type) {
			case *syscall.SockaddrInet4:
				r.source = netip.AddrFrom4(a.Addr)
			case *syscall.SockaddrInet6:
				r.source = netip.AddrFrom16(a.Addr).Unmap()
			}
		}
		return true
	}
	rerr := c.Read(call)
	if rerr != nil && !wait {
		rerr = c.Control(func(fd uintptr) { call(fd) })
	}
	if got {
		return 1, nil
	}
	return 0, errors.Join(rerr, err)
}

func (r *batchReader) datagram(int) ([]byte, netip.Addr, uint32, bool) {
	return r.buf[:r.n], r.source, 0, false
}

func prepare(syscall.RawConn, bool, int) error { return nil }

func kernelDrops(syscall.RawConn) (uint32, bool) { return 0, false }

func grantedBuffer(syscall.RawConn) int { return 0 }

func spreadBySource(syscall.RawConn, int) error {
	return errors.New("this system cannot spread a port's datagrams by source address")
}
