package capture

import "net/netip"

const (
	// maxReassemblies bounds the datagrams under reassembly; with maxIPBody
	// each, that is 4 MiB. The oldest is given up for a new one.
	maxReassemblies = 64
	// maxIPBody is what an IP packet can hold.
	maxIPBody = 65535
	// maxPieces bounds the fragments of one datagram: at an MTU of 576 the
	// largest datagram has 120.
	maxPieces = 256
)

type fragmentKey struct {
	source, destination netip.Addr
	id                  uint32
}

// reassembly is one datagram that has not all its fragments yet.
type reassembly struct {
	key    fragmentKey
	buf    []byte
	pieces []piece
	have   int // octets received, overlaps excluded
	total  int // -1 until the last fragment is known
}

type piece struct{ from, to int }

// defragmenter puts IP fragments together. Overlapping fragments cost the
// datagram (RFC 5722 asks for it in IPv6, and nothing legitimate sends them);
// exact repeats, which captures on two interfaces produce, do not.
type defragmenter struct {
	open []*reassembly // oldest first
}

// add takes a fragment. It returns the body of the datagram when this one
// completed it, and how many others were given up.
func (d *defragmenter) add(p ipPacket) (body []byte, evicted uint64, v verdict) {
	from, to := p.offset, p.offset+len(p.body)
	// Only the last fragment may have a length that is no multiple of eight.
	if len(p.body) == 0 || to > maxIPBody || p.more && len(p.body)%8 != 0 {
		return nil, 0, broken
	}
	i, evicted := d.find(fragmentKey{p.source, p.destination, p.id})
	r := d.open[i]
	switch r.place(piece{from, to}) {
	case repeated:
		return nil, evicted, waiting
	case overlaps:
		d.remove(i)
		return nil, evicted + 1, broken
	}
	if len(r.buf) < to {
		r.buf = append(r.buf, make([]byte, to-len(r.buf))...)
	}
	copy(r.buf[from:], p.body)
	if !p.more {
		r.total = to
	}
	if r.total >= 0 && len(r.buf) > r.total {
		d.remove(i)
		return nil, evicted + 1, broken
	}
	if r.have != r.total {
		return nil, evicted, waiting
	}
	d.remove(i)
	return r.buf, evicted, whole
}

// find returns the index of the key's reassembly, and opens it if need be.
func (d *defragmenter) find(key fragmentKey) (index int, evicted uint64) {
	for i, r := range d.open {
		if r.key == key {
			return i, 0
		}
	}
	if len(d.open) == maxReassemblies {
		d.remove(0)
		evicted = 1
	}
	d.open = append(d.open, &reassembly{key: key, total: -1})
	return len(d.open) - 1, evicted
}

func (d *defragmenter) remove(i int) { d.open = append(d.open[:i], d.open[i+1:]...) }

// abandon gives up what is incomplete.
func (d *defragmenter) abandon() uint64 {
	n := uint64(len(d.open))
	d.open = nil
	return n
}

type placement int

const (
	placed placement = iota
	repeated
	overlaps
)

func (r *reassembly) place(p piece) placement {
	for _, q := range r.pieces {
		if p == q {
			return repeated
		}
		if p.from < q.to && q.from < p.to {
			return overlaps
		}
	}
	if len(r.pieces) == maxPieces {
		return overlaps // as hostile as one
	}
	r.pieces = append(r.pieces, p)
	r.have += p.to - p.from
	return placed
}
