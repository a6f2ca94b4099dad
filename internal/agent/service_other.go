//go:build !windows

package agent

import (
	"log/slog"

	"github.com/fettlehq/fettle/internal/fault"
)

// RunService is for Windows.
func RunService(Config, slog.Level) error {
	return fault.New(fault.Unsupported, "agent: --service is for Windows; here systemd runs the agent").
		WithHint("systemctl enable --now fettle-agent")
}

// NoteEnrolment is for Windows, whose event log tells how an enrolment ended.
func NoteEnrolment(Settings, error) {}
