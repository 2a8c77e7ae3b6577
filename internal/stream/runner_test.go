package stream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/testbed"
	"github.com/weir-flow/weir/schemas"
)

// The tests of exactly-once run on real Kafka. A child process of the test
// binary is what they kill.
const (
	childBrokers  = "WEIR_STREAM_CHILD_BROKERS"
	childPrefix   = "WEIR_STREAM_CHILD_PREFIX"
	childInstance = "WEIR_STREAM_CHILD_INSTANCE"
)

func TestMain(m *testing.M) {
	if os.Getenv(childBrokers) != "" {
		child()
		return
	}
	code := m.Run()
	if err := testbed.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// child runs the toy stage until its standard input ends.
func child() {
	r, err := toyRunner(strings.Split(os.Getenv(childBrokers), ","), os.Getenv(childPrefix), os.Getenv(childInstance), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	err = r.Start(context.Background(), func(err error) { fmt.Fprintln(os.Stderr, "FAILED", err); os.Exit(1) })
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		panic(err)
	}
}

const toyPartitions = 4

func toyRunner(brokers []string, prefix, instance string, log *slog.Logger) (*Runner, error) {
	cfg := DefaultConfig()
	cfg.CommitInterval = 20 * time.Millisecond
	cfg.SnapshotInterval = 50 * time.Millisecond
	cfg.MaxPollRecords = 200
	stage := Stage{
		Name: "toy", Input: kafka.TopicRaw, Ticks: []string{kafka.TopicEnriched}, Outputs: []string{kafka.TopicAlerts},
		MaxStall: 30 * time.Second, New: newToy,
	}
	return NewRunner(stage, cfg, Dependencies{
		Log: log, Registry: prometheus.NewRegistry(), Prefix: prefix, Instance: instance,
		Options: func(bool) []kgo.Opt {
			return []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kafka.Partitioner())}
		},
	})
}

// toyBed is the topics of one test.
type toyBed struct {
	t       *testing.T
	brokers []string
	prefix  string
	cl      *kgo.Client
	// before, by partition: alerts below are those of an earlier life.
	before map[int32]int64
	// from is when the next feed begins, ms of stream time.
	from int64
}

func newToyBed(t *testing.T) *toyBed {
	b := &toyBed{t: t, from: 1_000_000, brokers: testbed.SharedKafka(t), prefix: testbed.Prefix(t)}
	b.connect()
	cl := b.cl
	compact := map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}
	for topic, cfg := range map[string]map[string]*string{
		kafka.TopicRaw: nil, kafka.TopicEnriched: nil, kafka.TopicAlerts: nil, kafka.TopicDeadLetter: nil, kafka.StateTopic("toy"): compact,
	} {
		if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), toyPartitions, 1, cfg, b.prefix+topic); err != nil {
			t.Fatalf("topic %s: %v", topic, err)
		}
	}
	return b
}

func (b *toyBed) connect() {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.RecordPartitioner(kafka.Partitioner()), kgo.ProducerLinger(0))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	b.cl = cl
}

// feed produces a log of n records with ticks, in bursts: between two it
// calls pause. The last tick closes every window.
func (b *toyBed) feed(seed uint64, n int, pause func(i int)) {
	b.t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 7))
	now := b.from
	var sequence [toyPartitions]int64
	send := func(records ...*kgo.Record) {
		if err := b.cl.ProduceSync(b.t.Context(), records...).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
	}
	tick := func(at int64, left bool) (rs []*kgo.Record) {
		v := (&schemas.Tick{Upstreams: []schemas.Upstream{{Id: "collector", Time: at, Left: left}}}).Append(nil)
		for p := range int32(toyPartitions) {
			rs = append(rs, &kgo.Record{Topic: b.prefix + kafka.TopicRaw, Partition: p, Value: v})
		}
		return rs
	}
	for i := 0; i < n; {
		var burst []*kgo.Record
		for range 50 {
			now += rnd.Int64N(40)
			key := fmt.Appendf(nil, "host-%d", rnd.IntN(60))
			p := kafka.PartitionOf(kafka.KeyGroup(key), toyPartitions)
			sequence[p]++
			burst = append(burst, &kgo.Record{Topic: b.prefix + kafka.TopicRaw, Key: key, Value: toyRecord("collector", 1, sequence[p], now)})
			i++
		}
		send(append(burst, tick(now, false)...)...)
		pause(i)
	}
	send(tick(now+toyWindow, true)...)
}

