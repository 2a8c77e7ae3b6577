package decode

import (
	"math"

	"github.com/weir-flow/weir/schemas"
)

// samplingTable is what the options of a domain say of its sampling.
type samplingTable struct {
	set      bool // the domain's own
	own      sampling
	samplers map[uint64]sampling // by samplerId or selectorId
	byPort   map[uint32]sampling // by interface, where the scope is one
}

type sampling struct {
	interval  int64
	algorithm int32
}

// intervalOf computes one in how many packets is sampled. ok is false when
// nothing usable was said. What is more specific than 1:N wins.
func (s *scratch) intervalOf(plain int64) (n int64, ok bool) {
	switch {
	case s.seen&sawPopulation != 0 && s.seen&sawSize != 0 && s.size > 0 && s.of >= s.size:
		return ratio(s.of, s.size), true
	case s.seen&sawProbability != 0 && s.probability > 0 && s.probability <= 1 && 1/s.probability < math.MaxInt32:
		return int64(math.Round(1 / s.probability)), true
	case s.seen&sawPacketInterval != 0 && s.every > 0 && s.seen&sawPacketSpace != 0:
		if s.space > math.MaxUint32 || s.every > math.MaxUint32 {
			return 0, false
		}
		return ratio(s.every+s.space, s.every), true
	case s.seen&sawPacketInterval != 0 && s.every > 0 && s.every <= math.MaxUint32:
		return int64(s.every), true // alone it is 1:N
	case s.seen&sawInterval != 0 && plain > 0:
		return plain, true
	}
	return 0, false
}

func ratio(a, b uint64) int64 { return int64(min((a+b/2)/b, math.MaxUint32)) }

// resolveSampling sets the interval: the configured one, the record's own, that
// of its sampler, of its interface, of the domain; at last the default, marked
// as assumed.
func (d *Decoder) resolveSampling(r *schemas.FlowRecord, n note) {
	if n&nSampling != 0 {
		if v, ok := d.s.intervalOf(r.SamplingInterval); ok {
			r.SamplingInterval = v
			d.overrideSampling(r)
			return
		}
		r.SamplingInterval = 0
	}
	t := &d.domain.sampling
	var got sampling
	found := false
	if d.s.seen&sawSampler != 0 {
		got, found = t.samplers[d.s.sampler]
		if !found && d.s.sampler == 0 && len(t.samplers) > 0 {
			got, found = sampling{interval: 1}, true // by no sampler
		}
	}
	if !found && t.byPort != nil {
		got, found = t.byPort[uint32(r.IngressInterface)]
	}
	if !found && t.set {
		got, found = t.own, true
	}
	if found {
		r.SamplingInterval = got.interval
		if r.SamplingAlgorithm == 0 {
			r.SamplingAlgorithm = got.algorithm
		}
	} else {
		r.SamplingInterval, r.SamplingAssumed = d.cfg.DefaultSampling, true
	}
	d.overrideSampling(r)
}

func (d *Decoder) overrideSampling(r *schemas.FlowRecord) {
	if o := d.domain.identity.SamplingInterval; o > 0 {
		r.SamplingInterval, r.SamplingAssumed = o, false
	}
}

// algorithmOf maps selectorAlgorithm (IE 304, PSAMP) to samplingAlgorithm
// (IE 35): 1 systematic, 2 random.
func algorithmOf(selector uint64) int32 {
	switch selector {
	case 1, 2:
		return 1
	case 3, 4, 5:
		return 2
	}
	return 0
}
