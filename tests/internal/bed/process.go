package bed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-flow/weir/pipeline"
)

// Process is a service of the bed at work.
type Process struct {
	Role pipeline.Role

	t       *testing.T
	bed     *Bed
	cmd     *exec.Cmd
	address string // of its telemetry
	log     string
	logged  int64 // octets of log before this process
	exited  chan struct{}
	err     error // of Wait; valid once exited is closed
}

// Start starts a service. It does not wait until it is ready: see Ready.
func (b *Bed) Start(role pipeline.Role) *Process {
	b.t.Helper()
	p := &Process{Role: role, t: b.t, bed: b, address: freeTCP(b.t), log: filepath.Join(b.Dir, string(role)+".log"), exited: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer out.Close()
	if info, err := out.Stat(); err == nil {
		p.logged = info.Size()
	}
	p.cmd = exec.Command(Binary(b.t), string(role), "-c", b.file, "--set", "telemetry.listen="+p.address, "--log-format", "text")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	confine(p.cmd)
	started := make(chan error)
	go func() {
		// The parent-death signal comes when the thread that made the child
		// ends: this one waits as long as the child lives.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		p.Kill()
		if b.t.Failed() {
			b.t.Logf("%s said:\n%s", role, p.Tail())
		}
	})
	return p
}

// Ready waits until the service says that it is.
func (p *Process) Ready() *Process {
	p.t.Helper()
	p.bed.Eventually(string(p.Role)+" is ready", time.Minute, func() error {
		p.alive()
		if _, err := p.get("/readyz"); err != nil {
			return err
		}
		// A collector has sockets of its own, which may open later.
		if p.Role == pipeline.RoleCollector && !strings.Contains(p.Tail(), "msg=listening") {
			return errors.New("it does not listen yet")
		}
		return nil
	})
	return p
}

// alive fails the test when the process has ended by itself.
func (p *Process) alive() {
	p.t.Helper()
	select {
	case <-p.exited:
		p.t.Fatalf("%s ended: %v\n%s", p.Role, p.err, p.Tail())
	default:
	}
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// Stop asks the process to drain (SIGTERM), which must succeed.
func (p *Process) Stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("stop %s: %v", p.Role, err)
	}
	select {
	case <-p.exited:
	case <-time.After(p.bed.Config.ShutdownGrace + 10*time.Second):
		p.t.Fatalf("%s does not stop\n%s", p.Role, p.Tail())
	}
	if p.err != nil {
		p.t.Errorf("%s stopped with %v\n%s", p.Role, p.err, p.Tail())
	}
}

// Tail is the end of what the service has logged.
func (p *Process) Tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	text = text[min(p.logged, int64(len(text))):]
	return string(text[max(0, len(text)-most):])
}

func (p *Process) get(path string) (string, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", path, res.StatusCode, text)
	}
	return string(text), err
}

// Metrics are the samples of one scrape.
type Metrics []sample

type sample struct {
	name, labels string
	value        float64
}

// Metrics scrapes the process.
func (p *Process) Metrics() Metrics {
	p.t.Helper()
	m, err := p.scrape()
	if err != nil {
		p.alive()
		p.t.Fatalf("metrics of %s: %v", p.Role, err)
	}
	return m
}

func (p *Process) scrape() (m Metrics, err error) {
	text, err := p.get("/metrics")
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		end := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || end < 0 {
			continue
		}
		s := sample{name: line[:end]}
		if s.value, err = strconv.ParseFloat(line[end+1:], 64); err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		if i := strings.IndexByte(s.name, '{'); i >= 0 {
			s.name, s.labels = s.name[:i], s.name[i:]
		}
		m = append(m, s)
	}
	if len(m) == 0 {
		return nil, errors.New("no metrics")
	}
	return m, lines.Err()
}

// Sum adds up the samples of a metric that carry all labels, each given as
// key="value".
func (m Metrics) Sum(name string, labels ...string) int {
	var sum float64
next:
	for _, s := range m {
		if s.name != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(s.labels, l) {
				continue next
			}
		}
		sum += s.value
	}
	return int(sum)
}

// Totals are sums of metrics by name, for processes that are gone.
type Totals map[string]int

// Plus adds what a process has counted.
func (t Totals) Plus(m Metrics) Totals {
	sum := Totals{}
	for name, n := range t {
		sum[name] = n
	}
	for _, s := range m {
		sum[s.name] += int(s.value)
	}
	return sum
}
