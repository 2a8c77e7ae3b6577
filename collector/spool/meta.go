package spool

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Meta is what a collector must remember of itself.
type Meta struct {
	// ID is stable for the life of the directory.
	ID string `json:"id"`
	// Boot grows with every start.
	Boot int64 `json:"boot"`
	// Partitions of the raw topic when it was last known, 0 never.
	Partitions int `json:"partitions,omitempty"`
	// Floor is the last tick, ms since the epoch: a clock set back between two
	// starts must not take stream time back.
	Floor int64 `json:"floor,omitempty"`

	slot int64
}

const metaFile = "collector.json"

// begin loads the file, or makes one, and counts the boot.
func (m *Meta) begin(dir string) error {
	path := filepath.Join(dir, metaFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var id [8]byte
		if _, err := rand.Read(id[:]); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		m.ID = hex.EncodeToString(id[:])
	case err != nil:
		return fmt.Errorf("spool: %w", err)
	default:
		err := json.Unmarshal(b, m)
		if err == nil && m.ID == "" {
			err = errors.New("it holds no id")
		}
		if err != nil {
			// A new id would make the enricher take repeats for news.
			return fmt.Errorf("spool: %s is damaged (%w): restore it, or remove it and drop what is spooled", path, err)
		}
	}
	m.Boot++
	return m.save(dir)
}

// save replaces the file in one step.
func (m *Meta) save(dir string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, metaFile)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Meta returns what is remembered.
func (s *Spool) Meta() Meta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta
}

// Remember keeps the partition count and the floor, on disk.
func (s *Spool) Remember(partitions int, floor int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta.Partitions, s.meta.Floor = partitions, max(s.meta.Floor, floor)
	return s.meta.save(s.cfg.Dir)
}
