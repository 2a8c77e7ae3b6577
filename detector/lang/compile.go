package lang

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

type compiler[E any] struct {
	text       string
	vocabulary Vocabulary[E]
}

// at makes an error that points at a node.
func (c *compiler[E]) at(n ast.Node, format string, args ...any) error {
	e := &Error{Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	position := 0
	for _, r := range c.text {
		if position == n.Location().From {
			break
		}
		position++
		e.Column++
		if r == '\n' {
			e.Line, e.Column = e.Line+1, 1
		}
	}
	return e
}

// start is the leftmost node of an expression: the library places a member or
// an operator at its dot or sign, and a reader looks where the name begins.
func start(n ast.Node) ast.Node {
	for {
		m, ok := n.(*ast.MemberNode)
		if !ok {
			return n
		}
		n = m.Node
	}
}

func (c *compiler[E]) compile(n ast.Node) (Value[E], error) {
	switch n := n.(type) {
	case *ast.BoolNode:
		v := n.Value
		return Value[E]{Kind: Bool, Bool: func(E) bool { return v }, literal: v}, nil
	case *ast.IntegerNode:
		return integer[E](int64(n.Value)), nil
	case *ast.FloatNode:
		v := n.Value
		return Value[E]{Kind: Float, Float: func(E) float64 { return v }, literal: v}, nil
	case *ast.StringNode:
		v := n.Value
		return Value[E]{Kind: String, String: func(E) string { return v }, literal: v}, nil
	case *ast.IdentifierNode, *ast.MemberNode:
		return c.name(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.BuiltinNode:
		return c.call(n, n.Name, n.Arguments)
	case *ast.CallNode:
		name, ok := dotted(n.Callee)
		if !ok {
			return Value[E]{}, c.at(n, "methods cannot be called in a rule")
		}
		return c.call(n, name, n.Arguments)
	case *ast.ArrayNode:
		return Value[E]{}, c.at(n, "a list can only stand on the right of `in`")
	case *ast.NilNode:
		return Value[E]{}, c.at(n, `nothing is nil here: a field that was not sent is 0 or ""`)
	}
	return Value[E]{}, c.at(n, "this construct is not supported in rules; see docs/detections.md for what is")
}

func integer[E any](v int64) Value[E] {
	return Value[E]{Kind: Int, Int: func(E) int64 { return v }, literal: v}
}

func (c *compiler[E]) name(n ast.Node) (Value[E], error) {
	path, ok := dotted(n)
	if !ok {
		return Value[E]{}, c.at(n, "only plain names such as initiator.address are supported, no indexing and no ?.")
	}
	v, ok := c.vocabulary.Lookup(path)
	if !ok {
		return Value[E]{}, c.at(start(n), "unknown field %q%s", path, Suggest(path, c.vocabulary.Names()))
	}
	return v, nil
}

func (c *compiler[E]) unary(n *ast.UnaryNode) (Value[E], error) {
	v, err := c.compile(n.Node)
	if err != nil {
		return v, err
	}
	switch {
	case (n.Operator == "not" || n.Operator == "!") && v.Kind == Bool:
		f := v.Bool
		return Value[E]{Kind: Bool, Bool: func(e E) bool { return !f(e) }}, nil
	case n.Operator == "-" && v.Kind == Int:
		if k, ok := v.literal.(int64); ok {
			return integer[E](-k), nil
		}
		f := v.Int
		return Value[E]{Kind: Int, Int: func(e E) int64 { return -f(e) }}, nil
	case n.Operator == "-" && v.Kind == Float:
		f := v.Float
		return Value[E]{Kind: Float, Float: func(e E) float64 { return -f(e) }}, nil
	}
	return Value[E]{}, c.at(n, "%s cannot be applied to %s", n.Operator, v.Kind)
}

func (c *compiler[E]) conditional(n *ast.ConditionalNode) (Value[E], error) {
	cond, err := c.compile(n.Cond)
	if err != nil {
		return cond, err
	}
	if cond.Kind != Bool {
		return cond, c.at(n.Cond, "a condition must be true or false, this is %s", cond.Kind)
	}
	a, err := c.compile(n.Exp1)
	if err != nil {
		return a, err
	}
	b, err := c.compile(n.Exp2)
	if err != nil {
		return b, err
	}
	if numeric(a.Kind) && numeric(b.Kind) && a.Kind != b.Kind {
		a = Value[E]{Kind: Float, Float: toFloat(a)}
		b = Value[E]{Kind: Float, Float: toFloat(b)}
	}
	if a.Kind != b.Kind {
		return a, c.at(n.Exp2, "both results must be of one type: %s and %s", a.Kind, b.Kind)
	}
	v := Value[E]{Kind: a.Kind}
	f := cond.Bool
	switch a.Kind {
	case Bool:
		v.Bool = choose(f, a.Bool, b.Bool)
	case Int:
		v.Int = choose(f, a.Int, b.Int)
	case Float:
		v.Float = choose(f, a.Float, b.Float)
	case String:
		v.String = choose(f, a.String, b.String)
	case Address:
		v.Address = choose(f, a.Address, b.Address)
	default:
		return v, c.at(n, "%s cannot be chosen", a.Kind)
	}
	return v, nil
}

func choose[E, T any](cond func(E) bool, a, b func(E) T) func(E) T {
	return func(e E) T {
		if cond(e) {
			return a(e)
		}
		return b(e)
	}
}

func numeric(k Kind) bool { return k == Int || k == Float }

func toFloat[E any](v Value[E]) func(E) float64 {
	if v.Kind == Float {
		return v.Float
	}
	f := v.Int
	return func(e E) float64 { return float64(f(e)) }
}

func (c *compiler[E]) binary(n *ast.BinaryNode) (Value[E], error) {
	if n.Operator == "in" {
		return c.in(n)
	}
	left, err := c.compile(n.Left)
	if err != nil {
		return left, err
	}
	right, err := c.compile(n.Right)
	if err != nil {
		return right, err
	}
	mismatch := func() error {
		return c.at(n, "%s cannot be applied to %s and %s", n.Operator, left.Kind, right.Kind)
	}
	boolean := func(f func(E) bool) (Value[E], error) { return Value[E]{Kind: Bool, Bool: f}, nil }
	switch n.Operator {
	case "and", "&&", "or", "||":
		if left.Kind != Bool || right.Kind != Bool {
			return Value[E]{}, mismatch()
		}
		a, b := left.Bool, right.Bool
		if n.Operator == "and" || n.Operator == "&&" {
			return boolean(func(e E) bool { return a(e) && b(e) })
		}
		return boolean(func(e E) bool { return a(e) || b(e) })
	case "==", "!=", "<", "<=", ">", ">=":
		f, err := c.compare(n, left, right, mismatch)
		if err != nil {
			return Value[E]{}, err
		}
		return boolean(f)
	case "+", "-", "*", "/", "%", "**", "^":
		return c.arithmetic(n, left, right, mismatch)
	case "contains":
		if left.Kind == Strings && right.Kind == String {
			has, s := left.Has, right.String
			return boolean(func(e E) bool { return has(e, s(e)) })
		}
		return c.onText(left, right, mismatch, strings.Contains)
	case "startsWith":
		return c.onText(left, right, mismatch, strings.HasPrefix)
	case "endsWith":
		return c.onText(left, right, mismatch, strings.HasSuffix)
	case "matches":
		pattern, ok := right.literal.(string)
		if left.Kind != String || !ok {
			return Value[E]{}, c.at(n, "matches needs a text on its left and a regular expression in quotes on its right")
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return Value[E]{}, c.at(n.Right, "%v", err)
		}
		f := left.String
		return boolean(func(e E) bool { return re.MatchString(f(e)) })
	}
	return Value[E]{}, c.at(n, "the operator %s is not supported in rules", n.Operator)
}

func (c *compiler[E]) onText(left, right Value[E], mismatch func() error, test func(string, string) bool) (Value[E], error) {
	if left.Kind != String || right.Kind != String {
		return Value[E]{}, mismatch()
	}
	a, b := left.String, right.String
	return Value[E]{Kind: Bool, Bool: func(e E) bool { return test(a(e), b(e)) }}, nil
}

type ordered interface{ ~int64 | ~float64 | ~string }

// relation returns the comparison of two functions. One closure for each
// operator: a switch inside would be taken at every flow.
func relation[E any, T ordered](op string, a, b func(E) T) func(E) bool {
	switch op {
	case "==":
		return func(e E) bool { return a(e) == b(e) }
	case "!=":
		return func(e E) bool { return a(e) != b(e) }
	case "<":
		return func(e E) bool { return a(e) < b(e) }
	case "<=":
		return func(e E) bool { return a(e) <= b(e) }
	case ">":
		return func(e E) bool { return a(e) > b(e) }
	}
	return func(e E) bool { return a(e) >= b(e) }
}

func (c *compiler[E]) compare(n *ast.BinaryNode, left, right Value[E], mismatch func() error) (func(E) bool, error) {
	equality := n.Operator == "==" || n.Operator == "!="
	switch {
	case left.Kind == Int && right.Kind == Int:
		// The commonest filter, a field against a constant, saves a call.
		if k, ok := right.literal.(int64); ok && n.Operator == "==" {
			f := left.Int
			return func(e E) bool { return f(e) == k }, nil
		}
		return relation(n.Operator, left.Int, right.Int), nil
	case numeric(left.Kind) && numeric(right.Kind):
		return relation(n.Operator, toFloat(left), toFloat(right)), nil
	case left.Kind == Int && right.literal != nil && equality:
		k, err := c.integer(n.Right, left)
		if err != nil {
			return nil, err
		}
		return relation(n.Operator, left.Int, func(E) int64 { return k }), nil
	case left.Kind == String && right.Kind == String:
		return relation(n.Operator, left.String, right.String), nil
	case left.Kind == Bool && right.Kind == Bool && equality:
		a, b, want := left.Bool, right.Bool, n.Operator == "=="
		return func(e E) bool { return (a(e) == b(e)) == want }, nil
	case left.Kind == Address && right.Kind == Address && equality:
		a, b, want := left.Address, right.Address, n.Operator == "=="
		return func(e E) bool { return (a(e) == b(e)) == want }, nil
	case left.Kind == Address && right.literal != nil && equality:
		text, ok := right.literal.(string)
		if !ok {
			return nil, mismatch()
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, c.at(n.Right, "%q is not an address; for a network write: in [%q]", text, text)
		}
		a, want := left.Address, n.Operator == "=="
		return func(e E) bool { return (a(e) == address) == want }, nil
	case left.Kind == Strings:
		return nil, c.at(n, "a list cannot be compared; write: \"name\" in %s", n.Left)
	}
	return nil, mismatch()
}

// integer evaluates a constant as a value of an integer field, whose symbols
// it may use.
func (c *compiler[E]) integer(n ast.Node, field Value[E]) (int64, error) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return int64(n.Value), nil
	case *ast.StringNode:
		if v, ok := field.Symbols[n.Value]; ok {
			return v, nil
		}
		if field.Symbols != nil {
			names := slices.Sorted(maps.Keys(field.Symbols))
			suggestion := Suggest(n.Value, names)
			if suggestion == "" && len(names) <= 12 {
				suggestion = "; it is one of " + strings.Join(names, ", ")
			}
			return 0, c.at(n, "unknown value %q%s", n.Value, suggestion)
		}
	}
	return 0, c.at(n, "an integer is needed here")
}

