package decode

// sequence accounts the sequence numbers of one domain. A gap is held for
// some datagrams before it counts as loss: what was only reordered fills it.
// A number far from the expected one is a restart of the exporter, which
// costs nothing but the count of its loss.
type sequence struct {
	valid   bool
	next    uint32
	pending uint32
	age     uint8
}

const (
	seqPatience = 16      // datagrams a gap is held for
	seqFar      = 1 << 24 // units ahead that are a restart
	seqBehind   = 1 << 12 // units behind that are reordering
)

type seqEvent uint8

const (
	seqInOrder seqEvent = iota
	seqLate
	seqReset
)

// observe returns what is now known to be lost. known is false when the
// datagram's units could not be counted; the next one then starts anew.
func (s *sequence) observe(seq, count uint32, known bool) (lost uint32, what seqEvent) {
	if s.pending > 0 {
		if s.age++; s.age > seqPatience {
			lost = s.flush()
		}
	}
	if !s.valid {
		s.valid, s.next = known, seq+count
		return lost, seqInOrder
	}
	switch ahead := int32(seq - s.next); {
	case ahead == 0:
	case ahead > 0 && ahead < seqFar:
		if s.pending == 0 {
			s.age = 0
		}
		s.pending += uint32(ahead)
	case ahead < 0 && ahead >= -seqBehind:
		s.pending -= min(s.pending, count)
		return lost, seqLate
	default:
		lost += s.flush()
		what = seqReset
	}
	s.valid, s.next = known, seq+count
	return lost, what
}

// flush returns the gap that is held, as lost.
func (s *sequence) flush() uint32 {
	n := s.pending
	s.pending, s.age = 0, 0
	return n
}
