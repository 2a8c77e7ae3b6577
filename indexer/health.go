package indexer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// logEvery bounds how often the same trouble is logged.
const logEvery = 30 * time.Second

// health is what is wrong now with the two servers. A trouble is logged when
// it begins and every logEvery, and its end is too.
type health struct {
	log *slog.Logger
	up  prometheus.Gauge

	mu               sync.Mutex
	member           bool // of the consumer group, once
	kafkaErr         error
	elasticErr       error
	loggedK, loggedE time.Time
}

var (
	errNotJoined = errors.New("kafka: not a member of the consumer group yet")
	errNotAsked  = errors.New("elasticsearch: not asked yet")
)

func newHealth(log *slog.Logger, up prometheus.Gauge) *health {
	return &health{log: log, up: up, kafkaErr: errNotJoined, elasticErr: errNotAsked}
}

// Ready returns what is wrong, nil when documents flow.
func (h *health) Ready(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.elasticErr, h.kafkaErr)
}

// joined notes that we are a member of the group.
func (h *health) joined() {
	h.mu.Lock()
	h.member = true
	h.mu.Unlock()
	h.kafka(nil)
}

func (h *health) joining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.member
}

func (h *health) kafka(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(&h.kafkaErr, &h.loggedK, err, "reading from Kafka", "indexer: trouble with Kafka, trying again")
}

func (h *health) elasticsearch(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.up.Set(1)
	} else {
		h.up.Set(0)
	}
	h.note(&h.elasticErr, &h.loggedE, err, "Elasticsearch takes documents", "indexer: Elasticsearch does not take documents, trying again; nothing is lost, offsets wait")
}

func (h *health) note(current *error, logged *time.Time, err error, good, bad string) {
	switch {
	case err == nil && *current != nil:
		h.log.Info("indexer: " + good)
		*logged = time.Time{}
	case err != nil && time.Since(*logged) > logEvery:
		h.log.Warn(bad, "error", err)
		*logged = time.Now()
	}
	*current = err
}
