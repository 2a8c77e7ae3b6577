package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTools is a PATH that holds the given scripts and nothing else.
func fakeTools(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("JAVA_HOME", "")
}

const java17 = `echo "    java.home = /opt/jdk" >&2; echo "    java.specification.version = 17" >&2`

func TestAvailableSaysWhatToInstall(t *testing.T) {
	for _, tc := range []struct {
		name  string
		tools map[string]string
		want  string // part of the error; empty: none
	}{
		{"nothing", nil, "need Java 17 or newer, and there is none"},
		{"old Java", map[string]string{"java": `echo "java.home = /opt/jre"; echo "java.specification.version = 1.8"`}, "is Java 8; install it"},
		{"broken Java", map[string]string{"java": "exit 1"}, "does not run"},
		{"no Maven", map[string]string{"java": java17}, "mvn is not in PATH; install it: apt-get install"},
		{"all there", map[string]string{"java": java17, "mvn": ""}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fakeTools(t, tc.tools)
			err := Available(t.Context(), Options{Cache: t.TempDir()})
			if tc.want == "" {
				if err != nil {
					t.Fatalf("error (-got, +want)\n- %v\n+ none", err)
				}
				return
			}
			var missing *PrerequisiteError
			if !errors.As(err, &missing) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error (-got, +want)\n- %v\n+ a PrerequisiteError with %q", err, tc.want)
			}
		})
	}
	t.Run("a Java that does not tell", func(t *testing.T) {
		fakeTools(t, map[string]string{"java": "true", "mvn": ""})
		if err := Available(t.Context(), Options{Cache: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "set JAVA_HOME") {
			t.Errorf("error (-got, +want)\n- %v\n+ one that says to set JAVA_HOME", err)
		}
	})
}

// openCache is a cache that passes the checks of one, also for root.
func openCache(t *testing.T) string {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Maven runs once for a cache, whatever stands there half done; and when it
// fails, its words are in the error and nothing is left.
func TestResolve(t *testing.T) {
	s := server{profile: "kafka", title: "Apache Kafka"}
	base := Options{Cache: openCache(t)}
	var said []string
	base.Progress = func(text string) { said = append(said, text) }
	o := base.withDefaults()
	half := filepath.Join(o.Cache, "servers", "tmp-123")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}

	fakeTools(t, map[string]string{"mvn": "echo no route to host; exit 1"})
	if _, err := s.resolve(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no route to host") {
		t.Errorf("error (-got, +want)\n- %v\n+ one with Maven's words", err)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Cache, "servers", "*-*")); len(left) != 0 {
		t.Errorf("left behind (-got, +want)\n- %q\n+ nothing", left)
	}

	fakeTools(t, map[string]string{"mvn": `for a; do case $a in -Dweir.out=*) : > "${a#-Dweir.out=}/made";; esac; done`})
	dir, err := s.resolve(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
		t.Error(err)
	}
	fakeTools(t, nil) // neither Java nor Maven is asked for again
	if again, err := s.resolve(t.Context(), o); err != nil || again != dir {
		t.Errorf("second time (-got, +want)\n- %s, %v\n+ %s", again, err, dir)
	}
	if len(said) != 2 {
		t.Errorf("progress (-got, +want)\n- %q\n+ one line for each run of Maven", said)
	}
}

// A second process waits for the lock, no longer than its context.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockNow(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockNow(path); !errors.Is(err, errLocked) {
		t.Errorf("second lock (-got, +want)\n- %v\n+ %v", err, errLocked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockWait(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled wait (-got, +want)\n- %v\n+ %v", err, context.Canceled)
	}
	got := make(chan error)
	go func() {
		unlock, err := lockWait(t.Context(), path)
		if err == nil {
			unlock()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// Whoever can write to the cache has his programs run by us.
func TestCacheOfOthersIsRefused(t *testing.T) {
	dir := openCache(t)
	if err := secureDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := secureDir(dir); err == nil || !strings.Contains(err.Error(), "can be written by others") {
		t.Errorf("error (-got, +want)\n- %v\n+ one that says who can write", err)
	}
}

func TestLastLinesWithoutStackFrames(t *testing.T) {
	got := lastLines([]byte("one\ntwo\n\tat a.b.C(D.java:1)\n\tat e\n\nthree\n"), 2)
	if want := "  two\n  three"; got != want {
		t.Errorf("lines (-got, +want)\n- %q\n+ %q", got, want)
	}
}
