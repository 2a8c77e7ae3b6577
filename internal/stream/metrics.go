package stream

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one stage. Partitions are ours, so they may be labels.
type metrics struct {
	records, repeated, delayed, missing, refused, panics *prometheus.CounterVec
	watermark, leftOut, dirty                            *prometheus.GaugeVec
	outputs                                              *prometheus.CounterVec
	transactions                                         *prometheus.CounterVec
	commitSeconds, restoreSeconds                        prometheus.Histogram
	snapshotBytes                                        prometheus.Counter
	sessions                                             *prometheus.CounterVec
}

// taskMetrics are the metrics of one task, resolved once.
type taskMetrics struct {
	records, repeated, delayed, missing, refused, panics prometheus.Counter
	watermark, leftOut, dirty                            prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, stage string) *metrics {
	labels := prometheus.Labels{"stage": stage}
	counter := func(name, help string, vary ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_stream_" + name, Help: help, ConstLabels: labels}, vary)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_stream_" + name, Help: help, ConstLabels: labels}, []string{"partition"})
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string, first float64, n int) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_stream_" + name, Help: help, ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(first, 2, n)})
		reg.MustRegister(h)
		return h
	}
	m := &metrics{
		records:        counter("records_total", "Input records applied and committed, repeats and ticks excluded.", "partition"),
		repeated:       counter("repeated_records_total", "Input records dropped because their collector had sent them before, as after a crash.", "partition"),
		delayed:        counter("delayed_records_total", "Input records below the watermark: their upstream was left behind.", "partition"),
		missing:        counter("missing_records_total", "Gaps in the numbering of a collector's records: lost before they came to Kafka.", "partition"),
		refused:        counter("refused_records_total", "Input records sent to the dead letter.", "partition"),
		panics:         counter("panics_total", "Panics of the processor, each contained to one record or timer.", "partition"),
		watermark:      gauge("watermark_seconds", "Watermark of the task, in seconds since the epoch of stream time."),
		leftOut:        gauge("upstreams_left_out", "Upstreams that are not waited for because they have fallen behind."),
		dirty:          gauge("unsaved_groups", "Key groups whose state has changed since their last snapshot."),
		outputs:        counter("outputs_total", "Records put out and committed.", "topic"),
		transactions:   counter("transactions_total", "Transactions by how they ended.", "outcome"),
		commitSeconds:  histogram("commit_seconds", "Time to end a transaction.", 0.001, 14),
		restoreSeconds: histogram("restore_seconds", "Time to bring a task's state back.", 0.01, 14),
		sessions:       counter("sessions_total", "Sessions with the broker by why they ended.", "outcome"),
	}
	m.snapshotBytes = prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_stream_snapshot_bytes_total", Help: "Bytes of state written to the state topic.", ConstLabels: labels})
	reg.MustRegister(m.snapshotBytes)
	return m
}

func (m *metrics) task(partition int32) *taskMetrics {
	p := strconv.Itoa(int(partition))
	return &taskMetrics{
		records: m.records.WithLabelValues(p), repeated: m.repeated.WithLabelValues(p), delayed: m.delayed.WithLabelValues(p),
		missing: m.missing.WithLabelValues(p), refused: m.refused.WithLabelValues(p), panics: m.panics.WithLabelValues(p),
		watermark: m.watermark.WithLabelValues(p), leftOut: m.leftOut.WithLabelValues(p), dirty: m.dirty.WithLabelValues(p),
	}
}

// discard takes metrics and shows them to nobody: recovering tasks count in it.
type discard struct{}

func (discard) Register(prometheus.Collector) error  { return nil }
func (discard) MustRegister(...prometheus.Collector) {}
func (discard) Unregister(prometheus.Collector) bool { return true }
