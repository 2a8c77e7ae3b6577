// Package indexer puts enriched flows and alerts into Elasticsearch's data
// streams, each exactly once within a backing index: ids are a function of the
// record, a repeat is answered with a conflict and counts as done, and offsets
// are committed only when Elasticsearch has acknowledged everything below
// them. A server that does not take documents is waited for without a limit
// and with bounded memory; a document that it refuses goes to the dead letter.
package indexer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-flow/weir/indexer/ecs"
	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

// stage names the consumer group (with the topics' prefix) and stands in dead
// letters.
const stage = "indexer"

// maxPoll bounds how many records are looked at between two looks at the
// clock.
const maxPoll = 4096

// Dependencies of an Indexer.
type Dependencies struct {
	Log      *slog.Logger
	Registry prometheus.Registerer
	// Kafka says where the topics are.
	Kafka kafka.Config
	// Elastic is the client; the indexer does not close it.
	Elastic *elastic.Client
	// Namespace of the data streams.
	Namespace string
	// Instance is the stable name of this process among the indexers of the
	// deployment, for static membership: a restart keeps its partitions.
	// Empty: none.
	Instance string
}

// Indexer reads the topics and writes the documents. It is a
// lifecycle.Component.
type Indexer struct {
	cfg  Config
	deps Dependencies

	topics   [streams]string
	paths    [streams]string
	progress *progress
	metrics  *metrics
	health   *health
	client   *kgo.Client

	free, full chan *batch
	filling    [streams]*batch
	flow       schemas.EnrichedFlow
	encoder    *ecs.Encoder

	stopReading, abort context.CancelFunc
	readContext        context.Context // done: take no more
	workContext        context.Context // done: give up
	finished           chan struct{}
	committing         sync.Mutex
	checked            chan struct{} // closed when Elasticsearch may be written to
}

// New returns an inert indexer.
func New(cfg Config, deps Dependencies) (*Indexer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	x := &Indexer{
		cfg: cfg, deps: deps,
		topics:   [streams]string{deps.Kafka.Topic(kafka.TopicEnriched), deps.Kafka.Topic(kafka.TopicAlerts)},
		progress: newProgress(),
		free:     make(chan *batch, cfg.InFlight+streams),
		full:     make(chan *batch, cfg.InFlight+streams),
		encoder:  ecs.NewEncoder(deps.Namespace),
		finished: make(chan struct{}),
		checked:  make(chan struct{}),
	}
	for s, dataset := range [streams]string{ecs.DatasetFlow, ecs.DatasetAlert} {
		// require_data_stream: without our template Elasticsearch would make
		// an ordinary index of whatever it guesses.
		x.paths[s] = "/" + ecs.DataStream(dataset, deps.Namespace) + "/_bulk?require_data_stream=true&filter_path=" + responseFilter
	}
	for range cap(x.free) {
		x.free <- &batch{}
	}
	var err error
	if x.metrics, err = newMetrics(deps.Registry, x.progress.lag, x.topics); err != nil {
		return nil, fmt.Errorf("indexer: %w", err)
	}
	x.health = newHealth(deps.Log, x.metrics.up)
	return x, nil
}

// Name implements lifecycle.Component.
func (x *Indexer) Name() string { return stage }

// Ready returns nil while documents flow, or would; otherwise what is wrong.
func (x *Indexer) Ready(ctx context.Context) error {
	if err := x.health.Ready(ctx); err != nil || x.client == nil {
		return err
	}
	// The client rides out a broker that is away in silence.
	return kafka.Reach(ctx, x.client)
}

// Start implements lifecycle.Component. It waits for neither server: both are
// tried until they are there, and Ready says so.
func (x *Indexer) Start(_ context.Context, fail func(error)) error {
	reset := kgo.NoResetOffset()
	if x.cfg.OnLost == OnLostRestart {
		reset = kgo.NewOffset().AtStart()
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(x.deps.Kafka.Topic(stage)),
		kgo.ConsumeTopics(x.topics[:]...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(reset),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(10 * time.Second),
		// A poll's partitions are looked up before a rebalance may go on, so
		// that a record is never taken for one of a later ownership.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			x.progress.assign(assigned)
			x.health.joined()
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
			if err := x.commit(ctx, revoked); err != nil {
				// No later commit of ours covers them.
				x.deps.Log.Warn("indexer: partitions are given up without a commit; their next owner sends some documents again", "error", err)
			}
			x.progress.revoke(revoked)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			x.progress.revoke(lost)
		}),
	}
	if x.deps.Instance != "" {
		opts = append(opts, kgo.InstanceID(stage+"-"+x.deps.Instance))
	}
	var err error
	x.client, err = kafka.NewClient(x.deps.Kafka, kafka.Dependencies{Log: x.deps.Log, Registry: x.deps.Registry, Service: stage}, kafka.RoleConsumer, opts...)
	if err != nil {
		return err
	}
	x.readContext, x.stopReading = context.WithCancel(context.Background())
	x.workContext, x.abort = context.WithCancel(context.Background())

	var work sync.WaitGroup
	work.Go(func() { x.check(x.workContext) })
	work.Go(func() { x.join(x.readContext) })
	for range x.cfg.InFlight {
		work.Go(func() { x.send(x.workContext) })
	}
	var commits sync.WaitGroup
	stopCommits := make(chan struct{})
	commits.Go(func() { x.commitRegularly(stopCommits) })
	go func() {
		defer close(x.finished)
		if err := x.read(x.readContext); err != nil {
			fail(err)
		}
		close(x.full) // the batches in it are still sent
		if len(x.full) == 0 && !x.isChecked() {
			x.abort() // nothing was ever sent and nothing is there to send: do not wait for Elasticsearch
		}
		work.Wait()
		close(stopCommits)
		commits.Wait()
	}()
	return nil
}

