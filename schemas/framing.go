package schemas

import (
	"encoding/binary"
	"fmt"
)

// Framing: what stands before the body of a record and says which schema wrote
// it. It is Avro single-object encoding: C3 01, then the CRC-64-AVRO
// fingerprint of the writer's schema, little-endian. The generated Append
// writes it (a constant per schema) and unframe reads it; nothing else in the
// project knows of it, so that this file, and the header constant that Append
// uses, are what changes when Confluent framing (00, then the schema's id in a
// registry, 4 bytes big-endian) comes as the other choice of a deployment.

// headerSize is the length of the framing in bytes.
const headerSize = 10

// FramingError says that a value does not start like a framed record.
type FramingError struct {
	// Record is the name of the record that was expected.
	Record string
	// Length of the value in bytes.
	Length int
}

// Error implements error.
func (e *FramingError) Error() string {
	return fmt.Sprintf("schemas: %s expected, but the value (%d bytes) does not start with Avro single-object framing (C3 01 and a fingerprint): check what else writes to the topic", e.Record, e.Length)
}

// UnknownSchemaError says that a record was written with a schema that is none
// of the released ones of the record that was expected.
type UnknownSchemaError struct {
	// Record is the name of the record that was expected.
	Record string
	// Fingerprint of the writer's schema.
	Fingerprint uint64
}

// Error implements error.
func (e *UnknownSchemaError) Error() string {
	return fmt.Sprintf("schemas: %s expected, but the value was written with schema %016x, which this version does not know: a newer version wrote it (upgrade readers before writers), or it belongs to another topic", e.Record, e.Fingerprint)
}

// Fingerprint returns the fingerprint of the schema that a framed record was
// written with; false when b is not framed.
func Fingerprint(b []byte) (uint64, bool) {
	if len(b) < headerSize || b[0] != 0xC3 || b[1] != 0x01 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[2:]), true
}

// IsTick reports whether a framed record is a Tick of any released version.
func IsTick(b []byte) bool {
	fp, ok := Fingerprint(b)
	switch {
	case !ok, fp == FlowRecordFingerprint, fp == EnrichedFlowFingerprint:
		return false
	case fp == TickFingerprint:
		return true
	}
	return releasedAs("Tick", fp)
}

// unframe returns the body of a framed record in the encoding of the current
// schema of the record with that name, whose framing is header.
func unframe(record, header string, b []byte) ([]byte, error) {
	if len(b) >= headerSize && string(b[:headerSize]) == header {
		return b[headerSize:], nil
	}
	fp, ok := Fingerprint(b)
	if !ok {
		return nil, &FramingError{Record: record, Length: len(b)}
	}
	return upgrade(record, fp, b[headerSize:])
}
