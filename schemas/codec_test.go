package schemas

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/linkedin/goavro/v2"
	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// record is what every generated root type can do.
type record interface {
	Append([]byte) []byte
	Unmarshal([]byte) error
	Reset()
	AppendJSON([]byte) []byte
}

// recordType is one root type with all that the generator says of it.
type recordType struct {
	name, file, schema, canonical string
	fingerprint                   uint64
	new                           func() record
}

func recordTypes() []recordType {
	return []recordType{
		{"FlowRecord", "flow_record", FlowRecordSchema, FlowRecordCanonicalSchema, FlowRecordFingerprint, func() record { return new(FlowRecord) }},
		{"EnrichedFlow", "enriched_flow", EnrichedFlowSchema, EnrichedFlowCanonicalSchema, EnrichedFlowFingerprint, func() record { return new(EnrichedFlow) }},
		{"Tick", "tick", TickSchema, TickCanonicalSchema, TickFingerprint, func() record { return new(Tick) }},
	}
}

// eachType runs a test for every root type.
func eachType(t *testing.T, run func(*testing.T, recordType)) {
	for _, rt := range recordTypes() {
		t.Run(rt.name, func(t *testing.T) { run(t, rt) })
	}
}

func codecOf(t testing.TB, schema string) *goavro.Codec {
	t.Helper()
	codec, err := goavro.NewCodec(schema)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

func parse(t testing.TB, schema string) *avsc.Schema {
	t.Helper()
	var p avsc.Parser
	s, err := p.Parse([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// equal compares records; an empty slice and none are the same, and so are two
// doubles with the same bits.
var equal = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
}

func TestFingerprintsAreGoavros(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		codec := codecOf(t, rt.schema)
		if codec.Rabin != rt.fingerprint {
			t.Errorf("fingerprint: -got %016x +want %016x", rt.fingerprint, codec.Rabin)
		}
		if got := codec.CanonicalSchema(); got != rt.canonical {
			t.Errorf("canonical form (-got +want):\n%s", cmp.Diff(rt.canonical, got))
		}
		// The canonical form is canonical: it is its own.
		if got := codecOf(t, rt.canonical).CanonicalSchema(); got != rt.canonical {
			t.Errorf("canonical form of the canonical form (-got +want):\n%s", cmp.Diff(got, rt.canonical))
		}
		fp, ok := Fingerprint(rt.new().Append(nil))
		if !ok || fp != rt.fingerprint {
			t.Errorf("framing: -got %016x %v +want %016x true", fp, ok, rt.fingerprint)
		}
	})
}

// The codec is held to goavro: the same bytes for the same value, and the same
// value from the same bytes.
func TestCodecAgreesWithGoavro(t *testing.T) {
	const records = 1000
	eachType(t, func(t *testing.T, rt recordType) {
		codec, schema := codecOf(t, rt.schema), parse(t, rt.schema)
		r := newRandom(1)
		got := rt.new() // reused, so that nothing of a record may stay in the next
		for i := range records {
			want := rt.new()
			r.fill(want)
			theirs, err := codec.SingleFromNative(nil, toNative(schema, reflect.ValueOf(want).Elem()))
			if err != nil {
				t.Fatalf("record %d: goavro: %v", i, err)
			}
			if ours := want.Append(nil); !bytes.Equal(ours, theirs) {
				t.Fatalf("record %d: encoding differs (-got +want):\n-%x\n+%x", i, ours, theirs)
			}
			if err := got.Unmarshal(theirs); err != nil {
				t.Fatalf("record %d: %v", i, err)
			}
			if diff := cmp.Diff(got, want, equal); diff != "" {
				t.Fatalf("record %d: decoded (-got +want):\n%s", i, diff)
			}
		}
		got.Reset()
		if diff := cmp.Diff(got, rt.new(), equal); diff != "" {
			t.Errorf("after Reset (-got +want):\n%s", diff)
		}
	})
}

// Another writer may cut arrays into blocks and give their sizes.
func TestArrayBlocks(t *testing.T) {
	upstream := func(id string) []byte {
		return (&Upstream{Id: id, Of: 3, Time: 1e12, Left: true}).appendBody(nil)
	}
	a, b, c := upstream("a"), upstream("b"), upstream("c")
	body := append(append(appendLong(nil, 2), a...), b...)
	body = appendLong(appendLong(body, -1), int64(len(c)))
	body = append(append(body, c...), 0)
	var got Tick
	if err := got.Unmarshal(append([]byte(tickHeader), body...)); err != nil {
		t.Fatal(err)
	}
	want := Tick{Upstreams: []Upstream{{"a", 3, 1e12, true}, {"b", 3, 1e12, true}, {"c", 3, 1e12, true}}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// Neither direction allocates for a rich record once the buffers have grown.
func TestCodecDoesNotAllocate(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		in, out := rt.new(), rt.new()
		richest(in)
		encoded := in.Append(nil)
		if err := out.Unmarshal(encoded); err != nil {
			t.Fatal(err)
		}
		buf, text := make([]byte, 0, len(encoded)), in.AppendJSON(nil)
		for name, f := range map[string]func(){
			"Append":     func() { buf = in.Append(buf[:0]) },
			"Unmarshal":  func() { _ = out.Unmarshal(encoded) },
			"AppendJSON": func() { text = in.AppendJSON(text[:0]) },
			"Reset":      func() { out.Reset() },
			"IsTick":     func() { _ = IsTick(encoded) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s: -got %v allocations +want 0", name, n)
			}
		}
	})
}

// richest fills a record with something of everything, the same every time.
func richest(r record) {
	rnd := newRandom(7)
	for {
		r.Reset()
		rnd.fill(r)
		switch x := r.(type) {
		case *FlowRecord:
			if rich(x) {
				return
			}
		case *EnrichedFlow:
			if rich(&x.Flow) && x.Reverse.Set && len(x.Members) > 1 && len(x.Members[0].Extra) > 0 && x.Initiator.Asset.Set {
				return
			}
		case *Tick:
			if len(x.Upstreams) > 1 {
				return
			}
		}
	}
}

func rich(r *FlowRecord) bool {
	if !r.Dns.Set || len(r.Dns.Value.Answers) == 0 || !r.Tls.Set || !r.Http.Set || len(r.MplsLabels) == 0 || len(r.Extra) < 2 {
		return false
	}
	for _, e := range r.Extra {
		if e.Value.Kind == ExtraList && len(e.Value.List) > 0 && distinct(r.Extra) {
			return true
		}
	}
	return false
}

func TestUnmarshalRefusesWhatIsNotOurs(t *testing.T) {
	flow := (&FlowRecord{}).Append(nil)
	future := append([]byte{0xC3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8}, flow[headerSize:]...)
	for _, test := range []struct {
		name        string
		in          []byte
		fingerprint uint64 // of an UnknownSchemaError; 0: a FramingError
	}{
		{"nothing", nil, 0},
		{"JSON", []byte(`{"kind":"flow"}`), 0},
		{"Confluent framing", append([]byte{0, 0, 0, 0, 7}, flow[headerSize:]...), 0},
		{"cut framing", flow[:9], 0},
		{"a newer schema", future, 0x0807060504030201},
		{"another record", (&Tick{}).Append(nil), TickFingerprint},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := new(FlowRecord).Unmarshal(test.in)
			var unknown *UnknownSchemaError
			var framing *FramingError
			switch {
			case test.fingerprint == 0 && !errors.As(err, &framing):
				t.Errorf("-got %v +want a FramingError", err)
			case test.fingerprint != 0 && (!errors.As(err, &unknown) || unknown.Fingerprint != test.fingerprint):
				t.Errorf("-got %v +want an UnknownSchemaError of %016x", err, test.fingerprint)
			}
		})
	}
}

