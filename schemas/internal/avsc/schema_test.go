package avsc

import (
	"strings"
	"testing"
)

func TestParseRefersAcrossFiles(t *testing.T) {
	var p Parser
	if _, err := p.Parse([]byte(`{"type":"record","name":"A","namespace":"n","doc":"a","fields":[
		{"name":"next","type":["null","A"],"default":null,"doc":"itself"}]}`)); err != nil {
		t.Fatal(err)
	}
	b, err := p.Parse([]byte(`{"type":"record","name":"B","namespace":"n","doc":"b","fields":[
		{"name":"one","type":"A","go":"x","default":{},"doc":"a < b"},
		{"name":"two","type":{"type":"array","items":"n.A"},"doc":"no default"},
		{"name":"three","type":{"type":"bytes"},"default":"\u0000","doc":""}]}`))
	if err != nil {
		t.Fatal(err)
	}
	// A stands where it is first used; null and \u0000 stay as they were;
	// what only our generator reads is gone.
	want := `{"type":"record","name":"n.B","doc":"b","fields":[
  {"name":"one","type":{"type":"record","name":"n.A","doc":"a","fields":[
    {"name":"next","type":["null","n.A"],"default":null,"doc":"itself"}]},"default":{},"doc":"a < b"},
  {"name":"two","type":{"type":"array","items":"n.A"},"doc":"no default"},
  {"name":"three","type":"bytes","default":"\u0000","doc":""}]}
`
	got := b.Compose()
	if got != want {
		t.Errorf("(-got +want)\n-%s\n+%s", got, want)
	}
	again, err := new(Parser).Parse([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Compose(); got != want {
		t.Errorf("composed again (-got +want)\n-%s\n+%s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"not JSON":          {`{`, "unexpected end"},
		"nothing":           {``, "missing"},
		"an unknown type":   {`{"type":"record","name":"A","fields":[{"name":"a","type":"B"}]}`, `type "B" is not known`},
		"a map":             {`{"type":"map","values":"int"}`, `type "map" is not known`},
		"a float":           {`"float"`, `type "float" is not known`},
		"a name used twice": {`["null",{"type":"fixed","name":"A","size":1},{"type":"fixed","name":"A","size":1}]`, "A is defined twice"},
		"no type":           {`{"type":"record","name":"A","fields":[{"name":"a"}]}`, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := new(Parser).Parse([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("-got %v +want %q", err, test.want)
			}
		})
	}
}
