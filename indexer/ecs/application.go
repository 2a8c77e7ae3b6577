package ecs

import (
	"crypto/tls"
	"net/netip"
	"strings"

	"github.com/weir-flow/weir/schemas"
)

// application writes what exporters saw of layer 7. A client's part and a
// server's may have come in the records of either direction.
func (e *Encoder) application(w *writer, f *schemas.EnrichedFlow) {
	r, rev := &f.Flow, &f.Reverse.Value
	both := f.Reverse.Set
	if d, ok := dns(&r.Dns, &rev.Dns, both); ok {
		e.dns(w, d)
	}
	if has(&r.Tls, &rev.Tls, both) {
		e.tls(w, pair(&r.Tls, &rev.Tls, both))
	}
	if has(&r.Http, &rev.Http, both) {
		e.http(w, pair(&r.Http, &rev.Http, both))
	}
}

// dns chooses the response, which repeats the question.
func dns(forward, reverse *schemas.Optional[schemas.DNS], both bool) (*schemas.DNS, bool) {
	if both && reverse.Set && (reverse.Value.Response || !forward.Set) {
		return &reverse.Value, true
	}
	return &forward.Value, forward.Set
}

// sides are the records of the two directions; nil where there is none.
type sides[T any] struct{ a, b *T }

func pair[T any](forward, reverse *schemas.Optional[T], both bool) (s sides[T]) {
	if forward.Set {
		s.a = &forward.Value
	}
	if both && reverse.Set {
		s.b = &reverse.Value
	}
	return s
}

// first returns what the first direction says that says anything.
func first[T any, V comparable](s sides[T], get func(*T) V) (v V) {
	if s.a != nil {
		v = get(s.a)
	}
	var zero V
	if v == zero && s.b != nil {
		v = get(s.b)
	}
	return v
}

func (e *Encoder) dns(w *writer, d *schemas.DNS) {
	e.relateHost(d.QueryName)
	m := w.open("dns")
	if d.Response {
		w.word("type", "answer")
	} else {
		w.word("type", "query")
	}
	w.keyword("id", int64(d.Id))
	q := w.open("question")
	w.text("name", d.QueryName)
	rrType(w, d.QueryType)
	w.close(q)
	if d.Response {
		if s := dnsCode(d.ResponseCode); s != "" {
			w.word("response_code", s)
		} else {
			w.keyword("response_code", int64(d.ResponseCode))
		}
	}
	a := w.openArray("answers")
	for i := range d.Answers {
		w.comma()
		w.b = append(w.b, '{')
		w.text("data", d.Answers[i].Data)
		rrType(w, d.Answers[i].Type)
		w.integer("ttl", d.Answers[i].Ttl)
		w.b = append(w.b, '}')
	}
	w.closeArray(a)
	a = w.openArray("resolved_ip")
	for i := range d.Answers {
		if t := d.Answers[i].Type; t != 1 && t != 28 && t != 0 || !looksLikeAddress(d.Answers[i].Data) {
			continue
		}
		if ip, err := netip.ParseAddr(d.Answers[i].Data); err == nil {
			w.comma()
			w.addressValue(ip)
			e.relateIP(ip.WithZone(""))
		}
	}
	w.closeArray(a)
	w.close(m)
}

// looksLikeAddress spares most names the parser, whose errors are garbage.
func looksLikeAddress(s string) bool {
	return s != "" && (s[len(s)-1] >= '0' && s[len(s)-1] <= '9' || strings.IndexByte(s, ':') >= 0)
}

// rrType writes the type of a question or answer; 0 is not sent.
func rrType(w *writer, t int32) {
	if s := dnsType(t); s != "" {
		w.word("type", s)
		return
	}
	if t != 0 {
		w.key("type")
		w.b = append(w.b, `"TYPE`...) // RFC 3597 section 5
		w.b = appendUint(w.b, uint32(t))
		w.b = append(w.b, '"')
	}
}

func appendUint(b []byte, n uint32) []byte {
	if n >= 10 {
		b = appendUint(b, n/10)
	}
	return append(b, '0'+byte(n%10))
}

