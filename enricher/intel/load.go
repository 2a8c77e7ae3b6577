package intel

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/gaissmai/bart"

	"github.com/weir-flow/weir/schemas"
)

// Feed is a list of indicators in a file.
type Feed struct {
	// Name of the feed, as it stands in the hits.
	Name string `yaml:"name"`
	// File to read; it is read again when it changes.
	File string `yaml:"file"`
	// Format: text (an address, network or name per line; "#" and ";" begin
	// comments) or csv (a header line names the columns). Default text.
	Format string `yaml:"format"`
	// Column of the csv that holds the indicator. Default: the first of
	// indicator, ioc, value, dst_ip, ip, address, network, domain, host.
	Column string `yaml:"column"`
	// Category of all its indicators (tor, c2, spam, scanner ...), where the
	// file has no column category.
	Category string `yaml:"category"`
	// Confidence of all its indicators, 0 to 100, where the file has no column
	// confidence. Default 50.
	Confidence int `yaml:"confidence"`
	// TLP marking: CLEAR, GREEN, AMBER, AMBER+STRICT or RED. Default CLEAR.
	TLP string `yaml:"tlp"`
}

var markings = []string{"CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED"}

// Validate checks a feed without opening its file.
func (f Feed) Validate() error {
	switch {
	case f.Name == "":
		return errors.New("name: missing")
	case f.File == "":
		return errors.New("file: missing")
	case f.Format != "" && f.Format != "text" && f.Format != "csv":
		return fmt.Errorf("format: %q is neither text nor csv", f.Format)
	case f.Column != "" && f.Format != "csv":
		return errors.New("column: only a csv has columns")
	case f.Confidence < 0 || f.Confidence > 100:
		return fmt.Errorf("confidence: %d is not within 0 to 100", f.Confidence)
	case f.TLP != "" && !slices.Contains(markings, f.TLP):
		return fmt.Errorf("tlp: %q is none of %s", f.TLP, strings.Join(markings, ", "))
	}
	return nil
}

// FileError says which feed cannot be used, and why.
type FileError struct {
	Feed, File string
	// Line is counted from 1; 0 when the error is not of one line.
	Line int
	Err  error
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("intelligence feed %s, file %s: %v", e.Feed, e.File, e.Err)
	}
	return fmt.Sprintf("intelligence feed %s, file %s:%d: %v", e.Feed, e.File, e.Line, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Stats counts what became of a feed's entries.
type Stats struct {
	// Networks and Names were taken.
	Networks, Names int
	// Internal lie within the internal networks, or hold some of them; Broad
	// are networks wider than /8 (IPv6: /19), or names of one label;
	// Invalid are neither address, network nor name. None of them is taken:
	// a feed by mistake or malice must not turn a site against itself.
	Internal, Broad, Invalid int
}

// Refused returns how many entries were not taken.
func (s Stats) Refused() int { return s.Internal + s.Broad + s.Invalid }

// Load reads the feeds. internal are the site's own networks. It returns what
// was taken and refused by feed, in their order. Errors are *FileError: a file
// that cannot be read, or of which nothing at all could be taken though it has
// entries (it is not what it is said to be).
func Load(feeds []Feed, internal *bart.Lite) (*Set, []Stats, error) {
	b := builder{
		internal: internal, index: map[schemas.Indicator]uint32{},
		sets: [][]uint32{nil}, grown: map[growth]uint32{},
		networks: map[netip.Prefix]uint32{}, names: map[uint64]uint32{},
	}
	stats := make([]Stats, len(feeds))
	for i, f := range feeds {
		if err := b.read(f, &stats[i]); err != nil {
			return nil, nil, err
		}
		if s := stats[i]; s.Networks+s.Names == 0 && s.Invalid > 0 {
			return nil, nil, &FileError{Feed: f.Name, File: f.File, Err: fmt.Errorf("none of its %d entries is an address, a network or a name; check format and column", s.Invalid)}
		}
	}
	return b.build(), stats, nil
}

type builder struct {
	internal    *bart.Lite
	index       map[schemas.Indicator]uint32
	descriptors []*schemas.Indicator
	// What is said of one network or name is a set of descriptors. Millions
	// of them share few sets, the first of which is empty.
	sets     [][]uint32
	grown    map[growth]uint32
	networks map[netip.Prefix]uint32
	names    map[uint64]uint32 // with the parents of what is listed
	listed   int
}

// growth is a set and the descriptor that is added to it.
type growth struct{ set, descriptor uint32 }

// grow returns the set that has a descriptor besides what a set has.
func (b *builder) grow(set uint32, d uint32) uint32 {
	g := growth{set, d}
	if i, ok := b.grown[g]; ok {
		return i
	}
	i := set
	if !slices.Contains(b.sets[set], d) {
		i = uint32(len(b.sets))
		b.sets = append(b.sets, append(slices.Clone(b.sets[set]), d))
	}
	b.grown[g] = i
	return i
}

// descriptor returns the number of an indicator without its text.
func (b *builder) descriptor(d schemas.Indicator) uint32 {
	i, ok := b.index[d]
	if !ok {
		i = uint32(len(b.descriptors))
		b.index[d] = i
		b.descriptors = append(b.descriptors, &d)
	}
	return i
}

func (b *builder) read(f Feed, s *Stats) error {
	file, err := os.Open(f.File)
	if err != nil {
		return &FileError{Feed: f.Name, File: f.File, Err: err}
	}
	defer file.Close()
	d := schemas.Indicator{Feed: f.Name, Category: f.Category, Confidence: int32(f.Confidence), Tlp: f.TLP}
	if d.Confidence == 0 {
		d.Confidence = 50
	}
	if d.Tlp == "" {
		d.Tlp = "CLEAR"
	}
	if f.Format == "csv" {
		return b.readCSV(f, file, d, s)
	}
	lines := bufio.NewScanner(file)
	n := 0
	for lines.Scan() {
		n++
		text := lines.Text()
		if i := strings.IndexAny(text, "#;"); i >= 0 {
			text = text[:i]
		}
		if fields := strings.Fields(text); len(fields) > 0 {
			b.add(fields[0], d, s)
		}
	}
	if err := lines.Err(); err != nil {
		return &FileError{f.Name, f.File, n + 1, err}
	}
	return nil
}

var columns = []string{"indicator", "ioc", "value", "dst_ip", "ip", "address", "network", "domain", "host"}

func (b *builder) readCSV(f Feed, file io.Reader, d schemas.Indicator, s *Stats) error {
	r := csv.NewReader(file)
	r.Comment, r.TrimLeadingSpace, r.FieldsPerRecord, r.ReuseRecord = '#', true, -1, true
	header, err := r.Read()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return &FileError{Feed: f.Name, File: f.File, Err: err}
	}
	find := func(names ...string) int {
		for _, name := range names {
			if i := slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) }); i >= 0 {
				return i
			}
		}
		return -1
	}
	at := find(columns...)
	if f.Column != "" {
		at = find(f.Column)
	}
	if at < 0 {
		return &FileError{f.Name, f.File, 1, fmt.Errorf("no column with the indicators in %s: name it in column", strings.Join(header, ", "))}
	}
	category, confidence, tlp := find("category"), find("confidence", "confidence_level"), find("tlp")
	for {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &FileError{Feed: f.Name, File: f.File, Err: err}
		}
		if at >= len(row) {
			s.Invalid++
			continue
		}
		one := d
		if category >= 0 && category < len(row) && row[category] != "" {
			one.Category = strings.Clone(strings.TrimSpace(row[category]))
		}
		if confidence >= 0 && confidence < len(row) {
			if v, err := strconv.Atoi(strings.TrimSpace(row[confidence])); err == nil && v >= 0 && v <= 100 {
				one.Confidence = int32(v)
			}
		}
		if tlp >= 0 && tlp < len(row) {
			if v := strings.ToUpper(strings.TrimSpace(row[tlp])); slices.Contains(markings, v) {
				one.Tlp = strings.Clone(v)
			}
		}
		b.add(strings.TrimSpace(row[at]), one, s)
	}
}

