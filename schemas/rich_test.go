package schemas

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
)

// random fills records with values of every shape that an encoding may treat
// apart. It walks the types by reflection, so that a new field is covered
// without a change here.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0x77656972))} }

func (r random) fill(v any) { r.value(reflect.ValueOf(v).Elem(), 0) }

func (r random) long() int64 {
	switch r.IntN(4) {
	case 0:
		return 0
	case 1:
		return int64(r.IntN(256)) - 128
	case 2:
		return []int64{math.MinInt64, math.MaxInt64, -1, 63, 64, -64, -65, 1 << 31, 1 << 53}[r.IntN(9)]
	}
	return int64(r.Uint64()) >> r.IntN(64)
}

func (r random) bytes() []byte {
	if r.IntN(3) == 0 {
		return nil
	}
	b := make([]byte, r.IntN(70))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (r random) text() string {
	switch r.IntN(4) {
	case 0:
		return ""
	case 1:
		return string(r.bytes()) // not always UTF-8
	case 2:
		return "a \"quoted\" \\ text,\n\tübergroß \u2028 \U0001F4A5\x00"
	}
	return fmt.Sprintf("text-%d", r.IntN(1000))
}

func (r random) addr() netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	switch r.IntN(4) {
	case 0:
		return netip.Addr{}
	case 1:
		return netip.AddrFrom16(b)
	case 2:
		return netip.AddrFrom16(netip.AddrFrom4([4]byte(b[:4])).As16()) // IPv4-mapped stays so
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

func (r random) extraValue(depth int) ExtraValue {
	v := ExtraValue{Kind: ExtraKind(r.IntN(5))}
	if v.Kind == ExtraList && depth >= MaxExtraDepth {
		v.Kind = ExtraLong
	}
	switch v.Kind {
	case ExtraLong:
		v.Long = r.long()
	case ExtraDouble:
		v.Double = []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), 1e300, -2.5}[r.IntN(6)]
	case ExtraString:
		v.Bytes = []byte(r.text())
	case ExtraBytes:
		v.Bytes = r.bytes()
	case ExtraList:
		v.List = r.extras(depth + 1)
	}
	return v
}

func (r random) extras(depth int) []Extra {
	var list []Extra
	for range r.IntN(4) {
		name := []string{"", "flowId", "kind", "extra.flowId", "cisco.x", "9/1", r.text()}[r.IntN(7)]
		list = append(list, Extra{Name: name, Value: r.extraValue(depth)})
	}
	return list
}

func (r random) value(v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		*x = r.addr()
		return
	case *[]Extra:
		*x = r.extras(0)
		return
	}
	symbols := map[string]int{
		"ExportProtocol": len(exportProtocolSymbols), "ConnectionState": len(connectionStateSymbols),
		"RoleConfidence": len(roleConfidenceSymbols), "MemberRole": len(memberRoleSymbols),
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int32:
		if n := symbols[v.Type().Name()]; n > 0 {
			v.SetInt(int64(r.IntN(n)))
		} else {
			v.SetInt(int64(int32(r.long())))
		}
	case reflect.Int64:
		v.SetInt(r.long())
	case reflect.Float64:
		v.SetFloat(r.NormFloat64() * 90)
	case reflect.String:
		v.SetString(r.text())
	case reflect.Array: // FlowId, MAC
		if r.IntN(3) > 0 {
			for i := range v.Len() {
				v.Index(i).SetUint(uint64(r.IntN(256)))
			}
		}
	case reflect.Slice:
		n := r.IntN(4)
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			r.value(v.Index(i), depth+1)
		}
	case reflect.Struct:
		if set := v.FieldByName("Set"); v.NumField() == 2 && set.IsValid() {
			if r.IntN(2) == 0 {
				return // an Optional that is absent has no value
			}
			set.SetBool(true)
			r.value(v.FieldByName("Value"), depth+1)
			return
		}
		for i := range v.NumField() {
			r.value(v.Field(i), depth+1)
		}
	default:
		panic("no random value for " + v.Type().String())
	}
}
