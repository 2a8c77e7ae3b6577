package ecs

import (
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/weir-flow/weir/schemas"
)

// writer appends one JSON document. Members with nothing to say are left out,
// and so are objects that stay empty; nothing is allocated once the buffer has
// its size.
type writer struct{ b []byte }

// mark is where an object or array began, so that an empty one can be undone.
type mark int

// key begins a member: its comma, its name, its colon.
func (w *writer) key(name string) {
	switch w.b[len(w.b)-1] {
	case '{', '[':
	default:
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

// comma separates elements of an array.
func (w *writer) comma() {
	if c := w.b[len(w.b)-1]; c != '[' && c != '{' {
		w.b = append(w.b, ',')
	}
}

func (w *writer) open(name string) mark {
	m := mark(len(w.b))
	w.key(name)
	w.b = append(w.b, '{')
	return m
}

func (w *writer) close(m mark) { w.end(m, '{', '}') }

func (w *writer) openArray(name string) mark {
	m := mark(len(w.b))
	w.key(name)
	w.b = append(w.b, '[')
	return m
}

func (w *writer) closeArray(m mark) { w.end(m, '[', ']') }

// end closes what m opened, or takes it back when nothing is in it.
func (w *writer) end(m mark, opened, closing byte) {
	if w.b[len(w.b)-1] == opened {
		w.b = w.b[:m]
		return
	}
	w.b = append(w.b, closing)
}

// raw writes a member whose value is JSON already.
func (w *writer) raw(name, json string) {
	w.key(name)
	w.b = append(w.b, json...)
}

// text writes a member when s is not empty.
func (w *writer) text(name, s string) {
	if s != "" {
		w.key(name)
		w.b = schemas.AppendJSONText(w.b, s)
	}
}

// word is text for constants of ours, which need no escaping.
func (w *writer) word(name, s string) {
	if s != "" {
		w.key(name)
		w.quoted(s)
	}
}

func (w *writer) quoted(s string) {
	w.b = append(w.b, '"')
	w.b = append(w.b, s...)
	w.b = append(w.b, '"')
}

// integer writes a member when n is not zero: zero means not sent.
func (w *writer) integer(name string, n int64) {
	if n != 0 {
		w.count(name, n)
	}
}

// count writes a member whatever n is.
func (w *writer) count(name string, n int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

// keyword writes a number that ECS holds as a keyword.
func (w *writer) keyword(name string, n int64) {
	if n != 0 {
		w.key(name)
		w.b = append(w.b, '"')
		w.b = strconv.AppendInt(w.b, n, 10)
		w.b = append(w.b, '"')
	}
}

func (w *writer) boolean(name string, v bool) {
	w.key(name)
	w.b = strconv.AppendBool(w.b, v)
}

// yes writes a member only when v is true.
func (w *writer) yes(name string, v bool) {
	if v {
		w.boolean(name, true)
	}
}

func (w *writer) address(name string, a netip.Addr) {
	if a.IsValid() {
		w.key(name)
		w.addressValue(a)
	}
}

// addressValue leaves the zone out: Elasticsearch's ip type has none.
func (w *writer) addressValue(a netip.Addr) {
	w.b = append(w.b, '"')
	w.b = a.WithZone("").AppendTo(w.b)
	w.b = append(w.b, '"')
}

const hexUpper = "0123456789ABCDEF"
const hexLower = "0123456789abcdef"

// mac writes an address in the form of RFC 7042, as ECS wants it.
func (w *writer) mac(name string, m schemas.MAC) {
	if !m.IsValid() {
		return
	}
	w.key(name)
	w.b = append(w.b, '"')
	for i, c := range m {
		if i > 0 {
			w.b = append(w.b, '-')
		}
		w.b = append(w.b, hexUpper[c>>4], hexUpper[c&15])
	}
	w.b = append(w.b, '"')
}

func (w *writer) id(name string, id schemas.FlowId) {
	if id == (schemas.FlowId{}) {
		return
	}
	w.key(name)
	w.b = append(w.b, '"')
	w.b = appendHex(w.b, id[:])
	w.b = append(w.b, '"')
}

func appendHex(b, v []byte) []byte {
	for _, c := range v {
		b = append(b, hexLower[c>>4], hexLower[c&15])
	}
	return b
}

// float writes a number, or a string for what JSON has no number for.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		b = append(b, '"')
		b = strconv.AppendFloat(b, f, 'g', -1, 64)
		return append(b, '"')
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// Times outside of the years 1 to 9999 are garbage of an exporter's clock, and
// no date to Elasticsearch.
const (
	minTime = -62135596800000
	maxTime = 253402300799999
)

// time writes milliseconds since the epoch as RFC 3339 in UTC.
func (w *writer) time(name string, ms int64) {
	if ms != 0 && ms >= minTime && ms <= maxTime {
		w.key(name)
		w.b = appendTime(w.b, ms)
	}
}

func appendTime(b []byte, ms int64) []byte {
	t := time.UnixMilli(ms).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(b, '"')
	b = append2(b, year/100)
	b = append2(b, year%100)
	b = append(b, '-')
	b = append2(b, int(month))
	b = append(b, '-')
	b = append2(b, day)
	b = append(b, 'T')
	b = append2(b, hour)
	b = append(b, ':')
	b = append2(b, minute)
	b = append(b, ':')
	b = append2(b, second)
	m := t.Nanosecond() / 1e6
	return append(b, '.', '0'+byte(m/100), '0'+byte(m/10%10), '0'+byte(m%10), 'Z', '"')
}

func append2(b []byte, n int) []byte { return append(b, '0'+byte(n/10), '0'+byte(n%10)) }

// AppendString appends s as a JSON string; what is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte { return schemas.AppendJSONText(dst, s) }

// AppendTime appends a time in ms since the epoch as a JSON string, RFC 3339
// in UTC.
func AppendTime(dst []byte, ms int64) []byte { return appendTime(dst, ms) }
