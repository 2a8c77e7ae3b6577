package stream

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

// session is one membership of the group. All of it but the callbacks runs in
// one goroutine; the callbacks hand over events.
type session struct {
	r          *Runner
	gts        *kgo.GroupTransactSession
	admin      *kadm.Client
	joined     chan struct{} // closed when gts and admin are there: callbacks may come before
	input      string        // topics with prefix
	state      string
	topicID    string
	partitions int
	tickTo     map[string]int // topic with prefix -> partitions
	outputs    map[string]*output
	promise    func(*kgo.Record, error) // produced, bound once

	tasks     map[int32]*running
	restoring map[int32]context.CancelFunc
	restored  chan restoredTask
	slots     chan struct{} // bounds how many tasks are restored at a time

	mu     sync.Mutex
	events []event

	inTxn     bool
	begun     time.Time // of the open transaction
	mustAbort bool      // something in the open transaction may not be committed

	failedMu sync.Mutex
	failed   error // of producing, in the open transaction
}

// running is a task at work.
type running struct {
	*task
	// base is the offset that the group has committed, consumed the offset
	// after what the open transaction has polled. Where consumed is below the
	// task's position, the input was rewound by an abort.
	base, consumed int64
	touched        bool  // by the open transaction
	ticked         int64 // the watermark that downstream was last told
	budget         float64
	saved          time.Time   // when budget was last filled up
	savedAt        []time.Time // by index: last snapshot
	batch          []*kgo.Record
}

// synced reports that everything applied has been polled in this transaction
// or before: state and offsets match, so snapshots and ticks may be written.
func (t *running) synced() bool { return t.consumed == t.position }

type restoredTask struct {
	partition int32
	task      *task
	err       error
	ctx       context.Context
}

// event is something the group told us.
type event struct {
	assigned map[int32]int64 // partition -> committed offset, negative: none
	renewed  []int32         // about to be assigned: what we knew of them is void
	revoked  []int32
	lost     bool
}

// names reports whether the event is about a partition.
func (e *event) names(p int32) bool {
	_, assigned := e.assigned[p]
	return e.lost || assigned || slices.Contains(e.renewed, p) || slices.Contains(e.revoked, p)
}

// session joins the group and works until the runner is stopped (nil) or
// something breaks.
func (r *Runner) session(ctx context.Context) error {
	s := &session{
		r: r, tasks: map[int32]*running{}, restoring: map[int32]context.CancelFunc{},
		joined: make(chan struct{}), restored: make(chan restoredTask), slots: make(chan struct{}, 4), tickTo: map[string]int{}, outputs: map[string]*output{},
		input: r.deps.Prefix + r.stage.Input, state: r.deps.Prefix + kafka.StateTopic(r.stage.Name),
	}
	s.promise = s.produced
	if err := s.describe(ctx); err != nil {
		return err
	}
	if err := s.join(ctx); err != nil {
		return err
	}
	// A static member does not leave: its partitions wait for its restart.
	defer s.gts.Close()
	ctx, cancel := context.WithCancel(ctx)
	var restores sync.WaitGroup
	defer restores.Wait()
	defer cancel()
	return s.loop(ctx, &restores)
}

