package stream

import (
	"testing"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

// echo puts every record out again: what remains is the cost of the task.
type echo struct{ meta Meta }

func (p *echo) Decode([]byte, []byte) (Meta, error) {
	p.meta.Sequence++
	return p.meta, nil
}

func (p *echo) Apply(c *Context) (bool, error) {
	c.Emit(Output{Topic: kafka.TopicEnriched, StreamTime: c.EmitTime(p.meta.StreamTime), Key: echoKey, Value: echoValue})
	return true, nil
}

func (p *echo) NextTimer(int) int64                  { return Never }
func (p *echo) Advance(*Context)                     {}
func (p *echo) AppendState(dst []byte, _ int) []byte { return dst }
func (p *echo) LoadState(int, []byte) error          { return nil }

var echoKey, echoValue = []byte("key"), []byte("value")

// BenchmarkTask is the way of one record through a task: position, repeats,
// group, output, commit every thousand records.
func BenchmarkTask(b *testing.B) {
	p := &echo{Meta{StreamTime: 1000, Upstream: "collector", Boot: 1}}
	t := newTask("echo", "in", 0, 1, p, 30_000, newMetrics(discard{}, "echo").task(0))
	b.ReportAllocs()
	offset := int64(0)
	for b.Loop() {
		if err := t.apply(offset, echoKey, echoValue); err != nil {
			b.Fatal(err)
		}
		if offset++; offset%1000 == 0 {
			t.due(offset)
			t.committed(offset)
		}
	}
}

// BenchmarkTick is a tick with two upstreams that fires nothing.
func BenchmarkTick(b *testing.B) {
	t := newTask("echo", "in", 0, 1, &echo{}, 30_000, newMetrics(discard{}, "echo").task(0))
	tick := (&schemas.Tick{Upstreams: []schemas.Upstream{{Id: "a", Time: 1000}, {Id: "b", Time: 1000}}}).Append(nil)
	b.ReportAllocs()
	offset := int64(0)
	for b.Loop() {
		if err := t.apply(offset, nil, tick); err != nil {
			b.Fatal(err)
		}
		offset++
	}
}
