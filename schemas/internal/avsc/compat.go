package avsc

import (
	"fmt"
	"slices"
)

// String returns the full name of a named type, else the kind.
func (s *Schema) String() string {
	if s.Name != "" {
		return s.Name
	}
	return string(s.Kind)
}

// MinSize is the least number of bytes that a value takes: what bounds the
// count of an array by the length of the input.
func (s *Schema) MinSize() int {
	switch s.Kind {
	case Null:
		return 0
	case Double:
		return 8
	case Fixed:
		return s.Size
	case Record:
		n := 0
		for _, f := range s.Fields {
			n += f.Type.MinSize()
		}
		return n
	}
	return 1 // a varint, a boolean, a length, a block count, a branch
}

// Matches reports whether a value of the writer's type may be read as the
// reader's, as far as the types themselves go (Avro specification, schema
// resolution); neither is a union.
func Matches(reader, writer *Schema) bool {
	switch {
	case reader.Kind == writer.Kind:
		return reader.ShortName() == writer.ShortName() && reader.Size == writer.Size
	case reader.Kind == Long:
		return writer.Kind == Int
	case reader.Kind == Double:
		return writer.Kind == Int || writer.Kind == Long
	case reader.Kind == String:
		return writer.Kind == Bytes
	case reader.Kind == Bytes:
		return writer.Kind == String
	}
	return false
}

// Match returns the branch of the reader's union that takes a value of the
// writer's type: one of the same kind before one that promotes it, nil for
// none.
func Match(union, writer *Schema) *Schema {
	for _, b := range union.Branches {
		if b.Kind == writer.Kind && Matches(b, writer) {
			return b
		}
	}
	for _, b := range union.Branches {
		if Matches(b, writer) {
			return b
		}
	}
	return nil
}

// CanRead says why values of the writer's schema cannot all be read with the
// reader's; nil when they can.
func CanRead(reader, writer *Schema) error {
	c := checker{seen: map[[2]*Schema]bool{}}
	return c.canRead(reader, writer)
}

type checker struct{ seen map[[2]*Schema]bool }

func (c *checker) canRead(reader, writer *Schema) error {
	if c.seen[[2]*Schema{reader, writer}] {
		return nil // a type that refers to itself: being checked already
	}
	c.seen[[2]*Schema{reader, writer}] = true
	if writer.Kind == Union {
		for _, b := range writer.Branches {
			if err := c.canRead(reader, b); err != nil {
				return err
			}
		}
		return nil
	}
	if reader.Kind == Union {
		b := Match(reader, writer)
		if b == nil {
			return fmt.Errorf("no branch of the reader's union takes %s", writer)
		}
		return c.canRead(b, writer)
	}
	if !Matches(reader, writer) {
		return fmt.Errorf("%s cannot be read as %s", writer, reader)
	}
	switch reader.Kind {
	case Array:
		return c.canRead(reader.Items, writer.Items)
	case Enum:
		for _, symbol := range writer.Symbols {
			if !slices.Contains(reader.Symbols, symbol) && reader.Default == "" {
				return fmt.Errorf("enum %s lacks symbol %s and has no default", reader, symbol)
			}
		}
	case Record:
		for _, f := range reader.Fields {
			i := slices.IndexFunc(writer.Fields, func(w *Field) bool { return w.Name == f.Name })
			if i < 0 {
				if f.Default == nil {
					return fmt.Errorf("%s.%s is not in the writer's schema and has no default", reader, f.Name)
				}
				continue
			}
			if err := c.canRead(f.Type, writer.Fields[i].Type); err != nil {
				return fmt.Errorf("%s.%s: %w", reader, f.Name, err)
			}
		}
	}
	return nil
}
