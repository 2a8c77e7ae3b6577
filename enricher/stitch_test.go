package enricher

import (
	"testing"
	"time"
)

const (
	syn    = flagSYN
	synack = flagSYN | flagACK
	full   = flagSYN | flagACK | flagFIN | 0x08
	rst    = flagRST | flagACK
)

func TestStitch(t *testing.T) {
	fwd := flow{src: "10.0.0.1:40000", dst: "203.0.113.5:443", at: 100, start: 10, end: 90, octets: 500, packets: 5, flags: full}
	rev := flow{src: "203.0.113.5:443", dst: "10.0.0.1:40000", at: 200, start: 20, end: 95, octets: 9000, packets: 9, flags: full}
	with := func(f flow, change func(*flow)) flow { change(&f); return f }
	for _, tc := range []struct {
		name   string
		change func(*Config)
		do     func(*driver)
		want   []string
	}{
		{
			name: "both directions",
			do:   func(d *driver) { d.push(fwd, rev); d.tick(100 + hold) },
			want: []string{"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 CLOSED TIME answered stitched [1:F 2:R]"},
		},
		{
			name: "the responder's first",
			do: func(d *driver) {
				d.push(with(rev, func(f *flow) { f.at = 100 }), with(fwd, func(f *flow) { f.at = 200 }))
				d.tick(100 + hold)
			},
			want: []string{"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 CLOSED TIME answered stitched [1:R 2:F]"},
		},
		{
			name: "nothing goes out before its time",
			do:   func(d *driver) { d.push(fwd, rev); d.tick(100 + hold - 1) },
		},
		{
			name:   "at once when duplicates are not waited for",
			change: func(c *Config) { c.WaitForDuplicates = false },
			do:     func(d *driver) { d.push(fwd, rev) },
			want:   []string{"t=200 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 CLOSED TIME answered stitched [1:F 2:R]"},
		},
		{
			name: "only the responder's was seen: it is turned round",
			do:   func(d *driver) { d.push(rev); d.tick(1e6) },
			want: []string{"t=5200 10.0.0.1:40000>203.0.113.5:443 p6 0/0|9000/9 CLOSED PORT answered [1:R]"},
		},
		{
			name: "a SYN that nobody answers",
			do: func(d *driver) {
				d.push(with(fwd, func(f *flow) { f.flags, f.packets, f.octets = syn, 1, 60 }))
				d.tick(1e6)
			},
			want: []string{"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 60/1|0/0 SYN_ONLY FLAGS [1:F]"},
		},
		{
			name: "a SYN that is refused, from a service port",
			do: func(d *driver) {
				d.push(flow{src: "10.0.0.1:443", dst: "10.0.0.2:50000", at: 1, flags: syn, packets: 1, octets: 60},
					flow{src: "10.0.0.2:50000", dst: "10.0.0.1:443", at: 2, flags: rst, packets: 1, octets: 40})
				d.tick(1e6)
			},
			want: []string{"t=5001 10.0.0.1:443>10.0.0.2:50000 p6 60/1|40/1 REFUSED FLAGS stitched [1:F 2:R]"},
		},
		{
			name: "a lone SYN+ACK tells its sender as the responder",
			do: func(d *driver) {
				d.push(flow{src: "10.0.0.9:50001", dst: "10.0.0.2:50000", at: 1, flags: synack, packets: 1, octets: 60})
				d.tick(1e6)
			},
			want: []string{"t=5001 10.0.0.2:50000>10.0.0.9:50001 p6 0/0|60/1 ANSWERED FLAGS answered [1:R]"},
		},
		{
			name: "half a handshake",
			do: func(d *driver) {
				d.push(flow{src: "10.0.0.2:50000", dst: "10.0.0.9:22", at: 1, flags: syn | flagRST, packets: 2, octets: 100},
					flow{src: "10.0.0.9:22", dst: "10.0.0.2:50000", at: 1, flags: synack, packets: 1, octets: 60})
				d.tick(1e6)
			},
			want: []string{"t=5001 10.0.0.2:50000>10.0.0.9:22 p6 100/2|60/1 RESET FLAGS answered stitched [1:F 2:R]"},
		},
		{
			name: "another exporter saw it too; its clock does not tell who began",
			do: func(d *driver) {
				other := func(f *flow) { f.exporter = "192.0.2.2" }
				d.push(fwd, with(fwd, other), with(rev, other), rev)
				d.tick(1e6)
			},
			want: []string{"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 CLOSED PORT answered stitched [1:F 2:DF 3:R 4:DR]"},
		},
		{
			name: "metered at ingress and egress of one exporter",
			do: func(d *driver) {
				d.push(with(fwd, func(f *flow) { f.in, f.out = 1, 2 }), with(fwd, func(f *flow) { f.in, f.out, f.at = 1, 3, 150 }))
				d.tick(1e6)
			},
			want: []string{"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:F 2:DF]"},
		},
		{
			name: "the exporter that samples less counts",
			do: func(d *driver) {
				d.push(with(fwd, func(f *flow) { f.sampling, f.octets, f.packets = 100, 100, 1 }),
					with(fwd, func(f *flow) { f.exporter = "192.0.2.2" }))
				d.tick(1e6)
			},
			want: []string{"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:DF 2:F]"},
		},
		{
			name: "sampled: counters are scaled, and nothing is said from what is missing",
			do: func(d *driver) {
				d.push(with(fwd, func(f *flow) { f.sampling, f.flags = 100, flagACK }))
				d.push(flow{src: "10.0.0.3:5000", dst: "10.0.0.4:53", proto: protoUDP, at: 101, octets: 1, packets: 1, sampling: 10})
				d.push(flow{src: "10.0.0.3:5000", dst: "10.0.0.4:445", at: 102, octets: 60, packets: 1, sampling: 10, flags: syn})
				d.tick(1e6)
			},
			want: []string{
				"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 50000/500|0/0 UNKNOWN PORT [1:F]",
				"t=5101 10.0.0.3:5000>10.0.0.4:53 p17 10/10|0/0 UNKNOWN PORT [2:F]",
				"t=5102 10.0.0.3:5000>10.0.0.4:445 p6 600/10|0/0 UNKNOWN FLAGS [3:F]",
			},
		},
		{
			name: "a later slice releases the one that is held",
			do: func(d *driver) {
				d.push(fwd, rev, with(fwd, func(f *flow) { f.at, f.start, f.end, f.octets, f.flags = 1000, 96, 900, 70, flagACK }))
				d.tick(1e6)
			},
			want: []string{
				"t=1000 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 CLOSED TIME answered stitched [1:F 2:R]",
				"t=6000 10.0.0.1:40000>203.0.113.5:443 p6 70/5|0/0 CLOSED TIME answered continuation [3:F]",
			},
		},
		{
			name: "the other direction comes late: same id, same roles",
			do: func(d *driver) {
				d.push(with(fwd, func(f *flow) { f.flags = syn }))
				d.tick(100 + hold)
				d.push(with(rev, func(f *flow) { f.at = 100 + hold; f.flags = synack }))
				d.tick(1e6)
				if a, b := d.out[0].ConversationId, d.out[1].ConversationId; a != b {
					d.t.Errorf("conversation id (-got, +want)\n- %s\n+ %s", b, a)
				}
			},
			want: []string{
				"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 SYN_ONLY FLAGS [1:F]",
				"t=10100 10.0.0.1:40000>203.0.113.5:443 p6 0/0|9000/9 ANSWERED FLAGS answered continuation [2:R]",
			},
		},
		{
			name: "a record at the deadline joins no more, tick or not",
			do: func(d *driver) {
				d.push(fwd, with(rev, func(f *flow) { f.at = 100 + hold }))
				d.tick(1e6)
			},
			want: []string{
				"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:F]",
				"t=10100 10.0.0.1:40000>203.0.113.5:443 p6 0/0|9000/9 CLOSED PORT answered continuation [2:R]",
			},
		},
		{
			name: "the same ends again after the connection was closed",
			do: func(d *driver) {
				d.push(fwd, rev, with(fwd, func(f *flow) { f.at, f.start, f.end, f.flags = 2000, 1500, 1600, syn }))
				d.tick(1e6)
				if a, b := d.out[0].ConversationId, d.out[1].ConversationId; a == b {
					d.t.Errorf("both connections have the id %s", a)
				}
			},
			want: []string{
				"t=2000 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 CLOSED TIME answered stitched [1:F 2:R]",
				"t=7000 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 SYN_ONLY FLAGS [3:F]",
			},
		},
		{
			name: "the same ends again after the idle timeout",
			do: func(d *driver) {
				again := 100 + (10 * time.Minute).Milliseconds()
				d.push(fwd, with(fwd, func(f *flow) { f.at, f.start, f.end = again, again, again }))
				d.tick(1e7)
			},
			want: []string{
				"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:F]",
				"t=605100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [2:F]",
			},
		},
		{
			name: "UDP, answered and not",
			do: func(d *driver) {
				d.push(flow{src: "10.0.0.1:5353", dst: "10.0.0.2:53", proto: protoUDP, at: 1, start: 0, octets: 60, packets: 1},
					flow{src: "10.0.0.2:53", dst: "10.0.0.1:5353", proto: protoUDP, at: 1, start: 1, octets: 200, packets: 1},
					flow{src: "10.0.0.1:40001", dst: "10.0.0.2:53", proto: protoUDP, at: 2, octets: 60, packets: 1},
					flow{src: "10.0.0.1:40001", dst: "239.1.1.1:1900", proto: protoUDP, at: 3, octets: 60, packets: 1})
				d.tick(1e6)
			},
			want: []string{
				"t=5001 10.0.0.1:5353>10.0.0.2:53 p17 60/1|200/1 ANSWERED TIME answered stitched [1:F 2:R]",
				"t=5002 10.0.0.1:40001>10.0.0.2:53 p17 60/1|0/0 UNANSWERED PORT [3:F]",
				"t=5003 10.0.0.1:40001>239.1.1.1:1900 p17 60/1|0/0 UNKNOWN PORT [4:F]",
			},
		},
		{
			name: "pings: the reply came first; both ways at once; unreachable",
			do: func(d *driver) {
				const sent = 1 << 16
				d.push(flow{src: "10.0.0.2:0", dst: "10.0.0.1:0", proto: protoICMP, at: 1, icmp: sent, octets: 84, packets: 1},
					flow{src: "10.0.0.1:0", dst: "10.0.0.2:0", proto: protoICMP, at: 2, icmp: sent | 8<<8, octets: 85, packets: 1},
					flow{src: "10.0.0.2:0", dst: "10.0.0.1:2048", proto: protoICMP, at: 3, octets: 86, packets: 1},
					flow{src: "10.0.0.2:0", dst: "10.0.0.1:0", proto: protoICMP, at: 4, icmp: sent | 3<<8 | 1, octets: 87, packets: 1})
				d.tick(1e6)
			},
			want: []string{
				"t=5001 10.0.0.1:0>10.0.0.2:0 p1 85/1|84/1 ANSWERED FLAGS answered stitched [1:R 2:F]",
				"t=5003 10.0.0.2:0>10.0.0.1:2048 p1 86/1|0/0 UNANSWERED FLAGS [3:F]",
				"t=5004 10.0.0.2:0>10.0.0.1:0 p1 87/1|0/0 UNKNOWN FLAGS [4:F]",
			},
		},
		{
			name: "a biflow, and what another exporter saw of its directions",
			do: func(d *driver) {
				bi := with(fwd, func(f *flow) { f.revOctets, f.revPackets, f.revFlags, f.flags = 9000, 9, flagACK, flagACK })
				d.push(with(rev, func(f *flow) { f.exporter = "192.0.2.2"; f.at = 50 }), bi, with(fwd, func(f *flow) { f.exporter = "192.0.2.2" }))
				d.tick(1e6)
			},
			want: []string{"t=5050 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 ANSWERED EXPORTED answered stitched [1:DR 2:F 3:DF]"},
		},
		{
			name: "a biflow whose source answered",
			do: func(d *driver) {
				d.push(with(rev, func(f *flow) { f.revOctets, f.revPackets, f.biflow, f.revFlags = 500, 5, 2, full }))
				d.tick(1e6)
			},
			want: []string{"t=5200 10.0.0.1:40000>203.0.113.5:443 p6 500/5|9000/9 CLOSED EXPORTED answered stitched [1:R]"},
		},
		{
			name:   "no hold: every record on its own, as one conversation",
			change: func(c *Config) { c.StitchHold = 0 },
			do:     func(d *driver) { d.push(fwd, rev) },
			want: []string{
				"t=100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:F]",
				"t=200 10.0.0.1:40000>203.0.113.5:443 p6 0/0|9000/9 CLOSED PORT answered continuation [2:R]",
			},
		},
		{
			name: "realms stay apart",
			do: func(d *driver) {
				d.push(fwd, with(rev, func(f *flow) { f.realm = "branch" }))
				d.tick(1e6)
			},
			want: []string{
				"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:F]",
				"t=5200 10.0.0.1:40000>203.0.113.5:443 p6 0/0|9000/9 CLOSED PORT answered [2:R]",
			},
		},
		{
			name: "the same datagram by way of two collectors",
			do: func(d *driver) {
				d.push(fwd)
				r := fwd.record(1)
				r.CollectorId = "c2"
				d.pushRecord(r)
				d.tick(1e6, "c1", "c2")
			},
			want: []string{"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:F 1:DF]"},
		},
		{
			name: "a duplicate comes late; the owner's next slice counts; another's path after it, too",
			do: func(d *driver) {
				d.push(fwd)
				d.tick(100 + hold)
				d.push(with(fwd, func(f *flow) { f.at, f.exporter = 100+hold, "192.0.2.2" }),
					with(fwd, func(f *flow) { f.at, f.start, f.end, f.octets, f.flags = 200+hold, 91, 400, 70, flagACK }),
					with(fwd, func(f *flow) { f.at, f.start, f.end, f.exporter = 300+hold, 60, 300, "192.0.2.3" }))
				d.tick(300 + 2*hold)
				d.push(with(fwd, func(f *flow) {
					f.at, f.start, f.end, f.exporter, f.flags = 400+2*hold, 2000, 3000, "192.0.2.2", flagACK
				}))
				d.tick(1e6)
			},
			want: []string{
				"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered [1:F]",
				"t=5100 10.0.0.1:40000>203.0.113.5:443 p6 0/0|0/0 CLOSED PORT answered continuation [2:DF]",
				"t=10200 10.0.0.1:40000>203.0.113.5:443 p6 70/5|0/0 CLOSED PORT answered continuation [3:F 4:DF]",
				"t=15400 10.0.0.1:40000>203.0.113.5:443 p6 500/5|0/0 CLOSED PORT answered continuation [5:F]",
			},
		},
		{
			name: "equal in everything: the lower port listens, and the lower address begins",
			do: func(d *driver) {
				d.push(flow{src: "10.0.0.1:40000", dst: "10.0.0.2:50000", proto: protoUDP, at: 1, octets: 1, packets: 1},
					flow{src: "10.0.0.2:50000", dst: "10.0.0.1:40000", proto: protoUDP, at: 1, octets: 2, packets: 1},
					flow{src: "10.0.0.4:9", dst: "10.0.0.3:9", proto: 47, at: 2, octets: 4, packets: 1},
					flow{src: "10.0.0.3:9", dst: "10.0.0.4:9", proto: 47, at: 2, octets: 3, packets: 1})
				d.tick(1e6)
			},
			want: []string{
				"t=5001 10.0.0.2:50000>10.0.0.1:40000 p17 2/1|1/1 ANSWERED GUESS answered stitched [1:R 2:F]",
				"t=5002 10.0.0.3:9>10.0.0.4:9 p47 3/1|4/1 ANSWERED GUESS answered stitched [3:R 4:F]",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDriver(t, tc.change)
			tc.do(d)
			diff(t, d.texts(), tc.want)
		})
	}
}
