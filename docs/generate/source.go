package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

const module = "github.com/weir-flow/weir"

// source finds the comments of struct types and fields, which reflection does
// not have.
type source struct {
	root string
	// docs of "package path.Type" and "package path.Type.Field".
	docs   map[string]string
	parsed map[string]bool
}

func newSource(root string) *source {
	return &source{root: root, docs: map[string]string{}, parsed: map[string]bool{}}
}

// field returns the doc comment of a field of a struct type.
func (s *source) field(t reflect.Type, name string) (string, error) {
	if err := s.parse(t.PkgPath()); err != nil {
		return "", err
	}
	return s.docs[t.PkgPath()+"."+t.Name()+"."+name], nil
}

func (s *source) parse(pkg string) error {
	if s.parsed[pkg] {
		return nil
	}
	s.parsed[pkg] = true
	dir, ok := strings.CutPrefix(pkg, module)
	if !ok {
		return fmt.Errorf("package %s: a configuration struct must be ours, to be documented", pkg)
	}
	files, err := filepath.Glob(filepath.Join(s.root, dir, "*.go"))
	if err != nil {
		return err
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, sp := range g.Specs {
				ts := sp.(*ast.TypeSpec)
				doc := ts.Doc
				if doc == nil {
					doc = g.Doc
				}
				s.docs[pkg+"."+ts.Name.Name] = text(doc)
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range st.Fields.List {
					for _, n := range f.Names {
						s.docs[pkg+"."+ts.Name.Name+"."+n.Name] = text(f.Doc)
					}
				}
			}
		}
	}
	return nil
}

// text joins the lines of a comment; paragraphs stay apart.
func text(c *ast.CommentGroup) string {
	paragraphs := strings.Split(strings.TrimSpace(c.Text()), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}
