package stream

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The state topic of a stage has as many partitions as its input; what
// belongs to a task is in the partition of the same number:
//
//	g/<group>/<chunk>   the state of a key group at an offset, in chunks
//	task                the task record, written with every commit
//
// A snapshot's chunks are written in one transaction, so a reader of
// committed records finds them complete. A snapshot that shrinks leaves old
// chunks behind; the first chunk says how many count.

// chunkSize bounds a record of the state topic in bytes, well below the
// brokers' default of 1 MB.
const chunkSize = 512 << 10

// snapshotFormat is the version of the chunk header.
const snapshotFormat = 1

// taskKey is the key of the task record.
const taskKey = "task"

// errFormat is returned for snapshots and task records that a newer version
// has written, or that are damaged.
var errFormat = errors.New("not a snapshot this version can read")

// taskRecord says where a task stands. Committed is the offset of its input
// that the same transaction commits for the group.
type taskRecord struct {
	Format     int    `json:"format"`
	TopicID    string `json:"topic_id"`
	Partitions int    `json:"partitions"`
	Committed  int64  `json:"committed"`
	// Replay is where a recovery starts to read the input.
	Replay mark `json:"replay"`
	// Since is the offset of the state topic at which the task began without
	// state. What lies before belongs to a life that was given up as lost.
	Since int64 `json:"since,omitempty"`
}

const taskFormat = 1

func (r *taskRecord) marshal() []byte {
	r.Format = taskFormat
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // plain data: cannot happen
	}
	return b
}

func (r *taskRecord) unmarshal(b []byte) error {
	if err := json.Unmarshal(b, r); err != nil {
		return fmt.Errorf("%w: %w", errFormat, err)
	}
	if r.Format != taskFormat {
		return fmt.Errorf("%w: task record of format %d, this version reads %d", errFormat, r.Format, taskFormat)
	}
	return nil
}

// stateRecord is one record of the state topic.
type stateRecord struct{ key, value []byte }

// appendSnapshot appends the records that hold the state of a group at an
// offset. An empty state is written too: it must hide the one before it.
func appendSnapshot(dst []stateRecord, group int, offset int64, state []byte) []stateRecord {
	chunks := max(1, (len(state)+chunkSize-1)/chunkSize)
	for i := range chunks {
		part := state[i*chunkSize : min(len(state), (i+1)*chunkSize)]
		value := make([]byte, 0, len(part)+24)
		value = append(value, snapshotFormat)
		value = binary.AppendUvarint(value, uint64(i))
		value = binary.AppendUvarint(value, uint64(chunks))
		value = binary.AppendVarint(value, offset)
		dst = append(dst, stateRecord{key: snapshotKey(group, i), value: append(value, part...)})
	}
	return dst
}

func snapshotKey(group, chunk int) []byte {
	b := append([]byte("g/"), strconv.Itoa(group)...)
	b = append(b, '/')
	return strconv.AppendInt(b, int64(chunk), 10)
}

// snapshots gathers what a reader finds in one partition of the state topic.
type snapshots struct {
	task   *taskRecord
	groups map[int]*snapshot
}

// snapshot is the newest state of a group: where in the state topic it begins,
// the offset of the task's input that it matches, and its chunks.
type snapshot struct {
	at     int64
	offset int64
	count  int
	chunks [][]byte
}

// add takes in a record of the state topic that stands at an offset there, in
// log order. It keeps no reference to value.
func (s *snapshots) add(at int64, key, value []byte) error {
	if string(key) == taskKey {
		var r taskRecord
		if err := r.unmarshal(value); err != nil {
			return err
		}
		s.task = &r
		return nil
	}
	group, chunk, err := parseSnapshotKey(string(key))
	if err != nil {
		return err
	}
	if len(value) == 0 || value[0] != snapshotFormat {
		return fmt.Errorf("%w: chunk %s", errFormat, key)
	}
	rest := value[1:]
	index, n := binary.Uvarint(rest)
	if n <= 0 || index != uint64(chunk) {
		return fmt.Errorf("%w: chunk %s: number", errFormat, key)
	}
	rest = rest[n:]
	count, n := binary.Uvarint(rest)
	if n <= 0 || count == 0 || count > 1<<20 || index >= count {
		return fmt.Errorf("%w: chunk %s: count", errFormat, key)
	}
	rest = rest[n:]
	offset, n := binary.Varint(rest)
	if n <= 0 {
		return fmt.Errorf("%w: chunk %s: offset", errFormat, key)
	}
	rest = rest[n:]
	if s.groups == nil {
		s.groups = map[int]*snapshot{}
	}
	g := s.groups[group]
	switch {
	case chunk == 0:
		// Chunks follow one another, so the first begins a snapshot anew.
		g = &snapshot{at: at, offset: offset, count: int(count)}
		s.groups[group] = g
	case g == nil || g.offset != offset:
		return nil // what a snapshot that was replaced left behind
	}
	for len(g.chunks) <= chunk {
		g.chunks = append(g.chunks, nil)
	}
	// The value lies in the memory of a whole batch.
	g.chunks[chunk] = slices.Clone(rest)
	return nil
}

// state joins the chunks of a snapshot.
func (g *snapshot) state(group int) ([]byte, error) {
	if len(g.chunks) < g.count {
		return nil, fmt.Errorf("%w: key group %d has %d of %d chunks", errFormat, group, len(g.chunks), g.count)
	}
	if g.count == 1 {
		return g.chunks[0], nil
	}
	var b []byte
	for i, c := range g.chunks[:g.count] {
		if c == nil {
			return nil, fmt.Errorf("%w: key group %d lacks chunk %d of %d", errFormat, group, i, g.count)
		}
		b = append(b, c...)
	}
	return b, nil
}

func parseSnapshotKey(key string) (group, chunk int, err error) {
	g, c, ok := strings.Cut(strings.TrimPrefix(key, "g/"), "/")
	if ok && strings.HasPrefix(key, "g/") {
		if group, err = strconv.Atoi(g); err == nil {
			chunk, err = strconv.Atoi(c)
		}
		if err == nil && group >= 0 && chunk >= 0 && chunk < 1<<20 {
			return group, chunk, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: key %q", errFormat, key)
}

// load gives a new task the state that was found, and readies it to replay
// the input from the mark of the task record.
func (t *task) load(s *snapshots) error {
	if s.task == nil {
		return nil
	}
	m := s.task.Replay
	maxStall := t.wm.maxStall
	t.wm = m.Watermarks.clone()
	t.wm.maxStall = maxStall
	t.applied = append(t.applied[:0], m.Applied...)
	t.position = m.Offset
	t.since = s.task.Since
	t.skip = make([]int64, len(t.firstDirty))
	for group, g := range s.groups {
		if g.at < t.since {
			continue
		}
		if !t.owns(group) {
			return fmt.Errorf("%w: key group %d lies in the state of partition %d", errFormat, group, t.partition)
		}
		state, err := g.state(group)
		if err != nil {
			return err
		}
		if err := t.loadState(group, state); err != nil {
			return fmt.Errorf("key group %d of partition %d: %w", group, t.partition, err)
		}
		i := t.index(group)
		t.skip[i] = g.offset
		t.asleep = append(t.asleep, i)
	}
	slices.SortFunc(t.asleep, func(a, b int) int { return cmpInt64(t.skip[b], t.skip[a]) })
	t.wake(t.position)
	t.marks = append(t.marks[:0], m)
	return nil
}

// loadState keeps a processor that panics on the bytes of a snapshot from
// taking the process with it.
func (t *task) loadState(group int, state []byte) (err error) {
	defer recovered(&err)
	return t.proc.LoadState(group, state)
}
