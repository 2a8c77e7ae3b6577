package schemas

import (
	"fmt"
	"slices"

	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// maxDepth bounds how deep the values of an older record nest.
const maxDepth = 4 * MaxExtraDepth

// resolve reads a body with the writer's schema and writes it with the
// reader's, by the rules of Avro schema resolution. It is slow and meant for
// records that were written before an upgrade.
func resolve(reader, writer *version, body []byte) ([]byte, error) {
	// goavro trusts counts of arrays when it allocates: check them first.
	d := decoder{b: body}
	walkBody(&d, writer.schema, 0)
	if err := d.finish(writer.record); err != nil {
		return nil, err
	}
	native, _, err := writer.codec.NativeFromBinary(body)
	if err != nil {
		return nil, fmt.Errorf("schemas: %s written with version %d: %w", writer.record, writer.number, err)
	}
	native, err = convert(reader.schema, writer.schema, native)
	if err != nil {
		return nil, fmt.Errorf("schemas: %s written with version %d: %w", writer.record, writer.number, err)
	}
	// Fields that the writer did not know get the reader's defaults here.
	out, err := reader.codec.BinaryFromNative(nil, native)
	if err != nil {
		return nil, fmt.Errorf("schemas: %s written with version %d: %w", writer.record, writer.number, err)
	}
	return out, nil
}

// walkBody reads a value of a schema and keeps nothing of it.
func walkBody(d *decoder, s *avsc.Schema, depth int) {
	if depth > maxDepth {
		d.fail("values nest too deep")
	}
	if d.failed() {
		return
	}
	switch s.Kind {
	case avsc.Boolean:
		d.bool()
	case avsc.Int:
		d.int()
	case avsc.Long:
		d.long()
	case avsc.Double:
		d.double()
	case avsc.String, avsc.Bytes:
		d.bytes()
	case avsc.Fixed:
		d.take(s.Size)
	case avsc.Enum:
		d.index(len(s.Symbols))
	case avsc.Union:
		walkBody(d, s.Branches[d.index(len(s.Branches))], depth+1)
	case avsc.Array:
		size := max(1, s.Items.MinSize())
		for n := d.block(size); n > 0; n = d.block(size) {
			for ; n > 0 && !d.failed(); n-- {
				walkBody(d, s.Items, depth+1)
			}
		}
	case avsc.Record:
		for _, f := range s.Fields {
			walkBody(d, f.Type, depth+1)
		}
	}
}

// convert turns what goavro read with the writer's schema into what it writes
// with the reader's.
func convert(reader, writer *avsc.Schema, native any) (any, error) {
	if writer.Kind == avsc.Union {
		branch, value, err := branchOf(writer, native)
		if err != nil {
			return nil, err
		}
		return convert(reader, branch, value)
	}
	if reader.Kind == avsc.Union {
		branch := avsc.Match(reader, writer)
		if branch == nil {
			return nil, fmt.Errorf("no branch of the union takes %s", writer)
		}
		value, err := convert(branch, writer, native)
		if err != nil || branch.Kind == avsc.Null {
			return nil, err
		}
		return map[string]any{branch.String(): value}, nil
	}
	if !avsc.Matches(reader, writer) {
		return nil, fmt.Errorf("%s cannot be read as %s", writer, reader)
	}
	switch reader.Kind {
	case avsc.Record:
		return convertRecord(reader, writer, native)
	case avsc.Array:
		items, _ := native.([]any)
		out := make([]any, len(items))
		for i, item := range items {
			v, err := convert(reader.Items, writer.Items, item)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	case avsc.Enum:
		symbol, _ := native.(string)
		if !slices.Contains(reader.Symbols, symbol) {
			if reader.Default == "" {
				return nil, fmt.Errorf("%s has no symbol %q and no default", reader, symbol)
			}
			return reader.Default, nil
		}
		return symbol, nil
	case avsc.Double: // from an int or a long, as Avro promotes them
		switch n := native.(type) {
		case int32:
			return float64(n), nil
		case int64:
			return float64(n), nil
		}
	case avsc.Long:
		if n, ok := native.(int32); ok {
			return int64(n), nil
		}
	case avsc.String:
		if b, ok := native.([]byte); ok {
			return string(b), nil
		}
	case avsc.Bytes:
		if s, ok := native.(string); ok {
			return []byte(s), nil
		}
	}
	return native, nil
}

func convertRecord(reader, writer *avsc.Schema, native any) (any, error) {
	in, _ := native.(map[string]any)
	out := make(map[string]any, len(reader.Fields))
	for _, f := range reader.Fields {
		i := slices.IndexFunc(writer.Fields, func(w *avsc.Field) bool { return w.Name == f.Name })
		if i < 0 {
			continue
		}
		v, err := convert(f.Type, writer.Fields[i].Type, in[f.Name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		out[f.Name] = v
	}
	return out, nil
}

// branchOf returns the branch of a union that a value of goavro's belongs to.
func branchOf(union *avsc.Schema, native any) (*avsc.Schema, any, error) {
	name, value := "null", any(nil)
	if m, ok := native.(map[string]any); ok {
		for name, value = range m { // it has one member
		}
	}
	for _, b := range union.Branches {
		if b.String() == name {
			return b, value, nil
		}
	}
	return nil, nil, fmt.Errorf("a union has no branch %q", name)
}