// dump reads all committed records of a topic, in the order of partition and
// offset.
func (b *toyBed) dump(topic string) (rs []*kgo.Record) {
	b.t.Helper()
	ends, err := kadm.NewClient(b.cl).ListCommittedOffsets(b.t.Context(), b.prefix+topic)
	if err != nil {
		b.t.Fatal(err)
	}
	s := &session{r: &Runner{deps: Dependencies{Options: func(bool) []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(b.brokers...)} }}}}
	for p := range int32(toyPartitions) {
		end, _ := ends.Lookup(b.prefix+topic, p)
		if end.Offset == 0 {
			continue
		}
		err := s.read(b.t.Context(), b.prefix+topic, p, 0, end.Offset, func(r *kgo.Record) error {
			rs = append(rs, r)
			return nil
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return rs
}

// expected is what a fresh task for each partition puts out for the log that
// Kafka retains.
func (b *toyBed) expected() (out []string) {
	b.t.Helper()
	tasks := make([]*task, toyPartitions)
	for p := range tasks {
		tasks[p] = newTask("toy", "in", int32(p), toyPartitions, newToy(), 30_000, newMetrics(discard{}, "toy").task(0))
	}
	for _, r := range b.dump(kafka.TopicRaw) {
		if err := tasks[r.Partition].apply(r.Offset, r.Key, r.Value); err != nil {
			b.t.Fatal(err)
		}
	}
	for _, t := range tasks {
		out = append(out, outputs(t)...)
	}
	slices.Sort(out)
	return out
}

// settle waits until the outputs are as many as expected, and compares them.
func (b *toyBed) compare() {
	b.t.Helper()
	want := b.expected()
	var got []string
	for deadline := time.Now().Add(90 * time.Second); ; {
		got = got[:0]
		for _, r := range b.dump(kafka.TopicAlerts) {
			if r.Offset >= b.before[r.Partition] {
				got = append(got, kafka.TopicAlerts+" "+string(r.Value))
			}
		}
		if len(got) >= len(want) || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Millisecond) // a poll of the outside: nothing signals a commit
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Fatalf("%d outputs, want %d; first difference (-got, +want)\n%s", len(got), len(want), firstDifference(got, want))
	}
	for _, r := range b.dump(kafka.TopicDeadLetter) {
		b.t.Errorf("in the dead letter: %s %v", r.Value, r.Headers)
	}
	b.checkTicks()
}

// checkTicks makes sure that every partition downstream got ticks that never
// fall, and that the last of them name every task.
func (b *toyBed) checkTicks() {
	b.t.Helper()
	last := map[string]int64{}
	for _, r := range b.dump(kafka.TopicEnriched) {
		var tick schemas.Tick
		if err := tick.Unmarshal(r.Value); err != nil {
			b.t.Fatal(err)
		}
		for _, u := range tick.Upstreams {
			id := fmt.Sprint(r.Partition, " ", u.Id)
			if u.Time < last[id] {
				b.t.Errorf("tick of %s fell from %d to %d", id, last[id], u.Time)
			}
			last[id] = u.Time
		}
	}
	if len(last) != toyPartitions*toyPartitions {
		b.t.Errorf("%d pairs of task and partition ticked, want %d", len(last), toyPartitions*toyPartitions)
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return "+ " + want[i]
		case i >= len(want):
			return "- " + got[i]
		case got[i] != want[i]:
			return "- " + got[i] + "\n+ " + want[i]
		}
	}
	return "none"
}

