package collector

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/schemas"
)

func TestExportClock(t *testing.T) {
	const t0, minute = int64(1_400_000_000_000), int64(60_000)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	odd := 0
	c := newExportClock(5*minute, func(*decode.Header, int64) { odd++ })
	v9 := func(x netip.Addr, at int64) int64 {
		return c.time(&decode.Header{Protocol: schemas.ExportProtocolNETFLOW_V9, Exporter: x, ExportTime: at, Arrival: t0 * 2})
	}
	sflow := func(x netip.Addr, uptime uint32) int64 {
		return c.time(&decode.Header{Protocol: schemas.ExportProtocolSFLOW_V5, Exporter: x, Uptime: uptime, Arrival: t0 * 2})
	}
	equal(t, "the first sets it", v9(a, t0), t0)
	equal(t, "slightly behind is believed", v9(b, t0-2*minute), t0-2*minute)
	equal(t, "nobody is odd", odd, 0)
	equal(t, "a quiet night is believed", v9(a, t0+600*minute), t0+600*minute)
	equal(t, "who was there before catches up", v9(b, t0+600*minute), t0+600*minute)
	now := t0 + 600*minute
	d := netip.MustParseAddr("192.0.2.3")
	equal(t, "a clock years off starts now", v9(d, t0*2), now)
	equal(t, "it is reported", odd, 1)
	equal(t, "and goes on by itself", v9(d, t0*2+1000), now+1000)
	equal(t, "a clock set back goes on", v9(a, t0), now+1000)
	equal(t, "that is reported too", odd, 2)
	equal(t, "sFlow has an uptime only", sflow(a, 5000), now+1000)
	equal(t, "which moves", sflow(a, 6000), now+2000)
	equal(t, "a restarted agent goes on", sflow(a, 10), now+2000)
	equal(t, "in silence", odd, 2)
}

// The promise of raw partitions: no record below the last tick, whatever the
// order in which times come.
func TestSequencerNeverBelowTick(t *testing.T) {
	cfg := DefaultConfig()
	cfg.StreamTime, cfg.ExportSlack = StreamTimeExport, time.Second
	r := newReader(t)
	s := newSequencer(cfg, "id", 1, 4, 0, nil, r.take)
	f := &feed{s: s, key: make([]byte, 0, 8)}
	times := []int64{10_000, 12_000, 11_500, 30_000, 5_000, 29_500, 40_000, 1}
	for i, at := range times {
		f.Begin(&decode.Header{Protocol: schemas.ExportProtocolIPFIX, Exporter: netip.MustParseAddr("192.0.2.1"), ExportTime: at})
		f.Flow(&schemas.FlowRecord{SourceTransportPort: int32(i), ProtocolIdentifier: 6})
		s.Tick(time.Time{})
	}
	s.End(time.Time{}, time.Hour)
	equal(t, "flows", len(r.flows), len(times))
	equal(t, "in time though behind", r.flows[2].StreamTime, 11_500)
	equal(t, "raised to the tick", r.flows[4].StreamTime, 29_000)
	for p := range int32(4) {
		equal(t, "end", r.tick[p], 40_000+3_600_000)
	}
}

func TestConversationMeetsInOnePartition(t *testing.T) {
	r := newReader(t)
	var partitions []int32
	s := newSequencer(DefaultConfig(), "id", 1, 64, 0, nil, func(p int32, k, v []byte) bool {
		partitions = append(partitions, p)
		return r.take(p, k, v)
	})
	f := &feed{s: s, key: make([]byte, 0, 8)}
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	f.Flow(&schemas.FlowRecord{SourceIPAddress: a, DestinationIPAddress: b, SourceTransportPort: 1234, DestinationTransportPort: 80, ProtocolIdentifier: 6})
	f.Flow(&schemas.FlowRecord{SourceIPAddress: b, DestinationIPAddress: a, SourceTransportPort: 80, DestinationTransportPort: 1234, ProtocolIdentifier: 6})
	equal(t, "partition", partitions[0], partitions[1])
	equal(t, "numbered", r.flows[1].CollectorSequence, 2)
}
