package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/weir-flow/weir/collector/ie"
	"github.com/weir-flow/weir/schemas"
)

// xdr reads sFlow's XDR. After the first read beyond its end it is bad and
// yields zeros; nothing is ever allocated for what a length claims.
type xdr struct {
	b   []byte
	at  int // offset of b in the datagram
	bad bool
}

func (x *xdr) u32() uint32 {
	if x.bad || len(x.b) < 4 {
		x.bad = true
		return 0
	}
	v := binary.BigEndian.Uint32(x.b)
	x.b, x.at = x.b[4:], x.at+4
	return v
}

func (x *xdr) take(n uint32) []byte {
	if x.bad || uint64(n) > uint64(len(x.b)) {
		x.bad = true
		return nil
	}
	v := x.b[:n]
	x.b, x.at = x.b[n:], x.at+int(n)
	return v
}

// opaque takes variable-length octets with their padding to four.
func (x *xdr) opaque() []byte {
	n := x.u32()
	v := x.take(n)
	if pad := -n & 3; !x.bad && int(pad) <= len(x.b) {
		x.take(pad)
	}
	return v
}

func (x *xdr) address() netip.Addr {
	switch t := x.u32(); t {
	case 0:
		return netip.Addr{}
	case 1:
		if v := x.take(4); v != nil {
			return netip.AddrFrom4([4]byte(v))
		}
	case 2:
		if v := x.take(16); v != nil {
			return netip.AddrFrom16([16]byte(v))
		}
	default:
		x.bad = true
	}
	return netip.Addr{}
}

// sub is the part of the next n octets.
func (x *xdr) sub(n uint32) xdr {
	at := x.at
	b := x.take(n)
	return xdr{b: b, at: at, bad: x.bad}
}

// sflow5 decodes an sFlow v5 datagram (sflow.org, sflow_version_5.txt).
func (d *Decoder) sflow5() {
	x := xdr{b: d.data[4:], at: 4}
	agent := x.address()
	subAgent, seq, uptime := x.u32(), x.u32(), x.u32()
	head := x.at
	samples := x.u32()
	if x.bad {
		d.reject(TooShort, 0, 0)
		return
	}
	if agent.IsValid() {
		agent = agent.Unmap()
		d.hdr.Exporter = agent
	}
	d.hdr.Uptime = uptime
	dom := d.domainOf(domainKey{protocol: schemas.ExportProtocolSFLOW_V5, id: subAgent, agent: agent})
	if dom == nil {
		d.reject(TooManyDomains, 0, 0)
		return
	}
	d.begin(schemas.ExportProtocolSFLOW_V5, dom, d.data[:head], seq)
	for i := uint32(0); i < samples; i++ {
		if len(x.b) == 0 && !x.bad {
			d.reject(Truncated, 0, x.at)
			break
		}
		at := x.at
		format, n := x.u32(), x.u32()
		s := x.sub(n)
		if x.bad {
			d.reject(Truncated, 0, at)
			break
		}
		if !d.spend(at) {
			break
		}
		d.arena = d.arena[:0]
		switch format {
		case 1, 3:
			d.flowSample(&s, format == 3)
		case 2, 4:
			d.countersSample(&s, format == 4)
		}
		// Any other format is skipped by its length.
	}
	d.observe(seq, 1, true) // datagrams
}

func (d *Decoder) sourceID(x *xdr, expanded bool) (kind, index uint32) {
	if expanded {
		return x.u32(), x.u32()
	}
	v := x.u32()
	return v >> 24, v & 0xFFFFFF
}

// interfaceOf reads an input or output: only format 0 is an interface's index.
func interfaceOf(x *xdr, expanded bool) (format, value uint32) {
	if expanded {
		return x.u32(), x.u32()
	}
	v := x.u32()
	return v >> 30, v & 0x3FFFFFFF
}

func (d *Decoder) flowSample(x *xdr, expanded bool) {
	at := x.at
	seq := x.u32()
	kind, index := d.sourceID(x, expanded)
	rate, pool, drops := x.u32(), x.u32(), x.u32()
	inFormat, in := interfaceOf(x, expanded)
	outFormat, out := interfaceOf(x, expanded)
	records := x.u32()
	if x.bad {
		d.reject(BadSample, 0, at)
		return
	}
	// The id of a sample: its own sequence number in its source, and its place
	// should an agent repeat that.
	r := d.record(uint64(kind)<<56 ^ uint64(index)<<40 ^ uint64(seq)<<8 ^ uint64(at))
	r.SamplingInterval, r.SamplingAlgorithm = int64(rate), 2
	if rate == 0 {
		r.SamplingInterval, r.SamplingAssumed = d.cfg.DefaultSampling, true
	}
	d.overrideSampling(r)
	if inFormat == 0 {
		r.IngressInterface = int64(in)
	}
	if outFormat == 0 {
		r.EgressInterface = int64(out)
	}
	d.long(r, "sflow.sequenceNumber", int64(seq))
	d.long(r, "sflow.sourceIdType", int64(kind))
	d.long(r, "sflow.sourceIdIndex", int64(index))
	d.long(r, "sflow.samplePool", int64(pool))
	d.long(r, "sflow.drops", int64(drops))
	if inFormat != 0 {
		d.long(r, "sflow.inputFormat", int64(inFormat))
		d.long(r, "sflow.inputValue", int64(in))
	}
	if outFormat != 0 {
		d.long(r, "sflow.outputFormat", int64(outFormat))
		d.long(r, "sflow.outputValue", int64(out))
	}
	now := d.base.CollectionTimeMilliseconds // sFlow carries no time of day
	r.FlowStartMilliseconds, r.FlowEndMilliseconds = now, now
	r.PacketDeltaCount = 1
	for range min(records, maxFields) {
		if x.bad || len(x.b) < 8 {
			break
		}
		format, n := x.u32(), x.u32()
		rec := x.sub(n)
		if x.bad {
			break
		}
		d.flowData(format, &rec, r)
	}
	if x.bad {
		d.reject(BadSample, 0, at)
		if r.OctetDeltaCount == 0 {
			return
		}
	}
	if e := d.exporter; e.interfaces != nil {
		r.IngressInterfaceName, r.EgressInterfaceName = e.interfaces[uint32(r.IngressInterface)], e.interfaces[uint32(r.EgressInterface)]
	}
	d.flow()
}

