package schemas

import (
	"net/netip"
	"reflect"
	"strings"

	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// toNative makes what goavro encodes of a record, by the schema and reflection:
// a second opinion on every generated line, made from neither.
func toNative(s *avsc.Schema, v reflect.Value) any {
	if inner := s.Optional(); inner != nil {
		if !v.FieldByName("Set").Bool() {
			return nil
		}
		return map[string]any{inner.Name: toNative(inner, v.FieldByName("Value"))}
	}
	switch x := v.Interface().(type) {
	case netip.Addr:
		return x.AsSlice()
	case MAC:
		if !x.IsValid() {
			return []byte{}
		}
		return x[:]
	case FlowId:
		return x[:]
	case ExtraValue:
		switch x.Kind {
		case ExtraDouble:
			return map[string]any{"double": x.Double}
		case ExtraString:
			return map[string]any{"string": string(x.Bytes)}
		case ExtraBytes:
			return map[string]any{"bytes": x.Bytes}
		case ExtraList:
			return map[string]any{"array": toNative(s.Branches[4], reflect.ValueOf(x.List))}
		}
		return map[string]any{"long": x.Long}
	}
	switch s.Kind {
	case avsc.Enum:
		return s.Symbols[v.Int()]
	case avsc.Array:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = toNative(s.Items, v.Index(i))
		}
		return items
	case avsc.Record:
		m := make(map[string]any, len(s.Fields))
		for _, f := range s.Fields {
			m[f.Name] = toNative(f.Type, v.FieldByName(strings.ToUpper(f.Name[:1])+f.Name[1:]))
		}
		return m
	}
	return v.Interface()
}
