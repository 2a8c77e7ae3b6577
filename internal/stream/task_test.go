package stream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

type toyInput struct{ key, value []byte }

// toyLog makes the log of one partition that has all key groups: two
// collectors, one of which sends its tail again after a crash, with ticks
// every tickEvery records. The same seed gives the same records whatever
// tickEvery is.
func toyLog(seed uint64, n, tickEvery int) []toyInput {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var log []toyInput
	boots, sequences := [2]int64{1, 1}, [2]int64{}
	now := int64(1_000_000)
	for i := range n {
		now += rnd.Int64N(120)
		c := rnd.IntN(2)
		id := fmt.Sprint("collector-", c)
		sequences[c]++
		key := fmt.Appendf(nil, "host-%d", rnd.IntN(20))
		value := toyRecord(id, boots[c], sequences[c], now)
		log = append(log, toyInput{key, value})
		if rnd.IntN(50) == 0 {
			log = append(log, toyInput{key, value}) // sent again after a crash
			boots[c]++
			sequences[c] = 0
		}
		if i%tickEvery == 0 {
			tick := schemas.Tick{}
			for j := range 2 {
				tick.Upstreams = append(tick.Upstreams, schemas.Upstream{Id: fmt.Sprint("collector-", j), Time: now})
			}
			log = append(log, toyInput{nil, tick.Append(nil)})
		}
	}
	end := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "collector-0", Time: now + 10_000, Left: true}, {Id: "collector-1", Time: now + 10_000, Left: true}}}
	return append(log, toyInput{nil, end.Append(nil)})
}

func newToyTask(p Processor) *task {
	return newTask("toy", "in", 0, 1, p, 30_000, newMetrics(discard{}, "toy").task(0))
}

// outputs drains what is due of a task.
func outputs(t *task) (out []string) {
	for _, o := range t.due(t.position) {
		out = append(out, o.Topic+" "+string(o.Value))
	}
	t.committed(t.position)
	return out
}

func runAll(t *testing.T, log []toyInput) []string {
	t.Helper()
	return runProcessor(t, newToy(), log)
}

func runProcessor(t *testing.T, p Processor, log []toyInput) []string {
	t.Helper()
	task := newToyTask(p)
	var out []string
	for i, in := range log {
		if err := task.apply(int64(i), in.key, in.value); err != nil {
			t.Fatal(err)
		}
		out = append(out, outputs(task)...)
	}
	return out
}

func TestRepeatsAreDroppedAndCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	task := newTask("toy", "in", 0, 1, newToy(), 30_000, newMetrics(reg, "toy").task(0))
	for i, v := range [][]byte{
		toyRecord("c", 1, 1, 1000), toyRecord("c", 1, 2, 1000),
		toyRecord("c", 1, 2, 1000), toyRecord("c", 1, 1, 1000), // sent again
		toyRecord("c", 1, 5, 1000),                           // 3 and 4 were lost
		toyRecord("c", 2, 1, 1000),                           // started again
		toyRecord("c", 1, 6, 1000),                           // a late one of the boot before
		toyRecord("", 0, 0, 1000), toyRecord("", 0, 0, 1000), // an upstream that cannot repeat itself
	} {
		if err := task.apply(int64(i), []byte("k"), v); err != nil {
			t.Fatal(err)
		}
	}
	task.committed(task.position)
	want := map[string]float64{"weir_stream_records_total": 6, "weir_stream_repeated_records_total": 3, "weir_stream_missing_records_total": 2}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if w, ok := want[f.GetName()]; ok {
			if got := f.GetMetric()[0].GetCounter().GetValue(); got != w {
				t.Errorf("%s (-got, +want)\n- %v\n+ %v", f.GetName(), got, w)
			}
			delete(want, f.GetName())
		}
	}
	if len(want) > 0 {
		t.Errorf("not counted: %v", want)
	}
}

