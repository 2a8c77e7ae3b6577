// Package asset looks up what the inventory says of an address.
package asset

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gaissmai/bart"
	"go.yaml.in/yaml/v3"

	"github.com/weir-flow/weir/schemas"
)

// FileError says which inventory cannot be used, where, and why.
type FileError struct {
	File string
	// Line is counted from 1; 0 when the error is not of one line.
	Line int
	Err  error
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("assets file %s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("assets file %s:%d: %v", e.File, e.Line, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Table is an inventory, immutable and safe for concurrent use.
type Table struct{ networks bart.Table[*schemas.Asset] }

// Load reads the inventories; a network that stands in several is taken from
// the last. Files that end in .csv have a header line with the columns
// address, id, name, roles (separated by ";"), owner, group and criticality,
// in any order; others are YAML: a list, or a list under the key assets, of
// mappings with those keys (roles a list, address one or a list).
// Errors are *FileError.
func Load(files []string) (*Table, error) {
	t := &Table{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, &FileError{File: file, Err: err}
		}
		if strings.EqualFold(filepath.Ext(file), ".csv") {
			err = t.parseCSV(raw)
		} else {
			err = t.parseYAML(raw)
		}
		if err != nil {
			var fe *FileError
			if !errors.As(err, &fe) {
				fe = &FileError{Err: err}
			}
			fe.File = file
			return nil, fe
		}
	}
	return t, nil
}

// Lookup returns the asset of the longest network that holds the address, nil
// when there is none. The asset is shared: it must not be changed.
func (t *Table) Lookup(a netip.Addr) *schemas.Asset {
	v, _ := t.networks.Lookup(a.Unmap())
	return v
}

// Len returns the number of networks.
func (t *Table) Len() int { return t.networks.Size() }

func (t *Table) insert(address string, a *schemas.Asset) error {
	p, err := parsePrefix(address)
	if err != nil {
		return err
	}
	t.networks.Insert(p, a)
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("address: %q is neither an address nor a network", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("address: %q is neither an address nor a network", s)
	}
	return p.Masked(), nil
}

var criticalities = []string{"unknown", "low", "medium", "high", "critical"}

// parseCriticality reads 0 to 4 or its word.
func parseCriticality(s string) (int32, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" {
		return 0, nil
	}
	if i := slices.Index(criticalities, s); i >= 0 {
		return int32(i), nil
	}
	if i, err := strconv.Atoi(s); err == nil && i >= 0 && i < len(criticalities) {
		return int32(i), nil
	}
	return 0, fmt.Errorf("criticality: %q is none of %s, or 0 to 4", s, strings.Join(criticalities, ", "))
}

// list reads one value or a list of them.
type list []string

func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = list{n.Value}
		return nil
	}
	return n.Decode((*[]string)(l))
}

type item struct {
	Address     list   `yaml:"address"`
	ID          string `yaml:"id"`
	Name        string `yaml:"name"`
	Roles       list   `yaml:"roles"`
	Owner       string `yaml:"owner"`
	Group       string `yaml:"group"`
	Criticality string `yaml:"criticality"`
}

func (t *Table) parseYAML(raw []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return err
	}
	if len(doc.Content) == 0 {
		return nil // an empty file is an empty inventory
	}
	items := doc.Content[0]
	if items.Kind == yaml.MappingNode {
		if len(items.Content) != 2 || items.Content[0].Value != "assets" {
			return &FileError{Line: items.Line, Err: errors.New("want a list of assets, or the one key assets with such a list")}
		}
		items = items.Content[1]
	}
	if items.Kind != yaml.SequenceNode {
		return &FileError{Line: items.Line, Err: errors.New("want a list of assets")}
	}
	for _, n := range items.Content {
		var it item
		// Unknown keys are typing errors, and only a decoder with
		// KnownFields says so; a node on its own has no such switch.
		if err := knownKeys(n); err != nil {
			return &FileError{Line: n.Line, Err: err}
		}
		if err := n.Decode(&it); err != nil {
			return &FileError{Line: n.Line, Err: err}
		}
		a := &schemas.Asset{Id: it.ID, Name: it.Name, Roles: it.Roles, Owner: it.Owner, Group: it.Group}
		var err error
		if a.Criticality, err = parseCriticality(it.Criticality); err != nil {
			return &FileError{Line: n.Line, Err: err}
		}
		if len(it.Address) == 0 {
			return &FileError{Line: n.Line, Err: errors.New("address: missing")}
		}
		for _, address := range it.Address {
			if err := t.insert(address, a); err != nil {
				return &FileError{Line: n.Line, Err: err}
			}
		}
	}
	return nil
}

var keys = []string{"address", "id", "name", "roles", "owner", "group", "criticality"}

func knownKeys(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("an asset is a mapping with the key address")
	}
	for i := 0; i < len(n.Content); i += 2 {
		if !slices.Contains(keys, n.Content[i].Value) {
			return fmt.Errorf("unknown key %q: want one of %s", n.Content[i].Value, strings.Join(keys, ", "))
		}
	}
	return nil
}

func (t *Table) parseCSV(raw []byte) error {
	r := csv.NewReader(bytes.NewReader(raw))
	r.Comment, r.TrimLeadingSpace = '#', true
	header, err := r.Read()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	column := map[string]int{}
	for i, h := range header {
		h = strings.ToLower(strings.TrimSpace(h))
		if !slices.Contains(keys, h) {
			return &FileError{Line: 1, Err: fmt.Errorf("unknown column %q: want %s", h, strings.Join(keys, ", "))}
		}
		column[h] = i
	}
	if _, ok := column["address"]; !ok {
		return &FileError{Line: 1, Err: errors.New("no column address")}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		get := func(key string) string {
			if i, ok := column[key]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		a := &schemas.Asset{Id: get("id"), Name: get("name"), Owner: get("owner"), Group: get("group")}
		for role := range strings.SplitSeq(get("roles"), ";") {
			if role = strings.TrimSpace(role); role != "" {
				a.Roles = append(a.Roles, role)
			}
		}
		if a.Criticality, err = parseCriticality(get("criticality")); err != nil {
			return &FileError{Line: line, Err: err}
		}
		if err := t.insert(get("address"), a); err != nil {
			return &FileError{Line: line, Err: err}
		}
	}
}
