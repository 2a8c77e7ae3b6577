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
				c := d.counts()
				d.screen.counters(c, d.progress(c))
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
func (d *run) counts() (c counts) {
	families, err := d.registry.Gather()
	if err != nil {
		d.o.Log.Warn("metrics", "error", err) // what was gathered still counts
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := func(name string) string {
				for _, l := range m.GetLabel() {
					if l.GetName() == name {
						return l.GetValue()
					}
				}
				return ""
			}
			n := int64(m.GetCounter().GetValue())
			switch f.GetName() {
			case "weir_collector_records_total":
				c.collected += n
			case "weir_collector_kernel_drops_total", "weir_collector_dropped_total":
				c.lost += n
			case "weir_stream_records_total":
				switch label("stage") {
				case kafka.StageEnricher:
					c.members += n
				case kafka.StageDetector:
					c.detected += n
				case kafka.StageMerge:
					c.merged += n
				}
			case "weir_stream_outputs_total":
				switch label("topic") {
				case kafka.TopicEnriched:
					c.enriched += n
				case kafka.TopicAlerts:
					c.alerts += n
				}
			case "weir_stream_refused_records_total":
				if label("stage") == kafka.StageEnricher {
					c.refused += n
				}
			case "weir_indexer_documents_total":
				c.documents += n
			}
		}
	}
	return c
}

// progress is the share of the day that is played, by what was collected.
func (d *run) progress(c counts) float64 {
	records := d.o.Generator.FlowRate * d.o.Generator.Duration.Seconds()
	return min(1, float64(c.collected)/records)
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
	steps := []struct {
		group, topic string
		trailing     int64 // offsets at the end of each partition that hold nothing to read
	}{
		{kafka.StageEnricher, kafka.TopicRaw, 0}, {kafka.StageDetector, kafka.TopicEnriched, marker}, {kafka.StageMerge, kafka.TopicMerge, marker},
	}
	for _, s := range steps {
		for {
			lag, err := lag(ctx, admin, d.cfg.Kafka.TopicPrefix+s.group, d.cfg.Kafka.TopicPrefix+s.topic, s.trailing)
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
// dead letter, and the view has read every alert.
func (d *run) indexed(ctx context.Context, failed <-chan error) error {
	for {
		c := d.counts()
		d.mu.Lock()
		seen := int64(d.alerts) >= c.alerts
		d.mu.Unlock()
		if seen && (d.servers.elastic == "" || c.documents >= c.enriched+c.alerts) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the indexer, or the view, did not finish within %v: %d documents of %d records (%w)", drainLimit, c.documents, c.enriched+c.alerts, ctx.Err())
		case err := <-failed:
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lag is how many offsets of a topic a group has not committed, beside the
// trailing ones of each partition. What an open transaction holds is ahead of
// the group too, though nobody can read it yet.
func lag(ctx context.Context, admin *kadm.Client, group, topic string, trailing int64) (int64, error) {
	readable, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
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
		r, _ := readable.Lookup(topic, e.Partition)
		if err := errors.Join(e.Err, r.Err); err != nil {
			failed = err
		}
		at := int64(0)
		if c, ok := committed.Lookup(topic, e.Partition); ok {
			at = c.At
		}
		total += max(0, e.Offset-at-trailing) + e.Offset - r.Offset
	})
	return total, failed
}

// marker is the control record in which a partition ends that is written by
// one stage's transactions, when nothing more is written.
const marker = 1
