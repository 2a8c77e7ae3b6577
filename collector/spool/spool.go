// Package spool is a bounded log on disk for records that Kafka cannot take
// now, and the home of the collector's identity: a stable id, and a boot
// number that grows with every start.
//
// The log is a row of segment files. An entry is length, CRC-32C, partition,
// flags, key and value; a tail torn by a crash is cut when the spool is
// opened. Appends are gathered and written to the file by Flush (the page
// cache survives a kill -9 of the process); they are forced to the disk every
// Config.Sync, so that a crash of the machine loses no more than that. What
// was acknowledged is remembered on disk now and then: after a crash a tail of
// acknowledged entries may be read again.
package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config of a Spool.
type Config struct {
	// Dir holds the spool; it is created. One process at a time may use it.
	Dir string
	// MaxBytes bounds the segments on disk.
	MaxBytes int64
	// SegmentBytes is the size at which a new segment begins; 0: 16 MiB.
	SegmentBytes int64
	// Sync is the longest time, of calls of Flush, before data is forced to
	// disk; 0: one second.
	Sync time.Duration
}

// Entry is one record.
type Entry struct {
	Partition int32
	// InFlight: the process that wrote the entry had also given it to Kafka
	// and not heard back. In a later process it is an entry like any other.
	InFlight bool
	Key      []byte // nil for ticks
	Value    []byte
}

// Position orders entries: they are numbered from the first segment on.
type Position int64

// ErrFull says that the bound is reached: the entry was not taken.
var ErrFull = errors.New("spool is full: raise collector.spool.max_bytes, or bring Kafka back")

const (
	header     = 8 // length, CRC
	entryHead  = 7 // partition, flags and key length
	maxEntry   = 64 << 20
	suffix     = ".seg"
	noKey      = 0xFFFF
	flagFlight = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment covers the positions from base on; a position is an octet of the
// log as a whole.
type segment struct {
	base int64
	size int64
	f    *os.File
}

func (s *segment) end() int64 { return s.base + s.size }

// Spool is the log. Append, Flush and the accounts may be called from any
// goroutine; Next and Ack from one.
type Spool struct {
	cfg  Config
	lock *os.File
	meta Meta

	mu       sync.Mutex
	segments []*segment
	w        *bufio.Writer // on the last segment
	buffered int64         // end of what was appended, written or not
	written  int64         // end of what readers may see
	synced   time.Time
	read     int64 // next entry to read
	acked    int64
	saved    int64 // acked as on disk
	boot     int64 // end of the log when this process opened it
	lost     int64 // octets that could not be read back
	scratch  []byte
	readBuf  []byte
}

// Open opens or creates the spool and begins a new boot.
func Open(cfg Config) (*Spool, error) {
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = min(16<<20, max(cfg.MaxBytes/4, 4096))
	}
	if cfg.Sync <= 0 {
		cfg.Sync = time.Second
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("spool: %w; set collector.spool.dir to a directory that can be written", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("spool: %w; set collector.spool.dir to a directory that can be written", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("spool %s is in use by another collector: give each its own collector.spool.dir (%w)", cfg.Dir, err)
	}
	s := &Spool{cfg: cfg, lock: lock}
	if err := s.open(); err != nil {
		s.closeFiles()
		return nil, err
	}
	return s, nil
}

func (s *Spool) open() error {
	if err := s.meta.begin(s.cfg.Dir); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(s.cfg.Dir, "*"+suffix))
	if err != nil {
		return err
	}
	slices.Sort(names) // fixed width: in order of position
	for i, name := range names {
		base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), suffix), 16, 64)
		if err != nil {
			continue // not ours
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0o640)
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return fmt.Errorf("spool: %w", err)
		}
		seg := &segment{base: base, size: info.Size(), f: f}
		s.segments = append(s.segments, seg)
		if i == len(names)-1 {
			whole, err := seg.whole()
			if err != nil {
				return fmt.Errorf("spool: read %s: %w", name, err)
			}
			if whole < seg.size {
				s.lost += seg.size - whole
				if err := f.Truncate(whole); err != nil {
					return fmt.Errorf("spool: cut the torn tail of %s: %w", name, err)
				}
				seg.size = whole
			}
		}
	}
	s.acked = s.loadAcked()
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		s.buffered = last.end()
		s.acked = min(max(s.acked, s.segments[0].base), s.buffered)
		if _, err := last.f.Seek(last.size, io.SeekStart); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		s.w = bufio.NewWriterSize(last.f, 64<<10)
	} else {
		s.buffered = s.acked // positions never start over
	}
	s.written, s.boot, s.read, s.saved = s.buffered, s.buffered, s.acked, s.acked
	s.synced = time.Now()
	s.trim()
	return nil
}