// add takes one entry: an address, a network, an address with a port, a name.
func (b *builder) add(text string, d schemas.Indicator, s *Stats) {
	var p netip.Prefix
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		p = netip.PrefixFrom(a, a.BitLen())
	} else if ap, err := netip.ParseAddrPort(text); err == nil {
		a := ap.Addr().Unmap().WithZone("")
		p = netip.PrefixFrom(a, a.BitLen())
	} else if p, err = netip.ParsePrefix(text); err == nil {
		p = p.Masked()
	}
	if !p.IsValid() {
		b.addName(text, d, s)
		return
	}
	switch {
	case p.Addr().Is4() && p.Bits() < 8, p.Addr().Is6() && p.Bits() < 19:
		s.Broad++
		return
	case b.internal != nil && b.internal.OverlapsPrefix(p):
		s.Internal++
		return
	}
	d.Type = TypeIPv4
	if p.Addr().Is6() {
		d.Type = TypeIPv6
	}
	s.Networks++
	b.networks[p] = b.grow(b.networks[p], b.descriptor(d))
}

func (b *builder) addName(text string, d schemas.Indicator, s *Stats) {
	name := string(lower(make([]byte, 0, len(text)), trimName(strings.TrimPrefix(text, "*."))))
	if !isName(name) {
		s.Invalid++
		return
	}
	if !strings.Contains(name, ".") {
		s.Broad++
		return
	}
	d.Type = TypeDomain
	s.Names++
	h := uint64(nameSeed)
	for end := len(name); end > 0; {
		start := strings.LastIndexByte(name[:end], '.') + 1
		h = nameHash(h, xxhash.Sum64String(name[start:end]))
		b.names[h] += 0 // the parents are the way to the name
		end = start - 1
	}
	if b.names[h] == 0 {
		b.listed++
	}
	b.names[h] = b.grow(b.names[h], b.descriptor(d))
}

// isName checks a name in lower case.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c >= 0x80:
			default:
				return false
			}
		}
	}
	return true
}

// build resolves what each network inherits from those around it, so that a
// lookup is one longest-prefix match.
func (b *builder) build() *Set {
	s := &Set{names: newNameTable(len(b.names)), listed: b.listed, hits: [][]Hit{nil}}
	sets := map[string]uint32{"": 0}
	intern := func(hits []Hit, key []byte) uint32 {
		i, ok := sets[string(key)]
		if !ok {
			i = uint32(len(s.hits))
			sets[string(key)] = i
			s.hits = append(s.hits, hits)
		}
		return i
	}
	appendHits := func(hits []Hit, key []byte, set uint32, bits int) ([]Hit, []byte) {
		for _, d := range b.sets[set] {
			hits = append(hits, Hit{Indicator: b.descriptors[d], Bits: bits})
			key = append(key, byte(bits), byte(d>>24), byte(d>>16), byte(d>>8), byte(d))
		}
		return hits, key
	}
	for p := range b.networks {
		s.networks.Insert(p, 0)
	}
	for p := range b.networks {
		var hits []Hit
		var key []byte
		for outer := range s.networks.Supernets(p) { // with p itself, longest first
			hits, key = appendHits(hits, key, b.networks[outer], outer.Bits())
		}
		s.networks.Insert(p, intern(hits, key))
	}
	for h, set := range b.names {
		hits, key := appendHits(nil, nil, set, 0)
		s.names.put(h, intern(hits, key))
	}
	return s
}