func (c *compiler[E]) in(n *ast.BinaryNode) (Value[E], error) {
	left, err := c.compile(n.Left)
	if err != nil {
		return left, err
	}
	boolean := func(f func(E) bool) (Value[E], error) { return Value[E]{Kind: Bool, Bool: f}, nil }
	if from, to, ok := rangeOf(n.Right); ok {
		if left.Kind != Int {
			return Value[E]{}, c.at(n, "%s cannot lie in a range of integers", left.Kind)
		}
		f := left.Int
		return boolean(func(e E) bool { v := f(e); return from <= v && v <= to })
	}
	array, isArray := n.Right.(*ast.ArrayNode)
	if !isArray {
		right, err := c.compile(n.Right)
		if err != nil {
			return right, err
		}
		if right.Kind == Strings && left.Kind == String {
			has, s := right.Has, left.String
			return boolean(func(e E) bool { return has(e, s(e)) })
		}
		return Value[E]{}, c.at(n.Right, "`in` needs a list, such as [22, 23], 1..1024 or initiator.roles, on its right; this is %s", right.Kind)
	}
	switch left.Kind {
	case Int:
		f, err := c.integerSet(array, left)
		if err != nil {
			return Value[E]{}, err
		}
		return boolean(f)
	case String:
		set := make(map[string]struct{}, len(array.Nodes))
		for _, item := range array.Nodes {
			text, ok := item.(*ast.StringNode)
			if !ok {
				return Value[E]{}, c.at(item, "a text in quotes is needed here")
			}
			set[text.Value] = struct{}{}
		}
		f := left.String
		return boolean(func(e E) bool { _, ok := set[f(e)]; return ok })
	case Address:
		f, err := c.networks(array, left.Address)
		if err != nil {
			return Value[E]{}, err
		}
		return boolean(f)
	}
	return Value[E]{}, c.at(n, "%s cannot be looked for in a list", left.Kind)
}

