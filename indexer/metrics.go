package indexer

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	documents   *prometheus.CounterVec
	records     *prometheus.CounterVec
	ticks       prometheus.Counter
	undecodable *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	bytes       *prometheus.CounterVec
	retries     *prometheus.CounterVec
	commits     *prometheus.CounterVec
	inFlight    prometheus.Gauge
	up          prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, lag func(topic string) int64, topics [streams]string) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_indexer_" + name, Help: help}, labels)
	}
	m := &metrics{
		documents:   counter("documents_total", "Documents by what became of them: created, exists (a repeat), refused.", "stream", "outcome"),
		records:     counter("records_total", "Records read, ticks aside.", "stream"),
		undecodable: counter("undecodable_total", "Records that could not be made into a document.", "stream"),
		deadLetters: counter("deadletters_total", "Records that went to the dead letter.", "stream"),
		requests:    counter("bulk_requests_total", "Bulk requests by result: ok, partial (some documents to be sent again or refused), rejected, failed.", "stream", "result"),
		bytes:       counter("bulk_bytes_total", "Bytes of bulk requests, before compression.", "stream"),
		retries:     counter("retries_total", "Documents sent again.", "stream"),
		commits:     counter("commits_total", "Commits of offsets.", "result"),
		ticks:       prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_indexer_ticks_total", Help: "Ticks skipped."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_indexer_bulk_seconds", Help: "Time of bulk requests.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 13),
		}, []string{"stream"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_indexer_in_flight_bytes", Help: "Bytes of the batches that wait for Elasticsearch."}),
		up:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_indexer_elasticsearch_up", Help: "1 while Elasticsearch takes documents."}),
	}
	all := []prometheus.Collector{m.documents, m.records, m.undecodable, m.deadLetters, m.requests, m.bytes, m.retries,
		m.commits, m.ticks, m.seconds, m.inFlight, m.up}
	for s, name := range streamNames {
		// A series that is there from the start can be alerted on.
		for o := outcome(0); o < outcomes; o++ {
			if o != retry {
				m.documents.WithLabelValues(name, o.String())
			}
		}
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_indexer_lag_records", Help: "Records in Kafka that Elasticsearch has not acknowledged, ticks included.",
			ConstLabels: prometheus.Labels{"stream": name},
		}, func() float64 { return float64(lag(topics[s])) }))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