// whole returns the length of the segment's valid entries.
func (s *segment) whole() (int64, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(s.f, 0, s.size), 256<<10)
	var at int64
	var head [header]byte
	var body []byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return at, ignoreEnd(err)
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if n < entryHead || n > maxEntry || at+header+n > s.size {
			return at, nil
		}
		body = slices.Grow(body[:0], int(n))[:n]
		if _, err := io.ReadFull(r, body); err != nil {
			return at, ignoreEnd(err)
		}
		if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
			return at, nil
		}
		at += header + n
	}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// Append takes an entry, and returns its position. It is safe from a kill of
// the process once Flush has returned.
func (s *Spool) Append(e Entry) (Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.append(e)
}

func (s *Spool) append(e Entry) (Position, error) {
	n := int64(entryHead + len(e.Key) + len(e.Value))
	if n > maxEntry || len(e.Key) >= noKey {
		return 0, fmt.Errorf("spool: an entry of %d octets is too large", n)
	}
	if s.size()+header+n > s.cfg.MaxBytes {
		return 0, ErrFull
	}
	if err := s.roll(); err != nil {
		return 0, err
	}
	b := slices.Grow(s.scratch[:0], int(header+n))[:header]
	b = binary.BigEndian.AppendUint32(b, uint32(e.Partition))
	var flags byte
	if e.InFlight {
		flags |= flagFlight
	}
	keyLen := uint16(noKey)
	if e.Key != nil {
		keyLen = uint16(len(e.Key))
	}
	b = append(b, flags, byte(keyLen>>8), byte(keyLen))
	b = append(b, e.Key...)
	b = append(b, e.Value...)
	binary.BigEndian.PutUint32(b, uint32(n))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[header:], castagnoli))
	s.scratch = b
	if _, err := s.w.Write(b); err != nil {
		return 0, s.broken(err)
	}
	at := s.buffered
	s.buffered += header + n
	s.segments[len(s.segments)-1].size += header + n
	return Position(at), nil
}

// broken gives up the segment after a failed write (a full disk): its tail is
// cut to what is known to be whole, and the next append begins a new one.
func (s *Spool) broken(cause error) error {
	last := s.segments[len(s.segments)-1]
	last.size = s.written - last.base
	s.lost += s.buffered - s.written
	s.buffered = s.written
	if err := last.f.Truncate(last.size); err != nil {
		cause = errors.Join(cause, err)
	}
	if _, err := last.f.Seek(last.size, io.SeekStart); err != nil {
		cause = errors.Join(cause, err)
	}
	s.w.Reset(last.f)
	return fmt.Errorf("spool: %w", cause)
}

func (s *Spool) size() int64 {
	if len(s.segments) == 0 {
		return 0
	}
	return s.buffered - s.segments[0].base
}

// roll begins a new segment where there is none or the last one is full.
func (s *Spool) roll() error {
	if n := len(s.segments); n > 0 && s.segments[n-1].size < s.cfg.SegmentBytes {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	name := filepath.Join(s.cfg.Dir, fmt.Sprintf("%016x%s", s.buffered, suffix))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o640)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.segments = append(s.segments, &segment{base: s.buffered, f: f})
	if s.w == nil {
		s.w = bufio.NewWriterSize(f, 64<<10)
	} else {
		s.w.Reset(f)
	}
	return nil
}

// Flush hands what was appended to the operating system, and forces it to
// disk when Config.Sync has passed.
func (s *Spool) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.flush(); err != nil {
		return err
	}
	if now := time.Now(); now.Sub(s.synced) >= s.cfg.Sync {
		s.synced = now
		return s.sync()
	}
	return nil
}

func (s *Spool) flush() error {
	if s.w == nil || s.written == s.buffered {
		return nil
	}
	if err := s.w.Flush(); err != nil {
		return s.broken(err)
	}
	s.written = s.buffered
	return nil
}

func (s *Spool) sync() error {
	s.saveAcked()
	if n := len(s.segments); n > 0 {
		if err := s.segments[n-1].f.Sync(); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	return nil
}

// Next reads the entry after the last one read. ok is false when there is
// none now. own says that this process wrote it. The entry's slices are valid
// until the next call. Entries that cannot be read back (a damaged disk) are
// skipped to the end of their segment, and counted by Lost.
func (s *Spool) Next() (e Entry, at Position, own, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.read >= s.buffered {
			return Entry{}, 0, false, false, nil
		}
		if s.read >= s.written {
			if err := s.flush(); err != nil {
				return Entry{}, 0, false, false, err
			}
		}
		g := s.segmentOf(s.read)
		if g == nil {
			return Entry{}, 0, false, false, nil
		}
		e, n, good := s.entry(g, s.read-g.base)
		if !good {
			s.lost += g.end() - s.read
			s.read = g.end()
			continue
		}
		at := s.read
		s.read += n
		return e, Position(at), at >= s.boot, true, nil
	}
}