func (c *compiler[E]) integerSet(array *ast.ArrayNode, left Value[E]) (func(E) bool, error) {
	type span struct{ from, to int64 }
	spans := make([]span, 0, len(array.Nodes))
	for _, item := range array.Nodes {
		if from, to, ok := rangeOf(item); ok {
			spans = append(spans, span{from, to})
			continue
		}
		v, err := c.integer(item, left)
		if err != nil {
			return nil, err
		}
		spans = append(spans, span{v, v})
	}
	slices.SortFunc(spans, func(a, b span) int { return int(min(max(a.from-b.from, -1), 1)) })
	f := left.Int
	return func(e E) bool {
		v := f(e)
		for _, s := range spans { // lists in rules are short
			if v < s.from {
				return false
			}
			if v <= s.to {
				return true
			}
		}
		return false
	}, nil
}

func (c *compiler[E]) networks(array *ast.ArrayNode, f func(E) netip.Addr) (func(E) bool, error) {
	prefixes := make([]netip.Prefix, 0, len(array.Nodes))
	for _, item := range array.Nodes {
		text, ok := item.(*ast.StringNode)
		if !ok {
			return nil, c.at(item, "an address or a network in quotes is needed here")
		}
		if a, err := netip.ParseAddr(text.Value); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(text.Value); err == nil {
			prefixes = append(prefixes, p.Masked())
		} else {
			return nil, c.at(item, "%q is neither an address nor a network in CIDR notation", text.Value)
		}
	}
	return func(e E) bool {
		a := f(e)
		for i := range prefixes {
			if prefixes[i].Contains(a) {
				return true
			}
		}
		return false
	}, nil
}

