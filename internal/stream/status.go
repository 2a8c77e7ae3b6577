package stream

import "sync"

// status is what keeps a runner from being ready.
type status struct {
	mu     sync.Mutex
	reason error
}

func (s *status) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = err
}

func (s *status) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}