// describe looks at the topics of the stage: they must be there, and fit.
func (s *session) describe(ctx context.Context) error {
	cl, err := kgo.NewClient(s.r.deps.Options(false)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stage := s.r.stage
	want := []string{s.input, s.state, s.r.deps.Prefix + kafka.TopicDeadLetter}
	for _, t := range append(slices.Clone(stage.Ticks), stage.Outputs...) {
		want = append(want, s.r.deps.Prefix+t)
	}
	details, err := kadm.NewClient(cl).ListTopics(ctx, want...)
	if err != nil {
		return fmt.Errorf("Kafka does not answer (check kafka.brokers): %w", err)
	}
	for _, name := range want {
		d := details[name]
		if d.Err != nil {
			return fmt.Errorf("topic %s: %w (weir setup makes the topics)", name, d.Err)
		}
	}
	s.partitions = len(details[s.input].Partitions)
	id := details[s.input].ID
	s.topicID = hex.EncodeToString(id[:])
	if n := s.partitions; n&(n-1) != 0 || n > kafka.Groups {
		return &brokenStageError{fmt.Errorf("topic %s has %d partitions: it must be a power of two up to %d", s.input, n, kafka.Groups)}
	}
	if n := len(details[s.state].Partitions); n != s.partitions {
		return &brokenStageError{fmt.Errorf("topic %s has %d partitions, %s has %d: they must be equal", s.state, n, s.input, s.partitions)}
	}
	for _, t := range stage.Ticks {
		s.tickTo[s.r.deps.Prefix+t] = len(details[s.r.deps.Prefix+t].Partitions)
	}
	return nil
}

// join makes the group's client. Transaction and session timeouts bound what
// a kill costs: nobody waits longer for a dead member or its transaction.
func (s *session) join(ctx context.Context) error {
	d := s.r.deps
	group := d.Prefix + s.r.stage.Name
	opts := append(d.Options(true),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(s.input),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(10*time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.TransactionTimeout(10*time.Second),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.AdjustFetchOffsetsFn(s.onOffsets),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			s.tell(event{revoked: m[s.input]})
		}),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { s.tell(event{lost: true}) }),
	)
	id := d.Instance
	if id != "" {
		opts = append(opts, kgo.InstanceID(group+"-"+id))
	} else {
		id = s.r.id
	}
	opts = append(opts, kgo.TransactionalID(group+"-"+id))
	if err := kgo.ValidateOpts(opts...); err != nil {
		return &brokenStageError{err}
	}
	gts, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return err
	}
	// One that was killed may have left a transaction open, and the group does
	// not tell its offsets before that has ended. Taking over the transactional
	// id ends it now; the first produce would, but waits for the offsets.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, _, err := gts.Client().ProducerID(ctx); err != nil {
		gts.Close()
		return fmt.Errorf("take over the transactional id: %w", err)
	}
	s.gts = gts
	s.admin = kadm.NewClient(gts.Client())
	close(s.joined)
	return nil
}

