package generator

// Transport protocols by number.
const (
	icmp = 1
	tcp  = 6
	udp  = 17
)

// TCP flags as flow records carry them.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10

	complete = fin | syn | psh | ack // of a connection seen from start to end
)

// counters is one direction of a conversation.
type counters struct {
	packets, octets uint64
	flags           uint8 // all TCP flags seen
}

// metadata is the layer-7 content of a conversation.
type metadata struct {
	kind    metaKind
	name    name // DNS query, TLS server name or HTTP host
	agent   name // HTTP
	target  name // HTTP
	ja3     name // TLS
	version uint16
	status  uint16 // HTTP status, DNS query type
	rcode   uint8  // DNS
	answers uint8  // DNS
}

type metaKind uint8

const (
	noMeta metaKind = iota
	dnsMeta
	tlsMeta
	httpMeta
	metaKinds
)

// conversation is what two hosts said to one another: what exporters on the
// way turn into flow records. It holds no pointers.
type conversation struct {
	start, length          int64 // ms since the epoch, ms
	client, server         address
	clientAS, serverAS     uint32
	clientZone, serverZone zone
	clientPort, serverPort uint16
	protocol, tos          uint8
	closed                 bool  // ended by FIN or RST, not by silence
	rtt                    int64 // ms until the first answer
	up, down               counters
	meta                   metadata
}

func talk(from, to endpoint, protocol uint8, clientPort, serverPort uint16) conversation {
	return conversation{
		client: from.addr, clientZone: from.zone, clientAS: from.as, clientPort: clientPort,
		server: to.addr, serverZone: to.zone, serverAS: to.as, serverPort: serverPort,
		protocol: protocol, rtt: 1,
	}
}

// ephemeral is a client's port.
func ephemeral(r random) uint16 { return uint16(32768 + r.IntN(28000)) }

// exchange fills in a completed TCP connection that carried the given octets
// of payload in each direction.
func (c *conversation) exchange(up, down int64) {
	const mss, header = 1400, 52
	c.up.packets = uint64(4 + up/mss + down/(2*mss))
	c.down.packets = uint64(3 + down/mss + up/(2*mss))
	c.up.octets = uint64(up) + c.up.packets*header
	c.down.octets = uint64(down) + c.down.packets*header
	c.up.flags, c.down.flags = complete, complete
	c.closed = true
}

// datagrams fills in an exchange over UDP.
func (c *conversation) datagrams(upPackets, upSize, downPackets, downSize int64) {
	c.up = counters{packets: uint64(upPackets), octets: uint64(upPackets * upSize)}
	c.down = counters{packets: uint64(downPackets), octets: uint64(downPackets * downSize)}
}

// unanswered is a TCP connection attempt to where nothing answers.
func (c *conversation) unanswered(packets int64) {
	c.up = counters{packets: uint64(packets), octets: uint64(packets * 60), flags: syn}
	c.down = counters{}
	c.length = (1<<(packets-1) - 1) * 1000 // retransmissions double their distance
	c.closed = false
}

// refused is a TCP connection attempt to a closed port.
func (c *conversation) refused() {
	c.up = counters{packets: 1, octets: 60, flags: syn}
	c.down = counters{packets: 1, octets: 40, flags: rst | ack}
	c.length = c.rtt
	c.closed = true
}

// lasting makes sure that a long conversation has traffic all along, so that
// no exporter's inactive timeout would cut it.
func (c *conversation) lasting(ms int64) {
	c.length = ms
	if least := uint64(ms/5000 + 1); c.up.packets > 0 && c.up.packets < least {
		c.up.octets += (least - c.up.packets) * 52
		c.up.packets = least
	}
	if least := uint64(ms/5000 + 1); c.down.packets > 0 && c.down.packets < least {
		c.down.octets += (least - c.down.packets) * 52
		c.down.packets = least
	}
}
