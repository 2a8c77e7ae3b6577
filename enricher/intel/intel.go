// Package intel matches addresses and names against intelligence feeds.
package intel

import (
	"bytes"
	"math/bits"
	"net/netip"

	"github.com/cespare/xxhash/v2"
	"github.com/gaissmai/bart"

	"github.com/weir-flow/weir/schemas"
)

// Types of indicators, as STIX names them.
const (
	TypeIPv4   = "ipv4-addr"
	TypeIPv6   = "ipv6-addr"
	TypeDomain = "domain-name"
)

// Hit is one match: what matched, and the indicator without its text, so that
// nothing is built for the many lookups that match nothing.
type Hit struct {
	// Indicator has every field but Indicator. It is shared: copy it.
	Indicator *schemas.Indicator
	// Bits is the length of the network that matched, for addresses.
	Bits int
}

// Set is the content of all feeds, immutable and safe for concurrent use.
type Set struct {
	// What is said of a network or a name is one of few combinations; the
	// tables hold numbers of those.
	networks bart.Table[uint32]
	names    nameTable
	hits     [][]Hit // the first is empty
	listed   int
}

// Address returns the hits of an address: of all networks that hold it, the
// longest first. The slice is shared.
func (s *Set) Address(a netip.Addr) []Hit {
	i, ok := s.networks.Lookup(a.Unmap())
	if !ok {
		return nil
	}
	return s.hits[i]
}

// Networks and Names return how many indicators there are.
func (s *Set) Networks() int { return s.networks.Size() }

// Names returns the number of domain names.
func (s *Set) Names() int { return s.listed }

// Domain returns the hits of a name, or of the closest of its parents that is
// listed, and what of the name matched. Case and a trailing dot do not matter.
func (s *Set) Domain(name string) (hits []Hit, matched string) {
	name = trimName(name)
	// 253 is the longest name of RFC 1035; a longer one is not a name.
	if s.listed == 0 || len(name) > 253 {
		return nil, ""
	}
	var buf [253]byte
	b := lower(buf[:0], name)
	// From the top-level domain down, for as long as something is listed
	// there or below: most names end after two steps.
	h := uint64(nameSeed)
	for end := len(b); end > 0; {
		start := bytes.LastIndexByte(b[:end], '.') + 1
		h = nameHash(h, xxhash.Sum64(b[start:end]))
		i, ok := s.names.get(h)
		if !ok {
			break
		}
		if i != 0 {
			hits, matched = s.hits[i], name[start:]
		}
		end = start - 1
	}
	return hits, matched
}

// nameSeed begins the hash of a name, nameHash adds the hash of the label on
// its left: so the hash of a name leads over those of its parents.
const nameSeed = 0x2d358dccaa6c78a5

func nameHash(h, label uint64) uint64 {
	return (bits.RotateLeft64(h, 23) ^ label) * 0x9e3779b97f4a7c15
}

// lower appends a name in lower case, as DNS compares names: ASCII only.
func lower(dst []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func trimName(name string) string {
	for name != "" && name[len(name)-1] == '.' {
		name = name[:len(name)-1]
	}
	return name
}

// nameTable maps the hash of a name to a number by open addressing: 12 bytes
// a slot, where a map of strings takes 90 a name. Two of five million names
// and a name that is looked up share their 64-bit hash once in 3e12 lookups.
type nameTable struct {
	keys   []uint64 // 0 is an empty slot
	values []uint32
	shift  int
}

func newNameTable(n int) nameTable {
	size := 1 << bits.Len(uint(n*4/3)|7)
	return nameTable{keys: make([]uint64, size), values: make([]uint32, size), shift: 64 - bits.TrailingZeros(uint(size))}
}

func (t *nameTable) slot(hash uint64) int {
	// The high bits choose the slot; a product spreads them.
	i := int(hash * 0x9e3779b97f4a7c15 >> t.shift)
	for t.keys[i] != 0 && t.keys[i] != hash {
		i = (i + 1) & (len(t.keys) - 1)
	}
	return i
}

func (t *nameTable) get(hash uint64) (uint32, bool) {
	hash |= 1
	i := t.slot(hash)
	return t.values[i], t.keys[i] != 0
}

func (t *nameTable) put(hash uint64, v uint32) {
	hash |= 1
	i := t.slot(hash)
	t.keys[i], t.values[i] = hash, v
}
