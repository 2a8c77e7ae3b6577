package schemas

import (
	"embed"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/linkedin/goavro/v2"
	"github.com/weir-flow/weir/schemas/internal/avsc"
)

// releasedFiles are the schemas of every version ever released, named
// <file>-<n>.avsc: what records in a retained topic may have been written with.
//
//go:embed released/*.avsc
var releasedFiles embed.FS

// version is one schema of a record: a released one, or the current one.
type version struct {
	record string // short name
	file   string // without .avsc: <file>-<n>
	number int    // n; 0 for the current one
	schema *avsc.Schema
	codec  *goavro.Codec
}

// registry is what older records are read with. It is made when the first of
// them comes: most processes never see one.
type registry struct {
	byFingerprint map[uint64]*version
	current       map[string]*version // by short name of the record
}

var loadRegistry = sync.OnceValues(newRegistry)

func newRegistry() (*registry, error) {
	r := &registry{byFingerprint: map[uint64]*version{}, current: map[string]*version{}}
	for _, text := range []string{FlowRecordSchema, EnrichedFlowSchema, TickSchema} {
		v, err := newVersion("current", text)
		if err != nil {
			return nil, err
		}
		r.current[v.record] = v
	}
	files, err := releasedFiles.ReadDir("released")
	if err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	for _, f := range files {
		text, err := releasedFiles.ReadFile(path.Join("released", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("schemas: %w", err)
		}
		v, err := newVersion(strings.TrimSuffix(f.Name(), ".avsc"), string(text))
		if err != nil {
			return nil, err
		}
		r.byFingerprint[v.codec.Rabin] = v
	}
	return r, nil
}

func newVersion(file, text string) (*version, error) {
	var p avsc.Parser
	schema, err := p.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("schemas: %s: %w", file, err)
	}
	codec, err := goavro.NewCodec(text)
	if err != nil {
		return nil, fmt.Errorf("schemas: %s: %w", file, err)
	}
	v := &version{record: schema.ShortName(), file: file, schema: schema, codec: codec}
	if _, n, ok := strings.Cut(file, "-"); ok {
		if v.number, err = strconv.Atoi(n); err != nil {
			return nil, fmt.Errorf("schemas: released/%s.avsc: the name must end in -<version>: %w", file, err)
		}
	}
	return v, nil
}

// releasedAs reports whether a fingerprint is that of a released version of a
// record.
func releasedAs(record string, fingerprint uint64) bool {
	r, err := loadRegistry()
	if err != nil {
		return false
	}
	v := r.byFingerprint[fingerprint]
	return v != nil && v.record == record
}

// upgrade turns the body of a record that was written with an older released
// schema into one of the current schema.
func upgrade(record string, fingerprint uint64, body []byte) ([]byte, error) {
	r, err := loadRegistry()
	if err != nil {
		return nil, err
	}
	writer := r.byFingerprint[fingerprint]
	if writer == nil || writer.record != record {
		return nil, &UnknownSchemaError{Record: record, Fingerprint: fingerprint}
	}
	return resolve(r.current[record], writer, body)
}