// A record that is cut anywhere is refused, and so is one with a byte too many.
func TestUnmarshalRefusesCutRecords(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		in := rt.new()
		richest(in)
		encoded := in.Append(nil)
		out := rt.new()
		for n := range encoded {
			if out.Unmarshal(encoded[:n:n]) == nil {
				t.Fatalf("the first %d of %d bytes were accepted", n, len(encoded))
			}
		}
		var decode *DecodeError
		if err := out.Unmarshal(append(encoded, 0)); !errors.As(err, &decode) || !strings.Contains(decode.Reason, "left over") {
			t.Errorf("a byte too many: -got %v +want a DecodeError", err)
		}
	})
}

// hostileTicks are bodies that promise more than they hold.
func hostileTicks() map[string][]byte {
	return map[string][]byte{
		"huge count":          appendLong(nil, math.MaxInt64),
		"count above input":   append(appendLong(nil, 1000), 0, 0, 0, 0),
		"least count":         append(appendLong(nil, math.MinInt64), 0),
		"negative block size": append(appendLong(appendLong(nil, -1), -5), 0, 0, 0, 0, 0),
		"huge block size":     append(appendLong(appendLong(nil, -1), math.MaxInt64), 0, 0, 0, 0, 0),
		"negative length":     append(appendLong(appendLong(nil, 1), -1), 0, 0, 0, 0),
		"huge length":         append(appendLong(appendLong(nil, 1), math.MaxInt64), 0, 0, 0, 0),
		"int of 33 bits":      append(appendLong(append(appendLong(nil, 1), 0), 1<<32), 0, 0, 0),
		"boolean 2":           append(appendLong(nil, 1), 0, 0, 0, 2, 0),
		"endless varint":      bytes.Repeat([]byte{0x80}, 30),
	}
}

