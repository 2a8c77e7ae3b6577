// Command gen makes what follows from schemas/*.avsc: Go types and codecs, the
// self-contained schemas, and the field tables of docs/schemas.md. Run it by
// `go generate ./schemas`.
//
// With -release it also writes every schema that differs from its newest
// released version to released/ as the next version.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/linkedin/goavro/v2"
	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// roots are the schema files, in the order in which they refer to each other.
var roots = []string{"flow_record", "enriched_flow", "tick"}

// root is one schema file and what goavro makes of it.
type root struct {
	file string // without .avsc
	*avsc.Schema
	text        string // self-contained
	canonical   string
	fingerprint uint64 // CRC-64-AVRO of the canonical form
}

func main() {
	dir := flag.String("dir", ".", "the directory of the schemas")
	out := flag.String("out", "", "write below this directory instead of -dir (for the freshness test)")
	release := flag.Bool("release", false, "write changed schemas to released/ as their next version")
	flag.Parse()
	if *out == "" {
		*out = *dir
	}
	if err := run(*dir, *out, *release); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir, out string, release bool) error {
	all, err := load(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(out, "composed"), 0o755); err != nil {
		return err
	}
	for _, r := range all {
		code, err := goFile(all, r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, r.file+"_gen.go"), code, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, "composed", r.file+".avsc"), []byte(r.text), 0o644); err != nil {
			return err
		}
		if release {
			if err := releaseNext(out, r); err != nil {
				return err
			}
		}
	}
	return writeDocs(dir, out, all)
}

func load(dir string) ([]*root, error) {
	var p avsc.Parser
	var all []*root
	for _, file := range roots {
		text, err := os.ReadFile(filepath.Join(dir, file+".avsc"))
		if err != nil {
			return nil, err
		}
		s, err := p.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s.avsc: %w", file, err)
		}
		r := &root{file: file, Schema: s, text: s.Compose()}
		codec, err := goavro.NewCodec(r.text)
		if err != nil {
			return nil, fmt.Errorf("%s.avsc: %w", file, err)
		}
		r.canonical, r.fingerprint = codec.CanonicalSchema(), codec.Rabin
		all = append(all, r)
	}
	return all, nil
}

// releaseNext writes the schema as the next version, unless the newest has the
// same fingerprint.
func releaseNext(dir string, r *root) error {
	for version := 1; ; version++ {
		name := filepath.Join(dir, "released", fmt.Sprintf("%s-%d.avsc", r.file, version))
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			return os.WriteFile(name, []byte(r.text), 0o644)
		}
		if err != nil {
			return err
		}
		codec, err := goavro.NewCodec(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if codec.Rabin == r.fingerprint {
			return nil
		}
	}
}
