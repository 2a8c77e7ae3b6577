package collector

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-flow/weir/collector/decode"
	"github.com/weir-flow/weir/schemas"
)

// register exposes the counters. Labels are protocols and reasons: what an
// exporter sends is never one.
func (c *Collector) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	var all []prometheus.Collector
	counter := func(name, help string, f func() uint64, labels ...string) {
		l := prometheus.Labels{}
		for i := 0; i < len(labels); i += 2 {
			l[labels[i]] = labels[i+1]
		}
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_collector_" + name, Help: help, ConstLabels: l}, func() float64 { return float64(f()) }))
	}
	gauge := func(name, help string, f func() int64) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_collector_" + name, Help: help}, func() float64 { return float64(f()) }))
	}
	s := c.stats
	counter("datagrams_total", "Datagrams received and given to the decoder.", s.Datagrams.Load)
	counter("octets_total", "Octets of those datagrams.", s.Octets.Load)
	for p := schemas.ExportProtocolNETFLOW_V1; p <= schemas.ExportProtocolSFLOW_V5; p++ {
		name := strings.ToLower(p.String())
		counter("records_total", "Flow records decoded.", s.Protocol[p].Flows.Load, "protocol", name)
		counter("sequence_lost_total", "Lost on the way here by gaps of sequence numbers: flows in v5, v7 and IPFIX, datagrams in v9 and sFlow.", s.Protocol[p].Lost.Load, "protocol", name)
	}
	for r := range decode.Reasons {
		counter("rejected_total", "Datagrams, sets or samples that could not be decoded.", s.Rejected[r].Load, "reason", r.String())
	}
	counter("options_total", "Options records decoded.", s.Options.Load)
	counter("counters_total", "sFlow counters samples decoded.", s.Counters.Load)
	counter("templates_total", "Templates learned or changed.", s.Templates.Load)
	counter("held_sets_total", "Data sets held because their template had not come.", s.Held.Load)
	counter("released_sets_total", "Held data sets whose template came.", s.Released.Load)
	counter("sequence_resets_total", "Sequence numbers that started anew.", s.SequenceResets.Load)
	counter("reordered_total", "Datagrams that came after later ones.", s.Reordered.Load)
	counter("exporters_evicted_total", "Silent exporters forgotten for newcomers.", s.Evicted.Load)
	counter("exporters_overflow_total", "Datagrams of exporters that there was no room to remember.", s.Overflowed.Load)
	gauge("exporters", "Exporters remembered.", s.Exporters.Load)
	gauge("held_octets", "Octets held for templates to come.", s.HeldOctets.Load)
	counter("kernel_drops_total", "Datagrams that the kernel dropped because a socket's buffer was full.", c.kernelDrops.Load)
	counter("refused_total", "Datagrams from addresses outside collector.allow.", c.refused.Load)
	counter("clock_shifted_total", "Exporters whose clock differed from the others' (stream_time export).", c.shifted.Load)
	counter("panics_total", "Datagrams whose decoding panicked; each went to the dead letter.", c.panics.Load)
	counter("dead_letters_total", "Datagrams kept because they could not be decoded.", c.dead.kept.Load)
	counter("dead_letters_skipped_total", "Such datagrams not kept, to bound what they cost.", c.dead.skipped.Load)
	if snd := c.sender; snd != nil {
		x := snd.stats
		counter("produced_total", "Records acknowledged by Kafka, in this run.", x.acked.Load)
		counter("spooled_total", "Records and ticks written to the spool.", x.spooled.Load)
		counter("replayed_total", "Records and ticks sent from the spool.", x.replayed.Load)
		counter("spool_turns_total", "Times that Kafka did not keep up and records went to the spool.", x.turnsToTheSpool.Load)
		counter("dropped_total", "Records lost: memory_full (no spool), spool (full or not writable), refused (by Kafka, for good).", x.droppedFull.Load, "reason", "memory_full")
		counter("dropped_total", "Records lost: memory_full (no spool), spool (full or not writable), refused (by Kafka, for good).", x.droppedSpool.Load, "reason", "spool")
		counter("dropped_total", "Records lost: memory_full (no spool), spool (full or not writable), refused (by Kafka, for good).", x.droppedProduce.Load, "reason", "refused")
		gauge("in_flight_octets", "Octets given to Kafka and not acknowledged.", snd.octets.Load)
		if sp := c.spool; sp != nil {
			gauge("spool_octets", "Octets of the spool on disk.", func() int64 { n, _ := sp.Size(); return n })
			gauge("spool_waiting_octets", "Octets of the spool not acknowledged.", func() int64 { _, n := sp.Size(); return n })
			gauge("spool_damaged_octets", "Octets of the spool that could not be read back or written.", sp.Lost)
		}
	}
	for _, m := range all {
		if err := r.Register(m); err != nil {
			return err
		}
	}
	return nil
}
