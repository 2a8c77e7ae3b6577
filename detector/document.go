package detector

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-flow/weir/internal/kafka"
	"github.com/weir-flow/weir/internal/stream"
)

// document is an alert's revision in ECS. Fields are written in this order and
// lists in a fixed one: equal alerts have equal bytes. Nothing from outside
// the stream is in it.
type document struct {
	Timestamp   string        `json:"@timestamp"`
	ECS         docECS        `json:"ecs"`
	DataStream  docDataStream `json:"data_stream"`
	Message     string        `json:"message"`
	Event       docEvent      `json:"event"`
	Rule        docRule       `json:"rule"`
	Threat      *docThreat    `json:"threat,omitempty"`
	Host        *docHost      `json:"host,omitempty"`
	Source      *docEndpoint  `json:"source,omitempty"`
	Destination *docEndpoint  `json:"destination,omitempty"`
	Network     *docNetwork   `json:"network,omitempty"`
	Observer    *docObserver  `json:"observer,omitempty"`
	Related     *docRelated   `json:"related,omitempty"`
	Weir        docWeir       `json:"weir"`
}

type docECS struct {
	Version string `json:"version"`
}

type docDataStream struct {
	Type      string `json:"type"`
	Dataset   string `json:"dataset"`
	Namespace string `json:"namespace"`
}

type docEvent struct {
	Kind      string   `json:"kind"`
	Category  []string `json:"category"`
	Type      []string `json:"type"`
	Action    string   `json:"action"`
	Module    string   `json:"module"`
	Dataset   string   `json:"dataset"`
	ID        string   `json:"id"`
	Severity  int      `json:"severity"`
	RiskScore int      `json:"risk_score"`
	Start     string   `json:"start"`
	End       string   `json:"end"`
	Reason    string   `json:"reason"`
}

type docRule struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Version     string `json:"version"`
	Ruleset     string `json:"ruleset"`
	Description string `json:"description,omitempty"`
	Reference   string `json:"reference,omitempty"`
}

type docThreat struct {
	Framework string       `json:"framework"`
	Tactic    docATT       `json:"tactic"`
	Technique docTechnique `json:"technique"`
}

type docATT struct {
	ID        []string `json:"id,omitempty"`
	Name      []string `json:"name,omitempty"`
	Reference []string `json:"reference,omitempty"`
}

type docTechnique struct {
	docATT
	Subtechnique *docATT `json:"subtechnique,omitempty"`
}

type docHost struct {
	Name string   `json:"name,omitempty"`
	IP   []string `json:"ip"`
}

type docEndpoint struct {
	IP   string `json:"ip"`
	Port int64  `json:"port,omitempty"`
}

type docNetwork struct {
	IANANumber  string   `json:"iana_number,omitempty"`
	Transport   string   `json:"transport,omitempty"`
	Direction   string   `json:"direction,omitempty"`
	CommunityID []string `json:"community_id,omitempty"`
}

type docObserver struct {
	IP []string `json:"ip"`
}

type docRelated struct {
	IP    []string `json:"ip,omitempty"`
	Hosts []string `json:"hosts,omitempty"`
}

type docWeir struct {
	Realm string   `json:"realm,omitempty"`
	Alert docAlert `json:"alert"`
}

type docAlert struct {
	State      string        `json:"state"`
	Revision   int64         `json:"revision"`
	Entity     string        `json:"entity"`
	Key        []docValue    `json:"key"`
	Severity   string        `json:"severity"`
	Confidence float64       `json:"confidence"`
	Count      int64         `json:"count"`
	FirstSeen  string        `json:"first_seen"`
	LastSeen   string        `json:"last_seen"`
	Window     docWindow     `json:"window"`
	Observed   []docMeasure  `json:"observed,omitempty"`
	Evidence   []docEvidence `json:"evidence,omitempty"`
	Samples    []string      `json:"samples,omitempty"`
}

type docValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type docWindow struct {
	Kind    string `json:"kind"`
	Seconds int64  `json:"seconds"`
}

type docMeasure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

type docEvidence struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Count int64  `json:"count"`
}