// TestForcedAborts aborts transactions at every step, again and again.
func TestForcedAborts(t *testing.T) {
	b := newToyBed(t)
	r, err := toyRunner(b.brokers, b.prefix, "one", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string]int{}
	rnd := rand.New(rand.NewPCG(11, 11))
	r.deps.ForceAbort = func(step string) bool {
		// There are many steps of the first kind in a transaction.
		odds := map[string]int{"after-produce": 20, "before-ticks": 3, "before-commit": 3}[step]
		// The first of each kind for sure: a slow machine commits seldom.
		if steps[step] > 0 && rnd.IntN(odds) > 0 {
			return false
		}
		steps[step]++
		return true
	}
	if err := r.Start(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	b.feed(1, 6000, func(int) {})
	b.compare()
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What was done again counts once.
	reg, ok := r.deps.Registry.(*prometheus.Registry)
	if !ok {
		t.Fatal("no registry")
	}
	want := map[string]float64{"weir_stream_records_total": 6000, "weir_stream_outputs_total": float64(len(b.expected()))}
	for name, want := range want {
		if got := sum(t, reg, name); got != want {
			t.Errorf("%s (-got, +want)\n- %v\n+ %v", name, got, want)
		}
	}
	for _, step := range []string{"after-produce", "before-ticks", "before-commit"} {
		if steps[step] == 0 {
			t.Errorf("no abort was forced %s: %v", step, steps)
		}
	}
}

// sum adds up the samples of a counter.
func sum(t *testing.T, reg *prometheus.Registry, name string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// A restored task whose partition the group has taken away meanwhile is not
// put to work: that would undo the pause of the one that follows.
func TestOutdatedTaskIsNotAdopted(t *testing.T) {
	for _, e := range []event{{revoked: []int32{2}}, {renewed: []int32{2}}, {assigned: map[int32]int64{2: 7}}, {lost: true}} {
		s := &session{tasks: map[int32]*running{}, events: []event{e}}
		s.adopt(&task{partition: 2})
		if len(s.tasks) > 0 {
			t.Errorf("adopted in spite of %+v", e)
		}
	}
}

// TestRebalances lets runners come and go while records flow.
func TestRebalances(t *testing.T) {
	b := newToyBed(t)
	var runners []*Runner
	start := func(instance string) {
		r, err := toyRunner(b.brokers, b.prefix, instance, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context(), func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		runners = append(runners, r)
	}
	stop := func() {
		if err := runners[0].Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		runners = runners[1:]
	}
	start("") // without a stable name a member leaves when it stops
	var waited atomic.Int32
	b.feed(2, 9000, func(i int) {
		switch i {
		case 1500, 3000:
			start("")
		case 4500:
			stop()
		case 6000:
			start("")
			stop()
		}
		if i%1500 == 0 { // let the group settle, so that each change happens in mid-stream
			waited.Add(1)
			time.Sleep(1500 * time.Millisecond)
		}
	})
	b.compare()
	for len(runners) > 0 {
		stop()
	}
}

// TestKill kills the process again and again while records flow, and starts
// it under the same name.
func TestKill(t *testing.T) {
	b := newToyBed(t)
	rnd := rand.New(rand.NewPCG(5, 5))
	var mu sync.Mutex
	var said []string
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			t.Logf("the children said last:\n%s", strings.Join(said[max(0, len(said)-40):], "\n"))
		}
	})
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childBrokers+"="+strings.Join(b.brokers, ","), childPrefix+"="+b.prefix, childInstance+"=one")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stdin.Close() })
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first task that is ready shows that the member works.
		ready := make(chan struct{})
		go func() {
			lines := bufio.NewScanner(stderr)
			seen := false
			for lines.Scan() {
				mu.Lock()
				said = append(said, lines.Text())
				mu.Unlock()
				if !seen && strings.Contains(lines.Text(), "task ready") {
					seen = true
					close(ready)
				}
			}
		}()
		select {
		case <-ready:
		case <-time.After(time.Minute):
			t.Fatal("the child did not get to work within a minute")
		}
		return cmd
	}
	cmd := start()
	kill := func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	kills := 0
	b.feed(3, 9000, func(i int) {
		time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond) // so that kills fall at any place
		if i%1500 == 0 {
			kill()
			kills++
			cmd = start()
		}
	})
	b.compare()
	kill()
	if kills < 5 {
		t.Errorf("%d kills, want at least 5", kills)
	}
}