func (s *Spool) segmentOf(at int64) *segment {
	for _, g := range s.segments {
		if at < g.end() {
			return g
		}
	}
	return nil
}

// entry reads one entry; ok is false when it is damaged.
func (s *Spool) entry(g *segment, at int64) (e Entry, n int64, ok bool) {
	var head [header]byte
	if _, err := g.f.ReadAt(head[:], at); err != nil {
		return e, 0, false
	}
	n = int64(binary.BigEndian.Uint32(head[:]))
	if n < entryHead || n > maxEntry || at+header+n > g.size {
		return e, 0, false
	}
	b := slices.Grow(s.readBuf[:0], int(n))[:n]
	s.readBuf = b
	if _, err := g.f.ReadAt(b, at+header); err != nil || crc32.Checksum(b, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return e, 0, false
	}
	e.Partition = int32(binary.BigEndian.Uint32(b))
	e.InFlight = b[4]&flagFlight != 0
	keyLen := int(binary.BigEndian.Uint16(b[5:]))
	b = b[entryHead:]
	if keyLen != noKey {
		if keyLen > len(b) {
			return e, 0, false
		}
		e.Key, b = b[:keyLen:keyLen], b[keyLen:]
	}
	e.Value = b
	return e, header + n, true
}

// Ack says that all entries before the position after at are acknowledged by
// Kafka: whole segments below it are removed.
func (s *Spool) Ack(next Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = max(s.acked, min(int64(next), s.read))
	if s.acked-s.saved > 1<<20 || s.acked == s.buffered {
		s.saveAcked()
	}
	s.trim()
}

// ReadPosition is the position after the last entry read.
func (s *Spool) ReadPosition() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Position(s.read)
}

// IfRead calls f, under the spool's lock, when all entries have been read.
func (s *Spool) IfRead(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read < s.buffered {
		return false
	}
	f()
	return true
}

// AppendIf appends when the condition holds under the spool's lock.
func (s *Spool) AppendIf(cond func() bool, e Entry) (at Position, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !cond() {
		return 0, false, nil
	}
	at, err = s.append(e)
	return at, true, err
}

// trim removes the segments that are acknowledged as a whole; the last one
// only when it is full, or at Close.
func (s *Spool) trim() {
	for len(s.segments) > 0 {
		g := s.segments[0]
		if g.end() > s.acked || len(s.segments) == 1 && g.size < s.cfg.SegmentBytes {
			return
		}
		if len(s.segments) == 1 {
			if s.flush() != nil {
				return
			}
			s.saveAcked() // positions go on from here when no segment tells them
			s.w = nil
		}
		g.f.Close()
		os.Remove(g.f.Name())
		s.segments = s.segments[1:]
	}
}

// Size returns the octets on disk, and Waiting those not acknowledged.
func (s *Spool) Size() (size, waiting int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size(), s.buffered - s.acked
}

// Lost returns the octets that could not be written or read back.
func (s *Spool) Lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Close forces everything to disk. An empty spool leaves no segments.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.flush()
	err = errors.Join(err, s.sync())
	if s.acked == s.buffered {
		for _, g := range s.segments {
			g.f.Close()
			err = errors.Join(err, os.Remove(g.f.Name()))
		}
		s.segments = nil
	}
	err = errors.Join(err, s.meta.save(s.cfg.Dir))
	s.closeFiles()
	return err
}

func (s *Spool) closeFiles() {
	for _, g := range s.segments {
		g.f.Close()
	}
	s.segments = nil
	s.lock.Close()
}

// ackedFile holds two slots of position and CRC; the larger valid one counts,
// so that a torn write leaves the other.
const ackedFile = "acknowledged"

func (s *Spool) loadAcked() int64 {
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, ackedFile))
	if err != nil {
		return 0 // from the beginning: repeats are dropped downstream
	}
	var best int64
	for len(b) >= 12 {
		if crc32.Checksum(b[:8], castagnoli) == binary.BigEndian.Uint32(b[8:]) {
			best = max(best, int64(binary.BigEndian.Uint64(b)))
		}
		b = b[12:]
	}
	return best
}

func (s *Spool) saveAcked() {
	if s.acked == s.saved {
		return
	}
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, ackedFile), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return // only repeats are at stake
	}
	defer f.Close()
	b := binary.BigEndian.AppendUint64(nil, uint64(s.acked))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	s.meta.slot ^= 1
	if _, err := f.WriteAt(b, 12*s.meta.slot); err == nil {
		s.saved = s.acked
	}
}
