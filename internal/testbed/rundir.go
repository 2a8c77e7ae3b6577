package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// runDir is the data directory of one server, locked while it is ours.
type runDir struct {
	path      string
	temporary bool
	unlock    func()
}

const lockFile = "testbed.lock"

// openRunDir opens the directory that the options name, or a temporary one.
func openRunDir(o Options, kind string) (*runDir, error) {
	if o.Dir != "" {
		path, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, err
		}
		if err := reachable(path); err != nil {
			return nil, err
		}
		unlock, err := lockNow(filepath.Join(path, lockFile))
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("directory %s is in use by another process; stop that one, or give another directory", path)
		}
		if err != nil {
			return nil, err
		}
		return &runDir{path: path, unlock: unlock}, nil
	}
	runs := filepath.Join(o.Cache, "run")
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return nil, err
	}
	// The sweep and the birth of a directory exclude each other, so that no
	// sweep sees a directory that has no lock on it yet.
	unlockRuns, err := lockWaitShort(filepath.Join(runs, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlockRuns()
	sweep(runs)
	path, err := os.MkdirTemp(runs, kind+"-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockNow(filepath.Join(path, lockFile))
	if err != nil {
		return nil, err
	}
	return &runDir{path: path, temporary: true, unlock: unlock}, nil
}

// sweep removes the temporary directories of processes that were killed: a
// lock goes with its process, so one that can be had has no owner.
func sweep(runs string) {
	dirs, _ := filepath.Glob(filepath.Join(runs, "*-*"))
	for _, dir := range dirs {
		unlock, err := lockNow(filepath.Join(dir, lockFile))
		if err != nil {
			continue
		}
		// Its server may be dying still and write behind our back; what
		// stays goes with the next sweep.
		_ = os.RemoveAll(dir)
		unlock()
	}
}

// sub makes a directory inside for the service account, and returns its path.
func (d *runDir) sub(name string) (string, error) {
	path := filepath.Join(d.path, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", err
	}
	return path, handOver(path)
}

// close gives the directory up, and removes a temporary one.
func (d *runDir) close() error {
	var err error
	if d.temporary {
		err = os.RemoveAll(d.path)
	}
	d.unlock()
	return err
}
