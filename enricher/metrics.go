package enricher

import "github.com/prometheus/client_golang/prometheus"

// metrics of the enricher. Counters move with what is applied for the first
// time, not with what is applied again in recovery.
type metrics struct {
	in, out, stitched, duplicates, continuations, delayed, members prometheus.Counter
	early                                                          *prometheus.CounterVec
	slices, full, bound                                            prometheus.Counter
	forgotten                                                      prometheus.Counter

	lookups                   *prometheus.CounterVec
	geoHit, geoMiss, geoError prometheus.Counter
	assetHit, assetMiss       prometheus.Counter
	intelHit, intelMiss       prometheus.Counter
	geoBuilt, items           *prometheus.GaugeVec
	refused                   *prometheus.GaugeVec
	reloads                   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	var err error
	register := func(c prometheus.Collector) {
		if e := r.Register(c); e != nil && err == nil {
			err = e
		}
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_enricher_" + name, Help: help})
		register(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_enricher_" + name, Help: help}, labels)
		register(c)
		return c
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_enricher_" + name, Help: help}, labels)
		register(g)
		return g
	}
	m := &metrics{
		in:            counter("flows_in_total", "Flow records taken from the raw topic."),
		out:           counter("flows_out_total", "Enriched flows put out."),
		members:       counter("members_total", "Flow records that went into enriched flows: what came in, less what is held."),
		stitched:      counter("flows_stitched_total", "Enriched flows with both directions."),
		duplicates:    counter("duplicates_total", "Flow records recognised as the same packets metered again."),
		continuations: counter("continuations_total", "Enriched flows of a conversation that had one before."),
		delayed:       counter("delayed_total", "Flow records whose collector had been left behind."),
		forgotten:     counter("conversations_evicted_total", "Conversations forgotten because there were too many."),
		early:         counters("released_early_total", "Held flows that went out before their time.", "reason"),
		lookups:       counters("lookups_total", "Lookups by kind and result.", "kind", "result"),
		geoBuilt:      gauges("geo_database_build_timestamp_seconds", "When the database was made, seconds since the epoch.", "database"),
		items:         gauges("lookup_entries", "Entries of a lookup.", "kind"),
		refused:       gauges("intel_refused_entries", "Entries of a feed that were not taken.", "feed", "reason"),
		reloads:       counters("reloads_total", "Side inputs read again because their files changed.", "kind", "result"),
	}
	m.slices, m.full, m.bound = m.early.WithLabelValues("slice"), m.early.WithLabelValues("parts"), m.early.WithLabelValues("bound")
	m.geoHit, m.geoMiss = m.lookups.WithLabelValues("geo", "hit"), m.lookups.WithLabelValues("geo", "miss")
	m.geoError = m.lookups.WithLabelValues("geo", "error")
	m.assetHit, m.assetMiss = m.lookups.WithLabelValues("asset", "hit"), m.lookups.WithLabelValues("asset", "miss")
	m.intelHit, m.intelMiss = m.lookups.WithLabelValues("intel", "hit"), m.lookups.WithLabelValues("intel", "miss")
	return m, err
}
