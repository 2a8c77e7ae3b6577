package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/elastic"
	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/pipeline"
)

// watch follows the alerts topic as any other reader would, and redraws the
// view.
func (d *run) watch(ctx context.Context, fail func(error)) (*sync.WaitGroup, error) {
	cl, err := kafka.NewClient(d.cfg.Kafka, kafka.Dependencies{Log: d.o.Log, Service: "view"}, kafka.RoleConsumer,
		kgo.ConsumeTopics(d.cfg.Kafka.TopicPrefix+kafka.TopicAlerts), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cl.Close()
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			fetches.EachRecord(func(r *kgo.Record) {
				if err := d.alert(r.Value); err != nil {
					fail(err)
				}
			})
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				d.screen.counters(d.counts(), d.progress())
			}
		}
	})
	if d.servers.elastic != "" {
		wg.Go(func() { d.awaitIndexed(ctx) })
	}
	return &wg, nil
}

func (d *run) alert(value []byte) error {
	a, err := pipeline.ParseAlert(value)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.alerts++
	if d.firstAlert == 0 {
		d.firstAlert = time.Since(d.begin)
	}
	if d.verdict.Add(a) {
		d.screen.alert(a)
	}
	return nil
}

// awaitIndexed notes when the first alert can be searched in Elasticsearch.
func (d *run) awaitIndexed(ctx context.Context) {
	client, err := elastic.New(d.cfg.Elasticsearch)
	if err != nil {
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		if n, err := d.count(ctx, client, "alert", ""); err == nil && n > 0 {
			d.mu.Lock()
			d.firstIndexed = time.Since(d.begin)
			d.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// count asks Elasticsearch how many documents match a query string.
func (d *run) count(ctx context.Context, client *elastic.Client, stream, query string) (int64, error) {
	var answer struct {
		Count int64 `json:"count"`
	}
	path := "/logs-weir." + stream + "-" + d.cfg.Elasticsearch.Namespace + "/_count?ignore_unavailable=true"
	if query != "" {
		path += "&q=" + query
	}
	err := client.Do(ctx, http.MethodGet, path, nil, &answer)
	return answer.Count, err
}

// counts are what the stages have done so far.
type counts struct {
	collected, enriched, members, detected, merged, alerts, documents, refused int64
	lost                                                                       int64
}

// counts reads the metrics, as a scraper would.
func (d *run) counts() counts {
	return counts{
		collected: d.sum("weir_collector_records_total"),
		enriched:  d.sum("weir_stream_outputs_total", "stage", kafka.StageEnricher, "topic", kafka.TopicEnriched),
		members:   d.sum("weir_stream_records_total", "stage", kafka.StageEnricher),
		detected:  d.sum("weir_stream_records_total", "stage", kafka.StageDetector),
		merged:    d.sum("weir_stream_records_total", "stage", kafka.StageMerge),
		alerts:    d.sum("weir_stream_outputs_total", "topic", kafka.TopicAlerts),
		documents: d.sum("weir_indexer_documents_total"),
		refused:   d.sum("weir_stream_refused_records_total"),
		lost:      d.sum("weir_collector_kernel_drops_total") + d.sum("weir_collector_dropped_total"),
	}
}

// sum adds up the samples of a metric that carry the labels.
func (d *run) sum(name string, labels ...string) int64 {
	families, err := d.registry.Gather()
	if err != nil && len(families) == 0 {
		return 0
	}
	var total float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			fits := true
			for i := 0; i+1 < len(labels); i += 2 {
				fits = fits && have[labels[i]] == labels[i+1]
			}
			if fits {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return int64(total)
}

// progress is the share of the day that is played.
func (d *run) progress() float64 {
	records := d.o.Generator.FlowRate * d.o.Generator.Duration.Seconds()
	return min(1, float64(d.sum("weir_collector_records_total"))/records)
}

// drain waits until each stage has committed everything the one before it
// has written, from front to back.
func (d *run) drain(ctx context.Context, failed <-chan error) error {
	cl, err := kafka.NewClient(d.cfg.Kafka, kafka.Dependencies{Log: d.o.Log, Service: "view"}, kafka.RoleAdmin)
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	steps := []struct{ group, topic string }{
		{kafka.StageEnricher, kafka.TopicRaw}, {kafka.StageDetector, kafka.TopicEnriched}, {kafka.StageMerge, kafka.TopicMerge},
	}
	for _, s := range steps {
		for {
			lag, err := lag(ctx, admin, d.cfg.Kafka.TopicPrefix+s.group, d.cfg.Kafka.TopicPrefix+s.topic)
			if err == nil && lag == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s did not finish %s within %v: %d records behind (%w)", s.group, s.topic, drainLimit, lag, errors.Join(err, ctx.Err()))
			case err := <-failed:
				return err
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return d.indexed(ctx, failed)
}

// indexed waits until every record that was put out is a document or in the
// dead letter.
func (d *run) indexed(ctx context.Context, failed <-chan error) error {
	if d.servers.elastic == "" {
		return nil
	}
	for {
		c := d.counts()
		if c.documents >= c.enriched+c.alerts {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the indexer did not finish within %v: %d documents of %d records (%w)", drainLimit, c.documents, c.enriched+c.alerts, ctx.Err())
		case err := <-failed:
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lag is how many offsets of a topic with one writer a group has not
// committed. Control records count, so a partition that ends in one is never
// quite done: a reader whose last record stands just before it has finished.
func lag(ctx context.Context, admin *kadm.Client, group, topic string) (int64, error) {
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	committed, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	var total int64
	var failed error
	ends.Each(func(e kadm.ListedOffset) {
		if e.Err != nil {
			failed = e.Err
		}
		at := int64(0)
		if c, ok := committed.Lookup(topic, e.Partition); ok {
			at = c.At
		}
		total += max(0, e.Offset-at-trailing)
	})
	return total, failed
}

// trailing is the most control records a partition may end in when nothing
// more is written: the marker of the last transaction.
const trailing = 1
