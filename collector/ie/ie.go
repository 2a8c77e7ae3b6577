// Package ie is the table of information elements: what the numbers in
// templates mean. The table is data (elements.tsv), made from published
// registries and vendors' lists; nothing in it is invented.
package ie

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:generate sh -c "go run ./gen ../../../shared/elements > elements.tsv"

//go:embed elements.tsv
var elements string

// Space is a numbering space of elements.
type Space uint8

// The spaces. NetFlow v9 shares the numbers of the IANA registry and has
// vendors' numbers above it; sFlow numbers record formats.
const (
	IPFIX Space = iota
	NetFlowV9
	SFlow
	SFlowCounter
)

// Type is an abstract data type (RFC 7012 section 3.1, RFC 6313).
type Type uint8

// The types of the registry.
const (
	OctetArray Type = iota
	Unsigned8
	Unsigned16
	Unsigned32
	Unsigned64
	Unsigned256
	Signed8
	Signed16
	Signed32
	Signed64
	Float32
	Float64
	Boolean
	MACAddress
	String
	DateTimeSeconds
	DateTimeMilliseconds
	DateTimeMicroseconds
	DateTimeNanoseconds
	IPv4Address
	IPv6Address
	BasicList
	SubTemplateList
	SubTemplateMultiList
)

var typeNames = [...]string{
	"octetArray", "unsigned8", "unsigned16", "unsigned32", "unsigned64", "unsigned256", "signed8", "signed16", "signed32", "signed64",
	"float32", "float64", "boolean", "macAddress", "string", "dateTimeSeconds", "dateTimeMilliseconds", "dateTimeMicroseconds",
	"dateTimeNanoseconds", "ipv4Address", "ipv6Address", "basicList", "subTemplateList", "subTemplateMultiList",
}

// String returns the registry's name of the type.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "type(" + strconv.Itoa(int(t)) + ")"
}

// Element is what is known of an element.
type Element struct {
	// Name: an IANA name, or vendor.element.
	Name string
	// Type of the value. OctetArray also where no source gives a type.
	Type Type
	// Semantics and Units as in the registry; empty when not known.
	Semantics, Units string
}

// Key identifies an element.
type Key struct {
	Space Space
	// PEN is the private enterprise number, 0 for the IANA registry; for
	// sFlow the enterprise of the format.
	PEN uint32
	// ID without the enterprise bit.
	ID uint32
}

// Table holds the elements.
type Table struct {
	elements map[Key]Element
}

// Load parses the table that is part of the program.
func Load() (*Table, error) { return parse(elements) }

func parse(data string) (*Table, error) {
	types := make(map[string]Type, len(typeNames))
	for i, n := range typeNames {
		types[n] = Type(i)
	}
	spaces := map[string]Space{"ipfix": IPFIX, "v9": NetFlowV9, "sflow": SFlow, "sflow-counter": SFlowCounter}
	t := &Table{elements: make(map[Key]Element, 4500)}
	line := 0
	for l := range strings.Lines(data) {
		line++
		l = strings.TrimSuffix(l, "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		f := strings.Split(l, "\t")
		if len(f) != 7 {
			return nil, fmt.Errorf("elements.tsv:%d: %d columns, want 7", line, len(f))
		}
		space, ok := spaces[f[0]]
		typ, known := types[f[4]]
		pen, errPEN := strconv.ParseUint(f[1], 10, 32)
		id, errID := strconv.ParseUint(f[2], 10, 32)
		if !ok || !known || errPEN != nil || errID != nil || f[3] == "" {
			return nil, fmt.Errorf("elements.tsv:%d: cannot understand %q", line, l)
		}
		k := Key{space, uint32(pen), uint32(id)}
		if _, double := t.elements[k]; double {
			return nil, fmt.Errorf("elements.tsv:%d: %v is there twice", line, k)
		}
		t.elements[k] = Element{Name: f[3], Type: typ, Semantics: f[5], Units: f[6]}
	}
	return t, nil
}

// Lookup returns the element with the key. In NetFlow v9 the numbers of the
// IANA registry hold, below those of vendors.
func (t *Table) Lookup(k Key) (Element, bool) {
	e, ok := t.elements[k]
	if !ok && k.Space == NetFlowV9 {
		e, ok = t.elements[Key{IPFIX, k.PEN, k.ID}]
	}
	return e, ok
}

// Len returns the number of elements.
func (t *Table) Len() int { return len(t.elements) }

// Name returns the name under which values of the element are kept when the
// table does not know it: PEN/id.
func (k Key) Name() string {
	return strconv.FormatUint(uint64(k.PEN), 10) + "/" + strconv.FormatUint(uint64(k.ID), 10)
}
