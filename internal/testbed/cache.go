package testbed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weir-flow/weir/deploy/local"
)

// server is one profile of the Maven project.
type server struct {
	profile string
	title   string
	mb      int // size of the download
}

var (
	kafkaServer         = server{"kafka", "Apache Kafka", 45}
	elasticsearchServer = server{"elasticsearch", "Elasticsearch", 110}
)

// DefaultCache is the directory with resolved servers and temporary data:
// the environment's WEIR_CACHE, or /var/tmp/weir-UID.
func DefaultCache() string {
	if dir := os.Getenv("WEIR_CACHE"); dir != "" {
		return dir
	}
	tmp := "/var/tmp" // survives a restart of the machine, unlike /tmp
	if _, err := os.Stat(tmp); err != nil {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, "weir-"+strconv.Itoa(os.Getuid()))
}

// dir is where the server stands once it is resolved. The project's digest is
// part of the name, so that a new version never meets an old one.
func (s server) dir(cache string) string {
	digest := sha256.Sum256(local.POM)
	return filepath.Join(cache, "servers", s.profile+"-"+hex.EncodeToString(digest[:4]))
}

// resolved reports whether the server is in the cache. Directories appear
// there by rename, complete or not at all.
func (s server) resolved(cache string) bool {
	_, err := os.Stat(s.dir(cache))
	return err == nil
}

// resolve returns the directory of the server, and fills it the first time.
func (s server) resolve(ctx context.Context, o Options) (string, error) {
	dir := s.dir(o.Cache)
	if err := secureDir(o.Cache); err != nil {
		return "", err
	}
	if s.resolved(o.Cache) {
		return dir, nil
	}
	servers := filepath.Dir(dir)
	if err := os.MkdirAll(servers, 0o755); err != nil {
		return "", err
	}
	// One resolves, the others wait: Maven's own repository is not made for
	// two writers either, so all servers share the lock.
	unlock, err := lockWait(ctx, filepath.Join(servers, "lock"))
	if err != nil {
		return "", fmt.Errorf("wait for another process that resolves %s: %w", s.title, err)
	}
	defer unlock()
	if s.resolved(o.Cache) {
		return dir, nil
	}
	// What is half done is of a process that was killed: we hold the lock.
	halves, _ := filepath.Glob(filepath.Join(servers, "tmp-*"))
	for _, half := range halves {
		if err := os.RemoveAll(half); err != nil {
			return "", err
		}
	}
	tmp, err := os.MkdirTemp(servers, "tmp-")
	if err != nil {
		return "", err
	}
	if err := s.fetch(ctx, o, tmp); err != nil {
		return "", errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", err
	}
	return dir, nil
}

// fetch has Maven lay the server's files into dir.
func (s server) fetch(ctx context.Context, o Options, dir string) error {
	mvn, err := findMaven()
	if err != nil {
		return err
	}
	o.Progress(fmt.Sprintf("resolving %s with Maven (the first time: downloads about %d MB)", s.title, s.mb))
	start := time.Now()
	project, err := os.MkdirTemp("", "weir-maven-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(project)
	pom := filepath.Join(project, "pom.xml")
	if err := os.WriteFile(pom, local.POM, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, mvn, "--quiet", "--batch-mode", "--file", pom,
		"--activate-profiles", s.profile, "-Dweir.out="+dir, "package")
	cmd.Dir = project
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("resolve %s: %s: %w\n%s\nMaven needs its repository or a mirror of it: see its settings.xml",
			s.title, strings.Join(cmd.Args, " "), err, lastLines(bytes.TrimSpace(out), 15))
	}
	o.Log.Debug("resolved", "server", s.profile, "dir", dir, "took", time.Since(start))
	return readable(dir)
}

// readable opens the tree for the service account, whatever the umask is.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if mode&0o100 != 0 || d.IsDir() {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}
