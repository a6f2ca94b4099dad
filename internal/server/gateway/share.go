package gateway

import (
	"sync"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// maxUnderWay bounds the requests of one endpoint that are under way at once,
// over all its connections. An agent and its children have three or four: the
// wake channel, a check-in or events, an inventory, a download.
const maxUnderWay = 8

// shares counts them. Who sends more waits for itself, not others for it.
type shares struct {
	mu sync.Mutex
	of map[estate.EndpointID]int
}

// enter refuses (Unavailable) a request too many.
func (s *shares) enter(id estate.EndpointID) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[estate.EndpointID]int{}
	}
	if s.of[id] >= maxUnderWay {
		return nil, fault.New(fault.Unavailable, "this machine has %d requests under way already", maxUnderWay).WithHint("try again when one of them has ended")
	}
	s.of[id]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.of[id]--; s.of[id] == 0 {
			delete(s.of, id)
		}
	}, nil
}
