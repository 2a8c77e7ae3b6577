package detector

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// The conversations of a pair pass several partitions upstream, which may run
// unevenly: what is kept of them, and the score, must not depend on that.
func TestBeaconKeepsTheLatestInWhateverOrder(t *testing.T) {
	a := &aggregate{pane: 60_000, panes: 24 * 60}
	var events []beaconEvent
	for i := range int64(3 * beaconEvents) {
		events = append(events, beaconEvent{start: 1_000_000 + i*60_000, size: uint32(500 + i%7), pane: uint32(i)})
	}
	state := func(order []beaconEvent) []byte {
		b := &beacon{}
		for _, e := range order {
			b.push(a, e)
		}
		b.scored, b.score = 0, nil // when it was scored is not the point
		return b.append(nil)
	}
	want := state(events)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		rnd.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		if got := state(events); !bytes.Equal(got, want) {
			t.Fatalf("state (-got, +want)\n- %x\n+ %x", got[:40], want[:40])
		}
	}
}
