package bed

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/indexer/ecs"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/schemas"
)

// Documents returns the ids of all documents of a data stream ("flow",
// "alert"), and how often each is there.
func (b *Bed) Documents(stream string) map[string]int {
	b.t.Helper()
	ctx := b.t.Context()
	name := "/logs-weir." + stream + "-" + b.Config.Elasticsearch.Namespace
	if err := b.es.Do(ctx, http.MethodPost, name+"/_refresh", nil, nil); err != nil {
		b.t.Fatal(err)
	}
	type page struct {
		ScrollID string `json:"_scroll_id"`
		Hits     struct {
			Hits []struct {
				ID string `json:"_id"`
			} `json:"hits"`
		} `json:"hits"`
	}
	ids := map[string]int{}
	var p page
	err := b.es.Do(ctx, http.MethodPost, name+"/_search?scroll=1m", map[string]any{"size": 10_000, "sort": []string{"_doc"}, "_source": false}, &p)
	for ; err == nil && len(p.Hits.Hits) > 0; err = b.es.Do(ctx, http.MethodPost, "/_search/scroll", map[string]any{"scroll": "1m", "scroll_id": p.ScrollID}, &p) {
		for _, h := range p.Hits.Hits {
			ids[h.ID]++
		}
		p.Hits.Hits = nil
	}
	if err == nil {
		err = b.es.Do(ctx, http.MethodDelete, "/_search/scroll", map[string]any{"scroll_id": p.ScrollID}, nil)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return ids
}

// Exactly demands that what is there, and how often, is what is wanted, each
// once.
func Exactly(t *testing.T, what string, got map[string]int, want []string) {
	t.Helper()
	told := 0
	tell := func(format string, args ...any) {
		if told++; told <= 5 {
			t.Errorf(what+": "+format, args...)
		}
	}
	seen := map[string]bool{}
	for _, id := range want {
		if seen[id] {
			tell("%s is wanted twice", id)
		}
		seen[id] = true
		if got[id] != 1 {
			tell("%s is there %d times (-got, +want)\n- %d\n+ 1", id, got[id], got[id])
		}
	}
	for id, n := range got {
		if !seen[id] {
			tell("%s is there %d times and not wanted", id, n)
		}
	}
	if len(got) != len(want) || told > 5 {
		t.Errorf("%s (-got, +want)\n- %d\n+ %d; %d differences", what, len(got), len(want), told)
	}
	if len(want) == 0 {
		t.Errorf("%s: none", what)
	}
}

// FlowIDs are the ids that the documents of enriched flows must have.
func FlowIDs(t *testing.T, rs []*kgo.Record) (ids []string) {
	t.Helper()
	for _, r := range rs {
		var f schemas.EnrichedFlow
		if err := f.Unmarshal(r.Value); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(ecs.AppendID(nil, ecs.DocumentID(&f))))
	}
	return ids
}

// AlertIDs are the ids that the documents of alerts must have: the alert's and
// the number of the revision.
func AlertIDs(t *testing.T, rs []*kgo.Record) (ids []string) {
	t.Helper()
	for _, r := range rs {
		a, err := pipeline.ParseAlert(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, fmt.Sprintf("%s-%d", a.Event.ID, a.Weir.Alert.Revision))
	}
	return ids
}
