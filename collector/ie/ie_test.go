package ie

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	table, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if table.Len() < 4200 {
		t.Errorf("elements: got %d, want at least 4200", table.Len())
	}
	for _, tc := range []struct {
		key  Key
		want Element
	}{
		{Key{IPFIX, 0, 1}, Element{"octetDeltaCount", Unsigned64, "deltaCounter", "octets"}},
		{Key{NetFlowV9, 0, 8}, Element{Name: "sourceIPv4Address", Type: IPv4Address, Semantics: "default"}},
		{Key{IPFIX, 29305, 1}, Element{"reverseOctetDeltaCount", Unsigned64, "deltaCounter", "octets"}},
		{Key{SFlow, 0, 1002}, Element{Name: "sflow.extendedRouter"}},
		{Key{SFlowCounter, 0, 1}, Element{Name: "sflow.generic"}},
	} {
		got, ok := table.Lookup(tc.key)
		if tc.want.Semantics == "" || tc.want.Semantics == "default" {
			got.Semantics = tc.want.Semantics // registries differ in how they write none
		}
		if !ok || got != tc.want {
			t.Errorf("%v (-got +want)\n- %+v %v\n+ %+v", tc.key, got, ok, tc.want)
		}
	}
	if e, ok := table.Lookup(Key{IPFIX, 35632, 205}); !ok || e.Name != "ntop.dnsQuery" || e.Type != String {
		t.Errorf("vendor element (-got +want)\n- %+v %v\n+ ntop.dnsQuery string", e, ok)
	}
	if _, ok := table.Lookup(Key{IPFIX, 4242, 1}); ok {
		t.Error("an element of an unknown enterprise was found")
	}
	if got := (Key{IPFIX, 4242, 7}).Name(); got != "4242/7" {
		t.Errorf("name: got %s, want 4242/7", got)
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"ipfix\t0\t1\ta\tunsigned8\t\t\nipfix\t0\t1\tb\tunsigned8\t\t": "twice",
		"ipfix\t0\t1\ta\tunsigned9\t\t":                                "cannot understand",
		"ipfix\t0\t1\ta":                                               "columns",
	} {
		if _, err := parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}
