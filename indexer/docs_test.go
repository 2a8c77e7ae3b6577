package indexer_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-flow/weir/indexer/ecs/ecstest"
	"github.com/weir-flow/weir/internal/kafka"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestQueriesOfTheDocs runs every query of docs/elasticsearch.md: a field that
// was renamed makes it empty.
func TestQueriesOfTheDocs(t *testing.T) {
	s := real(t)
	full := ecstest.Full()
	s.produce(s.alert("a", 0), &kgo.Record{Topic: s.topic(kafka.TopicEnriched), Value: full.Append(nil)})
	r := s.start(nil)
	eventually(t, "all committed", s.committedAll)
	s.stop(r)
	s.ids("logs-weir.flow") // refreshes
	s.ids("logs-weir.alert")

	text, err := os.ReadFile("../docs/elasticsearch.md")
	if err != nil {
		t.Fatal(err)
	}
	queries := regexp.MustCompile(`(?s)\$ES(/[^"]*/_search)".*?-d '(.*?)'`).FindAllSubmatch(text, -1)
	if len(queries) < 6 {
		t.Fatalf("%d queries in the docs", len(queries))
	}
	cl := client(t, s.elastic.URLs[0], s.elastic.Namespace)
	for _, q := range queries {
		path := strings.Replace(string(q[1]), "-default/", "-"+s.elastic.Namespace+"/", 1)
		// The sample's flow is of a fixed day.
		body := bytes.Replace(q[2], []byte("now-1h"), []byte("2000-01-01"), 1)
		var answer struct {
			Hits         struct{ Hits []json.RawMessage }
			Aggregations map[string]struct {
				Buckets []json.RawMessage
				Value   float64
			}
		}
		if err := cl.Do(t.Context(), "POST", path, json.RawMessage(body), &answer); err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		found := len(answer.Hits.Hits) > 0
		for _, a := range answer.Aggregations {
			found = found || len(a.Buckets) > 0 || a.Value > 0
		}
		if !found {
			t.Errorf("nothing is found by %s %s", path, body)
		}
	}
}
