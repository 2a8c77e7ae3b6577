package generator

import "net/netip"

// zone is where a host is attached. Exporters sit between zones.
type zone uint8

const (
	internet zone = iota
	hqEast        // headquarters, the part routed through the campus core
	hqWest        // headquarters, the part with a shorter way to the edge
	guest         // guest network at headquarters
	dataCentre
	dmz
	branchA
	branchB
	zones
)

// group is a range of hosts of one kind.
type group struct {
	name  string
	role  string
	zone  zone
	first uint32 // network the hosts are numbered from, .2 to .251 of each /24
	size  int
	v6    uint64 // upper half of the IPv6 network, zero without IPv6
}

func (g group) host(i int) address {
	return v4(g.first + uint32(i/250)<<8 + uint32(i%250) + 2)
}

// host6 numbers the IPv6 subnets like the IPv4 ones.
func (g group) host6(i int) address {
	return address{g.v6 | uint64(i/250), uint64(0x100 + i%250 + 2)}
}

// endpoint is a host with its place.
type endpoint struct {
	addr address
	zone zone
	as   uint32 // of an Internet host
}

func (g group) at(i int) endpoint { return endpoint{addr: g.host(i), zone: g.zone} }

// enterprise is the layout for a number of hosts.
type enterprise struct {
	workstationsEast, workstationsWest, workstationsA, workstationsB group
	guests                                                           group
	applications, databases                                          group
	printers, cameras                                                []group
}

func newEnterprise(hosts int) enterprise {
	share := func(perMille int) int { return max(hosts*perMille/1000, 2) }
	ws := func(name string, z zone, b, c byte, perMille int, v6 uint64) group {
		return group{name, "workstation", z, v4bits(10, b, c, 0), share(perMille), v6}
	}
	return enterprise{
		workstationsEast: ws("workstations-east", hqEast, 10, 0, 320, 0xfd00_0010_0010_0000),
		workstationsWest: ws("workstations-west", hqWest, 11, 0, 180, 0xfd00_0010_0011_0000),
		workstationsA:    ws("workstations-branch-a", branchA, 40, 0, 130, 0),
		workstationsB:    ws("workstations-branch-b", branchB, 50, 0, 100, 0),
		guests:           group{"guests", "guest", guest, v4bits(10, 14, 0, 0), share(100), 0},
		applications:     group{"applications", "server", dataCentre, v4bits(10, 20, 8, 0), min(share(40), 1000), 0},
		databases:        group{"databases", "server", dataCentre, v4bits(10, 20, 12, 0), min(share(30), 1000), 0},
		printers: []group{
			{"printers-hq", "printer", hqEast, v4bits(10, 12, 0, 0), share(20), 0},
			{"printers-branch-a", "printer", branchA, v4bits(10, 41, 0, 0), share(10), 0},
			{"printers-branch-b", "printer", branchB, v4bits(10, 51, 0, 0), share(10), 0},
		},
		cameras: []group{
			{"cameras-hq", "camera", hqEast, v4bits(10, 13, 0, 0), share(30), 0},
			{"cameras-branch-a", "camera", branchA, v4bits(10, 42, 0, 0), share(15), 0},
			{"cameras-branch-b", "camera", branchB, v4bits(10, 52, 0, 0), share(15), 0},
		},
	}
}

func v4bits(a, b, c, d byte) uint32 { return uint32(a)<<24 | uint32(b)<<16 | uint32(c)<<8 | uint32(d) }

func (e *enterprise) groups() []group {
	all := []group{e.workstationsEast, e.workstationsWest, e.workstationsA, e.workstationsB,
		e.guests, e.applications, e.databases}
	return append(append(all, e.printers...), e.cameras...)
}

// anyWorkstation picks by the size of the groups.
func (e *enterprise) anyWorkstation(r random) (group, int) {
	i := r.IntN(e.workstationsEast.size + e.workstationsWest.size + e.workstationsA.size + e.workstationsB.size)
	for _, g := range []group{e.workstationsEast, e.workstationsWest, e.workstationsA} {
		if i < g.size {
			return g, i
		}
		i -= g.size
	}
	return e.workstationsB, i
}

