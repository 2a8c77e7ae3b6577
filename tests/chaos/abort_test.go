package chaos_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/pipeline"
	"github.com/weir-flow/weir/tests/internal/bed"
)

// TestForcedAborts runs the real stages and aborts their transactions at every
// step, again and again.
func TestForcedAborts(t *testing.T) {
	b := bed.New(t, bed.Options{
		Brokers: testbed.SharedKafka(t),
		Configure: func(c *pipeline.Config) {
			// Many small transactions, with snapshots in them.
			c.Stream.CommitInterval, c.Stream.MaxPollRecords = 20*time.Millisecond, 500
			c.Stream.SnapshotInterval = 100 * time.Millisecond
		},
	})
	stages := b.Stages()
	var forced []*aborts
	for i, s := range []stream.Stage{stages.Merge, stages.Detector, stages.Enricher} {
		a := &aborts{rnd: rand.New(rand.NewPCG(3, uint64(i))), steps: map[string]int{}, stage: s.Name}
		forced = append(forced, a)
		r, err := stream.NewRunner(s, b.Config.Stream, stream.Dependencies{
			Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
			Prefix: b.Config.Kafka.TopicPrefix, Instance: "one", ForceAbort: a.now,
			Options: func(bool) []kgo.Opt {
				opts, err := kafka.Options(b.Config.Kafka, kafka.Dependencies{Log: slog.New(slog.DiscardHandler), Service: s.Name}, kafka.RoleTransactional)
				if err != nil {
					t.Error(err)
				}
				return opts
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context(), func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Stop(t.Context()); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		})
	}
	b.Feed(bed.Day(13))
	b.Drain()
	// What is found is no matter here: the hour is there at once, and comes to
	// the rules in no order of time.
	b.Conform()
	for _, a := range forced {
		if err := a.everyStep(); err != nil {
			t.Error(err)
		}
		t.Logf("%s: aborts forced: %v", a.stage, a.steps)
	}
}

// aborts decides when to abort.
type aborts struct {
	stage string
	mu    sync.Mutex
	rnd   *rand.Rand
	steps map[string]int
}

// now is asked before each step of a transaction; of some steps there are many
// in one.
func (a *aborts) now(step string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	odds := 4
	if step == "after-produce" {
		odds = 40
	}
	// The first of each kind for sure: a slow machine commits seldom.
	if a.steps[step] > 0 && a.rnd.IntN(odds) > 0 {
		return false
	}
	a.steps[step]++
	return true
}

func (a *aborts) everyStep() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, step := range []string{"after-produce", "before-ticks", "before-commit"} {
		if a.steps[step] == 0 {
			return fmt.Errorf("%s: no abort was forced %s: %v", a.stage, step, a.steps)
		}
	}
	return nil
}
