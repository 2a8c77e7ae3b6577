package bed

import "net/http"

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
