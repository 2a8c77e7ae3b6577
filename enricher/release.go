package enricher

import (
	"math"
	"math/bits"
	"net/netip"
	"unsafe"

	"github.com/weir-flow/weir/enricher/communityid"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// release puts out what is held of a conversation, with stream time at.
func (p *processor) release(c *stream.Context, g *group, k *conversation, at int64) {
	g.held.remove(k)
	ps := k.primaries()
	continuation := k.known
	if !k.known {
		k.known = true
		k.initiator, k.confidence = decideRoles(&k.key, ps, p.e.services)
		start := int64(math.MaxInt64)
		for _, one := range ps {
			if one != nil {
				start = min(start, one.start)
			}
		}
		k.id = k.key.id(start)
	}
	for d, one := range ps {
		if one == nil {
			continue
		}
		k.own(one)
		k.flags[d] |= one.flags
		k.seen[d] = true
		if one.both {
			k.flags[1-d] |= one.reverseFlags
			k.seen[1-d] = true
		}
		k.sampled = k.sampled || one.rate() > 1
	}
	if !c.Replaying() {
		p.put(c, k, ps, at, continuation)
	}
	p.recycle(k)
}

// recycle keeps the buffers of what was held for the next.
func (p *processor) recycle(k *conversation) {
	parts := k.parts
	k.parts = nil
	if len(p.parts) >= maxSpare {
		return
	}
	for i := range parts {
		if cap(parts[i].raw) > 4<<10 {
			parts[i].raw = nil
		}
	}
	p.parts = append(p.parts, parts[:0])
}

// releaseAlone puts out the record at hand on its own.
func (p *processor) releaseAlone(c *stream.Context, key conversationKey, dir direction) {
	if c.Replaying() {
		return
	}
	one := part{raw: p.raw}
	one.set(&p.record, dir, c.Delayed)
	k := conversation{key: key, id: p.record.FlowId, initiator: dir, parts: []part{one}}
	k.seen[dir] = true
	k.sampled = one.rate() > 1
	p.put(c, &k, k.primaries(), c.EmitTime(p.record.StreamTime), false)
}

// put builds and emits the enriched flow of the parts of a conversation.
func (p *processor) put(c *stream.Context, k *conversation, ps primaries, at int64, continuation bool) {
	o, m := &p.out, p.e.metrics
	p.text = p.text[:0]

	// The bytes were read before, by Decode or LoadState: they cannot fail.
	main, reverse := ps[k.initiator], ps[k.initiator.other()]
	if main != nil {
		_ = o.Flow.Unmarshal(main.raw)
		o.Reverse.Set = reverse != nil
		if reverse != nil {
			_ = o.Reverse.Value.Unmarshal(reverse.raw)
		}
	} else {
		main, reverse = reverse, nil
		if main == nil {
			main = &k.parts[0] // a duplicate that came late
		}
		_ = o.Flow.Unmarshal(main.raw)
		o.Reverse.Set = false
	}
	p.putMembers(k)
	o.CommunityId = p.communityID(&o.Flow) // as sent: it knows the ICMP type's direction
	if main.dir != k.initiator {
		exchange(&o.Flow)
	}
	f, r := &o.Flow, &o.Reverse.Value

	o.StreamTime = at
	o.ConversationId = k.id
	o.Continuation, o.RoleConfidence = continuation, k.confidence
	rate := main.rate()
	o.InitiatorOctets, o.InitiatorPackets = scale(f.OctetDeltaCount, rate), scale(f.PacketDeltaCount, rate)
	o.ResponderOctets, o.ResponderPackets = scale(f.ReverseOctetDeltaCount, rate), scale(f.ReversePacketDeltaCount, rate)
	o.InitiatorTcpControlBits, o.ResponderTcpControlBits = f.TcpControlBits, f.ReverseTcpControlBits
	if main.duplicate {
		o.InitiatorOctets, o.InitiatorPackets, o.ResponderOctets, o.ResponderPackets = 0, 0, 0, 0
	}
	o.Stitched = main.both || reverse != nil
	if reverse != nil {
		rate = reverse.rate()
		o.InitiatorOctets = add(o.InitiatorOctets, scale(r.ReverseOctetDeltaCount, rate))
		o.InitiatorPackets = add(o.InitiatorPackets, scale(r.ReversePacketDeltaCount, rate))
		o.ResponderOctets = add(o.ResponderOctets, scale(r.OctetDeltaCount, rate))
		o.ResponderPackets = add(o.ResponderPackets, scale(r.PacketDeltaCount, rate))
		o.InitiatorTcpControlBits |= r.ReverseTcpControlBits
		o.ResponderTcpControlBits |= r.TcpControlBits
	}
	o.ConnectionState, o.Answered = connectionState(observed{
		protocol:       k.key.protocol,
		initiatorFlags: k.flags[k.initiator], responderFlags: k.flags[k.initiator.other()],
		initiator: k.seen[k.initiator], responder: k.seen[k.initiator.other()],
		sampled:      k.sampled,
		expectsReply: p.e.hold > 0 && k.expectsReply() && !toMany(f.DestinationIPAddress),
	})
	o.ServiceName = p.e.services.Name(k.key.protocol, uint16(f.DestinationTransportPort))
	p.enrich(o)

	p.encode = stream.AddressKey(p.encode[:0], f.Realm, f.SourceIPAddress)
	keyLen := len(p.encode)
	p.encode = o.Append(p.encode)
	b := p.keep(p.encode)
	c.Emit(stream.Output{Topic: kafka.TopicEnriched, Key: b[:keyLen:keyLen], Value: b[keyLen:]})

	m.out.Inc()
	m.members.Add(float64(len(o.Members)))
	if o.Stitched {
		m.stitched.Inc()
	}
	if continuation {
		m.continuations.Inc()
	}
}

// putMembers fills the members of the enriched flow, and gives the flow and
// its reverse what only a duplicate's exporter knew of the application.
func (p *processor) putMembers(k *conversation) {
	o := &p.out
	o.Members, o.Delayed = o.Members[:0], true
	spare := 0
	for i := range k.parts {
		one := &k.parts[i]
		o.Delayed = o.Delayed && one.delayed
		role := schemas.MemberRoleFORWARD
		if one.dir != k.initiator {
			role = schemas.MemberRoleREVERSE
		}
		var extra []schemas.Extra
		if one.duplicate {
			p.e.metrics.duplicates.Inc()
			role += schemas.MemberRoleDUPLICATE_FORWARD
			if spare == len(p.others) {
				p.others = append(p.others, schemas.FlowRecord{})
			}
			other := &p.others[spare]
			spare++
			_ = other.Unmarshal(one.raw)
			extra = other.Extra
			complete(&o.Flow, other)
		}
		o.Members = append(o.Members, schemas.Member{
			FlowId: one.flowID, Role: role,
			ExporterAddress: one.exporter, ObservationDomainId: one.domain,
			IngressInterface: one.ingress, EgressInterface: one.egress,
			OctetDeltaCount: one.octets, PacketDeltaCount: one.packets, SamplingInterval: one.sampling,
			Extra: extra,
		})
	}
}

// complete gives a record what another exporter knew of the application: a
// probe that looks into packets often stands beside a router that does not.
// Values change places: a copy would share its slices with the scratch record.
func complete(r, other *schemas.FlowRecord) {
	if !r.Dns.Set && other.Dns.Set {
		r.Dns, other.Dns = other.Dns, r.Dns
	}
	if !r.Tls.Set && other.Tls.Set {
		r.Tls, other.Tls = other.Tls, r.Tls
	}
	if !r.Http.Set && other.Http.Set {
		r.Http, other.Http = other.Http, r.Http
	}
	if r.ApplicationId == "" && r.ApplicationName == "" {
		r.ApplicationId, r.ApplicationName = other.ApplicationId, other.ApplicationName
	}
	if r.UserName == "" {
		r.UserName = other.UserName
	}
}

// expectsReply: UDP, and ICMP types that have a counterpart.
func (k *conversation) expectsReply() bool {
	switch k.key.protocol {
	case protoUDP, protoUDPLite:
		return true
	case protoICMP, protoICMPv6:
		return k.key.loPort < icmpOneWay
	}
	return false
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// toMany reports an address of many: no reply from it is to be expected.
func toMany(a netip.Addr) bool { return a.IsMulticast() || a == broadcast }

// scale multiplies a counter by the sampling interval, up to the largest
// number there is.
func scale(n, rate int64) int64 {
	if n <= 0 || rate == 1 {
		return max(n, 0)
	}
	hi, lo := bits.Mul64(uint64(n), uint64(rate))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}

func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// communityID returns the id as a string that is valid until the next put.
func (p *processor) communityID(r *schemas.FlowRecord) string {
	src, dst := uint16(r.SourceTransportPort), uint16(r.DestinationTransportPort)
	proto := uint8(r.ProtocolIdentifier)
	if proto == protoICMP || proto == protoICMPv6 {
		src, dst, _ = icmpType(r)
	}
	start := len(p.text)
	p.text = communityid.Append(p.text, r.SourceIPAddress, r.DestinationIPAddress, src, dst, proto)
	return p.textFrom(start)
}

// textFrom returns the scratch text from start on, as a string. Texts are
// valid until the next put: growth leaves the old bytes in place.
func (p *processor) textFrom(start int) string {
	b := p.text[start:]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// keep returns a copy of b that belongs to the runner. Copies share chunks,
// so that an output does not cost an allocation.
func (p *processor) keep(b []byte) []byte {
	if len(b) > arenaSize/4 {
		return append([]byte(nil), b...)
	}
	if len(p.arena)+len(b) > cap(p.arena) {
		p.arena = make([]byte, 0, arenaSize)
	}
	start := len(p.arena)
	p.arena = append(p.arena, b...)
	return p.arena[start:len(p.arena):len(p.arena)]
}
