// Package generator plays the traffic of a fictional enterprise as its
// exporters would report it: NetFlow v5 and v9 and IPFIX datagrams, seeded
// and reproducible, with named attacks mixed in, near misses among the
// ordinary traffic, and the ground truth of both. docs/generate.md describes
// the enterprise.
//
// It works in ticks of one second of generated time:
//
//	actors (everyday life, near misses, attacks) -> conversations
//	  -> the exporters on the path of each: a flow cache with timeouts
//	    -> records -> datagrams -> Sink
//
// The wire formats are written here from RFC 3954, RFC 7011 and RFC 5103 and
// share no code with the collector, so that the one can be the other's
// oracle.
package generator