func (s *session) tell(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// onAssigned keeps new partitions from being fetched until they have their
// state. It runs before their offsets are known, so nothing slips through. Of
// several revokes in one transaction the client tells us the first alone, so
// what we hold of these partitions may be a life that has ended.
func (s *session) onAssigned(_ context.Context, cl *kgo.Client, m map[string][]int32) {
	s.tell(event{renewed: m[s.input]})
	cl.PauseFetchPartitions(m)
}

// onOffsets learns where the group stands. The broker has answered only after
// open transactions on these offsets had ended. A partition that was never
// committed gets its first offset as a number: the client rewinds after an
// abort only to offsets that it knows.
func (s *session) onOffsets(ctx context.Context, m map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	select {
	case <-s.joined:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e := event{assigned: map[int32]int64{}}
	for p, o := range m[s.input] {
		at := o.EpochOffset().Offset
		e.assigned[p] = at
		if at < 0 {
			start, err := s.logStart(ctx, p)
			if err != nil {
				return nil, err
			}
			m[s.input][p] = kgo.NoResetOffset().At(start)
		}
	}
	s.tell(e)
	return m, nil
}

func (s *session) loop(ctx context.Context, restores *sync.WaitGroup) error {
	for {
		if err := s.settleEvents(ctx, restores); err != nil {
			return err
		}
		stopping := false
		select {
		case <-s.r.stop:
			stopping = true
		default:
		}
		if stopping {
			return s.finish(ctx)
		}
		fetches := s.poll(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.apply(ctx, fetches); err != nil {
			return err
		}
		if s.inTxn && time.Since(s.begun) >= s.r.cfg.CommitInterval {
			if err := s.end(ctx, false); err != nil {
				return err
			}
		}
	}
}

// poll waits for input, but no longer than the next commit may take, nor so
// long that a stop or a restored task would wait.
func (s *session) poll(ctx context.Context) kgo.Fetches {
	wait := 50 * time.Millisecond
	if s.inTxn {
		wait = min(wait, max(time.Millisecond, s.r.cfg.CommitInterval-time.Since(s.begun)))
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return s.gts.PollRecords(ctx, s.r.cfg.MaxPollRecords)
}

// settleEvents takes in what the group said and which tasks are ready.
func (s *session) settleEvents(ctx context.Context, restores *sync.WaitGroup) error {
	s.mu.Lock()
	events := s.events
	s.events = nil
	s.mu.Unlock()
	for _, e := range events {
		for _, p := range slices.Concat(e.revoked, e.renewed) {
			s.drop(p)
		}
		if e.lost {
			for p := range s.restoring {
				s.drop(p)
			}
			for p := range s.tasks {
				s.drop(p)
			}
		}
		if e.lost || len(e.revoked) > 0 {
			// The first transaction after a revoke aborts, whatever is in it:
			// an empty one is the cheapest.
			if err := s.abort(ctx); err != nil {
				return err
			}
		}
		for p, committed := range e.assigned {
			if int(p) >= s.partitions {
				return fmt.Errorf("%s has more partitions than the %d it had", s.input, s.partitions)
			}
			s.drop(p)
			restoreCtx, cancel := context.WithCancel(ctx)
			s.restoring[p] = cancel
			restores.Go(func() { s.bring(restoreCtx, p, committed) })
		}
	}
	for {
		select {
		case done := <-s.restored:
			if done.ctx.Err() != nil {
				continue // revoked meanwhile
			}
			delete(s.restoring, done.partition)
			if done.err != nil {
				return done.err
			}
			s.adopt(done.task)
			continue
		default:
		}
		break
	}
	switch {
	case len(s.restoring) > 0:
		s.r.status.set(fmt.Errorf("restoring the state of %d of %d partitions", len(s.restoring), len(s.restoring)+len(s.tasks)))
	default:
		s.r.status.set(nil)
	}
	return nil
}

// bring restores a task and hands it over.
func (s *session) bring(ctx context.Context, p int32, committed int64) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return
	}
	var t *task
	var err error
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		t, err = s.restore(ctx, p, committed)
		var lost *LostError
		var broken *brokenStageError
		if err == nil || errors.As(err, &lost) || errors.As(err, &broken) || ctx.Err() != nil {
			break
		}
		// The other partitions go on meanwhile.
		s.r.deps.Log.Warn("restoring a task failed, trying again", "stage", s.r.stage.Name, "partition", p, "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
	select {
	case s.restored <- restoredTask{partition: p, task: t, err: err, ctx: ctx}:
	case <-ctx.Done():
	}
}

// adopt puts a restored task to work where it stands. The group may have
// taken the partition away, and even given it back, since events were settled:
// then the task is out of date and must not undo the pause of the next.
func (s *session) adopt(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.events, func(e event) bool { return e.names(t.partition) }) {
		return
	}
	now := time.Now()
	s.tasks[t.partition] = &running{
		task: t, base: t.position, consumed: t.position, ticked: noWatermark,
		saved: now, savedAt: make([]time.Time, len(t.firstDirty)),
	}
	m := map[string][]int32{s.input: {t.partition}}
	s.gts.Client().SetOffsets(map[string]map[int32]kgo.EpochOffset{s.input: {t.partition: {Epoch: -1, Offset: t.position}}})
	s.gts.Client().ResumeFetchPartitions(m)
}

// drop forgets a partition that is not ours any more.
func (s *session) drop(p int32) {
	if cancel, ok := s.restoring[p]; ok {
		cancel()
		delete(s.restoring, p)
	}
	if t, ok := s.tasks[p]; ok {
		if t.touched {
			s.mustAbort = true
		}
		delete(s.tasks, p)
	}
}

// apply applies what was polled, tasks side by side, and produces their
// outputs.
func (s *session) apply(ctx context.Context, fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		switch {
		case errors.Is(e.Err, context.DeadlineExceeded):
		case errors.Is(e.Err, kerr.OffsetOutOfRange):
			// Restoring the task finds out what is lost, and does what is
			// configured.
			return fmt.Errorf("the offset that partition %d stands at is gone from %s: %w", e.Partition, e.Topic, e.Err)
		default:
			return fmt.Errorf("fetch %s, partition %d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	if fetches.NumRecords() == 0 {
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}
	var batch []*running
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		t := s.tasks[p.Partition]
		if t == nil {
			// It was taken from us after it was fetched; its offsets must not
			// be committed from here.
			s.mustAbort = true
			return
		}
		if len(t.batch) == 0 {
			batch = append(batch, t)
		}
		t.batch = append(t.batch, p.Records...)
	})
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, t := range batch {
		g.Go(t.run)
	}
	if err := g.Wait(); err != nil {
		return &brokenStageError{err}
	}
	for _, t := range batch {
		s.produceDue(ctx, t)
	}
	if s.forced("after-produce") {
		return s.abort(ctx)
	}
	return nil
}

// run applies the task's batch.
func (t *running) run() error {
	for _, r := range t.batch {
		if err := t.apply(r.Offset, r.Key, r.Value); err != nil {
			return err
		}
	}
	t.consumed = t.batch[len(t.batch)-1].Offset + 1
	t.touched = true
	clear(t.batch)
	t.batch = t.batch[:0]
	return nil
}

func (s *session) begin() error {
	if s.inTxn {
		return nil
	}
	if err := s.gts.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	s.inTxn, s.begun, s.mustAbort = true, time.Now(), false
	return nil
}

func (s *session) produceDue(ctx context.Context, t *running) {
	due := t.due(t.consumed)
	records := make([]kgo.Record, len(due))
	for i := range due {
		o, r := &due[i], &records[i]
		r.Topic, r.Key, r.Value, r.Headers = s.output(o.Topic).topic, o.Key, o.Value, o.Headers
		s.produce(ctx, r)
	}
}

// output is a topic that the stage writes.
type output struct {
	topic string // with prefix
	count prometheus.Counter
}

func (s *session) output(topic string) *output {
	o := s.outputs[topic]
	if o == nil {
		o = &output{s.r.deps.Prefix + topic, s.r.metrics.outputs.WithLabelValues(topic)}
		s.outputs[topic] = o
	}
	return o
}

func (s *session) produce(ctx context.Context, r *kgo.Record) {
	s.gts.Produce(ctx, r, s.promise)
}

// produced notes the first error: a transaction that lacks a record must not
// be committed.
func (s *session) produced(r *kgo.Record, err error) {
	if err == nil {
		return
	}
	s.failedMu.Lock()
	defer s.failedMu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("produce to %s (%d bytes): %w", r.Topic, len(r.Value), err)
	}
}