func timestamp(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// keyItems takes a key apart: the realm and the values.
func keyItems(key string) (realm string, items []item) {
	r := reader{b: []byte(key)}
	realm = r.string()
	for len(r.b) > 0 && r.err == nil {
		items = append(items, r.item())
	}
	return realm, items
}

// alertOutput renders a revision.
func alertOutput(p *program, e *entry, t int64, state string, loud bool) stream.Output {
	a := e.alert
	key := strings.TrimPrefix(e.key, e.home)
	realm, items := keyItems(key)
	entity := items[p.entity]
	d := document{
		Timestamp:  timestamp(t),
		ECS:        docECS{"8.17.0"},
		DataStream: docDataStream{"logs", "weir.alert", "default"},
		Message:    p.Name,
		Event: docEvent{
			Kind: "event", Category: []string{"network", "intrusion_detection"}, Type: []string{"info"},
			Action: p.ID, Module: "weir", Dataset: "weir.alert", ID: a.id,
			Severity: int(a.severity), RiskScore: risk(p, a.severity),
			Start: timestamp(a.first), End: timestamp(a.last),
		},
		Rule: docRule{ID: p.ID, Name: p.Name, Version: strconv.Itoa(p.Version), Ruleset: "weir", Description: p.Description},
		Weir: docWeir{Realm: realm, Alert: docAlert{
			State: state, Revision: a.revision, Entity: entity.String(),
			Severity: a.severity.String(), Confidence: rounded(a.confidence), Count: a.count,
			FirstSeen: timestamp(a.first), LastSeen: timestamp(a.last), Window: windowDoc(p),
		}},
	}
	if loud {
		d.Event.Kind = "alert"
	}
	if len(p.References) > 0 {
		d.Rule.Reference = p.References[0]
	}
	for i, it := range items {
		d.Weir.Alert.Key = append(d.Weir.Alert.Key, docValue{p.Key[i].Value, it.String()})
	}
	for i, v := range a.observed {
		d.Weir.Alert.Observed = append(d.Weir.Alert.Observed, docMeasure{p.measures[i].name, rounded(v)})
	}
	related := []netip.Addr{entity.address}
	for _, ev := range a.evidence {
		for _, v := range ev.values {
			it, err := decodeItem([]byte(v.value))
			if err != nil {
				continue // checked when it was read
			}
			if it.tag == tagAddress {
				related = append(related, it.address)
			}
			d.Weir.Alert.Evidence = append(d.Weir.Alert.Evidence, docEvidence{ev.name, it.String(), v.count})
		}
	}
	for _, id := range e.samples {
		d.Weir.Alert.Samples = append(d.Weir.Alert.Samples, id.String())
	}
	slices.Sort(d.Weir.Alert.Samples)
	d.Weir.Alert.Samples = slices.Compact(d.Weir.Alert.Samples)
	d.Threat = threat(p.Rule)
	x := &a.origin
	if x.initiator.IsValid() {
		d.Source = &docEndpoint{x.initiator.String(), x.initiatorPort}
		related = append(related, x.initiator)
	}
	if x.responder.IsValid() {
		d.Destination = &docEndpoint{x.responder.String(), x.responderPort}
		related = append(related, x.responder)
	}
	if x.protocol != 0 {
		n := &docNetwork{IANANumber: strconv.FormatInt(x.protocol, 10), Direction: x.direction}
		for _, s := range protocolSymbols {
			if s.value == x.protocol {
				n.Transport = s.name
			}
		}
		if x.communityID != "" {
			n.CommunityID = []string{x.communityID}
		}
		d.Network = n
	}
	if x.exporter.IsValid() {
		d.Observer = &docObserver{[]string{x.exporter.String()}}
	}
	if entity.address.IsValid() {
		d.Host = &docHost{Name: x.entityName, IP: []string{entity.String()}}
		if x.entityName == "" {
			d.Host.Name = entity.String()
		}
	}
	slices.SortFunc(related, netip.Addr.Compare)
	d.Related = &docRelated{}
	for _, r := range slices.Compact(related) {
		if r.IsValid() {
			d.Related.IP = append(d.Related.IP, r.String())
		}
	}
	switch {
	case x.entityName != "":
		d.Related.Hosts = []string{x.entityName}
	case len(d.Related.IP) == 0:
		d.Related.Hosts = []string{entity.String()}
	}
	d.Event.Reason = reason(p, &d)
	value, err := json.Marshal(&d)
	if err != nil {
		// Only a number that is none can do that, and rounded lets none pass.
		value = fmt.Appendf(nil, `{"@timestamp":%q,"message":%q}`, d.Timestamp, p.Name)
	}
	return stream.Output{Topic: kafka.TopicAlerts, Key: []byte(realm + "/" + entity.String()), Value: value}
}

// risk follows the severity when that rose above the rule's own.
func risk(p *program, s Severity) int {
	if s > p.Severity {
		return max(p.Risk, int(s))
	}
	return p.Risk
}

func windowDoc(p *program) docWindow {
	w := docWindow{"sliding", p.pane * p.panes / 1000}
	switch {
	case p.session:
		w.Kind = "session"
	case p.panes == 1:
		w.Kind = "tumbling"
	}
	return w
}

// rounded keeps three decimals: more would only make documents differ.
func rounded(v float64) float64 {
	s, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 3, 64), 64)
	if err != nil || s != s || s > 1e18 || s < -1e18 {
		return 0
	}
	return s
}

// reason says what happened in one sentence.
func reason(p *program, d *document) string {
	al := &d.Weir.Alert
	name := al.Entity
	if d.Host != nil && d.Host.Name != al.Entity {
		name = d.Host.Name + " (" + al.Entity + ")"
	}
	words := map[string]string{
		"entity": name, "count": strconv.FormatInt(al.Count, 10),
		"name":   p.Name,
		"window": (time.Duration(al.Window.Seconds) * time.Second).String(),
	}
	for _, m := range al.Observed {
		words[m.Name] = strconv.FormatFloat(m.Value, 'f', -1, 64)
	}
	shown := make(map[string]int) // the commonest three of each
	for _, ev := range al.Evidence {
		switch shown[ev.Name]++; shown[ev.Name] {
		case 1:
			words[ev.Name] = ev.Value
		case 2, 3:
			words[ev.Name] += ", " + ev.Value
		}
	}
	text := p.Reason
	if text == "" {
		var b strings.Builder
		b.WriteString("{entity}:")
		for i, m := range p.measures {
			if m.part != 0 || p.aggregates[m.aggregate].kind.name == "top" {
				continue
			}
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, " %s {%s}", m.name, m.name)
		}
		b.WriteString(" in {window}")
		text = b.String()
	}
	return placeholder.ReplaceAllStringFunc(text, func(s string) string { return words[s[1:len(s)-1]] })
}
