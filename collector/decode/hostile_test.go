package decode

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/weir-flow/weir/schemas"
)

// counter is a handler that only counts.
type counter struct{ begun, flows, events, rejected int }

func (c *counter) Begin(*Header)                   { c.begun++ }
func (c *counter) Flow(*schemas.FlowRecord)        { c.flows++ }
func (c *counter) Event(Kind, *schemas.FlowRecord) { c.events++ }
func (c *counter) Reject(*Error)                   { c.rejected++ }

func TestGarbage(t *testing.T) {
	for name, tc := range map[string]struct {
		b    []byte
		want []Reason
	}{
		"empty":                    {nil, []Reason{TooShort}},
		"three octets":             {[]byte{0, 9, 0}, []Reason{TooShort}},
		"version 3":                {[]byte{0, 3, 0, 0}, []Reason{UnknownVersion}},
		"v9 header cut":            {v9(1, 1, 1)[:19], []Reason{TooShort}},
		"v5 header cut":            {v5(1, 1, 1)[:23], []Reason{TooShort}},
		"IPFIX header cut":         {ipfix(1, 1)[:15], []Reason{TooShort}},
		"sFlow header cut":         {sflow(1)[:20], []Reason{TooShort}},
		"set shorter than itself":  {v9(1, 1, 1, []byte{1, 0, 0, 3, 9, 9}), []Reason{BadSet}},
		"set beyond the end":       {v9(1, 1, 1, []byte{1, 0, 0, 200, 9, 9, 9, 9}), []Reason{Truncated, NoTemplate}},
		"IPFIX length beyond":      {append([]byte{0, 10, 0xFF, 0xFF}, ipfix(1, 1)[4:]...), []Reason{Truncated}},
		"template beyond its set":  {v9(1, 1, 1, set(0, new(enc).u16(256, 65535, 1, 4))), []Reason{BadTemplate}},
		"v9 options beyond":        {v9(1, 1, 1, set(1, new(enc).u16(256, 0xFFFF, 0xFFFF, 1, 4))), []Reason{BadTemplate}},
		"IPFIX options beyond":     {ipfix(1, 1, set(3, new(enc).u16(256, 65535, 65535, 1, 4))), []Reason{BadTemplate}},
		"more scopes than fields":  {ipfix(1, 1, set(3, new(enc).u16(256, 1, 9, 1, 4))), []Reason{BadTemplate}},
		"enterprise number cut":    {ipfix(1, 1, set(2, new(enc).u16(256, 1, 0x8001, 4))), []Reason{BadTemplate}},
		"template with a set's id": {v9(1, 1, 1, set(0, v9tmpl(2, 1, 4))), []Reason{BadTemplate}},
		"reserved set":             {ipfix(1, 1, set(77, new(enc).u32(1))), nil},
		"padding between sets":     {v9(1, 1, 1, []byte{0, 0, 0, 0}), nil},
		"sFlow of another address": {*new(enc).u32(5, 9, 1, 2, 3, 4, 5), []Reason{TooShort}},
		"sFlow sample beyond":      {*new(enc).raw(sflow(1, sample(1, new(enc)))).u8(), []Reason{BadSample}},
		"template of too many":     {ipfix(1, 1, set(2, new(enc).u16(256, 2000).raw(make([]byte, 8000)))), []Reason{BadTemplate}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDecoder(t, func(c *Config) {
				if name == "set beyond the end" {
					c.Limits.PendingBytes = 0
				}
			})
			equalSlice(t, "reasons", feed(d, tc.b).reasons(), tc.want)
		})
	}
}

