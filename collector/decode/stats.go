package decode

import (
	"sync/atomic"

	"github.com/weir-flow/weir/schemas"
)

// protocols is the number of schemas.ExportProtocol values.
const protocols = int(schemas.ExportProtocolSFLOW_V5) + 1

// Stats count what decoders did. They may be read at any time.
type Stats struct {
	// Datagrams given, and their Octets.
	Datagrams, Octets atomic.Uint64
	// Protocol counts per schemas.ExportProtocol.
	Protocol [protocols]struct {
		// Datagrams with a readable header.
		Datagrams atomic.Uint64
		// Flows handed on.
		Flows atomic.Uint64
		// Lost by gaps in the sequence numbers: flows in v5, v7 and IPFIX (where
		// options records count too), datagrams in v9 and sFlow.
		Lost atomic.Uint64
	}
	// Options records and Counters samples.
	Options, Counters atomic.Uint64
	// Rejected per Reason.
	Rejected [Reasons]atomic.Uint64
	// Templates learned or replaced; TemplatesUnchanged were sent again.
	Templates, TemplatesUnchanged atomic.Uint64
	// Held data sets waited for their template; Released ones got it; Dropped
	// ones did not, HeldOctets is what is held now.
	Held, Released, Dropped atomic.Uint64
	HeldOctets              atomic.Int64
	// SequenceResets: the numbers started anew. Reordered datagrams came late.
	SequenceResets, Reordered atomic.Uint64
	// Exporters known now. Evicted made room. Overflowed datagrams came from
	// exporters that there was no room for.
	Exporters           atomic.Int64
	Evicted, Overflowed atomic.Uint64
}

// Exporter holds the counters of one exporter.
type Exporter struct {
	Datagrams, Flows, Rejected uint64
	// SamplingAssumed counts flows whose interval the exporter did not say.
	SamplingAssumed uint64
	// Lost by gaps in sequence numbers, in the protocol's unit.
	Lost uint64
	// Templates known now.
	Templates int
	// LastSeen is the arrival of the last datagram, ms since the epoch.
	LastSeen int64
}
