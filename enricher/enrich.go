package enricher

import (
	"net/netip"
	"strings"

	"github.com/weir-flow/weir/enricher/geo"
	"github.com/weir-flow/weir/enricher/intel"
	"github.com/weir-flow/weir/schemas"
)

// enrich fills both sides from the lookups.
func (p *processor) enrich(o *schemas.EnrichedFlow) {
	f := &o.Flow
	l := p.e.lookups.Load()
	p.side(l, &o.Initiator, f.SourceIPAddress)
	p.side(l, &o.Responder, f.DestinationIPAddress)
	o.NetworkDirection = networkDirection(f, o.Initiator.Internal, o.Responder.Internal)

	o.Initiator.Domain, o.Responder.Domain = "", ""
	p.names(l, o, &o.Flow)
	if o.Reverse.Set {
		p.names(l, o, &o.Reverse.Value)
	}
	for _, hits := range [][]schemas.Indicator{o.Initiator.Indicators, o.Responder.Indicators} {
		if len(hits) > 0 {
			p.e.metrics.intelHit.Inc()
		} else {
			p.e.metrics.intelMiss.Inc()
		}
	}
}

// side fills what follows from an address. It sets every field but Domain.
func (p *processor) side(l *lookups, s *schemas.Side, a netip.Addr) {
	m := p.e.metrics
	var where geo.Record
	found, err := l.geo.Lookup(a, &where)
	switch {
	case err != nil:
		m.geoError.Inc()
	case found:
		m.geoHit.Inc()
	default:
		m.geoMiss.Inc()
	}
	s.Internal = l.internal.Contains(a)
	s.AsNumber, s.AsOrganization = where.ASNumber, where.ASOrganization
	s.CountryIsoCode, s.CountryName, s.ContinentCode = where.CountryISOCode, where.CountryName, where.ContinentCode
	s.RegionIsoCode, s.CityName = where.RegionISOCode, where.CityName
	s.Latitude, s.Longitude, s.HasLocation = where.Latitude, where.Longitude, where.HasLocation
	if asset := l.assets.Lookup(a); asset != nil {
		s.Asset.Set, s.Asset.Value = true, *asset
		m.assetHit.Inc()
	} else {
		s.Asset = schemas.Optional[schemas.Asset]{}
		m.assetMiss.Inc()
	}
	s.Indicators = s.Indicators[:0]
	for _, hit := range l.intel.Address(a) {
		one := *hit.Indicator
		start := len(p.text)
		if network := netip.PrefixFrom(a.Unmap(), hit.Bits).Masked(); network.IsSingleIP() {
			p.text = network.Addr().AppendTo(p.text)
		} else {
			p.text = network.AppendTo(p.text)
		}
		one.Indicator = p.textFrom(start)
		s.Indicators = append(s.Indicators, one)
	}
}

// names gives the responder its name, and the hits of the names that were
// asked for.
func (p *processor) names(l *lookups, o *schemas.EnrichedFlow, r *schemas.FlowRecord) {
	s := &o.Responder
	if r.Tls.Set && r.Tls.Value.ServerName != "" {
		if s.Domain == "" {
			s.Domain = r.Tls.Value.ServerName
		}
		hitName(l.intel, s, r.Tls.Value.ServerName)
	}
	if r.Http.Set && r.Http.Value.Host != "" {
		host := hostName(r.Http.Value.Host)
		if s.Domain == "" {
			s.Domain = host
		}
		hitName(l.intel, s, host)
	}
	if r.Dns.Set && r.Dns.Value.QueryName != "" {
		hitName(l.intel, s, r.Dns.Value.QueryName)
	}
}

// hostName returns the name in a Host header, empty when it is an address.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if strings.HasPrefix(host, "[") {
		return ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return host
}

func hitName(set *intel.Set, s *schemas.Side, name string) {
	hits, matched := set.Domain(name)
next:
	for _, hit := range hits {
		one := *hit.Indicator
		one.Indicator = matched
		for i := range s.Indicators {
			if s.Indicators[i] == one {
				continue next
			}
		}
		s.Indicators = append(s.Indicators, one)
	}
}

// networkDirection is ECS network.direction by where the ends are. An address
// of many is where the other end is.
func networkDirection(f *schemas.FlowRecord, initiator, responder bool) string {
	switch {
	case !f.SourceIPAddress.IsValid() || !f.DestinationIPAddress.IsValid():
		return ""
	case toMany(f.DestinationIPAddress):
		responder = initiator
	case toMany(f.SourceIPAddress):
		initiator = responder
	}
	switch {
	case initiator && responder:
		return "internal"
	case initiator:
		return "outbound"
	case responder:
		return "inbound"
	}
	return "external"
}
