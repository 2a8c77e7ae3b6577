package generator

import (
	"net/netip"
	"strconv"
)

// Network is a part of the Internet as the generator imagines it. The
// prefixes are real address space, so that filters for private and reserved
// addresses treat them as public; the names, numbers and countries are
// invented. AS numbers are private ones that fit NetFlow v5's 16 bits.
type Network struct {
	Prefix  netip.Prefix `json:"prefix"`
	AS      uint32       `json:"as"`
	Name    string       `json:"name"`
	Country string       `json:"country"` // ISO 3166-1 alpha-2
}

// Internet returns the networks that all Internet peers come from, to make a
// geolocation database for the generated traffic. The list is the same in
// every run.
func Internet() []Network {
	var out []Network
	for i := range networkCount {
		out = append(out, Network{
			Prefix:  netip.PrefixFrom(v4(networkBase(i)).addr(), 16),
			AS:      networkAS(i),
			Name:    networkNames[i%len(networkNames)] + " " + strconv.Itoa(i/len(networkNames)+1),
			Country: networkCountries[i%len(networkCountries)],
		}, Network{
			Prefix:  netip.PrefixFrom(address{hi: network6(i)}.addr(), 48),
			AS:      networkAS(i),
			Name:    networkNames[i%len(networkNames)] + " " + strconv.Itoa(i/len(networkNames)+1),
			Country: networkCountries[i%len(networkCountries)],
		})
	}
	return out
}

const networkCount = 96

var (
	networkNames     = []string{"Larkspur Hosting", "Meridian Cloud", "Tidewater Broadband", "Alder Mobile", "Basalt Transit", "Copperline Cable", "Dovetail CDN", "Estuary University"}
	networkCountries = []string{"US", "DE", "NL", "FR", "GB", "SE", "JP", "BR", "IN", "CA", "PL", "ES", "AU", "ZA", "KR", "SG", "IT", "MX", "RO", "UA", "TR"}
	// networkFirst are /8s that are allocated, public and not special.
	networkFirst = []byte{5, 23, 31, 37, 45, 46, 62, 77, 80, 91, 104, 109, 128, 151, 176, 185, 193, 195, 199, 212}
)

func networkBase(i int) uint32 {
	return v4bits(networkFirst[i%len(networkFirst)], byte(16+i*37%200), 0, 0)
}

func networkAS(i int) uint32 { return 64600 + uint32(i) }

func network6(i int) uint64 { return 0x2001_0db8_0000_0000 | uint64(i+1)<<16 }

// somebody is a host anywhere on the Internet.
func somebody(r random) endpoint {
	i := r.IntN(networkCount)
	return endpoint{addr: v4(networkBase(i) | uint32(r.between(256, 65000))), zone: internet, as: networkAS(i)}
}

// site is a service on the Internet, at the same addresses in every run.
type site struct {
	name  name
	host  endpoint
	host6 endpoint // no address without IPv6
}

// name is an index into names, so that conversations carry no pointers.
type name uint32

// names holds the strings that exporters put in layer-7 elements.
type names struct{ list []string }

func (n *names) add(s string) name {
	n.list = append(n.list, s)
	return name(len(n.list) - 1)
}

func (n *names) get(i name) string { return n.list[i] }

// world is the Internet and the strings of a run.
type world struct {
	names
	sites     []site
	mx        []site // mail exchangers
	queries   []name // names of the enterprise's own hosts
	agents    []name // HTTP user agents
	targets   []name // HTTP request targets
	ja3       []name // client fingerprints
	updates   site
	telemetry site // where the cameras report
	cloud     site // off-site backup
	timePool  []endpoint
}

const (
	siteCount = 500
	mxCount   = 700
)

func newWorld() *world {
	w := &world{}
	r := newRandom(0x5EED, "internet") // not the run's: services stay where they are
	first := []string{"amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "hazel", "indigo", "juniper", "kelp", "lumen", "maple", "nimbus", "onyx", "prism", "quartz", "river", "slate", "topaz", "umber", "velvet", "willow", "zephyr"}
	second := []string{"works", "media", "mart", "cloud", "press", "labs", "market", "video", "bank", "travel", "games", "notes", "radio", "supply", "metrics", "maps", "social", "learn", "health", "auto", "forum"}
	domain := func(i int) string {
		return first[i%len(first)] + second[i/len(first)%len(second)] + ".example"
	}
	for i := range siteCount {
		s := site{name: w.add("www." + domain(i)), host: somebody(r)}
		if i%3 == 0 {
			n := int(s.host.as - networkAS(0))
			s.host6 = endpoint{addr: address{network6(n), uint64(i + 1)}, zone: internet, as: s.host.as}
		}
		w.sites = append(w.sites, s)
	}
	for i := range mxCount {
		w.mx = append(w.mx, site{name: w.add("mx" + strconv.Itoa(i/siteCount+1) + "." + domain(i%siteCount)), host: somebody(r)})
	}
	for _, h := range []string{"intranet", "mail", "files1", "files2", "dc1", "wiki", "erp", "print", "proxy", "wpad", "vpn", "crm"} {
		w.queries = append(w.queries, w.add(h+".halden.example"))
	}
	for _, s := range []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
		"curl/8.14.1",
	} {
		w.agents = append(w.agents, w.add(s))
	}
	for _, s := range []string{"/", "/index.html", "/favicon.ico", "/static/app.js", "/api/v2/items?page=2", "/feed.xml", "/images/banner.png", "/search?q=flow+export"} {
		w.targets = append(w.targets, w.add(s))
	}
	for range 6 {
		w.ja3 = append(w.ja3, w.add(hexDigest(r)))
	}
	w.updates = site{name: w.add("updates.osvendor.example"), host: somebody(r)}
	w.telemetry = site{name: w.add("devices.lenswright.example"), host: somebody(r)}
	w.cloud = site{name: w.add("vault.meridiancloud.example"), host: somebody(r)}
	for range 4 {
		w.timePool = append(w.timePool, somebody(r))
	}
	return w
}

// hexDigest looks like an MD5 digest, which is what a JA3 fingerprint is.
func hexDigest(r random) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 32)
	for i := range b {
		b[i] = digits[r.IntN(16)]
	}
	return string(b)
}

// TorRelays returns the addresses and ports of the relays that the tor
// scenario connects to. The list is the same in every run: an intelligence
// list for tests and demonstrations can name them. They are no real relays.
func TorRelays() []netip.AddrPort {
	var out []netip.AddrPort
	for _, t := range torRelays() {
		out = append(out, netip.AddrPortFrom(t.host.addr.addr(), t.port))
	}
	return out
}

type torRelay struct {
	host endpoint
	port uint16
}

func torRelays() []torRelay {
	r := newRandom(0x5EED, "tor relays")
	var out []torRelay
	for i := range 40 {
		out = append(out, torRelay{somebody(r), []uint16{9001, 9001, 443, 9001, 9030}[i%5]})
	}
	return out
}
