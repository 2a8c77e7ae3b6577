package detector

import (
	"fmt"
	"slices"
)

// index finds the rules whose filter may hold for a protocol and a responder's
// port. Protocols and ports that no rule can tell apart are one class, so that
// a flow pays only for rules that name its port, or none.
type index struct {
	protocol [256]uint8
	port     []uint16 // by port
	classes  int      // of ports
	rules    [][]*program
}

func newIndex(programs []*program) *index {
	x := &index{port: make([]uint16, 1<<16)}
	classify := func(n int, of func(*program) []int64, assign func(value, class int)) (classes [][]int64) {
		known := make(map[string]int)
		for v := range n {
			var signature []int
			for i, p := range programs {
				if values := of(p); values != nil && slices.Contains(values, int64(v)) {
					signature = append(signature, i)
				}
			}
			name := fmt.Sprint(signature)
			class, ok := known[name]
			if !ok {
				class = len(classes)
				known[name] = class
				classes = append(classes, nil)
			}
			classes[class] = append(classes[class], int64(v))
			assign(v, class)
		}
		return classes
	}
	protocols := classify(256, func(p *program) []int64 { return p.protocols }, func(v, c int) { x.protocol[v] = uint8(c) })
	ports := classify(1<<16, func(p *program) []int64 { return p.ports }, func(v, c int) { x.port[v] = uint16(c) })
	x.classes = len(ports)
	for _, protocol := range protocols {
		for _, port := range ports {
			var list []*program
			for _, p := range programs {
				if (p.protocols == nil || slices.Contains(p.protocols, protocol[0])) &&
					(p.ports == nil || slices.Contains(p.ports, port[0])) {
					list = append(list, p)
				}
			}
			x.rules = append(x.rules, list)
		}
	}
	return x
}

func (x *index) candidates(f *flow) []*program {
	protocol, port := uint8(f.Flow.ProtocolIdentifier), uint16(f.Flow.DestinationTransportPort)
	return x.rules[int(x.protocol[protocol])*x.classes+int(x.port[port])]
}
