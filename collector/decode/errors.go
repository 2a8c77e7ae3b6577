package decode

import (
	"fmt"
	"net/netip"
)

// Reason says why something could not be decoded.
type Reason uint8

// The reasons.
const (
	// TooShort: not even a header.
	TooShort Reason = iota
	// UnknownVersion: no version this package knows.
	UnknownVersion
	// Truncated: the datagram ends within what its lengths announce.
	Truncated
	// BadSet: a set shorter than its own header; what follows has no start.
	BadSet
	// BadTemplate: a template that contradicts itself, has no fields, or more
	// than any exporter sends.
	BadTemplate
	// TooManyTemplates: the cap of the domain is reached.
	TooManyTemplates
	// TooManyDomains: the cap of the exporter is reached.
	TooManyDomains
	// TooManyRecords: more records than the size of the datagram is good for.
	TooManyRecords
	// NoTemplate: data whose template did not come while it was held.
	NoTemplate
	// BadSample: an sFlow sample whose lengths contradict each other.
	BadSample
	// Reasons is the number of reasons.
	Reasons
)

var reasonNames = [...]string{
	"too_short", "unknown_version", "truncated", "bad_set", "bad_template", "too_many_templates", "too_many_domains", "too_many_records", "no_template", "bad_sample",
}

// String returns the reason as metrics and dead letters name it.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Error says what could not be decoded, in the protocol's coordinates.
type Error struct {
	Reason Reason
	Source netip.Addr
	// Version as in the datagram; 0 when there is none.
	Version uint16
	Domain  uint32
	// Template is the id concerned, 0 for none.
	Template uint16
	// Offset in the datagram, octets.
	Offset int
}

func (e *Error) Error() string {
	return fmt.Sprintf("datagram from %v, version %d, domain %d, template %d, offset %d: %v",
		e.Source, e.Version, e.Domain, e.Template, e.Offset, e.Reason)
}

// reject counts and reports.
func (d *Decoder) reject(r Reason, template uint16, offset int) {
	d.stats.Rejected[r].Add(1)
	if d.exporter != nil {
		d.exporter.Rejected++
	}
	e := Error{Reason: r, Source: d.hdr.Source, Template: template, Offset: offset}
	if len(d.data) >= 2 {
		e.Version = uint16(d.data[0])<<8 | uint16(d.data[1])
	}
	if d.domain != nil {
		e.Domain = d.domain.id
	}
	d.h.Reject(&e)
}
