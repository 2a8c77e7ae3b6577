package detector

import (
	"fmt"
	"maps"
	"slices"
)

// index finds the rules whose filter may hold for a protocol and a responder's
// port. Protocols and ports that no rule can tell apart are one class, so that
// a flow pays only for rules that name its port, or none.
type index struct {
	protocol [256]uint16
	port     []uint32 // by port
	classes  int      // of ports
	rules    [][]*program
}

// unnamed is a protocol or port that no rule names: class 0.
const unnamed = -1

func newIndex(programs []*program) *index {
	x := &index{port: make([]uint32, 1<<16)}
	protocols := classify(programs, 255, func(p *program) []int64 { return p.protocols }, func(v int64, class int) { x.protocol[v] = uint16(class) })
	ports := classify(programs, 1<<16-1, func(p *program) []int64 { return p.ports }, func(v int64, class int) { x.port[v] = uint32(class) })
	x.classes = len(ports)
	for _, protocol := range protocols {
		for _, port := range ports {
			var list []*program
			for _, p := range programs {
				if (p.protocols == nil || slices.Contains(p.protocols, protocol)) && (p.ports == nil || slices.Contains(p.ports, port)) {
					list = append(list, p)
				}
			}
			x.rules = append(x.rules, list)
		}
	}
	return x
}

// classify puts the values up to most that programs name into classes of those
// that the same programs name, and returns one value of each class.
func classify(programs []*program, most int64, of func(*program) []int64, assign func(value int64, class int)) (examples []int64) {
	named := make(map[int64][]int)
	for i, p := range programs {
		for _, v := range of(p) {
			if v >= 0 && v <= most {
				named[v] = append(named[v], i)
			}
		}
	}
	examples = []int64{unnamed}
	classes := make(map[string]int)
	for _, v := range slices.Sorted(maps.Keys(named)) {
		signature := fmt.Sprint(named[v])
		class, known := classes[signature]
		if !known {
			class = len(examples)
			classes[signature] = class
			examples = append(examples, v)
		}
		assign(v, class)
	}
	return examples
}

func (x *index) candidates(f *flow) []*program {
	protocol, port := uint8(f.Flow.ProtocolIdentifier), uint16(f.Flow.DestinationTransportPort)
	return x.rules[int(x.protocol[protocol])*x.classes+int(x.port[port])]
}
