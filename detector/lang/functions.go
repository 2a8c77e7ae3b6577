package lang

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// Functions lists the functions with what they do, for the docs.
func Functions() [][2]string {
	return [][2]string{
		{"abs(x)", "magnitude of a number"},
		{"floor(x), ceil(x), round(x)", "whole number below, above, nearest"},
		{"log10(x)", "decimal logarithm; 0 for what is not positive"},
		{"min(a, b, ...), max(a, b, ...)", "least and greatest of numbers"},
		{"len(x)", "length of a text in octets, or of a list"},
		{"lower(s)", "text in lower case"},
		{"network(address, bits4, bits6)", "the network of an address: its first bits4 (IPv4) or bits6 (IPv6) bits"},
	}
}

var functionNames = []string{"abs", "floor", "ceil", "round", "log10", "min", "max", "len", "lower", "network"}

func (c *compiler[E]) call(n ast.Node, name string, nodes []ast.Node) (Value[E], error) {
	if !slices.Contains(functionNames, name) {
		return Value[E]{}, c.at(n, "%s is not a function of the rule language%s", name, Suggest(name, functionNames))
	}
	args := make([]Value[E], len(nodes))
	for i, a := range nodes {
		v, err := c.compile(a)
		if err != nil {
			return v, err
		}
		args[i] = v
	}
	numbers := func(count int) error {
		if len(args) != count && count >= 0 || len(args) == 0 {
			return c.at(n, "%s takes %d numbers, not %d", name, max(1, count), len(args))
		}
		for i, a := range args {
			if !numeric(a.Kind) {
				return c.at(nodes[i], "%s takes numbers, this is %s", name, a.Kind)
			}
		}
		return nil
	}
	switch name {
	case "abs", "floor", "ceil", "round", "log10":
		if err := numbers(1); err != nil {
			return Value[E]{}, err
		}
		f, math1 := toFloat(args[0]), map[string]func(float64) float64{
			"abs": math.Abs, "floor": math.Floor, "ceil": math.Ceil, "round": math.Round, "log10": log10,
		}[name]
		return Value[E]{Kind: Float, Float: func(e E) float64 { return math1(f(e)) }}, nil
	case "min", "max":
		if err := numbers(-1); err != nil {
			return Value[E]{}, err
		}
		sign := 1.0
		if name == "max" {
			sign = -1
		}
		fs := make([]func(E) float64, len(args))
		for i := range args {
			fs[i] = toFloat(args[i])
		}
		return Value[E]{Kind: Float, Float: func(e E) float64 {
			least := math.Inf(1)
			for _, f := range fs {
				least = min(least, sign*f(e))
			}
			return sign * least
		}}, nil
	case "len":
		if len(args) == 1 && args[0].Kind == String {
			f := args[0].String
			return Value[E]{Kind: Int, Int: func(e E) int64 { return int64(len(f(e))) }}, nil
		}
		if len(args) == 1 && args[0].Kind == Strings {
			f := args[0].Len
			return Value[E]{Kind: Int, Int: func(e E) int64 { return int64(f(e)) }}, nil
		}
		return Value[E]{}, c.at(n, "len takes a text or a list")
	case "lower":
		if len(args) != 1 || args[0].Kind != String {
			return Value[E]{}, c.at(n, "lower takes a text")
		}
		f := args[0].String
		return Value[E]{Kind: String, String: func(e E) string { return strings.ToLower(f(e)) }}, nil
	case "network":
		if len(args) != 3 || args[0].Kind != Address {
			return Value[E]{}, c.at(n, "network takes an address, and how many bits of IPv4 and of IPv6 make the network: network(initiator.address, 24, 64)")
		}
		bits4, ok4 := args[1].literal.(int64)
		bits6, ok6 := args[2].literal.(int64)
		if !ok4 || !ok6 || bits4 < 0 || bits4 > 32 || bits6 < 0 || bits6 > 128 {
			return Value[E]{}, c.at(n, "network takes constants of 0 to 32 and 0 to 128 bits")
		}
		f := args[0].Address
		return Value[E]{Kind: Address, Address: func(e E) netip.Addr {
			a, bits := f(e), bits4
			if !a.Is4() {
				bits = bits6
			}
			p, err := a.Prefix(int(bits))
			if err != nil {
				return a
			}
			return p.Addr()
		}}, nil
	}
	return Value[E]{}, c.at(n, "%s is not implemented", name)
}

func log10(x float64) float64 {
	if x <= 0 {
		return 0
	}
	return math.Log10(x)
}
