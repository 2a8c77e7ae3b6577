package spool

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_TEST_SPOOL"); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child spools numbers for ever and says how far it has flushed.
func child(dir string) {
	s, err := Open(Config{Dir: dir, MaxBytes: 1 << 30, SegmentBytes: 8 << 10})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for i := 0; ; i++ {
		if _, err := s.Append(Entry{Partition: int32(i % 4), Key: []byte("k"), Value: []byte(strconv.Itoa(i))}); err != nil {
			fmt.Println("error", err)
			return
		}
		if i%10 == 9 {
			if err := s.Flush(); err != nil {
				fmt.Println("error", err)
				return
			}
			fmt.Println(i)
		}
	}
}

func add(t *testing.T, s *Spool, e Entry) {
	t.Helper()
	if _, err := s.Append(e); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, cfg Config) *Spool {
	t.Helper()
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 20
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Spool, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := s.Append(Entry{Partition: int32(i % 3), Key: []byte{byte(i)}, Value: []byte(strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
}

func values(t *testing.T, s *Spool) []string {
	t.Helper()
	var vs []string
	for {
		e, _, _, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return vs
		}
		vs = append(vs, string(e.Value))
	}
}

func want(from, to int) []string {
	var vs []string
	for i := from; i < to; i++ {
		vs = append(vs, strconv.Itoa(i))
	}
	return vs
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s (-got +want)\n- %v\n+ %v", what, got, want)
	}
}

func TestOrderAndRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, SegmentBytes: 100})
	put(t, s, 0, 50)
	equal(t, "before", values(t, s), want(0, 50))
	id := s.Meta()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: dir, SegmentBytes: 100})
	equal(t, "id", s.Meta().ID, id.ID)
	equal(t, "boot", s.Meta().Boot, id.Boot+1)
	put(t, s, 50, 60)
	var own []bool
	for {
		_, _, o, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		own = append(own, o)
	}
	equal(t, "not acknowledged: all again", len(own), 60)
	equal(t, "own ones", [2]bool{own[49], own[50]}, [2]bool{false, true})
	s.Ack(s.ReadPosition())
	_, waiting := s.Size()
	equal(t, "waiting", waiting, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	equal(t, "segments left", left, []string(nil))
	s = open(t, Config{Dir: dir})
	equal(t, "acknowledged ones are gone", values(t, s), []string(nil))
	put(t, s, 7, 9)
	equal(t, "and it goes on", values(t, s), want(7, 9))
	s.Close()
}

func TestAcknowledgedPrefixIsNotReadAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, SegmentBytes: 100})
	put(t, s, 0, 30)
	for range 20 {
		if _, _, _, ok, err := s.Next(); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	s.Ack(s.ReadPosition())
	s.Close()
	s = open(t, Config{Dir: dir})
	equal(t, "after", values(t, s), want(20, 30))
	s.Close()
}

func TestTornTailIsCut(t *testing.T) {
	for _, tc := range []struct {
		name string
		tear func(b []byte) []byte
		want []string
	}{
		{"in the value", func(b []byte) []byte { return b[:len(b)-1] }, want(0, 4)},
		{"in the head", func(b []byte) []byte { return append(b, 0, 0, 0) }, want(0, 5)},
		{"garbage behind", func(b []byte) []byte { return append(b, "\x00\x00\x00\x09garbagegarbage"...) }, want(0, 5)},
		{"a bit flipped", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, want(0, 4)},
		{"a huge length", func(b []byte) []byte { return append(b, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0) }, want(0, 5)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Config{Dir: dir})
			put(t, s, 0, 5)
			s.Close()
			names, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
			b, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(names[0], tc.tear(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, Config{Dir: dir})
			if s.Lost() == 0 {
				t.Error("nothing is said to be lost")
			}
			equal(t, "entries", values(t, s), tc.want)
			put(t, s, 100, 102)
			equal(t, "appended after the cut", values(t, s), want(100, 102))
			s.Close()
		})
	}
}

func TestFull(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxBytes: 300, SegmentBytes: 100})
	defer s.Close()
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = s.Append(Entry{Value: make([]byte, 20)})
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want %v", err, ErrFull)
	}
	if size, _ := s.Size(); size > 300 {
		t.Errorf("size %d, want at most 300", size)
	}
	equal(t, "entries kept", len(values(t, s)), n-1)
	s.Ack(s.ReadPosition())
	if _, err := s.Append(Entry{Value: make([]byte, 20)}); err != nil {
		t.Errorf("after acknowledgement: %v", err)
	}
}

func TestKeysAndTicks(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	defer s.Close()
	add(t, s, Entry{Partition: 3, Value: []byte("tick")})
	add(t, s, Entry{Partition: 1, Key: []byte{}, Value: []byte("v"), InFlight: true})
	e, _, own, _, _ := s.Next()
	if e.Key != nil || e.Partition != 3 || string(e.Value) != "tick" || !own {
		t.Errorf("tick: got %+v", e)
	}
	e, _, _, _, _ = s.Next()
	if e.Key == nil || !e.InFlight {
		t.Errorf("record: got %+v", e)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	defer s.Close()
	if _, err := Open(Config{Dir: dir, MaxBytes: 1 << 20}); err == nil || !strings.Contains(err.Error(), "another collector") {
		t.Errorf("got %v, want that another collector uses it", err)
	}
}

func TestDamagedMetaIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, metaFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir, MaxBytes: 1 << 20}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v, want damaged", err)
	}
}

// What was flushed before a kill -9 is there after it, in order.
func TestKill(t *testing.T) {
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "WEIR_TEST_SPOOL="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last := -1
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			if last = n; n >= 3000*(round+1)+9 {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // it was killed
		s := open(t, Config{Dir: dir, MaxBytes: 1 << 30})
		got := values(t, s)
		if len(got) <= last {
			t.Fatalf("entries after the kill: %d, want at least %d", len(got), last+1)
		}
		equal(t, "entries", got, want(0, len(got)))
		equal(t, "boot", s.Meta().Boot, 2)
		s.Close()
	}
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01kv"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x%s", 0, suffix)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Config{Dir: dir, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		values(t, s)
		add(t, s, Entry{Value: []byte("x")})
		if got := values(t, s); len(got) != 1 || got[0] != "x" {
			t.Errorf("after garbage: got %v, want x", got)
		}
		s.Close()
	})
}
