package decode

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"github.com/weir-flow/weir/schemas"
)

func (d *Decoder) dns(r *schemas.FlowRecord) *schemas.DNS {
	if !r.Dns.Set {
		r.Dns.Set = true
		r.Dns.Value = schemas.DNS{Answers: d.answers[:0]}
	}
	return &r.Dns.Value
}

func tls(r *schemas.FlowRecord) *schemas.TLS {
	r.Tls.Set = true
	return &r.Tls.Value
}

func http(r *schemas.FlowRecord) *schemas.HTTP {
	r.Http.Set = true
	return &r.Http.Value
}

// layer7 sets a field of the typed layer-7 records. An empty value says that
// the exporter has nothing to say, and makes no record.
func (d *Decoder) layer7(o *op, v []byte, r *schemas.FlowRecord) {
	if len(v) == 0 || v[0] == 0 && len(bytes.Trim(v, "\x00")) == 0 {
		// Of numbers zero means something only in DNS: NOERROR.
		if o.code == cDNSCode {
			d.s.seen |= sawRcode
		}
		return
	}
	switch o.code {
	case cDNSName:
		d.dns(r).QueryName = strings.TrimSuffix(d.text(v), ".")
	case cDNSType:
		d.dns(r).QueryType = int32(u16(v))
	case cDNSCode:
		// Flags and code together come in two octets.
		d.dns(r).ResponseCode = int32(u16(v) & 0xF)
		if len(v) == 1 {
			r.Dns.Value.ResponseCode = int32(v[0])
		}
		d.s.seen |= sawRcode
	case cDNSResponse:
		if len(v) == 2 { // the header's flags
			f := u16(v)
			d.dns(r).Response = f&0x8000 != 0
			r.Dns.Value.ResponseCode = int32(f & 0xF)
		} else {
			d.dns(r).Response = true
		}
	case cDNSID:
		d.dns(r).Id = int32(u16(v))
	case cDNSAnswers:
		d.s.answers = u(v)
		d.s.seen |= sawResponse
	case cDNSAddress:
		if a, ok := netip.AddrFromSlice(v); ok && !a.IsUnspecified() {
			t := int32(1)
			if a.Is6() {
				t = 28
			}
			d.answer(r, d.addrText(a), t)
		}
	case cDNSText:
		if b := d.clean(v); len(b) > 0 {
			d.answer(r, b, 0)
		}
	case cDNSAnswerType:
		d.s.answerType, d.s.seen = int32(u16(v)), d.s.seen|sawAnswerType
	case cDNSAnswerTTL:
		d.s.answerTTL, d.s.seen = int64(u32(v)), d.s.seen|sawAnswerTTL
	case cTLSName:
		tls(r).ServerName = d.text(v)
	case cTLSVersion:
		tls(r).Version = int32(u16(v))
	case cTLSCipher:
		tls(r).Cipher = int32(u16(v))
	case cJA3:
		tls(r).Ja3 = d.hexText(v, 16)
	case cJA3S:
		tls(r).Ja3s = d.hexText(v, 16)
	case cJA4:
		tls(r).Ja4 = d.text(v)
	case cCertSubject:
		tls(r).CertificateSubject = d.text(v)
	case cCertIssuer:
		tls(r).CertificateIssuer = d.text(v)
	case cCertNotBefore:
		tls(r).CertificateNotBefore = certTime(v)
	case cCertNotAfter:
		tls(r).CertificateNotAfter = certTime(v)
	case cCertHash:
		tls(r).CertificateFingerprint = d.hexText(v, 20)
	case cALPN:
		tls(r).Alpn = d.text(v)
	case cHTTPHost:
		http(r).Host = d.text(v)
	case cCiscoHost:
		// Six octets of application and sub-field id come first.
		if len(v) > 6 && (v[0] == 3 || v[0] == 13) {
			v = v[6:]
		}
		http(r).Host = d.text(v)
	case cURL:
		http(r).Url = d.text(v)
	case cMethod:
		http(r).Method = d.text(v)
	case cStatus:
		http(r).StatusCode = statusCode(v)
	case cUserAgent:
		http(r).UserAgent = d.text(v)
	case cContentType:
		http(r).ContentType = d.text(v)
	case cReferer:
		http(r).Referer = d.text(v)
	}
}

func (d *Decoder) answer(r *schemas.FlowRecord, data []byte, rrType int32) {
	dns := d.dns(r)
	dns.Answers = append(dns.Answers, schemas.DNSAnswer{Data: str(data), Type: rrType})
}

// finishDNS settles what the fields say only together.
func (d *Decoder) finishDNS(r *schemas.FlowRecord) {
	if !r.Dns.Set {
		return
	}
	dns, s := &r.Dns.Value, &d.s
	for i := range dns.Answers {
		if s.seen&sawAnswerType != 0 && dns.Answers[i].Type == 0 {
			dns.Answers[i].Type = s.answerType
		}
		if s.seen&sawAnswerTTL != 0 {
			dns.Answers[i].Ttl = s.answerTTL
		}
	}
	// A code of zero is sent for queries too: a response shows by its code, its
	// answers, or the port it comes from.
	if dns.ResponseCode != 0 || len(dns.Answers) > 0 || s.seen&sawResponse != 0 && s.answers > 0 ||
		s.seen&sawRcode != 0 && (r.SourceTransportPort == 53 || r.ReversePacketDeltaCount > 0) {
		dns.Response = true
	}
	d.answers = dns.Answers[:0]
}

// certTime reads the times of certificates: ASN.1 text, or seconds or
// milliseconds since the epoch. 0: not readable.
func certTime(v []byte) int64 {
	if len(v) >= 13 {
		for _, layout := range []string{"060102150405Z", "20060102150405Z"} {
			if t, err := time.Parse(layout, string(v)); err == nil {
				return t.UnixMilli()
			}
		}
		return 0
	}
	n := int64(u(v))
	if len(v) > 8 || n < 0 {
		return 0
	}
	if n < 1e11 {
		return n * 1000
	}
	return n
}

// statusCode reads a status that comes as a number or as text.
func statusCode(v []byte) int32 {
	if len(v) >= 3 && v[0] >= '1' && v[0] <= '9' {
		n := int32(0)
		for _, c := range v[:3] {
			if c < '0' || c > '9' {
				return 0
			}
			n = n*10 + int32(c-'0')
		}
		return n
	}
	return int32(u16(v))
}