// A small datagram must not ask for much, whatever it claims: defects of
// other decoders cost gigabytes here.
func TestCostIsBounded(t *testing.T) {
	big := func(unit []byte, head []byte) []byte {
		b := append([]byte(nil), head...)
		for len(b)+len(unit) < 65000 {
			b = append(b, unit...)
		}
		return b
	}
	manyTemplates := new(enc)
	for i := range 8000 {
		manyTemplates.raw(*v9tmpl(256+i, 1, 4))
	}
	for name, datagrams := range map[string][][]byte{
		"sets of one huge template each": {big(set(0, new(enc).u16(256, 65535)), v9(1, 1, 1))},
		"many templates":                 {v9(1, 1, 1, set(0, manyTemplates))},
		"records of one octet":           {ipfix(1, 1, set(2, tmpl(256, 4, 1)), set(256, new(enc).raw(make([]byte, 64000))))},
		"empty fields beside one octet":  {ipfix(1, 1, set(2, new(enc).raw(*tmpl(256, zeroWidth(1000)...))), set(256, new(enc).raw(make([]byte, 60000))))},
		"small samples":                  {big(sample(1, new(enc)), *new(enc).u32(5, 1).ip("1.2.3.4").u32(0, 1, 1, 0xFFFFFFFF))},
		"sets without template":          {big(set(300, new(enc).u8(0)), v9(1, 1, 1))},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDecoder(t)
			var c counter
			d.Datagram(datagrams[0], source, 1, &c)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d.Datagram(datagrams[0], source, 2, &c)
			runtime.ReadMemStats(&after)
			if got, most := after.TotalAlloc-before.TotalAlloc, uint64(100*65536); got > most {
				t.Errorf("allocated %d octets for a datagram of %d, want at most %d", got, len(datagrams[0]), most)
			}
			if c.flows > 2*(65536/4+64) {
				t.Errorf("%d records of a datagram, want at most a quarter of its octets", c.flows/2)
			}
		})
	}
}

func zeroWidth(n int) []int {
	f := []int{4, 1}
	for range n {
		f = append(f, 5, 0)
	}
	return f
}

func TestCaps(t *testing.T) {
	small := func(c *Config) { c.Limits.Exporters, c.Limits.Domains, c.Limits.Templates = 2, 2, 2 }
	d := newDecoder(t, small)
	h := new(heard)
	for i := range 4 {
		d.Datagram(v9(1, i, 0), source, 1, h)
	}
	equalSlice(t, "domains", h.reasons(), []Reason{TooManyDomains, TooManyDomains})

	d, h = newDecoder(t, small), new(heard)
	for i := range 4 {
		d.Datagram(v9(1, 1, 0, set(0, v9tmpl(256+i, 1, 4))), source, 1, h)
	}
	equalSlice(t, "templates", h.reasons(), []Reason{TooManyTemplates, TooManyTemplates})
	d.Datagram(v9(1, 1, 0, set(0, v9tmpl(256, 2, 4)), set(256, new(enc).u32(7))), source, 1, h)
	equal(t, "a known one may still change", one1(t, h).PacketDeltaCount, 7)
}

// A flood of spoofed exporters takes nothing from those that are alive, and
// newcomers are still decoded as far as one datagram goes.
func TestExporterFlood(t *testing.T) {
	d := newDecoder(t, func(c *Config) { c.Limits.Exporters = 50 })
	var c counter
	d.Datagram(v9(1, 1, 0, set(0, v9tmpl(256, 1, 4))), source, 1, &c)
	for i := range 5000 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		d.Datagram(v9(1, 1, 0, set(0, v9tmpl(256, 1, 4)), set(256, new(enc).u32(7))), a, 2, &c)
	}
	equal(t, "flows of newcomers", c.flows, 5000)
	equal(t, "exporters", d.Stats().Exporters.Load(), 50)
	d.Datagram(v9(2, 1, 0, set(256, new(enc).u32(7))), source, 3, &c)
	equal(t, "the old one is still known", c.flows, 5001)
	// Ten minutes later the silent ones make room.
	d.Datagram(v9(1, 1, 0), netip.MustParseAddr("10.2.0.1"), idleExporter+10, &c)
	equal(t, "evicted", d.Stats().Evicted.Load(), 1)
}

func TestOneBadExporterCostsOthersNothing(t *testing.T) {
	d := newDecoder(t)
	var c counter
	other := netip.MustParseAddr("192.0.2.2")
	d.Datagram(v9(1, 1, 0, set(0, v9tmpl(256, 1, 4))), source, 1, &c)
	d.Datagram(v9(1, 1, 0, set(0, v9tmpl(256, 2, 2)), set(256, new(enc).u16(1))), other, 1, &c)
	h := feed(d, v9(2, 1, 0, set(256, new(enc).u32(5))))
	equal(t, "octets", one1(t, h).OctetDeltaCount, 5)
}
