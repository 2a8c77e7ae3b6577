package collector

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/weir-flow/weir/schemas"
)

// collectForEver is the child that gets killed: a whole collector whose Kafka
// is away. It tells what it has, and how much of it is out of a kill's reach.
func collectForEver(dir string) {
	cfg := DefaultConfig()
	cfg.Listen, cfg.Workers = []string{"netflow://127.0.0.1:0"}, 1
	cfg.Spool.Dir, cfg.Spool.After = dir, 100*time.Millisecond
	deps := kafkaDeps(noKafka{})
	deps.Log = quiet
	c, err := New(cfg, deps)
	if err == nil {
		err = c.Start(context.Background(), func(err error) { fmt.Println(err) })
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Addresses()[0])
	for {
		flows := c.Stats().Protocol[schemas.ExportProtocolNETFLOW_V5].Flows.Load()
		exposed := 0
		for i := range c.sender.lanes {
			l := &c.sender.lanes[i]
			l.mu.Lock()
			for it := l.first; it != nil; it = it.next {
				if it.position < 0 && !it.tick {
					exposed++
				}
			}
			l.mu.Unlock()
		}
		if err := c.spool.Flush(); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(flows, c.KernelDrops(), exposed)
		time.Sleep(5 * time.Millisecond)
	}
}

// Collected + counted losses = sent, though the collector is killed with its
// spool in use: the next one sends what it had, once and in order.
func TestConservationThroughKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "WEIR_TEST_COLLECTOR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // it is killed
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the collector did not start")
	}
	conn, err := net.Dial("udp", lines.Text())
	if err != nil {
		t.Fatalf("%v: %s", err, lines.Text())
	}
	defer conn.Close()
	const datagrams, flows = 200, 30
	for n := range datagrams {
		if _, err := conn.Write(v5Datagram(n*flows, flows, time.Now().Unix())); err != nil {
			t.Fatal(err)
		}
	}
	var collected, dropped, exposed uint64
	for lines.Scan() {
		if _, err := fmt.Sscan(lines.Text(), &collected, &dropped, &exposed); err != nil {
			t.Fatal(lines.Text())
		}
		if collected+dropped*flows == datagrams*flows && exposed == 0 {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // it was killed

	k := newFakeKafka(t, true)
	cfg := testConfig(t)
	cfg.Spool.Dir = dir
	c := start(t, cfg, kafkaDeps(k))
	dial(t, c).Write(v5Datagram(datagrams*flows, 1, time.Now().Unix()))
	stop(t, c)
	r := newReader(t).takeAll(k.records("weir.flows.raw"))
	equal(t, "collected + dropped", uint64(len(r.flows))+dropped*flows, datagrams*flows+1)
	equal(t, "missed", r.missed, 0)
	last := r.flows[len(r.flows)-1]
	equal(t, "the second run's comes last", last.CollectorBoot, 2)
	if h := c.Exporters(); len(h) != 1 || h[0].Flows != 1 {
		t.Errorf("exporters: got %+v, want one with one flow", h)
	}
}