func (d *Decoder) long(r *schemas.FlowRecord, name string, v int64) {
	if n := len(r.Extra); n < cap(r.Extra) {
		r.Extra = r.Extra[:n+1]
		e := &r.Extra[n]
		e.Name, e.Value.Kind, e.Value.Long = name, schemas.ExtraLong, v
		return
	}
	r.Extra = append(r.Extra, schemas.Extra{Name: name, Value: schemas.ExtraValue{Kind: schemas.ExtraLong, Long: v}})
}

// flowData decodes one flow record of a sample. What is not understood, and
// what is only in part, is kept as octets under its name.
func (d *Decoder) flowData(format uint32, x *xdr, r *schemas.FlowRecord) {
	whole := *x
	if format>>12 == 0 {
		switch format {
		case 1: // raw packet header
			protocol, frame := x.u32(), x.u32()
			x.u32() // stripped
			h := x.opaque()
			if !x.bad {
				r.OctetDeltaCount = int64(frame)
				d.header(protocol, h, r)
				return
			}
			// A header cut off within is worth what is there.
			if len(whole.b) > 16 {
				x := xdr{b: whole.b}
				protocol, frame = x.u32(), x.u32()
				r.OctetDeltaCount = int64(frame)
				d.header(protocol, whole.b[16:], r)
				return
			}
		case 2: // Ethernet frame
			n, src := x.u32(), x.take(8)
			dst, ethType := x.take(8), x.u32()
			if !x.bad {
				if r.OctetDeltaCount == 0 {
					r.OctetDeltaCount = int64(n)
				}
				r.SourceMacAddress, r.DestinationMacAddress = schemas.MAC(src[:6]), schemas.MAC(dst[:6])
				d.long(r, "ethernetType", int64(ethType))
				return
			}
		case 3, 4: // IPv4, IPv6 data
			n, protocol := x.u32(), x.u32()
			size := uint32(4)
			if format == 4 {
				size = 16
			}
			src, dst := x.take(size), x.take(size)
			sport, dport, flags, tos := x.u32(), x.u32(), x.u32(), x.u32()
			if !x.bad {
				if r.OctetDeltaCount == 0 {
					r.OctetDeltaCount = int64(n)
				}
				r.SourceIPAddress, _ = netip.AddrFromSlice(src)
				r.DestinationIPAddress, _ = netip.AddrFromSlice(dst)
				r.ProtocolIdentifier = int32(protocol & 0xFF)
				r.SourceTransportPort, r.DestinationTransportPort = int32(sport&0xFFFF), int32(dport&0xFFFF)
				r.TcpControlBits = int32(flags & 0xFFFF)
				r.IpClassOfService = int32(tos & 0xFF)
				return
			}
		case 1001: // extended switch
			vlan, priority, outVlan, outPriority := x.u32(), x.u32(), x.u32(), x.u32()
			if !x.bad {
				// It knows untagged ports' VLANs too; 0xFFFFFFFF is unknown.
				if vlan != 0xFFFFFFFF && vlan&0xFFF != 0 {
					r.VlanId = int32(vlan & 0xFFF)
				}
				if outVlan != 0xFFFFFFFF {
					r.PostVlanId = int32(outVlan & 0xFFF)
				}
				d.long(r, "sflow.sourcePriority", int64(priority))
				d.long(r, "sflow.destinationPriority", int64(outPriority))
				return
			}
		case 1002: // extended router
			hop, src, dst := x.address(), x.u32(), x.u32()
			if !x.bad {
				r.IpNextHopAddress = hop
				r.SourcePrefixLength, r.DestinationPrefixLength = int32(src&0xFF), int32(dst&0xFF)
				return
			}
		case 1003: // extended gateway
			if d.gateway(x, r) {
				return
			}
		case 1004: // extended user
			x.u32()
			src := x.opaque()
			x.u32()
			dst := x.opaque()
			if !x.bad {
				if r.UserName = d.text(src); r.UserName == "" {
					r.UserName = d.text(dst)
				} else if len(dst) > 0 {
					r.Extra = append(r.Extra, schemas.Extra{Name: "sflow.destinationUser", Value: schemas.ExtraValue{Kind: schemas.ExtraString, Bytes: d.clean(dst)}})
				}
				return
			}
		case 1005: // extended URL
			x.u32()
			u, host := x.opaque(), x.opaque()
			if !x.bad {
				http(r).Url, r.Http.Value.Host = d.text(u), d.text(host)
				return
			}
		case 1007: // extended NAT
			src, dst := x.address(), x.address()
			if !x.bad {
				r.PostNATSourceIPAddress, r.PostNATDestinationIPAddress = src, dst
				return
			}
		case 1020: // extended NAT port
			src, dst := x.u32(), x.u32()
			if !x.bad {
				r.PostNAPTSourceTransportPort, r.PostNAPTDestinationTransportPort = int32(src&0xFFFF), int32(dst&0xFFFF)
				return
			}
		}
	}
	d.octets(r, ie.SFlow, format, whole.b)
}