// Servers with an address of their own, the same in every run.
var (
	dns1       = inDataCentre(0, 53)
	dns2       = inDataCentre(0, 54)
	ntp1       = inDataCentre(0, 123)
	ntp2       = inDataCentre(0, 124)
	mailRelay  = inDataCentre(0, 25)
	mailStore  = inDataCentre(0, 26)
	directory1 = inDataCentre(0, 10)
	directory2 = inDataCentre(0, 11)
	monitor    = inDataCentre(0, 60)
	recorder   = inDataCentre(0, 70)
	backup     = inDataCentre(16, 10)
	scanner    = inDataCentre(250, 10)
	webShop    = inDMZ(80)
	webNews    = inDMZ(81)
	newsletter = inDMZ(25)
	mailIn     = inDMZ(26)
)

func inDataCentre(c, d byte) endpoint { return endpoint{addr: v4Parts(10, 20, c, d), zone: dataCentre} }
func inDMZ(d byte) endpoint           { return endpoint{addr: v4Parts(10, 30, 0, d), zone: dmz} }

const fileServers = 8

func fileServer(i int) endpoint { return inDataCentre(17, byte(10+i)) }

// Asset is a host that the enterprise has registered. What is not registered
// as a mail sender or a scanner has no business to be one.
type Asset struct {
	Address     netip.Addr `json:"address"`
	Name        string     `json:"name"`
	Role        string     `json:"role"` // scanner, mailgw, dns, ntp, monitor, backup, directory, fileserver, web, recorder
	Owner       string     `json:"owner"`
	Criticality string     `json:"criticality"` // low, medium, high
}

// Assets returns the registered hosts. The list is the same in every run.
func Assets() []Asset {
	a := func(e endpoint, name, role, owner, criticality string) Asset {
		return Asset{e.addr.addr(), name + ".halden.example", role, owner, criticality}
	}
	list := []Asset{
		a(dns1, "dns1", "dns", "network", "high"),
		a(dns2, "dns2", "dns", "network", "high"),
		a(ntp1, "ntp1", "ntp", "network", "medium"),
		a(ntp2, "ntp2", "ntp", "network", "medium"),
		a(mailRelay, "relay", "mailgw", "messaging", "high"),
		a(mailStore, "mail", "mailgw", "messaging", "high"),
		a(mailIn, "mx", "mailgw", "messaging", "high"),
		a(newsletter, "newsletter", "mailgw", "marketing", "medium"),
		a(directory1, "dc1", "directory", "identity", "high"),
		a(directory2, "dc2", "directory", "identity", "high"),
		a(monitor, "nms", "monitor", "network", "medium"),
		a(recorder, "nvr", "recorder", "facilities", "medium"),
		a(backup, "backup", "backup", "storage", "high"),
		a(scanner, "vulnscan", "scanner", "security", "medium"),
		a(webShop, "shop", "web", "sales", "high"),
		a(webNews, "news", "web", "marketing", "medium"),
	}
	for i := range fileServers {
		list = append(list, a(fileServer(i), "files"+string(rune('1'+i)), "fileserver", "storage", "high"))
	}
	return list
}

// Group is a network of hosts of one kind, for asset files and policies.
type Group struct {
	Prefix netip.Prefix `json:"prefix"`
	Name   string       `json:"name"`
	Role   string       `json:"role"` // workstation, guest, server, printer, camera
}

// Groups returns the enterprise's networks of workstations, guests, servers,
// printers and cameras. The list is the same in every run.
func Groups() []Group {
	bits := map[string]int{"workstation": 16, "guest": 16, "server": 22, "printer": 16, "camera": 16}
	e := newEnterprise(MinHosts)
	var out []Group
	for _, g := range e.groups() {
		p := netip.PrefixFrom(v4(g.first).addr(), bits[g.role])
		out = append(out, Group{p, g.name, g.role})
		if g.v6 != 0 {
			out = append(out, Group{netip.PrefixFrom(address{hi: g.v6}.addr(), 48), g.name, g.role})
		}
	}
	return out
}
