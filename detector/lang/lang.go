// Package lang is the expression language of the detection rules: the syntax
// of expr-lang/expr, checked against a closed vocabulary, and compiled into
// typed closures. A library's virtual machine boxes every value and looks
// fields up by reflection; a rule engine evaluates a filter for every flow, so
// here a comparison of a port costs a call and a compare, and no garbage.
package lang

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of values.
const (
	Invalid Kind = iota
	Bool
	Int
	Float
	String
	Address
	// Strings is a list of strings, such as the roles of an asset: it can be
	// asked whether it holds one.
	Strings
)

// String names the kind as error messages and docs do.
func (k Kind) String() string {
	return [...]string{"nothing", "true or false", "integer", "number", "text", "address", "list of texts"}[k]
}

// Value is a compiled expression over an environment E. The function that
// Kind names is set; functions must not allocate and must be safe to call
// from several goroutines.
type Value[E any] struct {
	Kind    Kind
	Bool    func(E) bool
	Int     func(E) int64
	Float   func(E) float64
	String  func(E) string
	Address func(E) netip.Addr
	// Has reports whether a Strings holds a text; Len is its length.
	Has func(E, string) bool
	Len func(E) int
	// Symbols are the texts an Int can be compared with, such as "tcp".
	Symbols map[string]int64

	literal any // bool, int64, float64 or string when it is a constant
}

// Vocabulary is what an expression may refer to.
type Vocabulary[E any] interface {
	// Lookup returns the value of a dotted name.
	Lookup(name string) (Value[E], bool)
	// Names lists all names, for suggestions.
	Names() []string
}

// Error is a fault in an expression. Line and Column count from 1 within its
// text.
type Error struct {
	Line, Column int
	Message      string
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// Expression is a compiled expression together with its syntax.
type Expression[E any] struct {
	Value[E]
	Text string
	root ast.Node
	// vocabulary it was compiled against.
	vocabulary Vocabulary[E]
}

// Compile parses, checks and compiles an expression. Errors are *Error.
func Compile[E any](text string, v Vocabulary[E]) (*Expression[E], error) {
	tree, err := parser.Parse(text)
	if err != nil {
		var fault *file.Error
		if errors.As(err, &fault) {
			return nil, &Error{Line: fault.Line, Column: fault.Column + 1, Message: fault.Message}
		}
		return nil, &Error{Line: 1, Column: 1, Message: err.Error()}
	}
	c := &compiler[E]{text: text, vocabulary: v}
	value, err := c.compile(tree.Node)
	if err != nil {
		return nil, err
	}
	return &Expression[E]{Value: value, Text: text, root: tree.Node, vocabulary: v}, nil
}

// CompileAs compiles an expression that must be of a kind; an integer is
// accepted, and converted, where a number is wanted.
func CompileAs[E any](text string, v Vocabulary[E], want Kind) (*Expression[E], error) {
	e, err := Compile(text, v)
	if err != nil {
		return nil, err
	}
	if want == Float && e.Kind == Int {
		e.Float, e.Kind = toFloat(e.Value), Float
	}
	if e.Kind != want {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the expression gives %s, but %s is needed here", e.Kind, want)}
	}
	return e, nil
}

// Bounds returns the values that the top-level conjuncts of a condition allow
// for an integer name: those of `name == 1`, `name in [1, 2]` and
// `name in 1..9`. ok is false when they do not bound it to at most limit
// values; nothing is wrong then, the name may have any value.
func (e *Expression[E]) Bounds(name string, limit int) (values []int64, ok bool) {
	c := &compiler[E]{text: e.Text, vocabulary: e.vocabulary}
	return c.bounds(e.root, name, limit)
}

func (c *compiler[E]) bounds(n ast.Node, name string, limit int) (values []int64, ok bool) {
	b, isBinary := n.(*ast.BinaryNode)
	if !isBinary {
		return nil, false
	}
	switch b.Operator {
	case "and", "&&":
		left, lok := c.bounds(b.Left, name, limit)
		right, rok := c.bounds(b.Right, name, limit)
		switch {
		case lok && rok:
			return slices.DeleteFunc(left, func(v int64) bool { return !slices.Contains(right, v) }), true
		case lok:
			return left, true
		}
		return right, rok
	case "or", "||":
		left, lok := c.bounds(b.Left, name, limit)
		right, rok := c.bounds(b.Right, name, limit)
		if lok && rok && len(left)+len(right) <= limit {
			return append(left, right...), true
		}
		return nil, false
	case "==", "in":
		if path, isPath := dotted(b.Left); !isPath || path != name {
			return nil, false
		}
		field, _ := c.vocabulary.Lookup(name)
		nodes := []ast.Node{b.Right}
		if array, isArray := b.Right.(*ast.ArrayNode); isArray {
			nodes = array.Nodes
		}
		for _, n := range nodes {
			if from, to, isRange := rangeOf(n); isRange {
				for v := from; v <= to && len(values) <= limit; v++ {
					values = append(values, v)
				}
				continue
			}
			v, err := c.integer(n, field)
			if err != nil {
				return nil, false
			}
			values = append(values, v)
		}
		return values, len(values) <= limit
	}
	return nil, false
}

// Suggest returns the name nearest to what was written, or nothing when none
// is near: what follows "unknown x" in an error.
func Suggest(written string, names []string) string {
	best, distance := "", max(2, len(written)/3)+1
	for _, n := range names {
		d := editDistance(written, n)
		// Someone who writes the last part of a name means the whole one.
		if strings.HasSuffix(n, "."+written) || strings.ReplaceAll(n, "_", "") == strings.ReplaceAll(strings.ToLower(written), "_", "") {
			d = 1
		}
		if d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// dotted returns the name that a chain of members spells.
func dotted(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value, true
	case *ast.MemberNode:
		left, ok := dotted(n.Node)
		property, isText := n.Property.(*ast.StringNode)
		if !ok || !isText || n.Optional {
			return "", false
		}
		return left + "." + property.Value, true
	}
	return "", false
}

func rangeOf(n ast.Node) (from, to int64, ok bool) {
	b, isBinary := n.(*ast.BinaryNode)
	if !isBinary || b.Operator != ".." {
		return 0, 0, false
	}
	left, lok := b.Left.(*ast.IntegerNode)
	right, rok := b.Right.(*ast.IntegerNode)
	if !lok || !rok {
		return 0, 0, false
	}
	return int64(left.Value), int64(right.Value), true
}
