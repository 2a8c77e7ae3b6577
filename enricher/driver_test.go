package enricher

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/schemas"
)

// epoch is the stream time that tests count from, ms.
const epoch = int64(1_700_000_000_000)

// flow describes a record of a test; times are ms after epoch.
type flow struct {
	src, dst   string // address:port
	proto      int32
	at         int64 // stream time
	start, end int64
	octets     int64
	packets    int64
	flags      int32
	exporter   string
	domain     int64
	in, out    int64
	sampling   int64
	icmp       int32 // type<<8 | code, +1<<16 when sent
	revOctets  int64
	revPackets int64
	revFlags   int32
	biflow     int64
	realm      string
	sni        string
	dns        string
	collector  string
}

func (f flow) record(n uint64) *schemas.FlowRecord {
	src, dst := netip.MustParseAddrPort(f.src), netip.MustParseAddrPort(f.dst)
	r := &schemas.FlowRecord{
		StreamTime: epoch + f.at, CollectorId: "c1", CollectorBoot: 1, CollectorSequence: int64(n),
		Realm:           f.realm,
		ExporterAddress: netip.MustParseAddr("192.0.2.1"), ObservationDomainId: f.domain,
		ExportProtocol:        schemas.ExportProtocolIPFIX,
		FlowStartMilliseconds: epoch + f.start, FlowEndMilliseconds: epoch + max(f.end, f.start),
		SourceIPAddress: src.Addr(), DestinationIPAddress: dst.Addr(),
		SourceTransportPort: int32(src.Port()), DestinationTransportPort: int32(dst.Port()),
		ProtocolIdentifier: f.proto, TcpControlBits: f.flags,
		OctetDeltaCount: f.octets, PacketDeltaCount: f.packets, SamplingInterval: f.sampling,
		ReverseOctetDeltaCount: f.revOctets, ReversePacketDeltaCount: f.revPackets, ReverseTcpControlBits: f.revFlags,
		IngressInterface: f.in, EgressInterface: f.out,
	}
	binary.BigEndian.PutUint64(r.FlowId[:], n)
	if r.ProtocolIdentifier == 0 {
		r.ProtocolIdentifier = protoTCP
	}
	if f.exporter != "" {
		r.ExporterAddress = netip.MustParseAddr(f.exporter)
	}
	if f.collector != "" {
		r.CollectorId = f.collector
	}
	if f.icmp != 0 {
		r.IcmpSeen, r.IcmpTypeCode = true, f.icmp&0xffff
	}
	if f.biflow != 0 {
		r.Extra = append(r.Extra, schemas.Extra{Name: "biflowDirection", Value: schemas.ExtraValue{Kind: schemas.ExtraLong, Long: f.biflow}})
	}
	if f.sni != "" {
		r.Tls.Set, r.Tls.Value.ServerName = true, f.sni
	}
	if f.dns != "" {
		r.Dns.Set, r.Dns.Value.QueryName = true, f.dns
	}
	return r
}

// driver feeds a processor through stream.Local and collects what it puts out.
type driver struct {
	t     testing.TB
	e     *Enricher
	local *stream.Local
	sent  uint64
	crowd int // key groups in use; 0: all
	out   []*schemas.EnrichedFlow
	raw   [][]byte
	wrap  *restarting
}

