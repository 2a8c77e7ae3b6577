package collector

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/collector/spool"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_TEST_SENDER"); dir != "" {
		sendForEver(dir)
		return
	}
	if dir := os.Getenv("WEIR_TEST_COLLECTOR"); dir != "" {
		collectForEver(dir)
		return
	}
	os.Exit(m.Run())
}

const lanes = 4

func number(i int) []byte { return binary.BigEndian.AppendUint32([]byte("value"), uint32(i)) }

func testSender(t testing.TB, k Producer, dir string, change func(*spool.Config)) (*sender, *spool.Spool) {
	t.Helper()
	cfg := spool.Config{Dir: dir, MaxBytes: 64 << 20, SegmentBytes: 16 << 10}
	if change != nil {
		change(&cfg)
	}
	sp, err := spool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := newSender(k, "raw", lanes, sp, 4096, 50*time.Millisecond, quiet, func(err error) { t.Error(err) })
	return s, sp
}

func sendRange(s *sender, from, to int) (refused int) {
	for i := from; i < to; i++ {
		if !s.send(int32(i%lanes), []byte("k"), number(i)) {
			refused++
		}
	}
	return refused
}

// checkOrder checks that each lane holds exactly its numbers of [from, to),
// each first occurrence in order.
func checkOrder(t *testing.T, rs []fakeRecord, from, to int) {
	t.Helper()
	next := map[int32]int{}
	for i := from; i < from+lanes; i++ {
		next[int32(i%lanes)] = i
	}
	for _, r := range rs {
		n := int(binary.BigEndian.Uint32(r.value[5:]))
		switch want := next[r.partition]; {
		case n == want:
			next[r.partition] = n + lanes
		case n > want:
			t.Fatalf("lane %d: got %d, want %d first", r.partition, n, want)
		}
	}
	for l, n := range next {
		if n < to {
			t.Errorf("lane %d ends before %d, want all below %d", l, n, to)
		}
	}
}

func TestSenderDirect(t *testing.T) {
	k := newFakeKafka(t, true)
	s, sp := testSender(t, k, t.TempDir(), nil)
	s.limit = 1 << 30
	s.start()
	sendRange(s, 0, 1000)
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rs := k.records("raw")
	equal(t, "records, each once", len(rs), 1000)
	checkOrder(t, rs, 0, 1000)
	size, _ := sp.Size()
	equal(t, "spool", size, 0)
	sp.Close()
}

// Kafka goes away and comes back: everything arrives, in order, and the way is
// direct again.
func TestSenderThroughTheSpool(t *testing.T) {
	k := newFakeKafka(t, true)
	s, sp := testSender(t, k, t.TempDir(), nil)
	s.start()
	n := 0
	for round := range 3 {
		sendRange(s, n, n+200)
		k.set(false)
		sendRange(s, n+200, n+5000)
		if !s.spooling.Load() {
			t.Errorf("round %d: Kafka is away and nothing is spooled", round)
		}
		if o := s.octets.Load(); o > 2*4096 {
			t.Errorf("octets in memory: %d, want about 4096", o)
		}
		k.set(true)
		n += 5000
		k.wait(t, "spool empties", func() bool { return !s.spooling.Load() })
	}
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rs := k.records("raw")
	equal(t, "records, each once", len(rs), n)
	checkOrder(t, rs, 0, n)
	equal(t, "acknowledged", s.stats.acked.Load(), uint64(n))
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}

// Stopping while Kafka is away leaves everything to the next start.
func TestSenderStopsWithoutKafka(t *testing.T) {
	dir := t.TempDir()
	k := newFakeKafka(t, false)
	s, sp := testSender(t, k, dir, nil)
	s.start()
	sendRange(s, 0, 777)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.flush(ctx); err != nil {
		t.Fatal(err)
	}
	sp.Close()

	k = newFakeKafka(t, true)
	s, sp = testSender(t, k, dir, nil)
	s.start()
	sendRange(s, 777, 1000)
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkOrder(t, k.records("raw"), 0, 1000)
	_, waiting := sp.Size()
	equal(t, "waiting", waiting, 0)
	sp.Close()
}

func TestSenderFullSpool(t *testing.T) {
	k := newFakeKafka(t, false)
	s, sp := testSender(t, k, t.TempDir(), func(c *spool.Config) { c.MaxBytes = 32 << 10 })
	s.start()
	refused := sendRange(s, 0, 5000)
	if refused == 0 {
		t.Fatal("a spool of 32 kB took 5000 records")
	}
	equal(t, "counted", s.stats.droppedSpool.Load(), uint64(refused))
	k.set(true)
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "acknowledged + dropped = sent", s.stats.acked.Load()+uint64(refused), 5000)
	sp.Close()
}

func TestSenderWithoutSpool(t *testing.T) {
	k := newFakeKafka(t, false)
	s := newSender(k, "raw", lanes, nil, 4096, 50*time.Millisecond, quiet, nil)
	s.start()
	refused := sendRange(s, 0, 5000)
	equal(t, "counted", s.stats.droppedFull.Load(), uint64(refused))
	if refused == 0 || refused == 5000 {
		t.Errorf("refused %d of 5000, want some", refused)
	}
	k.set(true)
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "acknowledged", s.stats.acked.Load()+uint64(refused), 5000)
}

// noKafka never answers.
type noKafka struct{}

func (noKafka) Produce(context.Context, *kgo.Record, func(*kgo.Record, error)) {}
func (noKafka) Flush(ctx context.Context) error                                { <-ctx.Done(); return ctx.Err() }

// sendForEver is the child that gets killed: Kafka is away, and it says up to
// which number everything is spooled.
func sendForEver(dir string) {
	sp, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 30, SegmentBytes: 16 << 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := newSender(noKafka{}, "raw", lanes, sp, 4096, 50*time.Millisecond, quiet, nil)
	s.start()
	for i := 0; ; i++ {
		s.send(int32(i%lanes), []byte("k"), number(i))
		if i%100 == 99 && s.spooling.Load() {
			s.flushSpool()
			fmt.Println(i)
		}
	}
}

// A kill -9 with the spool in use loses nothing of what was spooled, nor of
// what was in flight when spooling began; the next start sends it in order.
func TestSenderKill(t *testing.T) {
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "WEIR_TEST_SENDER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		spooled := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			if spooled = n + 1; spooled >= 2000*(round+1) {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // it was killed

		k := newFakeKafka(t, true)
		s, sp := testSender(t, k, dir, nil)
		s.start()
		if err := s.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkOrder(t, k.records("raw"), 0, spooled)
		sp.Close()
	}
}

// Acknowledged before the kill: not sent again, but for a bounded tail.
func TestSenderAcknowledgedStays(t *testing.T) {
	dir := t.TempDir()
	k := newFakeKafka(t, false)
	s, sp := testSender(t, k, dir, nil)
	s.start()
	sendRange(s, 0, 3000)
	k.set(true)
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	sp.Close()
	k = newFakeKafka(t, true)
	s, sp = testSender(t, k, dir, nil)
	s.start()
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "sent again", len(k.records("raw")), 0)
	sp.Close()
}
