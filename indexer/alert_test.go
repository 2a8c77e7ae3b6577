package indexer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func gunzip(r *http.Request) error {
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(z)
	return nil
}

func TestAppendAlert(t *testing.T) {
	const ingested = 1767225600123
	header := func(kv ...string) (h []kgo.RecordHeader) {
		for i := 0; i < len(kv); i += 2 {
			h = append(h, kgo.RecordHeader{Key: kv[i], Value: []byte(kv[i+1])})
		}
		return h
	}
	const added = `{"event.ingested":"2026-01-01T00:00:00.123Z","data_stream.type":"logs","data_stream.dataset":"weir.alert","data_stream.namespace":"ns"`
	for _, tc := range []struct {
		name, value string
		headers     []kgo.RecordHeader
		want, err   string
	}{
		{name: "id in a header", value: `{"event":{"id":"x"}}`, headers: header("id", "a-1"), want: `{"create":{"_id":"a-1"}}` + "\n" + added + `,"event":{"id":"x"}}` + "\n"},
		{name: "id in parts", value: `{}`, headers: header("alert_id", "a", "revision", "2"), want: `{"create":{"_id":"a-2"}}` + "\n" + added + "}\n"},
		{name: "id in the alert", value: ` {"event":{"id":"x"},"weir":{"alert":{"revision":0}}} `, want: `{"create":{"_id":"x-0"}}` + "\n" + added + `,"event":{"id":"x"},"weir":{"alert":{"revision":0}}}` + "\n"},
		{name: "lines become one", value: "{\n \"a\": \"b\\n\"\r\n}", headers: header("id", `q"`), want: `{"create":{"_id":"q\""}}` + "\n" + added + `,  "a": "b\n"  }` + "\n"},
		{name: "no id", value: `{"event":{}}`, err: "neither a header"},
		{name: "id too long", value: `{}`, headers: header("id", strings.Repeat("x", 513)), err: "513 bytes long"},
		{name: "no JSON", value: `{"a":}`, headers: header("id", "a"), err: "not a JSON object"},
		{name: "no object", value: `[1]`, headers: header("id", "a"), err: "not a JSON object"},
		{name: "nothing", value: ``, headers: header("id", "a"), err: "not a JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := appendAlert([]byte("before\n"), "ns", &kgo.Record{Value: []byte(tc.value), Headers: tc.headers}, ingested)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != "before\n"+tc.want {
				t.Errorf("(-got +want)\n- %s\n+ %s", got, "before\n"+tc.want)
			}
		})
	}
}

// FuzzAppendAlert: whatever is in the topic, a bulk request stays two lines
// for each document, and both are JSON.
func FuzzAppendAlert(f *testing.F) {
	f.Add([]byte(`{"event":{"id":"x"},"weir":{"alert":{"revision":1}}}`), "")
	f.Add([]byte("{\n}"), "id\n")
	f.Fuzz(func(t *testing.T, value []byte, id string) {
		r := &kgo.Record{Value: value}
		if id != "" {
			r.Headers = []kgo.RecordHeader{{Key: headerID, Value: []byte(id)}}
		}
		b, err := appendAlert(nil, "ns", r, 0)
		if err != nil {
			return
		}
		lines := bytes.Split(b, []byte("\n"))
		if len(lines) != 3 || len(lines[2]) != 0 || !json.Valid(lines[0]) || !json.Valid(lines[1]) {
			t.Errorf("got %q", b)
		}
	})
}
