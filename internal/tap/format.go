package tap

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

// formatter turns records of one topic into JSON objects.
type formatter struct {
	topic, prefix string
	meta, ticks   bool
	raw           schemas.FlowRecord
	enriched      schemas.EnrichedFlow
	tick          schemas.Tick
}

// recordType is the type of the topic's records, for expressions; nil when
// they have none.
func (f *formatter) recordType() reflect.Type {
	switch f.topic {
	case kafka.TopicRaw:
		return reflect.TypeFor[schemas.FlowRecord]()
	case kafka.TopicEnriched:
		return reflect.TypeFor[schemas.EnrichedFlow]()
	}
	return nil
}

// append appends the object of a record; nothing for a tick that is not asked
// for. A value that cannot be decoded is shown as it is, with the error: to
// see what is in a topic is what tap is for.
func (f *formatter) append(dst []byte, r *kgo.Record) []byte {
	before := len(dst)
	switch {
	case schemas.IsTick(r.Value):
		if !f.ticks {
			return dst
		}
		if err := f.tick.Unmarshal(r.Value); err != nil {
			dst = f.opaque(dst, r, err)
			break
		}
		dst = f.tick.AppendJSON(dst)
	case f.topic == kafka.TopicDeadLetter:
		dst = f.deadLetter(dst, r)
	default:
		var err error
		if dst, err = f.value(dst, f.topic, r.Value); err != nil {
			dst = f.opaque(dst[:before], r, err)
		}
	}
	if f.meta {
		dst = addMeta(dst, before, r)
	}
	return dst
}

// value appends the object that a value of a topic holds.
func (f *formatter) value(dst []byte, topic string, value []byte) ([]byte, error) {
	switch topic {
	case kafka.TopicRaw:
		if err := f.raw.Unmarshal(value); err != nil {
			return dst, err
		}
		return f.raw.AppendJSON(dst), nil
	case kafka.TopicEnriched:
		if err := f.enriched.Unmarshal(value); err != nil {
			return dst, err
		}
		return f.enriched.AppendJSON(dst), nil
	}
	if len(value) > 1 && value[0] == '{' && json.Valid(value) && !strings.ContainsAny(string(value), "\r\n") {
		return append(dst, value...), nil
	}
	return dst, errNotJSON
}

type notJSON struct{}

func (notJSON) Error() string { return "" }

// errNotJSON is a value of a topic whose format is its stage's own.
var errNotJSON = notJSON{}

// opaque appends an object for a value that is shown as bytes.
func (f *formatter) opaque(dst []byte, r *kgo.Record, problem error) []byte {
	o := map[string]any{"key": text(r.Key), "size": len(r.Value)}
	if r.Value == nil {
		o["deleted"] = true // a tombstone of a compacted topic
	} else if utf8.Valid(r.Value) {
		o["text"] = string(r.Value)
	} else {
		o["value"] = r.Value // base64
	}
	if problem != nil && !errors.Is(problem, errNotJSON) {
		o["error"] = problem.Error()
	}
	headers(o, r)
	return appendObject(dst, o)
}

// deadLetter appends what was refused, why, by whom, and from where; the
// record itself decoded where that is possible.
func (f *formatter) deadLetter(dst []byte, r *kgo.Record) []byte {
	o := map[string]any{"size": len(r.Value)}
	headers(o, r)
	source, _ := o["source"].(string)
	topic := strings.TrimPrefix(source, f.prefix)
	for range 2 { // -partition, -offset
		topic = topic[:max(strings.LastIndexByte(topic, '-'), 0)]
	}
	if decoded, err := f.value(nil, topic, r.Value); err == nil {
		o["record"] = json.RawMessage(decoded)
	} else if utf8.Valid(r.Value) {
		o["text"] = string(r.Value)
	} else {
		o["value"] = r.Value
	}
	return appendObject(dst, o)
}

func headers(o map[string]any, r *kgo.Record) {
	for _, h := range r.Headers {
		if _, taken := o[h.Key]; !taken {
			o[h.Key] = text(h.Value)
		}
	}
}

// text is bytes as a JSON value: as text when they are one, base64 otherwise.
func text(b []byte) any {
	if utf8.Valid(b) {
		return string(b)
	}
	return b
}

func appendObject(dst []byte, o map[string]any) []byte {
	b, err := json.Marshal(o)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	return append(dst, b...)
}

// addMeta puts where the record stands in Kafka into its object.
func addMeta(dst []byte, from int, r *kgo.Record) []byte {
	if len(dst) == from || dst[len(dst)-1] != '}' {
		return dst
	}
	empty := len(dst) == from+2
	m, err := json.Marshal(map[string]any{
		"topic": r.Topic, "partition": r.Partition, "offset": r.Offset,
		"timestamp": r.Timestamp.UTC().Format(time.RFC3339Nano), "key": text(r.Key),
	})
	if err != nil {
		return dst
	}
	dst = dst[:len(dst)-1]
	if !empty {
		dst = append(dst, ',')
	}
	dst = append(dst, `"@kafka":`...)
	dst = append(dst, m...)
	return append(dst, '}')
}
