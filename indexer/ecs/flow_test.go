package ecs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-flow/weir/indexer/ecs"
	"github.com/weir-flow/weir/indexer/ecs/ecstest"
	"github.com/weir-flow/weir/indexer/templates"
	"github.com/weir-flow/weir/schemas"
)

var update = flag.Bool("update", false, "write the golden documents anew")

const ingested = ecstest.Start + 62000

func document(t testing.TB, f *schemas.EnrichedFlow) []byte {
	t.Helper()
	// Something in front, as in a bulk request.
	b := ecs.NewEncoder("default").AppendFlow([]byte("{}\n"), f, ingested)[3:]
	if err := checkJSON(b); err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return b
}

// checkJSON refuses what Elasticsearch refuses and encoding/json does not: a
// member that is there twice. An empty object or array is one that the writer
// forgot to take back.
func checkJSON(b []byte) error {
	if !json.Valid(b) {
		return fmt.Errorf("not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var walk func(path string) error
	walk = func(path string) error {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		delim, ok := tok.(json.Delim)
		if !ok {
			return nil
		}
		seen := map[string]bool{}
		n := 0
		for d.More() {
			name := "[]"
			if delim == '{' {
				k, err := d.Token()
				if err != nil {
					return err
				}
				name = k.(string)
				if seen[name] {
					return fmt.Errorf("%s.%s is there twice", path, name)
				}
				seen[name] = true
			}
			if err := walk(path + "." + name); err != nil {
				return err
			}
			n++
		}
		if n == 0 && !strings.Contains(path, "extra") && !strings.Contains(path, "answers") {
			return fmt.Errorf("%s is empty", path)
		}
		_, err = d.Token()
		return err
	}
	return walk("")
}

func TestGoldenDocuments(t *testing.T) {
	icmp := ecstest.Plain(7)
	icmp.Flow.ProtocolIdentifier, icmp.Flow.SourceTransportPort, icmp.Flow.DestinationTransportPort = 1, 0, 0
	icmp.Flow.IcmpSeen, icmp.Flow.FirewallEvent, icmp.Answered = true, 3, false
	icmp.ConnectionState = schemas.ConnectionStateUNANSWERED
	for name, f := range map[string]*schemas.EnrichedFlow{
		"full": ecstest.Full(), "plain": ecstest.Plain(1), "icmp-denied": icmp, "empty": {},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := json.Indent(&got, document(t, f), "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			path := "testdata/" + name + ".json"
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(got.String(), string(want)); d != "" {
				t.Errorf("(-got +want)\n%s", d)
			}
		})
	}
}

// TestFullIsFull makes a new field of the schemas fail here, so that it gets a
// place in the documents.
func TestFullIsFull(t *testing.T) {
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch {
		case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[schemas.EnrichedFlow]().PkgPath() && v.Type() != reflect.TypeFor[schemas.ExtraValue]():
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case v.Kind() == reflect.Slice && v.Len() > 0 && v.Index(0).Kind() == reflect.Struct:
			walk(path+"[0]", v.Index(0))
		case v.IsZero():
			t.Errorf("%s is not set in ecstest.Full", path)
		}
	}
	walk("EnrichedFlow", reflect.ValueOf(*ecstest.Full()))
}

// leaves returns the names of the fields in a document with one of their
// values, without those under an object that keep says is kept as it is.
func leaves(doc any, prefix string, keep func(string) bool, out map[string]any) {
	switch v := doc.(type) {
	case map[string]any:
		for k, e := range v {
			name := strings.TrimPrefix(prefix+"."+k, ".")
			if keep(name) {
				out[name] = e
				continue
			}
			leaves(e, name, keep, out)
		}
	case []any:
		for _, e := range v {
			leaves(e, prefix, keep, out)
		}
	default:
		out[prefix] = v
	}
}

