package schemas

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// Every field has a doc, for the reference and the Go types, and a default, so
// that it can be read where the writer did not know it.
func TestFieldsHaveDocsAndDefaults(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		seen := map[*avsc.Schema]bool{}
		var walk func(*avsc.Schema)
		walk = func(s *avsc.Schema) {
			if s == nil || seen[s] {
				return
			}
			seen[s] = true
			if s.Name != "" && s.Doc == "" {
				t.Errorf("%s has no doc", s)
			}
			if s.Kind == avsc.Enum && !slices.Contains(s.Symbols, s.Default) {
				t.Errorf("%s: its default %q is not a symbol: a symbol that is added could not be read", s, s.Default)
			}
			for _, f := range s.Fields {
				if f.Doc == "" {
					t.Errorf("%s.%s has no doc", s, f.Name)
				}
				if f.Default == nil {
					t.Errorf("%s.%s has no default", s, f.Name)
				}
				walk(f.Type)
			}
			walk(s.Items)
			for _, b := range s.Branches {
				walk(b)
			}
		}
		walk(parse(t, rt.schema))
	})
}

// A record of nothing but defaults is the zero record.
func TestDefaultsAreZero(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		theirs, err := codecOf(t, rt.schema).SingleFromNative(nil, map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		if ours := rt.new().Append(nil); string(ours) != string(theirs) {
			t.Errorf("(-got +want):\n-%x\n+%x", ours, theirs)
		}
	})
}

func TestGeneratedFilesAreFresh(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the generator")
	}
	out := t.TempDir()
	if msg, err := exec.Command("go", "run", "./internal/gen", "-out", filepath.Join(out, "schemas")).CombinedOutput(); err != nil {
		t.Fatalf("generator: %v\n%s", err, msg)
	}
	compared := 0
	err := filepath.WalkDir(out, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(out, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			return err
		}
		compared++
		if diff := cmp.Diff(strings.Split(string(got), "\n"), strings.Split(string(want), "\n")); diff != "" {
			t.Errorf("%s is stale: run `go generate ./schemas` (-got +want):\n%s", name, diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 2*len(recordTypes()) + 1; compared != want {
		t.Errorf("files compared: -got %d +want %d", compared, want)
	}
}

// versions returns the released schemas of a record, oldest first.
func versions(t testing.TB, record string) []*version {
	t.Helper()
	reg, err := loadRegistry()
	if err != nil {
		t.Fatal(err)
	}
	var list []*version
	for _, v := range reg.byFingerprint {
		if v.record == record {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b *version) int { return a.number - b.number })
	return list
}

// Every released version and the current schema can read each other: full,
// transitive compatibility.
func TestReleasedVersionsAreCompatible(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		released := versions(t, rt.name)
		files, err := filepath.Glob("released/" + rt.file + "-*.avsc")
		if err != nil || len(files) == 0 || len(files) != len(released) {
			t.Fatalf("released/%s-*.avsc: -got %d files +want %d, one for every version that is known (%v)", rt.file, len(files), len(released), err)
		}
		current := parse(t, rt.schema)
		for i, v := range released {
			if want := fmt.Sprintf("%s-%d", rt.file, i+1); v.file != want {
				t.Errorf("versions count from 1 without a gap: -got %s +want %s", v.file, want)
			}
			if err := avsc.CanRead(current, v.schema); err != nil {
				t.Errorf("the current schema cannot read %s: %v", v.file, err)
			}
			if err := avsc.CanRead(v.schema, current); err != nil {
				t.Errorf("%s cannot read the current schema: %v", v.file, err)
			}
		}
		if newest := released[len(released)-1]; newest.codec.Rabin != rt.fingerprint {
			t.Errorf("%s.avsc differs from %s: release it as the next version (go run ./internal/gen -release, in schemas)", rt.file, newest.file)
		}
	})
}

