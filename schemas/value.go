package schemas

import (
	"encoding/hex"
	"net"
)

// FlowId is the identity of a flow record, or of a conversation.
type FlowId [16]byte

// String returns the id as 32 hexadecimal digits.
func (id FlowId) String() string { return hex.EncodeToString(id[:]) }

// MAC is an IEEE 802 address. All zeros means that there is none.
type MAC [6]byte

// IsValid reports whether there is an address.
func (m MAC) IsValid() bool { return m != MAC{} }

// String returns the address as xx:xx:xx:xx:xx:xx, empty when there is none.
func (m MAC) String() string {
	if !m.IsValid() {
		return ""
	}
	return net.HardwareAddr(m[:]).String()
}

// Optional is a value that may be absent. Value means something only when Set;
// it keeps its capacity for the next record otherwise.
type Optional[T any] struct {
	Set   bool
	Value T
}

// ExtraKind says which member of an ExtraValue holds the value. The numbers
// are those of the branches in the schema's union.
type ExtraKind uint8

// The kinds of values that exporters send.
const (
	ExtraLong ExtraKind = iota
	ExtraDouble
	ExtraString
	ExtraBytes
	ExtraList
)

// Extra is an element that has no field of its own, or that lost against
// another for one.
type Extra struct {
	// Name is vendor.element, an IANA element name, or PEN/id when the element
	// is unknown.
	Name string
	// Value as it was sent.
	Value ExtraValue
}

// ExtraValue is a typed value; Kind says which member holds it.
type ExtraValue struct {
	Kind   ExtraKind
	Long   int64
	Double float64
	// Bytes holds ExtraBytes and the text of ExtraString.
	Bytes []byte
	// List holds ExtraList (RFC 6313); it keeps the names of what is in it.
	// Lists nest at most MaxExtraDepth deep.
	List []Extra
}

// Text returns the text of an ExtraString (a copy), empty for other kinds.
func (v *ExtraValue) Text() string {
	if v.Kind != ExtraString {
		return ""
	}
	return string(v.Bytes)
}

// MaxExtraDepth bounds how deep lists of extras nest. A deeper list is written
// as an empty one, and refused when read.
const MaxExtraDepth = 16
