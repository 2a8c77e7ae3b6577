package schemas

import (
	"encoding/hex"
	"math"
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// The json functions append one member of an object and, unless their name
// ends in Always, leave it out when it is zero or empty.

// jsonKey starts a member; it knows from the last byte whether it is the first.
func jsonKey(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

func jsonLong(dst []byte, name string, v int64) []byte {
	if v == 0 {
		return dst
	}
	return jsonLongAlways(dst, name, v)
}

func jsonLongAlways(dst []byte, name string, v int64) []byte {
	return strconv.AppendInt(jsonKey(dst, name), v, 10)
}

func jsonDoubleAlways(dst []byte, name string, v float64) []byte {
	return jsonNumber(jsonKey(dst, name), v)
}

func jsonBool(dst []byte, name string, v bool) []byte {
	if !v {
		return dst
	}
	return append(jsonKey(dst, name), "true"...)
}

func jsonString(dst []byte, name, v string) []byte {
	if v == "" {
		return dst
	}
	return AppendJSONText(jsonKey(dst, name), v)
}

// jsonSymbol prints an enum; UNKNOWN is its zero.
func jsonSymbol(dst []byte, name, symbol string) []byte {
	if symbol == "UNKNOWN" {
		return dst
	}
	return jsonString(dst, name, symbol)
}

func jsonID(dst []byte, name string, id FlowId) []byte {
	if id == (FlowId{}) {
		return dst
	}
	return jsonHexText(jsonKey(dst, name), id[:])
}

func jsonAddr(dst []byte, name string, a netip.Addr) []byte {
	if !a.IsValid() {
		return dst
	}
	return jsonAddrAlways(dst, name, a)
}

func jsonAddrAlways(dst []byte, name string, a netip.Addr) []byte {
	dst = append(jsonKey(dst, name), '"')
	if a.IsValid() {
		dst = a.WithZone("").AppendTo(dst)
	}
	return append(dst, '"')
}

func jsonMAC(dst []byte, name string, m MAC) []byte {
	if !m.IsValid() {
		return dst
	}
	dst = append(jsonKey(dst, name), '"')
	for i := range m {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = hex.AppendEncode(dst, m[i:i+1])
	}
	return append(dst, '"')
}

// jsonICMP prints an ICMP type and code as one number and as two.
func jsonICMP(dst []byte, name string, v int32) []byte {
	dst = jsonLongAlways(dst, name, int64(v))
	dst = jsonLongAlways(dst, "icmpType", int64(v>>8))
	return jsonLongAlways(dst, "icmpCode", int64(v&0xFF))
}

// The functions below append a value.

func jsonNumber(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) { // JSON has no number for them
		dst = strconv.AppendFloat(append(dst, '"'), v, 'g', -1, 64)
		return append(dst, '"')
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

func jsonHexText(dst, b []byte) []byte {
	return append(hex.AppendEncode(append(dst, '"'), b), '"')
}

// plain tells the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// AppendJSONText appends s as a JSON string, escaped where JSON (RFC 8259)
// demands it. What is not UTF-8 becomes U+FFFD: the text comes from exporters,
// and one bad byte must not cost a record or a document.
func AppendJSONText[T ~string | ~[]byte](dst []byte, s T) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			// A rune has at most four bytes; the conversion stays on the stack.
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, `\ufffd`...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xF])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
