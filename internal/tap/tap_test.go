package tap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/schemas"
)

const prefix = "t."

// broker is an in-process one with the given topics of two partitions.
func broker(t *testing.T, topics ...string) (client []kgo.Opt, produce func(...*kgo.Record)) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	client = []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	cl, err := kgo.NewClient(client...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return client, func(rs ...*kgo.Record) {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func flow(port int32, octets int64) []byte {
	r := schemas.FlowRecord{
		SourceIPAddress: netip.MustParseAddr("192.0.2.1"), DestinationIPAddress: netip.MustParseAddr("198.51.100.1"),
		DestinationTransportPort: port, OctetDeltaCount: octets, StreamTime: 1,
		Extra: []schemas.Extra{{Name: "cisco.policy", Value: schemas.ExtraValue{Kind: schemas.ExtraLong, Long: 7}}},
	}
	return r.Append(nil)
}

func tick() []byte {
	k := schemas.Tick{Upstreams: []schemas.Upstream{{Id: "c", Of: 1, Time: 5}}}
	return k.Append(nil)
}

func run(t *testing.T, client []kgo.Opt, o Options) (Stats, []map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	stats, err := Run(ctx, client, prefix, &out, o)
	if err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		objects = append(objects, m)
	}
	return stats, objects
}

func ports(objects []map[string]any) []int {
	var out []int
	for _, o := range objects {
		p, _ := o["destinationTransportPort"].(float64)
		out = append(out, int(p))
	}
	slices.Sort(out)
	return out
}

func TestRawFromStartToEnd(t *testing.T) {
	client, produce := broker(t, prefix+kafka.TopicRaw)
	for i := range int32(4) {
		produce(&kgo.Record{Topic: prefix + kafka.TopicRaw, Partition: i % 2, Value: flow(440+i, int64(i)*1000)})
	}
	produce(&kgo.Record{Topic: prefix + kafka.TopicRaw, Partition: 0, Value: tick()})
	for _, tc := range []struct {
		name string
		o    Options
		want []int
	}{
		{"all, without ticks", Options{Topic: "raw"}, []int{440, 441, 442, 443}},
		{"by the topic's name", Options{Topic: "t.flows.raw"}, []int{440, 441, 442, 443}},
		{"with ticks", Options{Topic: "raw", Ticks: true}, []int{0, 440, 441, 442, 443}},
		{"where", Options{Topic: "raw", Where: `destinationTransportPort in [441, 443] && octetDeltaCount > 1000`}, []int{443}},
		{"a field that is empty", Options{Topic: "raw", Where: `octetDeltaCount < 1`}, []int{440}},
		{"an element without a field", Options{Topic: "raw", Where: `$env["cisco.policy"] == 7 && sourceIPAddress == "192.0.2.1"`}, []int{440, 441, 442, 443}},
		{"produced later", Options{Topic: "raw", From: time.Now().Add(time.Hour)}, nil},
		{"produced before", Options{Topic: "raw", To: time.Now().Add(-time.Hour)}, nil},
		{"produced in between", Options{Topic: "raw", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)}, []int{440, 441, 442, 443}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stats, objects := run(t, client, tc.o)
			if got := ports(objects); !slices.Equal(got, tc.want) {
				t.Errorf("ports (-got, +want)\n- %v\n+ %v", got, tc.want)
			}
			if stats.Printed != len(tc.want) || stats.Failed != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
	t.Run("limit", func(t *testing.T) {
		if _, objects := run(t, client, Options{Topic: "raw", Limit: 3}); len(objects) != 3 {
			t.Errorf("%d records, want 3", len(objects))
		}
	})
	t.Run("meta", func(t *testing.T) {
		_, objects := run(t, client, Options{Topic: "raw", Meta: true, Limit: 1})
		meta, _ := objects[0]["@kafka"].(map[string]any)
		if meta["topic"] != "t.flows.raw" || meta["partition"] == nil || meta["offset"] == nil {
			t.Errorf("meta %v", meta)
		}
	})
}

func TestFollowPrintsWhatComesAndStopsWhenAsked(t *testing.T) {
	client, produce := broker(t, prefix+kafka.TopicAlerts)
	produce(&kgo.Record{Topic: prefix + kafka.TopicAlerts, Value: []byte(`{"n":1}`)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, client, prefix, w, Options{Topic: "alerts", Follow: true, From: time.Now().Add(-time.Hour)})
		w.Close()
		done <- err
	}()
	d := json.NewDecoder(r)
	for n := 1; n <= 2; n++ {
		var got struct{ N int }
		if err := d.Decode(&got); err != nil || got.N != n {
			t.Fatalf("record %d: %+v, %v", n, got, err)
		}
		if n == 1 {
			produce(&kgo.Record{Topic: prefix + kafka.TopicAlerts, Partition: 1, Value: []byte(`{"n":2}`)})
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopping is an error: %v", err)
	}
}

// Only what is committed is shown, and a transaction that was aborted at the
// end of a partition does not keep tap from ending.
func TestReadCommitted(t *testing.T) {
	client, _ := broker(t, prefix+kafka.TopicAlerts)
	cl, err := kgo.NewClient(append(client, kgo.TransactionalID("x"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: prefix + kafka.TopicAlerts, Value: []byte(`{"n":` + string(rune('0'+i)) + `}`)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	_, objects := run(t, client, Options{Topic: "alerts"})
	if want := []map[string]any{{"n": 0.0}}; !reflect.DeepEqual(objects, want) {
		t.Errorf("(-got, +want)\n- %v\n+ %v", objects, want)
	}
}

func TestDeadLetterShowsRecordAndReason(t *testing.T) {
	client, produce := broker(t, prefix+kafka.TopicDeadLetter)
	headers := func(source string) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: "stage", Value: []byte("enricher")}, {Key: "reason", Value: []byte("bad")}, {Key: "source", Value: []byte(source)}}
	}
	produce(
		&kgo.Record{Topic: prefix + kafka.TopicDeadLetter, Value: flow(53, 9), Headers: headers("t.flows.raw-3-17")},
		&kgo.Record{Topic: prefix + kafka.TopicDeadLetter, Value: []byte{0xff, 0}, Headers: headers("t.flows.raw-3-18")},
	)
	_, objects := run(t, client, Options{Topic: "deadletter", Where: `stage == "enricher"`})
	if len(objects) != 2 {
		t.Fatalf("objects %v", objects)
	}
	record, _ := objects[0]["record"].(map[string]any)
	if record["destinationTransportPort"] != 53.0 || objects[0]["reason"] != "bad" {
		t.Errorf("decoded: %v", objects[0])
	}
	if objects[1]["value"] != "/wA=" || objects[1]["source"] != "t.flows.raw-3-18" {
		t.Errorf("opaque: %v", objects[1])
	}
}

func TestCorruptRecordIsShownWithItsError(t *testing.T) {
	client, produce := broker(t, prefix+kafka.TopicRaw)
	bad := flow(1, 1)
	produce(&kgo.Record{Topic: prefix + kafka.TopicRaw, Value: bad[:len(bad)-4]}, &kgo.Record{Topic: prefix + kafka.TopicRaw, Value: flow(2, 2)})
	_, objects := run(t, client, Options{Topic: "raw"})
	if len(objects) != 2 || objects[0]["error"] == nil || objects[1]["destinationTransportPort"] != 2.0 {
		t.Errorf("objects %v", objects)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	client, _ := broker(t, prefix+kafka.TopicRaw)
	for name, tc := range map[string]struct {
		client []kgo.Opt
		o      Options
		want   string
	}{
		"unknown topic":          {client, Options{Topic: "enrichd"}, "did you mean enriched?"},
		"topic that is not made": {client, Options{Topic: "alerts"}, "topic t.alerts is not there (weir setup makes the topics)"},
		"expression":             {client, Options{Topic: "raw", Where: "octetDeltaCount >"}, "--where: unexpected token"},
		"expression of no truth": {client, Options{Topic: "raw", Where: "octetDeltaCount"}, "--where: expected bool"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Run(t.Context(), tc.client, prefix, io.Discard, tc.o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error (-got, +want)\n- %v\n+ %s", err, tc.want)
			}
		})
	}
}

func TestExpressionThatFailsOnARecordIsCounted(t *testing.T) {
	client, produce := broker(t, prefix+kafka.TopicRaw)
	produce(&kgo.Record{Topic: prefix + kafka.TopicRaw, Value: flow(1, 1)})
	stats, objects := run(t, client, Options{Topic: "raw", Where: `noSuchElement > 1`})
	if len(objects) != 0 || stats.Failed != 1 || stats.FirstFailure == nil {
		t.Errorf("stats %+v", stats)
	}
}

func TestZeroFieldsAreThoseOfTheObject(t *testing.T) {
	zero := zeroFields(reflect.TypeFor[schemas.EnrichedFlow]())
	for path, want := range map[string]any{
		"octetDeltaCount": 0, "sourceIPAddress": "", "exportProtocol": "", "stitched": false, "communityId": "", "members": []any{},
	} {
		if got, ok := zero[path]; !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s (-got, +want)\n- %#v\n+ %#v", path, got, want)
		}
	}
	for _, nested := range []string{"dns", "tls", "initiator"} {
		if m, ok := zero[nested].(map[string]any); !ok || len(m) == 0 {
			t.Errorf("%s is %#v", nested, zero[nested])
		}
	}
	f, err := newFilter(`dns.queryName == "" && initiator.countryIsoCode != "XX" && responder.asNumber < 1`, reflect.TypeFor[schemas.EnrichedFlow]())
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.match([]byte(`{"initiator":{"internal":true}}`)); !ok || err != nil {
		t.Errorf("match %v, %v", ok, err)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-02-01T00:00:00Z": time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
		"2026-02-01":           time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
		"15m":                  now.Add(-15 * time.Minute),
		"7d":                   now.Add(-7 * 24 * time.Hour),
	} {
		got, err := ParseTime(text, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(%q) (-got, +want)\n- %v %v\n+ %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-5m", "15"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", text, got)
		}
	}
}

func TestUnknownTopicIsTyped(t *testing.T) {
	_, err := resolve("x", prefix)
	var unknown *UnknownTopicError
	if !errors.As(err, &unknown) || unknown.Name != "x" {
		t.Errorf("error %v", err)
	}
}
