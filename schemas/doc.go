// Package schemas holds the records that travel between the services: Avro
// schemas (*.avsc, the source of truth), the Go types and codecs generated
// from them, their framing, and the rules by which they evolve.
//
// A record is read and written without an allocation: Append writes into the
// caller's buffer, Unmarshal fills the caller's struct, whose strings and
// byte slices then alias the input and whose slices keep their capacity from
// record to record. Who keeps a record beyond its input must copy it.
package schemas

//go:generate go run ./internal/gen