func (c *compiler[E]) arithmetic(n *ast.BinaryNode, left, right Value[E], mismatch func() error) (Value[E], error) {
	if !numeric(left.Kind) || !numeric(right.Kind) {
		return Value[E]{}, mismatch()
	}
	if left.Kind == Int && right.Kind == Int && n.Operator != "/" && n.Operator != "**" && n.Operator != "^" {
		a, b := left.Int, right.Int
		v := Value[E]{Kind: Int}
		switch n.Operator {
		case "+":
			v.Int = func(e E) int64 { return a(e) + b(e) }
		case "-":
			v.Int = func(e E) int64 { return a(e) - b(e) }
		case "*":
			v.Int = func(e E) int64 { return a(e) * b(e) }
		case "%":
			v.Int = func(e E) int64 {
				if d := b(e); d != 0 {
					return a(e) % d
				}
				return 0
			}
		}
		return v, nil
	}
	a, b := toFloat(left), toFloat(right)
	v := Value[E]{Kind: Float}
	switch n.Operator {
	case "+":
		v.Float = func(e E) float64 { return a(e) + b(e) }
	case "-":
		v.Float = func(e E) float64 { return a(e) - b(e) }
	case "*":
		v.Float = func(e E) float64 { return a(e) * b(e) }
	case "/":
		// A share of nothing is 0, so that a rule needs no guard for it.
		v.Float = func(e E) float64 {
			if d := b(e); d != 0 {
				return a(e) / d
			}
			return 0
		}
	case "%":
		v.Float = func(e E) float64 {
			if d := b(e); d != 0 {
				return math.Mod(a(e), d)
			}
			return 0
		}
	default:
		v.Float = func(e E) float64 { return math.Pow(a(e), b(e)) }
	}
	return v, nil
}
