package indexer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-flow/weir/indexer/ecs"
)

// Headers of the alerts topic that make a document's id.
const (
	headerID       = "id"
	headerAlertID  = "alert_id"
	headerRevision = "revision"
)

// maxID is the longest id that Elasticsearch takes. A longer one would not
// cost the document alone but the whole bulk request.
const maxID = 512

// appendAlert appends the two lines of an alert's document. The alert is ECS
// JSON already: what only the indexer knows is put in front of its members,
// under names with dots, which Elasticsearch merges with the objects in it.
func appendAlert(dst []byte, namespace string, r *kgo.Record, ingested int64) ([]byte, error) {
	value := bytes.TrimSpace(r.Value)
	if len(value) < 2 || value[0] != '{' || !json.Valid(value) {
		return dst, errors.New("the alert is not a JSON object")
	}
	id, err := alertID(r)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"create":{"_id":`...)
	dst = ecs.AppendString(dst, id)
	dst = append(dst, "}}\n"...)
	dst = append(dst, `{"event.ingested":`...)
	dst = ecs.AppendTime(dst, ingested)
	dst = append(dst, `,"data_stream.type":"logs","data_stream.dataset":"`+ecs.DatasetAlert+`","data_stream.namespace":"`...)
	dst = append(dst, namespace...)
	dst = append(dst, '"')
	if rest := bytes.TrimLeft(value[1:], " \t\r\n"); rest[0] != '}' {
		dst = append(dst, ',')
	}
	// A bulk request is made of lines; between the members of a JSON object
	// line ends are white space, and inside of its strings there are none.
	for _, c := range value[1:] {
		if c == '\n' || c == '\r' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\n'), nil
}

// alertID returns the document's id: the alert's id and its revision. It
// stands in the record's headers; failing that, in the alert.
func alertID(r *kgo.Record) (string, error) {
	var id, alert, revision string
	for _, h := range r.Headers {
		switch h.Key {
		case headerID:
			id = string(h.Value)
		case headerAlertID:
			alert = string(h.Value)
		case headerRevision:
			revision = string(h.Value)
		}
	}
	if id == "" && alert != "" && revision != "" {
		id = alert + "-" + revision
	}
	if id == "" {
		var a struct {
			Event struct {
				ID string `json:"id"`
			} `json:"event"`
			Weir struct {
				Alert struct {
					Revision *int64 `json:"revision"`
				} `json:"alert"`
			} `json:"weir"`
		}
		if err := json.Unmarshal(r.Value, &a); err != nil {
			return "", fmt.Errorf("the alert has no header %q, and its event.id and weir.alert.revision cannot be read: %w", headerID, err)
		}
		if a.Event.ID == "" || a.Weir.Alert.Revision == nil {
			return "", fmt.Errorf("the alert has neither a header %q nor event.id and weir.alert.revision", headerID)
		}
		id = a.Event.ID + "-" + strconv.FormatInt(*a.Weir.Alert.Revision, 10)
	}
	if len(id) > maxID {
		return "", fmt.Errorf("the alert's id is %d bytes long; Elasticsearch takes %d", len(id), maxID)
	}
	return id, nil
}