func (s *session) takeFailed() error {
	s.failedMu.Lock()
	defer s.failedMu.Unlock()
	err := s.failed
	s.failed = nil
	return err
}

// end commits the open transaction: with the outputs go ticks, snapshots and
// the tasks' records, where state and offsets match.
func (s *session) end(ctx context.Context, final bool) error {
	if s.mustAbort || s.forced("before-ticks") {
		return s.abort(ctx)
	}
	begin := time.Now()
	touched := s.touched()
	s.produceTicks(ctx, touched)
	saved := s.produceState(ctx, touched, final)
	if s.forced("before-commit") {
		return s.abort(ctx)
	}
	// Flush before the verdict: a record that cannot be produced must abort
	// the transaction, and only its promise says so.
	if err := s.gts.Client().Flush(ctx); err != nil {
		return err
	}
	if err := s.takeFailed(); err != nil {
		if abortErr := s.abort(ctx); abortErr != nil {
			return errors.Join(err, abortErr)
		}
		return err
	}
	committed, err := s.gts.End(ctx, kgo.TryCommit)
	s.inTxn = false
	s.r.metrics.commitSeconds.Observe(time.Since(begin).Seconds())
	if err != nil {
		s.r.metrics.transactions.WithLabelValues("failed").Inc()
		return fmt.Errorf("end transaction: %w", err)
	}
	if !committed {
		s.rewind()
		return nil
	}
	s.r.metrics.transactions.WithLabelValues("committed").Inc()
	for _, t := range touched {
		t.touched = false
		t.base = t.consumed
		for i := range t.pending[:t.sent] {
			s.output(t.pending[i].Topic).count.Inc()
		}
		t.committed(t.consumed)
		if t.synced() {
			t.ticked = t.wm.Current
		}
	}
	for _, g := range saved {
		g.task.firstDirty[g.index] = clean
		g.task.savedAt[g.index] = begin
	}
	return nil
}

// touched returns the tasks the open transaction has input of, in order.
func (s *session) touched() []*running {
	var ts []*running
	for _, t := range s.tasks {
		if t.touched {
			ts = append(ts, t)
		}
	}
	slices.SortFunc(ts, func(a, b *running) int { return int(a.partition - b.partition) })
	return ts
}

// abort ends the open transaction, or an empty one, without a commit.
func (s *session) abort(ctx context.Context) error {
	if !s.inTxn {
		if err := s.begin(); err != nil {
			return err
		}
	}
	_, err := s.gts.End(ctx, kgo.TryAbort)
	s.inTxn = false
	_ = s.takeFailed() // buffered records fail when they are aborted
	if err != nil {
		s.r.metrics.transactions.WithLabelValues("failed").Inc()
		return fmt.Errorf("abort transaction: %w", err)
	}
	s.rewind()
	return nil
}