// What a stage is told to start anew without must stay gone: snapshots of the
// life before may not come back, and its outputs are those of a fresh task.
func TestRestartAfterLoss(t *testing.T) {
	b := newToyBed(t)
	start := func() *Runner {
		r, err := toyRunner(b.brokers, b.prefix, "one", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.OnLost = OnLostRestart
		if err := r.Start(t.Context(), func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		return r
	}
	stop := func(r *Runner) {
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r := start()
	b.feed(6, 3000, func(int) {})
	b.compare()
	stop(r)
	if err := recreate(t.Context(), kadm.NewClient(b.cl), b.prefix+kafka.TopicRaw); err != nil {
		t.Fatal(err)
	}
	b.connect() // the client knows the topic that was
	b.before, b.from = map[int32]int64{}, 10_000_000
	for _, a := range b.dump(kafka.TopicAlerts) {
		b.before[a.Partition] = a.Offset + 1
	}
	r = start()
	b.feed(7, 1000, func(i int) {
		if i%300 == 0 {
			time.Sleep(time.Second) // some of it is committed, and windows are open
			stop(r)
			r = start()
		}
	})
	b.compare()
	stop(r)
}

// A topic that was deleted and made anew, or offsets that are gone, stop the
// stage with a sentence that says so.
func TestLostStateIsSaid(t *testing.T) {
	for _, tc := range []struct {
		name string
		lose func(ctx context.Context, a *kadm.Client, prefix string) error
		want string
	}{
		{"offsets gone", func(ctx context.Context, a *kadm.Client, prefix string) error {
			_, err := a.DeleteGroups(ctx, prefix+"toy")
			return err
		}, "the group's offset is gone"},
		{"state gone", func(ctx context.Context, a *kadm.Client, prefix string) error {
			return recreate(ctx, a, prefix+kafka.StateTopic("toy"))
		}, "holds no state"},
		{"input made anew", func(ctx context.Context, a *kadm.Client, prefix string) error {
			return recreate(ctx, a, prefix+kafka.TopicRaw)
		}, "deleted and made anew"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel() // they wait for a transaction that will not come
			b := newToyBed(t)
			run := func() (failed chan error, stop func()) {
				r, err := toyRunner(b.brokers, b.prefix, "", slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				failed = make(chan error, 1)
				if err := r.Start(t.Context(), func(err error) { failed <- err }); err != nil {
					t.Fatal(err)
				}
				return failed, func() {
					if err := r.Stop(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			_, stop := run()
			b.feed(4, 500, func(int) {})
			b.compare()
			stop()
			if err := tc.lose(t.Context(), kadm.NewClient(b.cl), b.prefix); err != nil {
				t.Fatal(err)
			}
			failed, stop := run()
			defer stop()
			select {
			case err := <-failed:
				if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "on_lost") {
					t.Errorf("error (-got, +want)\n- %v\n+ %s", err, tc.want)
				}
			case <-time.After(time.Minute):
				t.Error("the stage went on")
			}
		})
	}
}

func recreate(ctx context.Context, a *kadm.Client, topic string) error {
	if _, err := a.DeleteTopic(ctx, topic); err != nil {
		return err
	}
	for {
		_, err := a.CreateTopic(ctx, toyPartitions, 1, nil, topic)
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "ALREADY_EXISTS") {
			return err
		}
		time.Sleep(50 * time.Millisecond) // deletion is not done at once
	}
}
