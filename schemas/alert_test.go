package schemas

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func alertSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(AlertSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("alert.schema.json", text); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("alert.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

const exampleAlert = `{
  "@timestamp": "2026-01-05T10:15:00.000Z",
  "ecs": {"version": "8.17.0"},
  "message": "Horizontal scan",
  "event": {
    "kind": "alert", "category": ["network", "intrusion_detection"], "type": ["info"], "action": "horizontal_scan",
    "severity": 47, "risk_score": 47, "id": "0f3a", "reason": "10.1.2.3 tried port 22 on 180 hosts within 5 minutes.",
    "start": "2026-01-05T10:10:03.120Z", "end": "2026-01-05T10:14:59Z"
  },
  "rule": {"id": "horizontal_scan", "name": "Horizontal scan", "version": "1"},
  "threat": {"framework": "MITRE ATT&CK",
    "tactic": {"id": ["TA0043"], "name": ["Reconnaissance"]},
    "technique": {"id": ["T1595"], "name": ["Active Scanning"], "subtechnique": {"id": ["T1595.001"], "name": ["Scanning IP Blocks"]}}},
  "source": {"ip": "10.1.2.3"},
  "host": {"name": "ws-17", "ip": ["10.1.2.3"]},
  "related": {"ip": ["10.1.2.3", "2001:db8::7"], "hosts": ["ws-17"]},
  "weir": {"realm": "default", "alert": {
    "state": "open", "revision": 1, "first_seen": "2026-01-05T10:10:03.120Z", "last_seen": "2026-01-05T10:14:59Z",
    "count": 180, "entity": "10.1.2.3", "confidence": 0.9, "severity": "medium",
    "key": [{"name": "initiator", "value": "10.1.2.3"}], "window": {"kind": "sliding", "seconds": 300}, "observed": [{"name": "hosts", "value": 180}],
    "evidence": [{"name": "ports", "value": "22", "count": 180}], "samples": ["00112233445566778899aabbccddeeff"]}}
}`

// set changes a member of a document by its dotted path; nil removes it.
func set(doc map[string]any, path string, value any) {
	keys := strings.Split(path, "/")
	for _, k := range keys[:len(keys)-1] {
		doc = doc[k].(map[string]any)
	}
	if last := keys[len(keys)-1]; value == nil {
		delete(doc, last)
	} else {
		doc[last] = value
	}
}

func TestAlertSchema(t *testing.T) {
	schema := alertSchema(t)
	list := func(v ...any) []any { return v }
	for _, test := range []struct {
		name    string
		changes map[string]any
		valid   bool
	}{
		{"the example", nil, true},
		{"an update", map[string]any{"weir/alert/state": "updated", "weir/alert/revision": 2.0, "event/kind": "event"}, true},
		{"a rise in severity", map[string]any{"weir/alert/state": "updated", "weir/alert/revision": 3.0, "event/severity": 73.0}, true},
		{"no ATT&CK", map[string]any{"threat": nil}, true},
		{"no reason", map[string]any{"event/reason": nil}, false},
		{"no title", map[string]any{"message": ""}, false},
		{"no entity", map[string]any{"weir/alert/entity": nil}, false},
		{"nobody involved", map[string]any{"related": map[string]any{}}, false},
		{"a severity of our own", map[string]any{"event/severity": 50.0}, false},
		{"time of ingestion", map[string]any{"event/ingested": "2026-01-05T10:15:00Z"}, false},
		{"time of the wall clock", map[string]any{"event/created": "2026-01-05T10:15:00Z"}, false},
		{"local time", map[string]any{"@timestamp": "2026-01-05T10:15:00+01:00"}, false},
		{"no such day", map[string]any{"@timestamp": "2026-02-31T10:15:00Z"}, false},
		{"a field that ECS does not know", map[string]any{"sourceIPAddress": "10.1.2.3"}, false},
		{"no address", map[string]any{"source/ip": "10.1.2.300"}, false},
		{"a name of ATT&CK without its id", map[string]any{"threat/tactic/id": nil}, false},
		{"confidence in percent", map[string]any{"weir/alert/confidence": 90.0}, false},
		{"a sample that is no flow id", map[string]any{"weir/alert/samples": list("1")}, false},
		{"a technique for a tactic", map[string]any{"threat/tactic/id": list("T1046")}, false},
		{"ATT&CK without framework", map[string]any{"threat/framework": nil}, false},
		{"opened as an event", map[string]any{"event/kind": "event"}, false},
		{"opened twice", map[string]any{"weir/alert/revision": 2.0}, false},
		{"closed as an alert", map[string]any{"weir/alert/state": "closed", "weir/alert/revision": 2.0}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var doc map[string]any
			if err := json.Unmarshal([]byte(exampleAlert), &doc); err != nil {
				t.Fatal(err)
			}
			for path, value := range test.changes {
				set(doc, path, value)
			}
			if err := schema.Validate(doc); (err == nil) != test.valid {
				t.Errorf("-got %v +want valid %v", err, test.valid)
			}
		})
	}
}