func (e *Encoder) tls(w *writer, s sides[schemas.TLS]) {
	m := w.open("tls")
	version, protocol := tlsVersion(first(s, func(t *schemas.TLS) int32 { return t.Version }))
	w.word("version", version)
	w.word("version_protocol", protocol)
	if c := first(s, func(t *schemas.TLS) int32 { return t.Cipher }); c > 0 && c <= 0xffff {
		e.cipher(w, uint16(c))
	}
	w.text("next_protocol", first(s, func(t *schemas.TLS) string { return t.Alpn }))
	n := w.open("client")
	name := first(s, func(t *schemas.TLS) string { return t.ServerName })
	e.relateHost(name)
	w.text("server_name", name)
	ja3 := first(s, func(t *schemas.TLS) string { return t.Ja3 })
	e.relateHash(ja3)
	w.text("ja3", ja3)
	w.close(n)
	n = w.open("server")
	ja3s := first(s, func(t *schemas.TLS) string { return t.Ja3s })
	e.relateHash(ja3s)
	w.text("ja3s", ja3s)
	w.text("subject", first(s, func(t *schemas.TLS) string { return t.CertificateSubject }))
	w.text("issuer", first(s, func(t *schemas.TLS) string { return t.CertificateIssuer }))
	w.time("not_before", first(s, func(t *schemas.TLS) int64 { return t.CertificateNotBefore }))
	w.time("not_after", first(s, func(t *schemas.TLS) int64 { return t.CertificateNotAfter }))
	if print := first(s, func(t *schemas.TLS) string { return t.CertificateFingerprint }); print != "" {
		e.relateHash(print)
		h := w.open("hash")
		switch len(print) {
		case 32:
			w.text("md5", print)
		case 40:
			w.text("sha1", print)
		default:
			w.text("sha256", print)
		}
		w.close(h)
	}
	w.close(n)
	w.close(m)
}

// cipher writes the name of a suite, or its number where it is not one of
// those that are in use.
func (e *Encoder) cipher(w *writer, c uint16) {
	if name := e.ciphers[c]; name != "" {
		w.word("cipher", name)
		return
	}
	w.key("cipher")
	w.b = append(w.b, '"', '0', 'x', hexUpper[c>>12], hexUpper[c>>8&15], hexUpper[c>>4&15], hexUpper[c&15], '"')
}

// cipherNames is made once: crypto/tls makes its lists anew at every question.
func cipherNames() map[uint16]string {
	names := map[uint16]string{}
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, c := range list {
			names[c.ID] = c.Name
		}
	}
	return names
}

func (e *Encoder) http(w *writer, s sides[schemas.HTTP]) {
	host := first(s, func(h *schemas.HTTP) string { return h.Host })
	url := first(s, func(h *schemas.HTTP) string { return h.Url })
	domain := hostname(host)
	e.relateHost(domain)
	m := w.open("url")
	w.text("original", url)
	path := url
	if i := strings.Index(url, "://"); i >= 0 {
		w.text("full", url)
		path = url[i+3:]
		if j := strings.IndexByte(path, '/'); j >= 0 {
			if domain == "" {
				domain = hostname(path[:j])
			}
			path = path[j:]
		} else {
			path = ""
		}
	} else if host != "" && strings.HasPrefix(url, "/") {
		w.key("full")
		w.b = append(w.b, `"http://`...)
		at := len(w.b)
		w.b = schemas.AppendJSONText(w.b, host)
		// Join the two strings: host's closing quote and url's opening one go.
		w.b = append(w.b[:at], w.b[at+1:len(w.b)-1]...)
		at = len(w.b)
		w.b = schemas.AppendJSONText(w.b, url)
		w.b = append(w.b[:at], w.b[at+1:]...)
	}
	w.text("domain", domain)
	path, query, _ := strings.Cut(path, "?")
	if strings.HasPrefix(path, "/") {
		w.text("path", path)
	}
	w.text("query", query)
	w.close(m)

	m = w.open("http")
	n := w.open("request")
	w.text("method", first(s, func(h *schemas.HTTP) string { return h.Method }))
	w.text("referrer", first(s, func(h *schemas.HTTP) string { return h.Referer }))
	w.close(n)
	n = w.open("response")
	w.integer("status_code", int64(first(s, func(h *schemas.HTTP) int32 { return h.StatusCode })))
	mime, _, _ := strings.Cut(first(s, func(h *schemas.HTTP) string { return h.ContentType }), ";")
	w.text("mime_type", mime)
	w.close(n)
	w.close(m)

	m = w.open("user_agent")
	w.text("original", first(s, func(h *schemas.HTTP) string { return h.UserAgent }))
	w.close(m)
}

// hostname takes the port off a Host header, and the brackets off an address.
func hostname(host string) string {
	if strings.HasPrefix(host, "[") {
		if i := strings.IndexByte(host, ']'); i > 0 {
			return host[1:i]
		}
		return host
	}
	if i := strings.IndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i+1:], ':') < 0 {
		return host[:i]
	}
	return host
}