// Whatever a record does to a processor costs that record.
func TestPoison(t *testing.T) {
	task := newToyTask(newToy())
	for i, in := range []toyInput{
		{[]byte("a"), []byte{200}},
		{[]byte("panic"), toyRecord("c", 1, 1, 1000)},
		{[]byte("panic in decode"), toyRecord("c", 1, 2, 1000)},
		{nil, []byte("\xc3\x01\x7b\x49\x96\x1d\x0d\xc8\x5c\xdc\xff\xff\xff")},
		{[]byte("a"), toyRecord("c", 1, 3, 1000)},
		{nil, (&schemas.Tick{Upstreams: []schemas.Upstream{{Id: "c", Time: 9000}}}).Append(nil)},
	} {
		if err := task.apply(int64(i), in.key, in.value); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, o := range task.due(task.position) {
		line := o.Topic
		for _, h := range o.Headers {
			line += " " + h.Key + "=" + string(h.Value)
		}
		got = append(got, line)
	}
	want := []string{
		"deadletter stage=toy reason=not a toy record source=in-0-0 key=a",
		"deadletter stage=toy reason=panic: as asked source=in-0-1 key=panic",
		"deadletter stage=toy reason=panic: as asked source=in-0-2 key=panic in decode",
		"deadletter stage=toy reason=tick:",
		"alerts",
	}
	if len(got) != len(want) {
		t.Fatalf("outputs (-got, +want)\n- %q\n+ %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("output %d (-got, +want)\n- %s\n+ %s", i, got[i], want[i])
		}
	}
}

// A timer that cannot fire costs its key group's state, not the stage: it
// would come again after every restart.
func TestPoisonTimer(t *testing.T) {
	task := newToyTask(newToy())
	for i, in := range []toyInput{
		{[]byte("panic in advance"), toyRecord("c", 1, 1, 1000)},
		{[]byte("a"), toyRecord("c", 1, 2, 1000)},
		{nil, (&schemas.Tick{Upstreams: []schemas.Upstream{{Id: "c", Time: 9000}}}).Append(nil)},
		{[]byte("panic in advance"), toyRecord("c", 1, 3, 9000)},
	} {
		if err := task.apply(int64(i), in.key, in.value); err != nil {
			t.Fatal(err)
		}
	}
	var topics []string
	for _, o := range task.due(task.position) {
		topics = append(topics, o.Topic)
	}
	slices.Sort(topics)
	if want := []string{kafka.TopicAlerts, kafka.TopicDeadLetter}; !slices.Equal(topics, want) {
		t.Errorf("outputs (-got, +want)\n- %q\n+ %q", topics, want)
	}
}

func TestOutputsDoNotDependOnTickSpacing(t *testing.T) {
	for seed := range uint64(20) {
		// Records never come late here, so even the early outputs agree.
		fine := runAll(t, toyLog(seed, 800, 1))
		for _, every := range []int{2, 7, 100, 10_000} {
			coarse := runAll(t, toyLog(seed, 800, every))
			a, b := slices.Sorted(slices.Values(fine)), slices.Sorted(slices.Values(coarse))
			if !slices.Equal(a, b) {
				t.Fatalf("seed %d, a tick every %d records: outputs differ (-got, +want)\n- %q\n+ %q", seed, every, b, a)
			}
		}
	}
}

// TestRecovery stops a task after every record in turn, recovers another from
// snapshots taken at different offsets for each group, and compares all that
// is put out from there, and the state at the end.
func TestRecovery(t *testing.T) {
	t.Run("in order", func(t *testing.T) { testRecovery(t, toyLog(3, 300, 5), newToy) })
	t.Run("timers in the past", func(t *testing.T) {
		testRecovery(t, withLate(toyLog(5, 200, 5)), func() Processor { return &toy{keepLate: true} })
	})
}

// withLate puts a record of long ago behind every other tick.
func withLate(log []toyInput) (out []toyInput) {
	ticks := 0
	for _, in := range log {
		out = append(out, in)
		if schemas.IsTick(in.value) {
			if ticks++; ticks%2 == 0 {
				out = append(out, toyInput{fmt.Appendf(nil, "late-%d", ticks%7), toyRecord("", 0, 0, 1_000_000)})
			}
		}
	}
	return out
}

func testRecovery(t *testing.T, log []toyInput, newToy func() Processor) {
	want := runProcessor(t, newToy(), log)
	for stop := 1; stop < len(log); stop += 3 {
		rnd := rand.New(rand.NewPCG(uint64(stop), 2))
		var stored snapshots
		save := func(rs []stateRecord) {
			for _, r := range rs {
				if err := stored.add(0, r.key, r.value); err != nil {
					t.Fatal(err)
				}
			}
		}
		p := newToy()
		first := newToyTask(p)
		first.remember()
		var got []string
		for i, in := range log[:stop] {
			if err := first.apply(int64(i), in.key, in.value); err != nil {
				t.Fatal(err)
			}
			got = append(got, outputs(first)...)
			if rnd.IntN(4) == 0 { // a commit with some snapshots
				for i, o := range first.firstDirty {
					if o != clean && rnd.IntN(3) == 0 {
						save(appendSnapshot(nil, first.group(i), first.position, p.AppendState(nil, first.group(i))))
						first.firstDirty[i] = clean
					}
				}
				first.remember()
			}
		}
		record := taskRecord{TopicID: "id", Partitions: 1, Committed: first.position, Replay: first.replayFrom(first.position)}
		save([]stateRecord{{[]byte(taskKey), record.marshal()}})

		q := newToy()
		second := newToyTask(q)
		if err := second.load(&stored); err != nil {
			t.Fatal(err)
		}
		second.ctx.emit = nil
		for i := second.position; i < int64(stop); i++ {
			if err := second.apply(i, log[i].key, log[i].value); err != nil {
				t.Fatal(err)
			}
		}
		second.caughtUp(int64(stop))
		second.ctx.emit = second.emit
		if n := len(second.pending); n != 0 {
			t.Fatalf("stop %d: %d outputs while recovering", stop, n)
		}
		for g := range kafka.Groups {
			if a, b := p.AppendState(nil, g), q.AppendState(nil, g); string(a) != string(b) {
				t.Fatalf("stop %d: state of key group %d (-got, +want)\n- %x\n+ %x", stop, g, b, a)
			}
		}
		for i := stop; i < len(log); i++ {
			if err := second.apply(int64(i), log[i].key, log[i].value); err != nil {
				t.Fatal(err)
			}
			got = append(got, outputs(second)...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("stop %d: outputs differ (-got, +want)\n- %q\n+ %q", stop, got, want)
		}
	}
}

// TestAborts aborts transactions at random, rewinds the input as the group
// does, and compares what was committed.
func TestAborts(t *testing.T) {
	log := toyLog(4, 500, 5)
	want := runAll(t, log)
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		task := newToyTask(newToy())
		var committed []string
		base := int64(0)
		for base < int64(len(log)) {
			var sent []string
			end := min(base+1+rnd.Int64N(40), int64(len(log)))
			for o := base; o < end; o++ {
				if err := task.apply(o, log[o].key, log[o].value); err != nil {
					t.Fatal(err)
				}
				for _, out := range task.due(o + 1) {
					sent = append(sent, out.Topic+" "+string(out.Value))
				}
			}
			if rnd.IntN(3) == 0 {
				task.aborted()
				continue
			}
			committed = append(committed, sent...)
			task.committed(end)
			base = end
		}
		if !slices.Equal(committed, want) {
			t.Fatalf("seed %d: committed outputs differ (-got, +want)\n- %q\n+ %q", seed, committed, want)
		}
	}
}

// An output below what ticks have promised downstream stops the stage.
func TestOutputBelowTheWatermark(t *testing.T) {
	task := newToyTask(&liar{})
	tick := (&schemas.Tick{Upstreams: []schemas.Upstream{{Id: "c", Time: 9000}}}).Append(nil)
	if err := task.apply(0, nil, tick); err != nil {
		t.Fatal(err)
	}
	if err := task.apply(1, []byte("k"), toyRecord("c", 1, 1, 9500)); err == nil || !strings.Contains(err.Error(), "below the watermark") {
		t.Errorf("error %v, want one about the watermark", err)
	}
}

// liar puts out records of the past.
type liar struct{ toy }

func (l *liar) Apply(c *Context) (bool, error) {
	c.Emit(Output{Topic: kafka.TopicEnriched, Key: []byte("k"), StreamTime: 8000})
	return false, nil
}

func TestWatermark(t *testing.T) {
	type up = schemas.Upstream
	for _, tc := range []struct {
		name  string
		ticks [][]up
		want  []int64
	}{
		{"one collector", [][]up{{{Id: "a", Time: 10}}, {{Id: "a", Time: 20}}, {{Id: "a", Time: 15}}}, []int64{10, 20, 20}},
		{"the slower of two counts", [][]up{{{Id: "a", Time: 10}, {Id: "b", Time: 5}}, {{Id: "a", Time: 90}}, {{Id: "b", Time: 50}}}, []int64{5, 5, 50}},
		{"one that stalls is left out and comes back when it has caught up",
			[][]up{{{Id: "a", Time: 10}, {Id: "b", Time: 10}}, {{Id: "a", Time: 111}}, {{Id: "b", Time: 100}}, {{Id: "b", Time: 111}}, {{Id: "a", Time: 150}}},
			[]int64{10, 111, 111, 111, 111}},
		{"one that leaves is not waited for", [][]up{{{Id: "a", Time: 10}, {Id: "b", Time: 10}}, {{Id: "b", Time: 20, Left: true}}, {{Id: "a", Time: 60}}}, []int64{10, 10, 60}},
		{"one that has left does not lead: the last one is never left out",
			[][]up{{{Id: "a", Time: 10}, {Id: "b", Time: 10}}, {{Id: "b", Time: 500, Left: true}}, {{Id: "a", Time: 60}}}, []int64{10, 10, 60}},
		{"when all have left the last word counts", [][]up{{{Id: "a", Time: 10, Left: true}}}, []int64{10}},
		{"tasks of a stage that were not heard are waited for", [][]up{{{Id: "s/0", Of: 2, Time: 10}}, {{Id: "s/0", Of: 2, Time: 50}}, {{Id: "s/1", Of: 2, Time: 40}}}, []int64{noWatermark, noWatermark, 40}},
		{"but not for ever", [][]up{{{Id: "s/0", Of: 2, Time: 10}}, {{Id: "s/0", Of: 2, Time: 111}}}, []int64{noWatermark, 111}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWatermarks(100)
			for i, ups := range tc.ticks {
				w.apply(&schemas.Tick{Upstreams: ups})
				if w.Current != tc.want[i] {
					t.Errorf("after tick %d (-got, +want)\n- %d\n+ %d", i, w.Current, tc.want[i])
				}
			}
		})
	}
}

func TestTimersAreInOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	h := newTimers(64)
	at := make([]int64, 64)
	for i := range at {
		at[i] = Never
	}
	for range 10_000 {
		i := rnd.IntN(64)
		at[i] = rnd.Int64N(50)
		if rnd.IntN(4) == 0 {
			at[i] = Never
		}
		h.set(i, at[i])
		want := 0
		for j := range at {
			if at[j] < at[want] {
				want = j
			}
		}
		if got, when := h.first(); got != want || when != at[want] {
			t.Fatalf("first timer (-got, +want)\n- %d at %d\n+ %d at %d", got, when, want, at[want])
		}
	}
}

func FuzzSnapshots(f *testing.F) {
	for _, r := range appendSnapshot(nil, 3, 77, make([]byte, chunkSize+1)) {
		f.Add(r.key, r.value[:min(40, len(r.value))])
	}
	f.Add([]byte(taskKey), (&taskRecord{}).marshal())
	f.Fuzz(func(_ *testing.T, key, value []byte) {
		var s snapshots
		if s.add(0, key, value) != nil {
			return
		}
		for g, snap := range s.groups {
			_, _ = snap.state(g)
		}
	})
}

func TestSnapshotsInChunks(t *testing.T) {
	big := make([]byte, 2*chunkSize+5)
	for i := range big {
		big[i] = byte(i * 7)
	}
	var s snapshots
	for _, step := range []struct {
		offset int64
		state  []byte
	}{{10, big}, {20, big[:chunkSize+1]}, {30, nil}, {40, big[:3]}} {
		for _, r := range appendSnapshot(nil, 5, step.offset, step.state) {
			if err := s.add(0, r.key, r.value); err != nil {
				t.Fatal(err)
			}
		}
		g := s.groups[5]
		got, err := g.state(5)
		if err != nil || string(got) != string(step.state) || g.offset != step.offset {
			t.Errorf("snapshot at %d: %d bytes at %d, %v; want %d bytes", step.offset, len(got), g.offset, err, len(step.state))
		}
	}
}
