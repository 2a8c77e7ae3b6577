package indexer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseResponse(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		want       []string
		bad        bool
	}{
		{name: "all created", body: `{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}`,
			want: []string{"created ", "created "}},
		{name: "as an unfiltered 8.19 says it", body: `{"errors":true,"took":3,"ingest_took":0,"items":[
			{"create":{"_index":".ds-x","_id":"a","status":409,"error":{"type":"version_conflict_engine_exception","reason":"[a]: version conflict, document already exists (current version [1])","index_uuid":"u","shard":"0","index":".ds-x"}}},
			{"create":{"_index":".ds-x","_id":"b","_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1,"status":201}},
			{"create":{"_index":"x","status":400,"error":{"type":"document_parsing_exception","reason":"[1:9] failed to parse field [source.ip] of type [ip] in document with id 'c'. Preview of field's value: 'no \"ip\"'","caused_by":{"type":"illegal_argument_exception","reason":"'no ip' is not an IP string literal."}}}},
			{"create":{"_index":"x","status":429,"error":{"type":"es_rejected_execution_exception","reason":"queue full"}}}]}`,
			want: []string{
				"exists version_conflict_engine_exception",
				"created ",
				"refused document_parsing_exception",
				"retry es_rejected_execution_exception",
			}},
		{name: "too many shards is not the document's fault", body: `{"errors":true,"items":[{"create":{"status":400,"error":{"type":"validation_exception","reason":"this action would add [2] shards"}}}]}`,
			want: []string{"retry validation_exception"}},
		{name: "a missing privilege is not the document's fault", body: `{"errors":true,"items":[{"create":{"status":403,"error":{"type":"security_exception","reason":"no"}}}]}`,
			want: []string{"retry security_exception"}},
		{name: "an error that is a text", body: `{"items":[{"create":{"status":503,"error":"Unavailable"}}]}`, want: []string{"retry "}},
		{name: "cut off", body: `{"errors":false,"items":[{"create":{"status":201}},{"create":{"sta`, want: []string{"created "}, bad: true},
		{name: "no JSON", body: `<html>504</html>`, bad: true},
		{name: "empty", bad: true},
		{name: "an item that says nothing", body: `{"items":[{}]}`, bad: true},
		{name: "more after the end", body: `{"items":[]}{}`, bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			n, err := parseResponse([]byte(tc.body), func(i int, r itemResult) {
				if i != len(got) {
					t.Errorf("item %d called as %d", len(got), i)
				}
				got = append(got, fmt.Sprintf("%v %s", judge(r), r.kind))
			})
			if d := cmp.Diff(got, tc.want); d != "" {
				t.Errorf("(-got +want)\n%s", d)
			}
			if n != len(tc.want) || (err != nil) != tc.bad {
				t.Errorf("got %d items, error %v", n, err)
			}
		})
	}
}

func TestReadable(t *testing.T) {
	got := readable([]byte(`failed to parse \"ip\"\nof é` + strings.Repeat("é", 2000)))
	if !strings.HasPrefix(got, `failed to parse "ip" of éé`) || len(got) > 2000 || !json.Valid([]byte(`"`+strings.ReplaceAll(got, `"`, `\"`)+`"`)) {
		t.Errorf("got %q", got)
	}
}

// FuzzParseResponse holds the parser to encoding/json: what that accepts as an
// answer, and says of statuses, is what ours says.
func FuzzParseResponse(f *testing.F) {
	f.Add([]byte(`{"errors":false,"items":[{"create":{"status":201}}]}`))
	f.Add([]byte(`{"took":1,"errors":true,"items":[{"create":{"_id":"a\"b","status":409,"error":{"type":"t","reason":"r","caused_by":{"reason":"\\"}}}}]}`))
	f.Add([]byte(`{"items":[{"create":{"x":[[[{}]]],"status":1.5}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got []int
		_, err := parseResponse(b, func(_ int, r itemResult) {
			got = append(got, r.status)
			_ = judge(r)
			_ = readable(r.reason)
		})
		var want struct {
			Items []map[string]struct {
				Status int `json:"status"`
			} `json:"items"`
		}
		if err != nil || json.Unmarshal(b, &want) != nil || strings.Contains(string(b), `\`) {
			return // ours is laxer on what is skipped; escaped keys are not looked for
		}
		for i, it := range want.Items {
			// A name that is there twice, or in other case, is read differently; not
			// that anyone sends it.
			if c, ok := it["create"]; ok && len(it) == 1 && i < len(got) && c.Status != got[i] && strings.Count(strings.ToLower(string(b)), "status") == len(want.Items) && strings.Count(string(b), "create") == len(want.Items) {
				t.Errorf("item %d: status %d, want %d", i, got[i], c.Status)
			}
		}
	})
}

func BenchmarkParseResponse(b *testing.B) {
	body := []byte(`{"errors":false,"items":[` + strings.TrimSuffix(strings.Repeat(`{"create":{"status":201}},`, 3000), ",") + `]}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if n, err := parseResponse(body, func(int, itemResult) {}); err != nil || n != 3000 {
			b.Fatal(n, err)
		}
	}
}
