package lang_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weir-flow/weir/detector/lang"
)

// env is a small world: names with fixed values.
type env map[string]any

func (v env) Lookup(name string) (lang.Value[env], bool) {
	switch v[name].(type) {
	case int64:
		x := lang.Value[env]{Kind: lang.Int, Int: func(e env) int64 { return e[name].(int64) }}
		if name == "protocol" {
			x.Symbols = map[string]int64{"tcp": 6, "udp": 17}
		}
		return x, true
	case float64:
		return lang.Value[env]{Kind: lang.Float, Float: func(e env) float64 { return e[name].(float64) }}, true
	case bool:
		return lang.Value[env]{Kind: lang.Bool, Bool: func(e env) bool { return e[name].(bool) }}, true
	case string:
		return lang.Value[env]{Kind: lang.String, String: func(e env) string { return e[name].(string) }}, true
	case netip.Addr:
		return lang.Value[env]{Kind: lang.Address, Address: func(e env) netip.Addr { return e[name].(netip.Addr) }}, true
	case []string:
		return lang.Value[env]{Kind: lang.Strings,
			Len: func(e env) int { return len(e[name].([]string)) },
			Has: func(e env, s string) bool {
				for _, x := range e[name].([]string) {
					if x == s {
						return true
					}
				}
				return false
			}}, true
	}
	return lang.Value[env]{}, false
}

func (v env) Names() []string {
	return []string{"initiator.address", "initiator.roles", "protocol", "responder.port", "tls.server_name", "share"}
}

var world = env{
	"initiator.address": netip.MustParseAddr("10.1.2.3"), "responder.address": netip.MustParseAddr("2001:db8::9"),
	"initiator.roles": []string{"scanner", "dns"}, "protocol": int64(6), "responder.port": int64(445),
	"tls.server_name": "www.k3xq7vplmz.com", "share": 0.75, "failed": true, "octets": int64(1000), "zero": int64(0),
}