// rewind readies the tasks after an abort: the input comes again from the
// last commit, their memory stays.
func (s *session) rewind() {
	s.r.metrics.transactions.WithLabelValues("aborted").Inc()
	offsets := map[int32]kgo.EpochOffset{}
	for p, t := range s.tasks {
		t.touched = false
		t.consumed = t.base
		t.aborted()
		offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: t.base}
	}
	s.gts.Client().SetOffsets(map[string]map[int32]kgo.EpochOffset{s.input: offsets})
}

// produceTicks tells every partition downstream how far our tasks have come,
// in one tick for all of them.
func (s *session) produceTicks(ctx context.Context, touched []*running) {
	var tick schemas.Tick
	for _, t := range touched {
		if t.synced() && t.wm.Current > t.ticked {
			tick.Upstreams = append(tick.Upstreams, schemas.Upstream{
				Id: s.r.stage.Name + "/" + strconv.Itoa(int(t.partition)), Of: int32(s.partitions), Time: t.wm.Current,
			})
		}
	}
	if len(tick.Upstreams) == 0 {
		return
	}
	value := tick.Append(nil)
	for topic, n := range s.tickTo {
		for p := range n {
			s.produce(ctx, &kgo.Record{Topic: topic, Partition: int32(p), Value: value})
		}
	}
}

// savedGroup is a key group whose snapshot is in the open transaction.
type savedGroup struct {
	task  *running
	index int
}

// produceState writes snapshots within the tasks' budgets and, last, the
// record of each task.
func (s *session) produceState(ctx context.Context, touched []*running, final bool) (saved []savedGroup) {
	now := time.Now()
	ctx = kafka.Pinned(ctx)
	put := func(t *running, key, value []byte) {
		s.produce(ctx, &kgo.Record{Topic: s.state, Partition: t.partition, Key: key, Value: value})
	}
	for _, t := range touched {
		if t.synced() {
			for _, i := range t.choose(now, s.r.cfg, final) {
				group := t.group(i)
				state := t.proc.AppendState(nil, group)
				for _, r := range appendSnapshot(nil, group, t.position, state) {
					put(t, r.key, r.value)
					s.r.metrics.snapshotBytes.Add(float64(len(r.value)))
					t.budget -= float64(len(r.value))
				}
				saved = append(saved, savedGroup{task: t, index: i})
				if !final && t.budget <= 0 {
					break
				}
			}
			t.remember()
		}
		record := taskRecord{TopicID: s.topicID, Partitions: s.partitions, Committed: t.consumed, Replay: t.replayFrom(t.consumed), Since: t.since}
		put(t, []byte(taskKey), record.marshal())
	}
	return saved
}

// choose returns the indices of the groups to save now: those whose change
// has waited longest, as far as the budget goes; all of them at the end.
func (t *running) choose(now time.Time, cfg Config, final bool) []int {
	rate := float64(cfg.SnapshotRate)
	t.budget = min(t.budget+now.Sub(t.saved).Seconds()*rate, rate)
	t.saved = now
	var due []int
	dirty := 0
	for i, o := range t.firstDirty {
		if o == clean {
			continue
		}
		dirty++
		if t.savedAt[i].IsZero() {
			// Spread the first snapshots over the interval.
			t.savedAt[i] = now.Add(-cfg.SnapshotInterval * time.Duration(i) / time.Duration(len(t.firstDirty)))
		}
		if final || now.Sub(t.savedAt[i]) >= cfg.SnapshotInterval {
			due = append(due, i)
		}
	}
	t.metrics.dirty.Set(float64(dirty))
	if final {
		return due
	}
	if t.budget <= 0 || len(due) == 0 {
		return nil
	}
	slices.SortFunc(due, func(a, b int) int { return cmpInt64(t.firstDirty[a], t.firstDirty[b]) })
	// What a group costs is known only when it is written: the last of these
	// may overdraw the budget.
	return due[:min(len(due), 8)]
}

func cmpInt64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (s *session) forced(step string) bool {
	return s.r.deps.ForceAbort != nil && s.r.deps.ForceAbort(step)
}

// finish commits what was applied, with all state that is not saved.
func (s *session) finish(ctx context.Context) error {
	if !s.inTxn {
		return nil
	}
	return s.end(ctx, true)
}
