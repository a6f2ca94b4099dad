package agent

import (
	"context"
	"slices"
	"testing"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/run"
)

// systemctlDouble answers systemctl and notes which units it was asked for.
type systemctlDouble struct {
	asked []string
	fails string
}

func (s *systemctlDouble) Run(_ context.Context, c run.Cmd) (run.Result, error) {
	u := c.Argv[len(c.Argv)-1]
	s.asked = append(s.asked, u)
	if u == s.fails {
		return run.Result{ExitCode: 1}, nil
	}
	return run.Result{}, nil
}

func TestRestartUnitsKeepsSessionsAndItselfUp(t *testing.T) {
	s := &systemctlDouble{fails: "broken.service"}
	got := restartUnits(t.Context(), s, []string{"nginx.service", "dbus.service", "fettle-agent.service", "user@1000.service", "broken.service", "systemd-logind.service"})
	if !slices.Equal(got, []string{"nginx.service"}) || !slices.Equal(s.asked, []string{"nginx.service", "broken.service"}) {
		t.Errorf("restarted %v, asked for %v", got, s.asked)
	}
}

func TestRebootBecameDue(t *testing.T) {
	st := func(due bool, reasons ...string) inventory.State {
		return inventory.State{RebootDue: due, RebootReasons: reasons}
	}
	for _, tt := range []struct {
		name          string
		before, after inventory.State
		want          bool
	}{
		{"not due", st(false), st(false), false},
		{"became due", st(false), st(true, "linux-image"), true},
		{"became due without a reason", st(false), st(true), true},
		{"was due already", st(true, "libc6"), st(true, "libc6"), false},
		{"a new reason", st(true, "libc6"), st(true, "libc6", "linux-image"), true},
	} {
		if got := rebootBecameDue(tt.before, tt.after); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
