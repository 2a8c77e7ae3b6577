package ecs

// The tables hold the names that people search for; what is not in them is
// written as a number in text, so that nothing is lost.

// transport returns ECS network.transport: the lower-case IANA keyword of an
// IP protocol.
func transport(protocol int32) string {
	switch protocol {
	case 1:
		return "icmp"
	case 2:
		return "igmp"
	case 4:
		return "ipv4"
	case 6:
		return "tcp"
	case 8:
		return "egp"
	case 17:
		return "udp"
	case 27:
		return "rdp"
	case 33:
		return "dccp"
	case 41:
		return "ipv6"
	case 46:
		return "rsvp"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case 58:
		return "ipv6-icmp"
	case 88:
		return "eigrp"
	case 89:
		return "ospf"
	case 94:
		return "ipip"
	case 103:
		return "pim"
	case 112:
		return "vrrp"
	case 115:
		return "l2tp"
	case 132:
		return "sctp"
	case 136:
		return "udplite"
	case 137:
		return "mpls-in-ip"
	}
	return ""
}

// dnsType returns the mnemonic of a resource record type (IANA).
func dnsType(t int32) string {
	switch t {
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 10:
		return "NULL"
	case 12:
		return "PTR"
	case 13:
		return "HINFO"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 33:
		return "SRV"
	case 35:
		return "NAPTR"
	case 39:
		return "DNAME"
	case 41:
		return "OPT"
	case 43:
		return "DS"
	case 46:
		return "RRSIG"
	case 47:
		return "NSEC"
	case 48:
		return "DNSKEY"
	case 50:
		return "NSEC3"
	case 52:
		return "TLSA"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 99:
		return "SPF"
	case 251:
		return "IXFR"
	case 252:
		return "AXFR"
	case 255:
		return "ANY"
	case 257:
		return "CAA"
	}
	return ""
}

// dnsCode returns the mnemonic of a response code (IANA).
func dnsCode(c int32) string {
	switch c {
	case 0:
		return "NOERROR"
	case 1:
		return "FORMERR"
	case 2:
		return "SERVFAIL"
	case 3:
		return "NXDOMAIN"
	case 4:
		return "NOTIMP"
	case 5:
		return "REFUSED"
	case 6:
		return "YXDOMAIN"
	case 7:
		return "YXRRSET"
	case 8:
		return "NXRRSET"
	case 9:
		return "NOTAUTH"
	case 10:
		return "NOTZONE"
	case 16:
		return "BADVERS"
	case 23:
		return "BADCOOKIE"
	}
	return ""
}

// tlsVersion returns ECS tls.version and tls.version_protocol of a version as
// it is on the wire.
func tlsVersion(v int32) (version, protocol string) {
	switch v {
	case 0x0002:
		return "2.0", "ssl"
	case 0x0300:
		return "3.0", "ssl"
	case 0x0301:
		return "1.0", "tls"
	case 0x0302:
		return "1.1", "tls"
	case 0x0303:
		return "1.2", "tls"
	case 0x0304:
		return "1.3", "tls"
	}
	return "", ""
}

// confidence returns ECS threat.indicator.confidence, the None/Low/Medium/High
// scale of STIX 2.1 appendix A, for 0 to 100.
func confidence(c int32) string {
	switch {
	case c <= 0:
		return "Not Specified"
	case c < 30:
		return "Low"
	case c < 70:
		return "Medium"
	default:
		return "High"
	}
}
