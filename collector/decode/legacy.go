package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/weir-flow/weir/schemas"
)

// legacyHeader reads what v1, v5 and v7 share, and returns the records that
// are there: a count beyond the datagram yields no phantoms, one below it
// hides nothing but trailing octets.
func (d *Decoder) legacyHeader(header int) (count int, ok bool) {
	b := d.data
	if len(b) < header {
		d.reject(TooShort, 0, 0)
		return 0, false
	}
	d.hdr.Uptime = binary.BigEndian.Uint32(b[4:])
	d.hdr.ExportTime = int64(binary.BigEndian.Uint32(b[8:]))*1000 + int64(binary.BigEndian.Uint32(b[12:]))/1e6
	return int(binary.BigEndian.Uint16(b[2:])), true
}

func (d *Decoder) legacy(p schemas.ExportProtocol, id uint32, count, header, record int, seq uint32, fill func(b []byte, r *schemas.FlowRecord)) {
	b := d.data
	dom := d.domainOf(domainKey{protocol: p, id: id})
	if dom == nil {
		d.reject(TooManyDomains, 0, 0)
		return
	}
	d.begin(p, dom, b[:header], seq)
	n := min(count, (len(b)-header)/record)
	boot := d.hdr.ExportTime - int64(d.hdr.Uptime)
	for i := range n {
		at := header + i*record
		v := b[at : at+record]
		r := d.record(uint64(at))
		r.SourceIPAddress = netip.AddrFrom4([4]byte(v[0:]))
		r.DestinationIPAddress = netip.AddrFrom4([4]byte(v[4:]))
		r.IpNextHopAddress = netip.AddrFrom4([4]byte(v[8:]))
		r.IngressInterface = int64(binary.BigEndian.Uint16(v[12:]))
		r.EgressInterface = int64(binary.BigEndian.Uint16(v[14:]))
		r.PacketDeltaCount = int64(binary.BigEndian.Uint32(v[16:]))
		r.OctetDeltaCount = int64(binary.BigEndian.Uint32(v[20:]))
		r.FlowStartMilliseconds = uptimeTime(boot, d.hdr.Uptime, binary.BigEndian.Uint32(v[24:]))
		r.FlowEndMilliseconds = uptimeTime(boot, d.hdr.Uptime, binary.BigEndian.Uint32(v[28:]))
		r.SourceTransportPort = int32(binary.BigEndian.Uint16(v[32:]))
		r.DestinationTransportPort = int32(binary.BigEndian.Uint16(v[34:]))
		fill(v, r)
		if r.ProtocolIdentifier == 1 && r.SourceTransportPort == 0 {
			r.IcmpTypeCode, r.IcmpSeen = r.DestinationTransportPort, true
		}
		d.overrideSampling(r)
		d.flow()
	}
	if n < count {
		d.reject(Truncated, 0, header+n*record)
	}
	if p != schemas.ExportProtocolNETFLOW_V1 {
		d.observe(seq, uint32(count), true) // flows
	}
}

// netflow5 decodes NetFlow v5.
func (d *Decoder) netflow5() {
	const header, record = 24, 48
	count, ok := d.legacyHeader(header)
	if !ok {
		return
	}
	b := d.data
	s := binary.BigEndian.Uint16(b[22:])
	interval, algorithm := int64(s&0x3FFF), int32(s>>14)
	assumed := interval == 0
	if assumed {
		interval = d.cfg.DefaultSampling
	}
	engine := uint32(b[20])<<8 | uint32(b[21])
	d.legacy(schemas.ExportProtocolNETFLOW_V5, engine, count, header, record, binary.BigEndian.Uint32(b[16:]), func(v []byte, r *schemas.FlowRecord) {
		r.SamplingInterval, r.SamplingAssumed, r.SamplingAlgorithm = interval, assumed, algorithm
		r.TcpControlBits = int32(v[37])
		r.ProtocolIdentifier = int32(v[38])
		r.IpClassOfService = int32(v[39])
		r.BgpSourceAsNumber = int64(binary.BigEndian.Uint16(v[40:]))
		r.BgpDestinationAsNumber = int64(binary.BigEndian.Uint16(v[42:]))
		r.SourcePrefixLength, r.DestinationPrefixLength = int32(v[44]), int32(v[45])
	})
}

// netflow7 decodes NetFlow v7 (Catalyst switches): v5's record with flags and
// the router that was bypassed behind it.
func (d *Decoder) netflow7() {
	const header, record = 24, 52
	count, ok := d.legacyHeader(header)
	if !ok {
		return
	}
	d.legacy(schemas.ExportProtocolNETFLOW_V7, 0, count, header, record, binary.BigEndian.Uint32(d.data[16:]), func(v []byte, r *schemas.FlowRecord) {
		r.SamplingInterval, r.SamplingAssumed = d.cfg.DefaultSampling, true
		r.TcpControlBits = int32(v[37])
		r.ProtocolIdentifier = int32(v[38])
		r.IpClassOfService = int32(v[39])
		r.BgpSourceAsNumber = int64(binary.BigEndian.Uint16(v[40:]))
		r.BgpDestinationAsNumber = int64(binary.BigEndian.Uint16(v[42:]))
		r.SourcePrefixLength, r.DestinationPrefixLength = int32(v[44]), int32(v[45])
		if a := netip.AddrFrom4([4]byte(v[48:])); !a.IsUnspecified() {
			d.arena = d.arena[:0]
			r.Extra = append(r.Extra, schemas.Extra{Name: "ipv4RouterSc", Value: schemas.ExtraValue{Kind: schemas.ExtraString, Bytes: d.addrText(a)}})
		}
	})
}

// netflow1 decodes NetFlow v1.
func (d *Decoder) netflow1() {
	const header, record = 16, 52
	count, ok := d.legacyHeader(header)
	if !ok {
		return
	}
	d.legacy(schemas.ExportProtocolNETFLOW_V1, 0, count, header, record, 0, func(v []byte, r *schemas.FlowRecord) {
		r.SamplingInterval, r.SamplingAssumed = d.cfg.DefaultSampling, true
		r.ProtocolIdentifier = int32(v[38])
		r.IpClassOfService = int32(v[39])
		r.TcpControlBits = int32(v[40])
	})
}
