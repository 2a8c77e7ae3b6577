// Package service names the service behind a transport port.
package service

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed services.txt
var list string

const (
	protoTCP = 6
	protoUDP = 17
)

// Table names services. It is immutable and safe for concurrent use.
type Table struct {
	names []string // the first is empty: no service
	tcp   [1 << 16]uint16
	udp   [1 << 16]uint16
}

// New returns the table of common services.
func New() (*Table, error) { return parse(list) }

func parse(text string) (*Table, error) {
	t := &Table{names: []string{""}}
	index := map[string]uint16{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("service %q: want name, port and protocol", line)
		}
		name, proto := fields[0], fields[2]
		port, err := strconv.ParseUint(fields[1], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("service %q: %w", line, err)
		}
		i, ok := index[name]
		if !ok {
			i = uint16(len(t.names))
			index[name] = i
			t.names = append(t.names, name)
		}
		switch proto {
		case "tcp":
			t.tcp[port] = i
		case "udp":
			t.udp[port] = i
		default:
			return nil, fmt.Errorf("service %q: protocol %q is neither tcp nor udp", line, proto)
		}
	}
	return t, nil
}

// Name returns the service of a port of an IP protocol (6 TCP, 17 UDP), empty
// when none is known.
func (t *Table) Name(protocol uint8, port uint16) string {
	switch protocol {
	case protoTCP:
		return t.names[t.tcp[port]]
	case protoUDP:
		return t.names[t.udp[port]]
	}
	return ""
}

// Known reports whether a port has a service.
func (t *Table) Known(protocol uint8, port uint16) bool { return t.Name(protocol, port) != "" }
