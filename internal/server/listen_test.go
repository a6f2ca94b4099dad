package server

import (
	"context"
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

// Port 0 lets the system choose; every link, command and file has the real one.
func TestPortZero(t *testing.T) {
	p := newPlace(t)
	p.cfg.Admin, p.cfg.Agents = "127.0.0.1:0", "127.0.0.1:0"
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin, agents := s.ports.admin.Addr().String(), s.ports.agents.Addr().String()
	args, _, err := s.OwnEnrolment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"console": s.ConsoleURL(), "setup link": s.SetupLink(), "operator.json": p.operator().Server,
	} {
		if !strings.Contains(text, admin) {
			t.Errorf("%s: %s, the port is %s", what, text, admin)
		}
	}
	enrol := s.enrolment("x")
	for what, text := range map[string]string{
		"own enrolment": strings.Join(args, " "), "enrolment command": enrol.Command, "on Windows": enrol.CommandWindows, "enrolment": enrol.Server, "address": s.AgentsAddress(),
	} {
		if !strings.Contains(text, agents) {
			t.Errorf("%s: %s, the port is %s", what, text, agents)
		}
	}
}

// Somebody who asks for a synchronisation gets what the vendors have now, when
// the publisher is in the same program; the timer's own only looks.
func TestSyncAsksThePublisherFirst(t *testing.T) {
	p := newPlace(t)
	published := 1
	broken := false
	p.cfg.Publish = func(context.Context) error {
		if broken {
			return fault.New(fault.Unavailable, "publisher: no source gave a patch")
		}
		published++
		p.publish(int64(published))
		return nil
	}
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Sync(t.Context()); err != nil || s.Status().Version != 1 {
		t.Errorf("version %d, %v", s.Status().Version, err)
	}
	for want := int64(2); want < 4; want++ {
		if err := s.Renew(t.Context()); err != nil || s.Status().Version != want {
			t.Errorf("version %d, want %d: %v", s.Status().Version, want, err)
		}
	}
	broken = true
	if err := s.Renew(t.Context()); !strings.Contains(fault.Public(err), "no source gave a patch") || s.Status().Version != 3 {
		t.Errorf("version %d, %v", s.Status().Version, err)
	}
}
