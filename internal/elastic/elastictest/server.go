// Package elastictest has a small Elasticsearch for tests: bulk requests with
// create, answered as 8.19 does, and faults at will.
package elastictest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Server keeps documents in memory, by stream and id.
type Server struct {
	*httptest.Server

	mu   sync.Mutex
	docs map[string]map[string]json.RawMessage
	sent int
	// fault is asked before each bulk request; it answers the request itself
	// and returns true, or leaves it alone.
	fault func(w http.ResponseWriter, r *http.Request, n int) bool
	// item is asked for each document: a status other than 0 is its outcome.
	item func(stream, id string, doc json.RawMessage) (status int, kind, reason string)
	n    int
}

// Start starts a server on loopback. Close ends it.
func Start() *Server {
	s := &Server{docs: map[string]map[string]json.RawMessage{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	return s
}

// Fault sets what is asked before each bulk request with its number from 1.
// It may hang up (panic(http.ErrAbortHandler)), wait, or answer and return
// true.
func (s *Server) Fault(f func(w http.ResponseWriter, r *http.Request, n int) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Item sets what is asked for each document.
func (s *Server) Item(f func(stream, id string, doc json.RawMessage) (status int, kind, reason string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.item = f
}

// Docs returns the documents of a stream by id.
func (s *Server) Docs(stream string) map[string]json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]json.RawMessage{}
	for id, d := range s.docs[stream] {
		out[id] = d
	}
	return out
}

// Sent returns how many documents came, repeats included.
func (s *Server) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	stream, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/_bulk")
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
		return
	}
	s.mu.Lock()
	s.n++
	n, fault := s.n, s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r, n) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	answer, err := s.bulk(stream, body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":{"type":"illegal_argument_exception","reason":%q},"status":400}`, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

func (s *Server) bulk(stream string, body []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.docs[stream] == nil {
		s.docs[stream] = map[string]json.RawMessage{}
	}
	var items []map[string]any
	failed := false
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var action struct {
			Create *struct {
				ID string `json:"_id"`
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &action); err != nil || action.Create == nil {
			return nil, fmt.Errorf("malformed action/metadata line [%s]", lines.Bytes())
		}
		if !lines.Scan() {
			return nil, fmt.Errorf("the bulk request must be terminated by a newline")
		}
		s.sent++
		id, doc := action.Create.ID, json.RawMessage(bytes.Clone(lines.Bytes()))
		status, kind, reason := 0, "", ""
		if s.item != nil {
			status, kind, reason = s.item(stream, id, doc)
		}
		switch {
		case status != 0:
		case !json.Valid(doc):
			status, kind, reason = 400, "document_parsing_exception", "failed to parse"
		case s.docs[stream][id] != nil:
			status, kind, reason = 409, "version_conflict_engine_exception", "document already exists"
		default:
			s.docs[stream][id] = doc
			status = 201
		}
		it := map[string]any{"status": status}
		if kind != "" {
			it["error"] = map[string]any{"type": kind, "reason": reason}
			failed = true
		}
		items = append(items, map[string]any{"create": it})
	}
	return json.Marshal(map[string]any{"errors": failed, "items": items})
}