// gateway decodes the extended gateway record: next hop, AS numbers, AS path.
func (d *Decoder) gateway(x *xdr, r *schemas.FlowRecord) bool {
	whole := *x
	hop, as, src, peer := x.address(), x.u32(), x.u32(), x.u32()
	segments := x.u32()
	last := as
	for i := uint32(0); i < segments && !x.bad; i++ {
		x.u32() // set or sequence
		n := x.u32()
		if path := x.take(n * 4); n < 1<<24 && len(path) > 0 {
			last = binary.BigEndian.Uint32(path[len(path)-4:])
		}
	}
	if x.bad {
		return false
	}
	r.BgpNextHopAddress = hop
	if r.BgpSourceAsNumber = int64(src); src == 0 {
		r.BgpSourceAsNumber = int64(as) // 0: originated here
	}
	r.BgpDestinationAsNumber = int64(last)
	d.long(r, "sflow.sourcePeerAs", int64(peer))
	d.octets(r, ie.SFlow, 1003, whole.b) // the path and the communities
	return true
}

func (d *Decoder) octets(r *schemas.FlowRecord, s ie.Space, format uint32, b []byte) {
	k := ie.Key{Space: s, PEN: format >> 12, ID: format & 0xFFF}
	name := ""
	if e, ok := d.table.Lookup(k); ok {
		name = e.Name
	} else {
		n := len(d.arena)
		d.arena = append(d.arena, "sflow."...)
		d.arena = append(d.arena, k.Name()...)
		name = str(d.arena[n:])
	}
	r.Extra = append(r.Extra, schemas.Extra{Name: name, Value: schemas.ExtraValue{Kind: schemas.ExtraBytes, Bytes: b}})
}

func (d *Decoder) countersSample(x *xdr, expanded bool) {
	at := x.at
	seq := x.u32()
	kind, index := d.sourceID(x, expanded)
	records := x.u32()
	if x.bad {
		d.reject(BadSample, 0, at)
		return
	}
	r := d.record(1<<63 ^ uint64(kind)<<56 ^ uint64(index)<<40 ^ uint64(seq)<<8 ^ uint64(at))
	d.long(r, "sflow.sequenceNumber", int64(seq))
	d.long(r, "sflow.sourceIdType", int64(kind))
	d.long(r, "sflow.sourceIdIndex", int64(index))
	for range min(records, maxFields) {
		if x.bad || len(x.b) < 8 {
			break
		}
		format, n := x.u32(), x.u32()
		rec := x.sub(n)
		if x.bad {
			break
		}
		if format != 1 || !d.genericCounters(&rec, r) {
			d.octets(r, ie.SFlowCounter, format, rec.b)
		}
	}
	if x.bad {
		d.reject(BadSample, 0, at)
	}
	d.event(KindCounters)
}

// genericCounters are the interface counters of RFC 2233, by their MIB names.
var genericCounters = [...]struct {
	name string
	size uint32
}{
	{"ifIndex", 4}, {"ifType", 4}, {"ifSpeed", 8}, {"ifDirection", 4}, {"ifStatus", 4}, {"ifInOctets", 8}, {"ifInUcastPkts", 4},
	{"ifInMulticastPkts", 4}, {"ifInBroadcastPkts", 4}, {"ifInDiscards", 4}, {"ifInErrors", 4}, {"ifInUnknownProtos", 4},
	{"ifOutOctets", 8}, {"ifOutUcastPkts", 4}, {"ifOutMulticastPkts", 4}, {"ifOutBroadcastPkts", 4}, {"ifOutDiscards", 4},
	{"ifOutErrors", 4}, {"ifPromiscuousMode", 4},
}

func (d *Decoder) genericCounters(x *xdr, r *schemas.FlowRecord) bool {
	if len(x.b) < 88 {
		return false
	}
	for _, c := range genericCounters {
		d.long(r, c.name, int64(u(x.take(c.size))))
	}
	return true
}