// TestEveryFieldIsMapped compares the documents with the mapping, both ways.
func TestEveryFieldIsMapped(t *testing.T) {
	fields, err := templates.Flow()
	if err != nil {
		t.Fatal(err)
	}
	mapped := map[string]templates.Field{}
	for _, f := range fields {
		mapped[f.Name] = f
	}
	whole := func(name string) bool {
		f, ok := mapped[name]
		return ok && (f.Disabled || f.Type == "flattened" || f.Type == "geo_point")
	}
	other := ecstest.Full()
	other.Flow.Tls.Value.CertificateFingerprint = strings.Repeat("a", 32)
	other.Reverse.Set = false
	third := ecstest.Full()
	third.Flow.Tls.Value.CertificateFingerprint = strings.Repeat("a", 40)
	found := map[string]any{}
	for _, f := range []*schemas.EnrichedFlow{ecstest.Full(), ecstest.Plain(1), other, third, {}} {
		var doc any
		if err := json.Unmarshal(document(t, f), &doc); err != nil {
			t.Fatal(err)
		}
		leaves(doc, "", whole, found)
	}
	for name, value := range found {
		f, ok := mapped[name]
		if !ok {
			t.Errorf("%s is written and not mapped", name)
			continue
		}
		var fits bool
		switch value.(type) {
		case string:
			fits = slices.Contains([]string{"keyword", "constant_keyword", "wildcard", "ip", "date"}, f.Type)
		case float64:
			fits = f.Type == "long" || f.Type == "float"
		case bool:
			fits = f.Type == "boolean"
		default:
			fits = whole(name)
		}
		if !fits {
			t.Errorf("%s is written as %T and mapped as %s", name, value, f.Type)
		}
		if f.Type == "constant_keyword" && f.Value != "" && f.Value != value {
			t.Errorf("%s is %v and mapped as the constant %s", name, value, f.Value)
		}
	}
	for name := range mapped {
		if _, ok := found[name]; !ok {
			t.Errorf("%s is mapped and never written", name)
		}
	}
}

func TestNamesOfProtocols(t *testing.T) {
	f := ecstest.Plain(1)
	f.Flow.Dns = schemas.Optional[schemas.DNS]{Set: true, Value: schemas.DNS{QueryName: "a.example", QueryType: 65000, Answers: []schemas.DNSAnswer{{Data: "not an address", Type: 1}, {Data: "fe80::1%eth0", Type: 28}}}}
	f.Flow.Tls = schemas.Optional[schemas.TLS]{Set: true, Value: schemas.TLS{Version: 0x0304, Cipher: 0xfefe}}
	var doc struct {
		Network struct{ Protocol string }
		DNS     struct {
			Type     string
			Question struct{ Type string }
			Resolved []string `json:"resolved_ip"`
		}
		TLS struct{ Version, Cipher string }
	}
	if err := json.Unmarshal(document(t, f), &doc); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(doc)
	if want := "{{dns} {query {TYPE65000} [fe80::1]} {1.3 0xFEFE}}"; got != want {
		t.Errorf("(-got +want)\n- %s\n+ %s", got, want)
	}
}

// TestNoGarbage: one document is made for each flow.
func TestNoGarbage(t *testing.T) {
	e := ecs.NewEncoder("default")
	b := make([]byte, 0, 64<<10)
	for name, f := range map[string]*schemas.EnrichedFlow{"full": ecstest.Full(), "plain": ecstest.Plain(1)} {
		if n := testing.AllocsPerRun(100, func() { b = e.AppendFlow(b[:0], f, ingested) }); n != 0 {
			t.Errorf("%s: %v allocations a document, want 0", name, n)
		}
	}
}

// FuzzAppendFlow makes documents of records as they come from Kafka: whatever
// is in one, the document is JSON that Elasticsearch can read.
func FuzzAppendFlow(f *testing.F) {
	hostile := ecstest.Full()
	hostile.Flow.UserName = "\xff\x00\"\\\u2028 \xe2\x82"
	hostile.Flow.Extra = append(hostile.Flow.Extra, schemas.Extra{Name: ""}, schemas.Extra{Name: ""}, schemas.Extra{Name: "\xff"}, schemas.Extra{Name: "\xfe"})
	hostile.Flow.FlowEndMilliseconds, hostile.Flow.FlowStartMilliseconds = -1<<63, 1<<63-1
	hostile.Initiator.Latitude = 1e300
	for _, r := range []*schemas.EnrichedFlow{ecstest.Full(), ecstest.Plain(1), hostile, {}} {
		f.Add(r.Append(nil))
	}
	e := ecs.NewEncoder("default")
	f.Fuzz(func(t *testing.T, b []byte) {
		var r schemas.EnrichedFlow
		if r.Unmarshal(b) != nil {
			return
		}
		doc := e.AppendFlow(nil, &r, ingested)
		if err := checkJSON(doc); err != nil {
			t.Errorf("%v in\n%s", err, doc)
		}
		if bytes.IndexByte(doc, '\n') >= 0 {
			t.Errorf("a line end in\n%s", doc)
		}
	})
}

func BenchmarkAppendFlow(b *testing.B) {
	for name, f := range map[string]*schemas.EnrichedFlow{"full": ecstest.Full(), "plain": ecstest.Plain(1)} {
		b.Run(name, func(b *testing.B) {
			e := ecs.NewEncoder("default")
			buf := e.AppendFlow(nil, f, ingested)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf = e.AppendFlow(buf[:0], f, ingested)
			}
		})
	}
}