func TestUnmarshalRefusesHostileBodies(t *testing.T) {
	for name, body := range hostileTicks() {
		t.Run(name, func(t *testing.T) {
			var tick Tick
			err := tick.Unmarshal(append([]byte(tickHeader), body...))
			var decode *DecodeError
			if !errors.As(err, &decode) || decode.Record != "Tick" || decode.Offset > len(body) {
				t.Errorf("-got %v +want a DecodeError", err)
			}
		})
	}
}

// What a record allocates is a small multiple of its size, whatever it claims.
func TestUnmarshalBoundsMemory(t *testing.T) {
	const size = 1 << 20
	// The densest input there is: as many empty extras as fit.
	body := (&FlowRecord{}).appendBody(nil)
	body = body[:len(body)-1]
	n := size / minExtra
	body = append(appendLong(body, int64(n)), make([]byte, n*minExtra+1)...)
	in := append([]byte(flowRecordHeader), body...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var r FlowRecord
	if err := r.Unmarshal(in); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if len(r.Extra) != n {
		t.Fatalf("extras: -got %d +want %d", len(r.Extra), n)
	}
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(64*size); got > most {
		t.Errorf("-got %d bytes for %d bytes of input +want at most %d", got, len(in), most)
	}
}

func nested(depth int) []Extra {
	list := []Extra{{Name: "leaf"}}
	for range depth {
		list = []Extra{{Name: "list", Value: ExtraValue{Kind: ExtraList, List: list}}}
	}
	return list
}

func TestExtraDepthIsBounded(t *testing.T) {
	deepest := FlowRecord{Extra: nested(MaxExtraDepth)}
	var got FlowRecord
	if err := got.Unmarshal(deepest.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if got, want := got.Append(nil), deepest.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("lists of the greatest depth (-got +want):\n-%x\n+%x", got, want)
	}
	// A deeper one is written so that it can be read.
	deeper := FlowRecord{Extra: nested(MaxExtraDepth + 1)}
	if err := got.Unmarshal(deeper.Append(nil)); err != nil {
		t.Errorf("what Append wrote of lists that are too deep: %v", err)
	}
	// And one that somebody else wrote is refused, however deep it is.
	body := (&FlowRecord{}).appendBody(nil)
	body = body[:len(body)-1]
	for range 100_000 {
		body = append(body, 2, 0, byte(ExtraList)<<1) // one item, no name, a list
	}
	err := got.Unmarshal(append([]byte(flowRecordHeader), body...))
	var decode *DecodeError
	if !errors.As(err, &decode) || !strings.Contains(decode.Reason, "too deep") {
		t.Errorf("-got %v +want a DecodeError that says it is too deep", err)
	}
}

func TestEncodingSurvivesValuesOutOfRange(t *testing.T) {
	in := FlowRecord{ExportProtocol: 99, Extra: []Extra{{Name: "x", Value: ExtraValue{Kind: 77, Long: 5}}}}
	var got FlowRecord
	if err := got.Unmarshal(in.Append(nil)); err != nil {
		t.Fatal(err)
	}
	want := FlowRecord{Extra: []Extra{{Name: "x", Value: ExtraValue{Long: 5}}}}
	if diff := cmp.Diff(got, want, equal); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestIsTick(t *testing.T) {
	for name, test := range map[string]struct {
		in   []byte
		want bool
	}{
		"tick":     {(&Tick{}).Append(nil), true},
		"flow":     {(&FlowRecord{}).Append(nil), false},
		"enriched": {(&EnrichedFlow{}).Append(nil), false},
		"unknown":  {[]byte{0xC3, 1, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		"nothing":  {nil, false},
	} {
		if got := IsTick(test.in); got != test.want {
			t.Errorf("%s: -got %v +want %v", name, got, test.want)
		}
	}
}

// A record that is read keeps no more than it needs of one read before.
func TestUnmarshalAliasesItsInput(t *testing.T) {
	in := FlowRecord{Realm: "blue", Extra: []Extra{{Name: "x", Value: ExtraValue{Kind: ExtraBytes, Bytes: []byte("abc")}}}}
	b := in.Append(nil)
	var r FlowRecord
	if err := r.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	r.Extra[0].Value.Bytes = append(r.Extra[0].Value.Bytes, "overwrite"...)
	if !bytes.Equal(b, in.Append(nil)) {
		t.Error("appending to a value of the record wrote into the input")
	}
}
