package indexer

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func record(offset int64) *kgo.Record { return &kgo.Record{Offset: offset, LeaderEpoch: 5} }

func TestProgressCommitsOnlyWhatIsAcknowledgedBelow(t *testing.T) {
	g := newProgress()
	g.assign(map[string][]int32{"t": {0}})
	p := g.owner("t", 0)
	var spans []span
	for i := range int64(3) {
		s := g.open(p)
		g.extend(s, record(10*i), 100)
		g.extend(s, record(10*i+4), 100)
		spans = append(spans, s)
	}
	step := func(what string, want string) {
		t.Helper()
		got := ""
		if o, ok := g.uncommitted(nil)["t"][0]; ok {
			got = fmt.Sprintf("%d epoch %d", o.Offset, o.Epoch)
		}
		if got != want {
			t.Errorf("%s: would commit %q, want %q", what, got, want)
		}
	}
	step("nothing acknowledged", "")
	g.done(spans[1:2])
	step("the second alone", "")
	g.done(spans[:1])
	step("the first two", "15 epoch 5")
	g.committed(g.uncommitted(nil))
	step("and committed", "")
	if got := g.lag("t"); got != 85 {
		t.Errorf("lag %d, want 85", got)
	}
	g.done(spans[2:])
	step("all", "25 epoch 5")
	if got := len(g.uncommitted(map[string][]int32{"t": {1}, "u": {0}})); got != 0 {
		t.Errorf("%d offsets of partitions that are not ours", got)
	}
}

func TestProgressForgetsWhatWasRevoked(t *testing.T) {
	g := newProgress()
	tp := map[string][]int32{"t": {0}}
	g.assign(tp)
	old := g.open(g.owner("t", 0))
	g.extend(old, record(50), 100)
	g.revoke(tp)
	if g.owner("t", 0) != nil {
		t.Error("still ours")
	}
	// Back with us, from what is committed; then the old ownership's batch is
	// acknowledged. A mark at 51 would skip what the new one has not done.
	g.assign(tp)
	now := g.open(g.owner("t", 0))
	g.extend(now, record(20), 100)
	g.extend(old, record(51), 100)
	g.done([]span{old})
	if d := cmp.Diff(g.uncommitted(nil), map[string]map[int32]kgo.EpochOffset{}); d != "" {
		t.Errorf("a late mark (-got +want)\n%s", d)
	}
	g.done([]span{now})
	if got := g.uncommitted(nil)["t"][0].Offset; got != 21 {
		t.Errorf("would commit %d, want 21", got)
	}
}

// TestProgressProperty: in whatever order batches are acknowledged, what would
// be committed is the offset below which all are.
func TestProgressProperty(t *testing.T) {
	const n = 200
	rnd := rand.New(rand.NewPCG(1, 2))
	g := newProgress()
	g.assign(map[string][]int32{"t": {0}})
	spans := make([]span, n)
	for i := range spans {
		spans[i] = g.open(g.owner("t", 0))
		g.extend(spans[i], record(int64(i)), n)
	}
	acked := make([]bool, n)
	for _, i := range rnd.Perm(n) {
		g.done(spans[i : i+1])
		acked[i] = true
		want := int64(0)
		for want < n && acked[want] {
			want++
		}
		if got := g.uncommitted(nil)["t"][0].Offset; got != want {
			t.Fatalf("would commit %d, want %d", got, want)
		}
	}
}
