package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// spec is how to start a process.
type spec struct {
	name    string // for people
	path    string
	args    []string
	env     []string // added to ours
	dir     string   // working directory
	logFile string   // gets both outputs, appended
	log     *slog.Logger
}

// process is a running child with a process group of its own: a terminal's
// Ctrl-C reaches us alone, and we stop what we started in order.
type process struct {
	name    string
	logFile string
	log     *slog.Logger
	cmd     *exec.Cmd
	exited  chan struct{}
	err     error // of Wait; valid once exited is closed
}

func start(s spec) (*process, error) {
	out, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(s.path, s.args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := confine(cmd); err != nil {
		return nil, err
	}
	p := &process{name: s.name, logFile: s.logFile, log: s.log, cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the thread that made
		// the child ends, not the process; so that thread must live as long
		// as the child. Locked, it is this goroutine's alone and waits here.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		p.log.Debug("exited", "server", p.name, "pid", cmd.Process.Pid, "status", cmd.ProcessState.String())
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	p.log.Debug("started", "server", p.name, "pid", cmd.Process.Pid, "log", p.logFile)
	return p, nil
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) exitError() error {
	if p.err != nil {
		return p.err
	}
	return errors.New("it ended with status 0")
}

// kill ends the process and its children at once (SIGKILL), and waits.
func (p *process) kill() {
	if p.running() {
		signalGroup(p.cmd.Process.Pid, true)
	}
	<-p.exited
}

// stop asks the process to end (SIGTERM), and kills it when it has not within
// grace or when ctx is done.
func (p *process) stop(ctx context.Context, grace time.Duration) {
	if p.running() {
		signalGroup(p.cmd.Process.Pid, false)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.log.Warn("did not stop in time, killed", "server", p.name, "grace", grace)
		p.kill()
	case <-ctx.Done():
		p.kill()
	}
}

// waitClosed waits until nothing listens on the port any more: children of a
// killed process may outlive it by a moment.
func waitClosed(ctx context.Context, port int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for listening(port) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("port %d is still open: %w", port, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// tail returns the end of a log file for an error message.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 8 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-most), io.SeekStart)
	}
	b, _ := io.ReadAll(f)
	return lastLines(bytes.TrimSpace(b), 20)
}

// lastLines returns the last n lines of b, without the frames of Java's stack
// traces, which push what matters out of sight.
func lastLines(b []byte, n int) string {
	var kept []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if !strings.HasPrefix(line, "\tat ") && line != "" {
			kept = append(kept, "  "+line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-n):], "\n")
}