func TestConditions(t *testing.T) {
	for text, want := range map[string]bool{
		`protocol == "tcp"`:                                              true,
		`protocol != "tcp"`:                                              false,
		`protocol in ["udp", 6]`:                                         true,
		`responder.port in [22, 445] and failed`:                         true,
		`responder.port in 1..444`:                                       false,
		`responder.port in [1..100, 400..500]`:                           true,
		`not (responder.port in [445])`:                                  false,
		`responder.port not in [445]`:                                    false,
		`initiator.address in ["10.0.0.0/8"]`:                            true,
		`initiator.address in ["192.0.2.1", "2001:db8::/32"]`:            false,
		`responder.address in ["192.0.2.1", "2001:db8::/32"]`:            true,
		`initiator.address == "10.1.2.3"`:                                true,
		`initiator.address != responder.address`:                         true,
		`network(initiator.address, 24, 64) == "10.1.2.0"`:               true,
		`network(responder.address, 24, 32) == "2001:db8::"`:             true,
		`"scanner" in initiator.roles`:                                   true,
		`initiator.roles contains "printer"`:                             false,
		`len(initiator.roles) == 2`:                                      true,
		`tls.server_name matches "^www\\.[a-z2-7]{8,20}\\.(com|net)$"`:   true,
		`tls.server_name startsWith "www." and len(tls.server_name) > 9`: true,
		`lower(tls.server_name) endsWith ".net"`:                         false,
		`share >= 0.5 and share < 1`:                                     true,
		`octets * 2 - 500 == 1500`:                                       true,
		`octets / 3 > 333.3`:                                             true,
		`octets / zero == 0`:                                             true,
		`octets % zero == 0`:                                             true,
		`min(octets, 3, share) == share and max(1, 2) == 2`:              true,
		`log10(octets) == 3 and abs(-2) == 2 and round(share) == 1`:      true,
		`(failed ? octets : 0) == 1000`:                                  true,
		`-octets < 0 || false`:                                           true,
		`failed == true && !(share == 1)`:                                true,
	} {
		e, err := lang.CompileAs(text, world, lang.Bool)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := e.Bool(world); got != want {
			t.Errorf("%s (-got, +want)\n- %v\n+ %v", text, got, want)
		}
		if n := testing.AllocsPerRun(10, func() { e.Bool(world) }); n > 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

// An error points at the fault and says what to change.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		text         string
		line, column int
		want         string
	}{
		{`responder.prt == 1`, 1, 1, `did you mean "responder.port"?`},
		{`failed and port == 1`, 1, 12, `did you mean "responder.port"?`},
		{"failed and\n  initiator.adress == \"10.0.0.1\"", 2, 3, `did you mean "initiator.address"?`},
		{`protocol == "tpc"`, 1, 13, `did you mean "tcp"?`},
		{`protocol == "sctp-like"`, 1, 13, `it is one of tcp, udp`},
		{`responder.port == "http"`, 1, 19, `an integer is needed`},
		{`initiator.address == "10.0.0.0/8"`, 1, 22, `write: in ["10.0.0.0/8"]`},
		{`initiator.address in ["10.0.0.0/33"]`, 1, 23, `neither an address nor a network`},
		{`initiator.address in [7]`, 1, 23, `in quotes`},
		{`initiator.roles == "scanner"`, 1, 17, `"name" in initiator.roles`},
		{`tls.server_name matches "("`, 1, 25, `missing closing )`},
		{`tls.server_name matches tls.server_name`, 1, 17, `regular expression in quotes`},
		{`failed + 1 > 2`, 1, 8, `+ cannot be applied to true or false and integer`},
		{`octets`, 1, 1, `gives integer, but true or false is needed`},
		{`failed and`, 1, 10, `unexpected token`},
		{`failed ? 1 : "a"`, 1, 14, `must be of one type`},
		{`octets ? failed : failed`, 1, 1, `must be true or false`},
		{`any([1], # > 1)`, 1, 1, `not a function of the rule language`},
		{`now() > 1`, 1, 1, `not a function of the rule language`},
		{`exit(1)`, 1, 1, `not a function of the rule language`},
		{`let x = 1; x == 1`, 1, 5, `not supported`},
		{`octets == nil`, 1, 11, `nothing is nil`},
		{`initiator.roles[0] == "a"`, 1, 16, `only plain names`},
		{`[1, 2]`, 1, 1, `right of`},
		{`octets in 5`, 1, 11, "`in` needs a list"},
		{`failed in [1]`, 1, 8, `cannot be looked for`},
		{`share in 1..2`, 1, 7, `cannot lie in a range`},
		{`tls.server_name in [1]`, 1, 21, `a text in quotes`},
		{`abs("x") > 1`, 1, 5, `takes numbers`},
		{`len(5) > 1`, 1, 1, `takes a text or a list`},
		{`network(initiator.address, 99, 64) == "10.0.0.0"`, 1, 1, `0 to 32`},
		{`not octets`, 1, 1, `not cannot be applied`},
		{`failed | octets`, 1, 15, `unexpected token`},
	} {
		_, err := lang.CompileAs(tc.text, world, lang.Bool)
		var fault *lang.Error
		if !errors.As(err, &fault) {
			t.Errorf("%s: got %v, want an *Error", tc.text, err)
			continue
		}
		if fault.Line != tc.line || fault.Column != tc.column || !strings.Contains(fault.Message, tc.want) {
			t.Errorf("%s (-got, +want)\n- %v\n+ %d:%d: ... %s", tc.text, fault, tc.line, tc.column, tc.want)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string
	}{
		{`protocol == "tcp" and responder.port in [22, 23]`, "[22 23]"},
		{`responder.port in 20..23`, "[20 21 22 23]"},
		{`failed and (responder.port == 1 or responder.port == 2)`, "[1 2]"},
		{`responder.port in [1, 2, 3] and responder.port in [2, 3, 4]`, "[2 3]"},
		{`failed or responder.port == 1`, "any"},
		{`not (responder.port == 1)`, "any"},
		{`responder.port in 1..1000`, "any"},
		{`responder.port > 5`, "any"},
		{`octets == 1`, "any"},
	} {
		e, err := lang.CompileAs(tc.text, world, lang.Bool)
		if err != nil {
			t.Fatal(err)
		}
		got := "any"
		if values, ok := e.Bounds("responder.port", 64); ok {
			got = fmt.Sprint(values)
		}
		if got != tc.want {
			t.Errorf("%s (-got, +want)\n- %s\n+ %s", tc.text, got, tc.want)
		}
	}
}

// Whatever is written in a rule, compiling it neither panics nor hangs, and
// what compiles can be evaluated.
func FuzzCompile(f *testing.F) {
	f.Add(`protocol == "tcp" and responder.port in [22, 23]`)
	f.Add(`network(initiator.address, 24, 64) == "10.1.2.0" ? 1..3 : -5 % 0`)
	f.Add(`tls.server_name matches "(" or {"a": [1]}.a?.b`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := lang.Compile(text, world)
		if err != nil {
			return
		}
		e.Bounds("responder.port", 64)
		switch e.Kind {
		case lang.Bool:
			e.Bool(world)
		case lang.Int:
			e.Int(world)
		case lang.Float:
			e.Float(world)
		case lang.String:
			_ = e.Value.String(world)
		case lang.Address:
			e.Address(world)
		}
	})
}
