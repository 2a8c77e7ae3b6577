package detector

import "github.com/prometheus/client_golang/prometheus"

// metrics of all processors of a detector. Labels are rule ids: as many as
// there are rules.
type metrics struct {
	matched, suppressed, late, evicted *prometheus.CounterVec
	alerts                             *prometheus.CounterVec
	parts, partBytes, flowBytes        prometheus.Counter
	unknownParts                       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Subsystem: "detector", Name: name, Help: help}, labels)
	}
	single := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "detector", Name: name, Help: help})
	}
	m := &metrics{
		matched:      counter("matched_flows_total", "Flows that passed a rule's filter.", "rule"),
		suppressed:   counter("suppressed_flows_total", "Flows that a suppression left out.", "rule"),
		late:         counter("late_flows_total", "Flows that came after their window had closed.", "rule"),
		evicted:      counter("evicted_keys_total", "Keys dropped because a rule's budget was full.", "table"),
		alerts:       counter("alerts_total", "Alerts opened, and rises of their severity.", "rule", "severity"),
		parts:        single("merge_parts_total", "Parts sent to the second stage."),
		partBytes:    single("merge_bytes_total", "Octets of parts sent to the second stage."),
		flowBytes:    single("flow_bytes_total", "Octets of enriched flows read: what merge_bytes_total is a share of."),
		unknownParts: single("unknown_parts_total", "Parts of rules that this detector does not run, or of another version of them."),
	}
	if reg != nil {
		reg.MustRegister(m.matched, m.suppressed, m.late, m.evicted, m.alerts, m.parts, m.partBytes, m.flowBytes, m.unknownParts)
	}
	return m
}