// What the compatibility test stands on must itself tell right from wrong.
func TestCanRead(t *testing.T) {
	record := func(fields string) string {
		return `{"type":"record","name":"R","fields":[` + fields + `]}`
	}
	enum := func(symbols, rest string) string {
		return record(`{"name":"e","type":{"type":"enum","name":"E","symbols":[` + symbols + `]` + rest + `}}`)
	}
	for _, test := range []struct {
		name, reader, writer, want string
	}{
		{"same", record(`{"name":"a","type":"int"}`), record(`{"name":"a","type":"int"}`), ""},
		{"added with default", record(`{"name":"a","type":"int","default":0}`), record(``), ""},
		{"added with null for default", record(`{"name":"a","type":["null","int"],"default":null}`), record(``), ""},
		{"added without default", record(`{"name":"a","type":"int"}`), record(``), "no default"},
		{"removed", record(``), record(`{"name":"a","type":"int"}`), ""},
		{"int to long", record(`{"name":"a","type":"long"}`), record(`{"name":"a","type":"int"}`), ""},
		{"long to int", record(`{"name":"a","type":"int"}`), record(`{"name":"a","type":"long"}`), "long cannot be read as int"},
		{"long to double", record(`{"name":"a","type":"double"}`), record(`{"name":"a","type":"long"}`), ""},
		{"bytes to string", record(`{"name":"a","type":"string"}`), record(`{"name":"a","type":"bytes"}`), ""},
		{"string to long", record(`{"name":"a","type":"long"}`), record(`{"name":"a","type":"string"}`), "string cannot be read as long"},
		{"in an array", record(`{"name":"a","type":{"type":"array","items":"int"}}`), record(`{"name":"a","type":{"type":"array","items":"long"}}`), "long cannot be read as int"},
		{"into a union", record(`{"name":"a","type":["null","int"]}`), record(`{"name":"a","type":"int"}`), ""},
		{"out of a union", record(`{"name":"a","type":"int"}`), record(`{"name":"a","type":["null","int"]}`), "null cannot be read as int"},
		{"branch added at the writer's", record(`{"name":"a","type":["null","int"]}`), record(`{"name":"a","type":["null","int","string"]}`), "no branch"},
		{"symbol added, with default", enum(`"A"`, `,"default":"A"`), enum(`"A","B"`, ``), ""},
		{"symbol added, no default", enum(`"A"`, ``), enum(`"A","B"`, ``), "lacks symbol B"},
		{"fixed of another size", record(`{"name":"a","type":{"type":"fixed","name":"F","size":4}}`), record(`{"name":"a","type":{"type":"fixed","name":"F","size":5}}`), "cannot be read"},
		{"renamed record", record(``), `{"type":"record","name":"S","fields":[]}`, "S cannot be read as R"},
		{"recursive", record(`{"name":"a","type":["null","R"]}`), record(`{"name":"a","type":["null","R"]}`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := avsc.CanRead(parse(t, test.reader), parse(t, test.writer))
			if got := fmt.Sprint(err); (test.want == "") != (err == nil) || !strings.Contains(got, test.want) {
				t.Errorf("-got %v +want %q", err, test.want)
			}
		})
	}
}

// olderFlowRecord makes up a version 0 that differs from the current schema by
// everything that evolution may do: a field it lacks, one it has of its own, a
// narrower number, a symbol that was dropped, another order.
func olderFlowRecord(t testing.TB) (older, current *version) {
	t.Helper()
	s := parse(t, FlowRecordSchema)
	var fields []*avsc.Field
	for _, f := range s.Fields {
		switch f.Name {
		case "realm", "http": // not there yet
			continue
		case "octetDeltaCount":
			f.Type = &avsc.Schema{Kind: avsc.Int}
		case "userName":
			f.Type, f.Default = &avsc.Schema{Kind: avsc.Bytes}, []byte(`""`)
		case "exportProtocol":
			f.Type.Symbols = append([]string{"CFLOWD"}, f.Type.Symbols...)
		case "dns":
			f.Type = f.Type.Optional() // it was always there
			f.Default = []byte(`{}`)
		}
		fields = append(fields, f)
	}
	slices.Reverse(fields)
	s.Fields = append(fields, &avsc.Field{Name: "gone", Type: &avsc.Schema{Kind: avsc.String}, Default: []byte(`""`)})
	// The order changed, so types are written out where they are first used now.
	older, err := newVersion("flow_record-0", s.Compose())
	if err != nil {
		t.Fatal(err)
	}
	if current, err = newVersion("current", FlowRecordSchema); err != nil {
		t.Fatal(err)
	}
	return older, current
}

func TestOlderRecordsAreResolved(t *testing.T) {
	older, current := olderFlowRecord(t)
	r := newRandom(5)
	for i := range 300 {
		var want FlowRecord
		r.fill(&want)
		want.Realm, want.Http = "", Optional[HTTP]{}
		want.OctetDeltaCount = int64(int32(want.OctetDeltaCount))
		want.Dns.Set = true
		native := toNative(parse(t, FlowRecordSchema), reflect.ValueOf(&want).Elem()).(map[string]any)
		native["dns"] = native["dns"].(map[string]any)["io.weir.flow.DNS"]
		native["gone"] = "with the wind"
		if i%5 == 0 {
			native["exportProtocol"] = "CFLOWD"
			want.ExportProtocol = ExportProtocolUNKNOWN
		}
		in, err := older.codec.BinaryFromNative(nil, native)
		if err != nil {
			t.Fatal(err)
		}
		body, err := resolve(current, older, in)
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		var got FlowRecord
		if err := got.Unmarshal(append([]byte(flowRecordHeader), body...)); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if diff := cmp.Diff(got, want, equal); diff != "" {
			t.Fatalf("record %d (-got +want):\n%s", i, diff)
		}
	}
}

// Every released version reads through the registry, as an old topic would be.
func TestReleasedVersionsAreRead(t *testing.T) {
	eachType(t, func(t *testing.T, rt recordType) {
		for _, v := range versions(t, rt.name) {
			framed, err := v.codec.SingleFromNative(nil, map[string]any{})
			if err != nil {
				t.Fatal(err)
			}
			if err := rt.new().Unmarshal(framed); err != nil {
				t.Errorf("%s: %v", v.file, err)
			}
			body, err := upgrade(rt.name, v.codec.Rabin, framed[headerSize:])
			if err != nil {
				t.Fatalf("%s: %v", v.file, err)
			}
			if want := rt.new().Append(nil)[headerSize:]; string(body) != string(want) {
				t.Errorf("%s (-got +want):\n-%x\n+%x", v.file, body, want)
			}
		}
	})
}
