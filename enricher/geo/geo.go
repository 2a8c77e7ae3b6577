// Package geo looks up where an address is and which autonomous system it
// belongs to, in MMDB files of any of the layouts in use.
package geo

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// cacheSlots bounds the decoded records kept per database. Traffic knows few
// places: a record serves every address of its network, and of all networks
// that share it.
const cacheSlots = 1 << 15

// FileError says which database cannot be used, why, and what to do.
type FileError struct {
	File string
	Err  error
}

func (e *FileError) Error() string {
	return fmt.Sprintf("geo database %s: %v; give a complete MMDB file (download it again, or take it out of geo.databases)", e.File, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Database is one MMDB file, held in memory: a file that is overwritten in
// place must not take the process with it, as a mapping would.
type Database struct {
	file   string
	reader *maxminddb.Reader
	cache  []atomic.Pointer[entry]
}

type entry struct {
	offset uintptr
	record Record
}

// Open reads a database and decodes a sample of it. Errors are *FileError.
func Open(file string) (*Database, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, &FileError{file, err}
	}
	reader, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, &FileError{file, err}
	}
	// A truncated file can have a sound tree and no data behind it.
	n := 0
	for result := range reader.Networks() {
		var r Record
		if err := result.Decode(&r); err != nil {
			return nil, &FileError{file, err}
		}
		if n++; n == 1000 {
			break
		}
	}
	return &Database{file: file, reader: reader, cache: make([]atomic.Pointer[entry], cacheSlots)}, nil
}

// File returns the path that the database was read from.
func (d *Database) File() string { return d.file }

// Type returns the database's own name for what it holds.
func (d *Database) Type() string { return d.reader.Metadata.DatabaseType }

// Built returns when the database was made.
func (d *Database) Built() time.Time { return d.reader.Metadata.BuildTime() }

// lookup returns the record of an address, nil when there is none.
func (d *Database) lookup(a netip.Addr) (*Record, error) {
	if a.Is6() && d.reader.Metadata.IPVersion == 4 {
		return nil, nil
	}
	result := d.reader.Lookup(a)
	if !result.Found() {
		return nil, result.Err()
	}
	offset := result.Offset()
	// Fibonacci hashing: offsets are dense and share their low bits.
	slot := &d.cache[uint64(offset)*0x9e3779b97f4a7c15>>(64-15)]
	if e := slot.Load(); e != nil && e.offset == offset {
		return &e.record, nil
	}
	e := &entry{offset: offset}
	if err := result.Decode(&e.record); err != nil {
		return nil, err
	}
	slot.Store(e)
	return &e.record, nil
}

// Databases is a set of databases that complete each other, in order of
// precedence: city and AS, one per address family. It is immutable and safe
// for concurrent use; the zero value knows nothing.
type Databases []*Database

// Lookup fills r with what the databases say of an address and reports
// whether any says something. r's strings stay valid for ever. An error is
// one of a damaged record; r then holds what the others say.
func (ds Databases) Lookup(a netip.Addr, r *Record) (found bool, err error) {
	*r = Record{}
	if !a.IsValid() {
		return false, nil
	}
	a = a.Unmap()
	for _, d := range ds {
		one, lookupErr := d.lookup(a)
		switch {
		case lookupErr != nil:
			err = &FileError{d.file, lookupErr}
		case one == nil:
		case !found:
			*r, found = *one, true
		default:
			r.merge(one)
		}
	}
	return found, err
}
