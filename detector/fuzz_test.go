package detector

import (
	"testing"

	"github.com/weir-flow/weir/internal/kafka"
)

// Parts and state come from Kafka: whatever the bytes, reading them neither
// panics nor allocates beyond their size, and what can be read is written
// back as it was.
func FuzzPart(f *testing.F) {
	flows, _ := mixture(f, 1, 300)
	x := newDriver(f, newTestDetector(f))
	for _, fl := range flows {
		x.flow(fl)
	}
	x.tick(x.latest + 60_000)
	if len(x.parts) == 0 {
		f.Fatal("no parts to begin with")
	}
	for i := 0; i < len(x.parts); i += 1 + len(x.parts)/64 {
		f.Add(x.parts[i].Value)
	}
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0})
	rules := newMerger(life{metrics: newMetrics(nil)}, newTestDetector(f).programs()).byHash
	f.Fuzz(func(t *testing.T, b []byte) {
		p, unknown, err := decodePart(b, rules)
		if err != nil || unknown > 0 {
			return
		}
		again := p.append(nil)
		q, _, err := decodePart(again, rules)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if third := q.append(nil); string(third) != string(again) {
			t.Fatalf("(-got, +want)\n- %x\n+ %x", third, again)
		}
		p.output()
	})
}

func FuzzState(f *testing.F) {
	flows, _ := mixture(f, 1, 300)
	x := newDriver(f, newTestDetector(f))
	added := 0
	for i, fl := range flows {
		x.flow(fl)
		if i%500 == 499 {
			x.tick(fl.StreamTime - 2000)
			for g := range kafka.Groups {
				for _, state := range [][]byte{x.first.AppendState(nil, g), x.second.AppendState(nil, g)} {
					if len(state) > 0 && added < 100 {
						f.Add(state)
						added++
					}
				}
			}
		}
	}
	f.Add([]byte{9})
	d := newTestDetector(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range []interface {
			LoadState(int, []byte) error
			AppendState([]byte, int) []byte
			NextTimer(int) int64
		}{d.NewProcessor(), d.NewMergeProcessor()} {
			if p.LoadState(3, b) != nil {
				continue
			}
			state := p.AppendState(nil, 3)
			if err := p.LoadState(3, state); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
			if again := p.AppendState(nil, 3); string(again) != string(state) {
				t.Fatalf("(-got, +want)\n- %x\n+ %x", again, state)
			}
			p.NextTimer(3)
		}
	})
}

func FuzzRule(f *testing.F) {
	f.Add([]byte(counting))
	for _, name := range []string{"beacon", "ddos-victim", "tor-use"} {
		data, err := shipped.ReadFile("rules/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, _ := ParseRules("fuzz.yaml", data)
		for _, r := range rules {
			r.Techniques()
			newProcessor(life{metrics: newMetrics(nil)}, []*program{must(compile(r, newVocabulary()))})
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
