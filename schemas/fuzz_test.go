package schemas

import (
	"bytes"
	"encoding/json"
	"testing"
)

// fuzzUnmarshal: whatever is accepted can be written and printed, and what is
// written reads the same again.
func fuzzUnmarshal(f *testing.F, rt recordType) {
	rnd := newRandom(3)
	for range 8 {
		r := rt.new()
		rnd.fill(r)
		f.Add(r.Append(nil))
	}
	for _, body := range hostileTicks() {
		f.Add(append(rt.new().Append(nil)[:headerSize:headerSize], body...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := rt.new()
		if r.Unmarshal(b) != nil {
			return
		}
		if text := r.AppendJSON(nil); !json.Valid(text) {
			t.Errorf("not JSON: %s", text)
		}
		once := r.Append(nil)
		again := rt.new()
		if err := again.Unmarshal(once); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if twice := again.Append(nil); !bytes.Equal(once, twice) {
			t.Errorf("written again (-got +want):\n-%x\n+%x", twice, once)
		}
	})
}

func FuzzFlowRecordUnmarshal(f *testing.F)   { fuzzUnmarshal(f, recordTypes()[0]) }
func FuzzEnrichedFlowUnmarshal(f *testing.F) { fuzzUnmarshal(f, recordTypes()[1]) }
func FuzzTickUnmarshal(f *testing.F)         { fuzzUnmarshal(f, recordTypes()[2]) }

// FuzzOlderRecord holds the slow path to the same promise.
func FuzzOlderRecord(f *testing.F) {
	rnd := newRandom(4)
	for range 8 {
		var r FlowRecord
		rnd.fill(&r)
		f.Add(r.appendBody(nil))
	}
	for _, body := range hostileTicks() {
		f.Add(body)
	}
	older, current := olderFlowRecord(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := resolve(current, older, b)
		if err != nil {
			return
		}
		d := decoder{b: body}
		new(FlowRecord).decode(&d)
		if err := d.finish("FlowRecord"); err != nil {
			t.Errorf("what was resolved cannot be read: %v", err)
		}
	})
}