// Stop implements lifecycle.Component: it sends what was read, waits for the
// acknowledgements, commits and leaves the group. What it cannot finish in
// time is read again at the next start.
func (x *Indexer) Stop(ctx context.Context) error {
	x.stopReading()
	var err error
	select {
	case <-x.finished:
	case <-ctx.Done():
		x.abort()
		<-x.finished
		err = fmt.Errorf("gave up on documents that Elasticsearch had not acknowledged; they are read again at the next start: %w", ctx.Err())
	}
	x.abort()
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = errors.Join(err, x.commit(final, nil))
	x.client.CloseAllowingRebalance()
	return err
}

// check holds the senders back until Elasticsearch answers and has our
// templates: before that it would accept documents and map them by guess.
func (x *Indexer) check(ctx context.Context) {
	path := "/_index_template/logs-" + ecs.DatasetFlow + "?filter_path=index_templates.name"
	for backoff := minBackoff; ; backoff = min(2*backoff, x.cfg.MaxBackoff) {
		err := x.deps.Elastic.Do(ctx, http.MethodGet, path, nil, nil)
		switch {
		case elastic.IsStatus(err, http.StatusForbidden):
			err = nil // a key that may only write: its owner has run the setup
		case elastic.IsStatus(err, http.StatusNotFound):
			err = errors.New("elasticsearch: Weir's templates are not there: run `weir setup`")
		}
		if err == nil {
			x.health.elasticsearch(nil)
			close(x.checked)
			return
		}
		if ctx.Err() != nil {
			return
		}
		x.health.elasticsearch(err)
		if sleep(ctx, min(backoff, 5*time.Second)) != nil {
			return
		}
	}
}

// isChecked reports whether senders have been let go.
func (x *Indexer) isChecked() bool {
	select {
	case <-x.checked:
		return true
	default:
		return false
	}
}

// join says what keeps us from the group, until we are in it.
func (x *Indexer) join(ctx context.Context) {
	for x.health.joining() {
		if err := kafka.Reach(ctx, x.client); err != nil && ctx.Err() == nil {
			x.health.kafka(err)
		}
		if sleep(ctx, time.Second) != nil {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// send delivers batches until there are no more.
func (x *Indexer) send(ctx context.Context) {
	s := sender{
		client: x.deps.Elastic, paths: &x.paths, timeout: x.cfg.RequestTimeout, maxBackoff: x.cfg.MaxBackoff,
		deadLetter: newDeadLetter(x.client, x.deps.Kafka.Topic(kafka.TopicDeadLetter)),
		metrics:    x.metrics, health: x.health, wait: sleep,
	}
	select {
	case <-x.checked:
	case <-ctx.Done():
	}
	for b := range x.full {
		// Once the context is done, batches are let go of without a word: their
		// spans stay open, and nothing above them is committed.
		if ctx.Err() == nil && s.deliver(ctx, b) == nil {
			x.progress.done(b.spans)
		}
		x.metrics.inFlight.Sub(float64(b.size))
		b.reset()
		x.free <- b
	}
}

// commitRegularly commits until stop is closed.
func (x *Indexer) commitRegularly(stop <-chan struct{}) {
	t := time.NewTicker(x.cfg.CommitInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			ctx, cancel := context.WithTimeout(x.workContext, 10*time.Second)
			_ = x.commit(ctx, nil)
			cancel()
		case <-stop:
			return
		}
	}
}

// commit commits what is acknowledged, of some partitions or of all (nil). One
// at a time: an older commit must not overtake a newer one.
func (x *Indexer) commit(ctx context.Context, only map[string][]int32) error {
	x.committing.Lock()
	defer x.committing.Unlock()
	offsets := x.progress.uncommitted(only)
	if len(offsets) == 0 {
		return nil
	}
	var failed error
	x.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, res *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err != nil {
			return
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, err)
				}
			}
		}
	})
	if failed != nil {
		// The next one covers it; at worst documents are sent twice.
		x.metrics.commits.WithLabelValues("failed").Inc()
		x.deps.Log.Debug("indexer: commit failed", "error", failed)
		return fmt.Errorf("commit of offsets: %w", failed)
	}
	x.metrics.commits.WithLabelValues("ok").Inc()
	x.progress.committed(offsets)
	return nil
}
