package indexer_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-flow/weir/indexer"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/testbed"
)

func client(t *testing.T, url, namespace string) *elastic.Client {
	t.Helper()
	c := elastic.DefaultConfig()
	c.URLs = []string{url}
	c.Namespace = namespace
	cl, err := elastic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func actions(p indexer.Plan) string {
	var lines []string
	for _, c := range p.Changes {
		lines = append(lines, strings.Join(strings.Fields(c.String()), " "))
	}
	return strings.Join(lines, "\n")
}

// TestSetup runs against a real server. Templates are the server's, not a
// namespace's, and other tests put the same ones: so nothing here depends on
// whether they were there before.
func TestSetup(t *testing.T) {
	ctx := t.Context()
	cl := client(t, testbed.SharedElasticsearch(t), testbed.Namespace(t))
	storage := indexer.DefaultConfig().Storage
	namespace := testbed.Namespace(t)
	if _, err := indexer.Setup(ctx, cl, storage, namespace, false); err != nil {
		t.Fatal(err)
	}
	again, err := indexer.Setup(ctx, cl, storage, namespace, false)
	if err != nil {
		t.Fatal(err)
	}
	kept := `keep component template weir@flow
keep index template logs-weir.flow
keep component template weir@alert
keep index template logs-weir.alert`
	if d := cmp.Diff(actions(again), kept); d != "" {
		t.Errorf("a second setup (-got +want)\n%s", d)
	}
	t.Log(strings.Join(again.Server, "; "))

	// A dry run with another retention says what it would do, and does not.
	other := storage
	other.AlertRetention *= 2
	plan, err := indexer.Setup(ctx, cl, other, namespace, true)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(kept, "keep component template weir@alert", "update component template weir@alert", 1)
	if d := cmp.Diff(actions(plan), want); d != "" {
		t.Errorf("dry run (-got +want)\n%s", d)
	}
	if again, err = indexer.Setup(ctx, cl, storage, namespace, true); err != nil || actions(again) != kept {
		t.Errorf("the dry run changed something: %v\n%s", err, actions(again))
	}

	var simulated struct {
		Template struct {
			Settings struct {
				Index map[string]any
			}
			Lifecycle map[string]any
		}
	}
	if err := cl.Do(ctx, "POST", "/_index_template/_simulate_index/logs-weir.flow-"+namespace, nil, &simulated); err != nil {
		t.Fatal(err)
	}
	s, _ := json.Marshal(simulated.Template.Settings.Index)
	if !strings.Contains(string(s), `"sort":{"field":"@timestamp","order":"desc"}`) {
		t.Errorf("settings of the flows' indices: %s", s)
	}
	if d := cmp.Diff(simulated.Template.Lifecycle["data_retention"], any("30d")); d != "" {
		t.Errorf("retention of flows (-got +want)\n%s", d)
	}
}
