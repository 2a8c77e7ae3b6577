package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// The part of the document between these lines is generated; the rest is
// written by hand.
const (
	docsFile  = "schemas.md"
	docsBegin = "<!-- Generated from schemas/*.avsc by `go generate ./schemas`: do not edit from here -->\n"
	docsEnd   = "<!-- to here -->\n"
)

// writeDocs puts the field tables into docs/schemas.md, which lies beside the
// directory of the schemas.
func writeDocs(dir, out string, all []*root) error {
	text, err := os.ReadFile(filepath.Join(dir, "..", "docs", docsFile))
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(text, []byte(docsBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(docsEnd))
	if !ok || !ok2 {
		return fmt.Errorf("docs/%s: the lines that mark the generated part are missing:\n%s%s", docsFile, docsBegin, docsEnd)
	}
	var b bytes.Buffer
	b.Write(head)
	b.WriteString(docsBegin)
	seen := map[string]bool{}
	for _, r := range all {
		walk(r.Schema, func(s *avsc.Schema) {
			if seen[s.Name] || s.Kind != avsc.Record && s.Kind != avsc.Enum {
				return
			}
			seen[s.Name] = true
			fmt.Fprintf(&b, "\n### %s\n\n%s\n", s.ShortName(), cell(s.Doc))
			if s == r.Schema {
				fmt.Fprintf(&b, "\nFingerprint `%016x`.\n", r.fingerprint)
			}
			if s.Kind == avsc.Enum {
				fmt.Fprintf(&b, "\nSymbols: `%s`; one that is not known reads as `%s`.\n", strings.Join(s.Symbols, "`, `"), s.Default)
				return
			}
			b.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
			for _, f := range s.Fields {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, docType(f.Type, f.Go), cell(f.Doc))
			}
		})
	}
	b.WriteByte('\n')
	b.WriteString(docsEnd)
	b.Write(tail)
	to := filepath.Join(out, "..", "docs", docsFile)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o644)
}

// cell makes a text safe in a table of Markdown.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s)
}

func docType(s *avsc.Schema, refine string) string {
	switch s.Kind {
	case avsc.Record, avsc.Enum:
		return fmt.Sprintf("[%s](#%s)", s.ShortName(), strings.ToLower(s.ShortName()))
	case avsc.Fixed:
		return fmt.Sprintf("fixed(%d)", s.Size)
	case avsc.Array:
		return "array of " + docType(s.Items, "")
	case avsc.Union:
		if inner := s.Optional(); inner != nil {
			return docType(inner, "") + " or null"
		}
		var names []string
		for _, b := range s.Branches {
			names = append(names, docType(b, ""))
		}
		return strings.Join(names, ", ")
	}
	switch refine {
	case "ip":
		return "bytes: address (0, 4 or 16)"
	case "mac":
		return "bytes: MAC address (0 or 6)"
	}
	return string(s.Kind)
}
