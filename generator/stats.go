package generator

// ExporterStats counts what one exporter sent. Packets and Octets are sums
// over its flow records (both directions of a biflow), as written: a sampling
// exporter's are not scaled up.
type ExporterStats struct {
	Name      string `json:"name"`
	Address   string `json:"address"` // its address and port in captures
	Protocol  string `json:"protocol"`
	Sampling  uint64 `json:"sampling"` // one packet in so many
	Datagrams uint64 `json:"datagrams"`
	Records   uint64 `json:"records"`   // flow records
	Options   uint64 `json:"options"`   // options data records
	Templates uint64 `json:"templates"` // template and options template records
	Packets   uint64 `json:"packets"`
	Octets    uint64 `json:"octets"`
}

// Stats counts what was generated.
type Stats struct {
	Exporters     []ExporterStats `json:"exporters"`
	Conversations uint64          `json:"conversations"`
	Datagrams     uint64          `json:"datagrams"`
	Records       uint64          `json:"records"`
}
