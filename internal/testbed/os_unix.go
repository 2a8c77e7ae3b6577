//go:build unix

package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// errLocked is a lock that another process holds.
var errLocked = errors.New("locked by another process")

// lockNow takes the lock on a file, made if need be, or returns errLocked.
// The kernel gives it back when the process ends, so none can be stale.
func lockNow(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// lockWait takes the lock when its holder gives it up.
func lockWait(ctx context.Context, path string) (unlock func(), err error) {
	for {
		unlock, err := lockNow(path)
		if !errors.Is(err, errLocked) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lockWaitShort is for locks that are held for moments.
func lockWaitShort(path string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return lockWait(ctx, path)
}

// secureDir makes the directory, or refuses one that another user could have
// put there: its files are executed.
func secureDir(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
		return fmt.Errorf("cache directory %s belongs to user %d, not to us (%d); set WEIR_CACHE to a directory of your own", path, st.Uid, os.Getuid())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("cache directory %s can be written by others; chmod go-w it, or set WEIR_CACHE to another", path)
	}
	return reachable(path)
}

// account is the user that servers run as when we are root: Elasticsearch
// refuses root, and nothing here needs it.
func account() (uid, gid int, needed bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	uid, gid = 65534, 65534
	if u, err := user.Lookup("nobody"); err == nil {
		if n, err := strconv.Atoi(u.Uid); err == nil {
			uid = n
		}
		if n, err := strconv.Atoi(u.Gid); err == nil {
			gid = n
		}
	}
	return uid, gid, true
}

// reachable checks that the service account can walk to the directory.
func reachable(path string) error {
	if _, _, needed := account(); !needed {
		return nil
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("servers do not run as root, and other users cannot enter %s; take a directory elsewhere, such as one in /var/tmp (environment WEIR_CACHE)", dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// handOver gives a tree to the service account.
func handOver(path string) error {
	uid, gid, needed := account()
	if !needed {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, uid, gid)
	})
}

// confine makes the command a group leader that dies with us, under the
// service account when we are root.
func confine(cmd *exec.Cmd) error {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if uid, gid, needed := account(); needed {
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	dieWithParent(attr)
	cmd.SysProcAttr = attr
	return nil
}

// signalGroup sends SIGKILL or SIGTERM to a process group that we made. That
// it is gone already is no error.
func signalGroup(pid int, kill bool) {
	sig := syscall.SIGTERM
	if kill {
		sig = syscall.SIGKILL
	}
	_ = syscall.Kill(-pid, sig)
}
