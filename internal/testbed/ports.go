package testbed

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// Ports are taken from below the range that the kernel gives to outgoing
// connections, one of which could otherwise sit on a port between our look
// and the server's bind, or while a killed server is down.
const portsFrom, portsTo = 20000, 32000

// freePorts returns n distinct loopback ports on which nothing listens.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for try := 0; len(ports) < n && try < 1000; try++ {
		port := portsFrom + rand.IntN(portsTo-portsFrom)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		// Held until all are found, so that they are distinct.
		defer l.Close()
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("no %d free ports on 127.0.0.1 between %d and %d", n, portsFrom, portsTo)
	}
	return ports, nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// listening reports whether something accepts connections on the port.
func listening(port int) bool {
	conn, err := net.DialTimeout("tcp", address(port), time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