func newEnricher(t testing.TB, change func(*Config)) *Enricher {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	e, err := New(cfg, Dependencies{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newDriver(t testing.TB, change func(*Config)) *driver {
	return newDriverOf(t, newEnricher(t, change))
}

func newDriverOf(t testing.TB, e *Enricher) *driver {
	d := &driver{t: t, e: e}
	d.wrap = &restarting{t: t, e: e, inner: e.NewProcessor()}
	d.local = stream.NewLocal(stream.Stage{
		Name: kafka.StageEnricher, Input: kafka.TopicRaw, New: func() stream.Processor { return d.wrap },
	}, d.take, nil)
	return d
}

func (d *driver) take(o stream.Output) error {
	var f schemas.EnrichedFlow
	value := slices.Clone(o.Value)
	if err := f.Unmarshal(value); err != nil {
		d.t.Fatalf("output: %v", err)
	}
	if o.Topic != kafka.TopicEnriched {
		d.t.Errorf("topic (-got, +want)\n- %s\n+ %s", o.Topic, kafka.TopicEnriched)
	}
	if want := string(stream.AddressKey(nil, f.Flow.Realm, f.Flow.SourceIPAddress)); string(o.Key) != want {
		d.t.Errorf("key (-got, +want)\n- %s\n+ %s", o.Key, want)
	}
	d.out = append(d.out, &f)
	d.raw = append(d.raw, value)
	return nil
}

func (d *driver) pushRecord(r *schemas.FlowRecord) {
	d.t.Helper()
	key := schemas.ConversationKey(nil, r)
	if d.crowd > 0 {
		// Many conversations in few key groups, so that bounds are met.
		key = []byte{key[0] % byte(d.crowd)}
	}
	if err := d.local.Push(key, r.Append(nil)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) push(flows ...flow) {
	d.t.Helper()
	for _, f := range flows {
		d.sent++
		d.pushRecord(f.record(d.sent))
	}
}

// tick tells that nothing below a time (ms after epoch) comes any more.
func (d *driver) tick(at int64, collectors ...string) {
	d.t.Helper()
	if len(collectors) == 0 {
		collectors = []string{"c1"}
	}
	var t schemas.Tick
	for _, c := range collectors {
		t.Upstreams = append(t.Upstreams, schemas.Upstream{Id: c, Time: epoch + at})
	}
	if err := d.local.Push(nil, t.Append(nil)); err != nil {
		d.t.Fatal(err)
	}
}

// restarting replaces the processor it stands for by a fresh one, which has
// nothing but the state, after every so many records.
type restarting struct {
	t     testing.TB
	e     *Enricher
	inner stream.Processor
	every int
	n     int
}

func (r *restarting) Decode(key, value []byte) (stream.Meta, error) {
	if r.n++; r.every > 0 && r.n%r.every == 0 {
		fresh := r.e.NewProcessor()
		for g := range kafka.Groups {
			state := r.inner.AppendState(nil, g)
			if len(state) == 0 && g%100 != 0 {
				continue
			}
			if err := fresh.LoadState(g, state); err != nil {
				r.t.Fatal(err)
			}
			if again := fresh.AppendState(nil, g); string(again) != string(state) {
				r.t.Fatalf("group %d: state changed by being loaded (-got, +want)\n- %x\n+ %x", g, again, state)
			}
			if a, b := fresh.NextTimer(g), r.inner.NextTimer(g); a != b {
				r.t.Fatalf("group %d: timer (-got, +want)\n- %d\n+ %d", g, a, b)
			}
		}
		r.inner = fresh
	}
	return r.inner.Decode(key, value)
}

func (r *restarting) Apply(c *stream.Context) (bool, error) { return r.inner.Apply(c) }
func (r *restarting) NextTimer(g int) int64                 { return r.inner.NextTimer(g) }
func (r *restarting) Advance(c *stream.Context)             { r.inner.Advance(c) }
func (r *restarting) AppendState(dst []byte, g int) []byte  { return r.inner.AppendState(dst, g) }
func (r *restarting) LoadState(g int, state []byte) error   { return r.inner.LoadState(g, state) }

// text is the essence of an enriched flow, to compare with.
func text(f *schemas.EnrichedFlow) string {
	s := fmt.Sprintf("t=%d %s>%s p%d %d/%d|%d/%d %s %s", f.StreamTime-epoch,
		f.Flow.Source(), f.Flow.Destination(), f.Flow.ProtocolIdentifier,
		f.InitiatorOctets, f.InitiatorPackets, f.ResponderOctets, f.ResponderPackets, f.ConnectionState, f.RoleConfidence)
	for _, mark := range []struct {
		on   bool
		name string
	}{{f.Answered, "answered"}, {f.Stitched, "stitched"}, {f.Continuation, "continuation"}, {f.Delayed, "delayed"}} {
		if mark.on {
			s += " " + mark.name
		}
	}
	s += " ["
	for i, m := range f.Members {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%d:%s", binary.BigEndian.Uint64(m.FlowId[:]), [...]string{"F", "R", "DF", "DR"}[m.Role])
	}
	return s + "]"
}

func (d *driver) texts() []string {
	var all []string
	for _, f := range d.out {
		all = append(all, text(f))
	}
	return all
}

func diff(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	msg := "(-got, +want)"
	for _, g := range got {
		msg += "\n- " + g
	}
	for _, w := range want {
		msg += "\n+ " + w
	}
	t.Error(msg)
}

const hold = int64(5 * time.Second / time.Millisecond)
