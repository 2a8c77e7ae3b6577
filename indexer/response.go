package indexer

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// itemResult is what Elasticsearch says of one document of a bulk request. The
// texts alias the response, escapes and all.
type itemResult struct {
	status       int
	kind, reason []byte
}

// errResponse is a bulk answer that is not one: cut off, or another server's.
var errResponse = errors.New("not the answer to a bulk request")

// parseResponse calls item with the outcome of each document of a bulk
// request, in their order, and returns how many there were. It allocates
// nothing. An error means that nothing is certain of the documents that were
// not called for; those that were, stand.
//
// Only what is asked for by responseFilter is looked at: errors, and of each
// item the status and the type and reason of an error.
func parseResponse(b []byte, item func(i int, r itemResult)) (int, error) {
	s := scanner{b: b}
	n := 0
	s.object(func(key []byte) {
		if string(key) != "items" {
			s.skip(0)
			return
		}
		s.array(func() {
			var r itemResult
			s.object(func([]byte) { // the action: create
				s.object(func(key []byte) {
					switch string(key) {
					case "status":
						r.status = s.integer()
					case "error":
						if s.peek() != '{' {
							r.reason = s.text() // before Elasticsearch 5, and of proxies
							return
						}
						s.object(func(key []byte) {
							switch string(key) {
							case "type":
								r.kind = s.text()
							case "reason":
								r.reason = s.text()
							case "caused_by":
								// The outer reason says which field, the inner what of it.
								s.object(func(key []byte) {
									if string(key) == "reason" && len(r.reason) == 0 {
										r.reason = s.text()
										return
									}
									s.skip(0)
								})
							default:
								s.skip(0)
							}
						})
					default:
						s.skip(0)
					}
				})
			})
			if s.failed {
				return
			}
			if r.status == 0 {
				s.failed = true
				return
			}
			item(n, r)
			n++
		})
	})
	s.space()
	if s.failed || s.i != len(s.b) {
		return n, fmt.Errorf("%w: malformed at byte %d of %d", errResponse, s.i, len(s.b))
	}
	return n, nil
}

// scanner reads JSON in place. After a failure everything returns at once.
type scanner struct {
	b      []byte
	i      int
	failed bool
}

// Deeper nesting is refused: the answer of a bulk request has a few levels.
const maxDepth = 64

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte that is no white space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.failed || s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) expect(c byte) bool {
	if s.peek() != c {
		s.failed = true
		return false
	}
	s.i++
	return true
}

func (s *scanner) object(member func(key []byte)) {
	if !s.expect('{') {
		return
	}
	if s.peek() == '}' {
		s.i++
		return
	}
	for !s.failed {
		key := s.text()
		if !s.expect(':') {
			return
		}
		member(key)
		if s.peek() == ',' {
			s.i++
			continue
		}
		s.expect('}')
		return
	}
}

func (s *scanner) array(element func()) {
	if !s.expect('[') {
		return
	}
	if s.peek() == ']' {
		s.i++
		return
	}
	for !s.failed {
		element()
		if s.peek() == ',' {
			s.i++
			continue
		}
		s.expect(']')
		return
	}
}

// text returns what stands between the quotes.
func (s *scanner) text() []byte {
	if !s.expect('"') {
		return nil
	}
	for j := s.i; j < len(s.b); j++ {
		switch s.b[j] {
		case '\\':
			j++
		case '"':
			t := s.b[s.i:j]
			s.i = j + 1
			return t
		}
	}
	s.failed = true
	return nil
}

func (s *scanner) integer() int {
	n, digits := 0, 0
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		n = n*10 + int(c-'0')
		s.i++
		if digits++; digits > 9 {
			s.failed = true
			return 0
		}
	}
	if digits == 0 {
		s.failed = true
	}
	return n
}

// skip passes over a value of any kind.
func (s *scanner) skip(depth int) {
	if depth > maxDepth {
		s.failed = true
		return
	}
	switch c := s.peek(); {
	case c == '{':
		s.object(func([]byte) { s.skip(depth + 1) })
	case c == '[':
		s.array(func() { s.skip(depth + 1) })
	case c == '"':
		s.text()
	default:
		start := s.i
		for s.i < len(s.b) && !delimiter(s.b[s.i]) {
			s.i++
		}
		if s.i == start {
			s.failed = true
		}
	}
}

func delimiter(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\n', '\r', '"', '{', '[', ':':
		return true
	}
	return false
}

// readable makes a text of JSON fit for a header: a bounded piece of it, with
// the common escapes undone.
func readable(t []byte) string {
	const most = 2000
	if len(t) > most {
		t = t[:most]
		for len(t) > 0 && !utf8.RuneStart(t[len(t)-1]) {
			t = t[:len(t)-1]
		}
	}
	out := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		c := t[i]
		if c == '\\' && i+1 < len(t) {
			i++
			switch c = t[i]; c {
			case 'n', 'r', 't':
				c = ' '
			case 'u', 'b', 'f':
				out = append(out, '\\')
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// outcome is what becomes of a document.
type outcome uint8

const (
	created outcome = iota // Elasticsearch has it now
	exists                 // and had it before: a repeat
	retry                  // it may take it later
	refused                // it will never take it
	outcomes
)

func (o outcome) String() string { return [...]string{"created", "exists", "retry", "refused"}[o] }

// judge tells a document that is at fault from a server that is. What is not
// surely the document's fault is tried again: a full disk, a block, a missing
// privilege, a missing template or too many shards pass when someone acts on
// them, and then nothing is lost.
func judge(r itemResult) outcome {
	switch {
	case r.status >= 200 && r.status < 300:
		return created
	case r.status == 409:
		return exists
	case r.status == 413:
		return refused
	case r.status == 400:
		switch string(r.kind) {
		case "validation_exception", // too many shards
			"cluster_block_exception", "index_closed_exception", "invalid_index_name_exception",
			"illegal_state_exception":
			return retry
		}
		return refused
	default:
		return retry
	}
}
