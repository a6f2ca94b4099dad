package door

import (
	"sync"
	"time"
)

// Seldom keeps one peer from filling a log. The zero value is ready.
type Seldom struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// Within reports whether what has not been noted for the time of gap.
func (s *Seldom) Within(what string, now time.Time, gap time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) > 10000 || s.seen == nil {
		s.seen = map[string]time.Time{}
	}
	if at, ok := s.seen[what]; ok && now.Sub(at) < gap {
		return false
	}
	s.seen[what] = now
	return true
}
