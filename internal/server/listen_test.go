package server

import (
	"net"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// A port that another program has is said to be taken, before anything is sent
// to that program, and the other port is let go.
func TestPortInUse(t *testing.T) {
	for _, which := range []string{"agents", "admin"} {
		p := newPlace(t)
		address := map[string]string{"agents": p.cfg.Agents, "admin": p.cfg.Admin}[which]
		other, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(t.Context(), p.cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Listen(t.Context())
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Public(err), address) || !strings.Contains(fault.HintOf(err), "--"+which) {
			t.Errorf("%s: %v (%s)", which, err, fault.HintOf(err))
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(t.Context()); err != nil {
			t.Errorf("with both ports free: %v", err)
		}
		s.Close()
	}
}
