//go:build !windows

package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/fault"
)

const (
	hasServices = false
	nextStep    = "systemctl enable --now fettle-agent"
)

func runService(agent.Config, slog.Level) error {
	return fault.New(fault.Unsupported, "--service is for Windows; here systemd runs the agent").
		WithHint("systemctl enable --now fettle-agent")
}

func noteEnrolment(agent.Settings, error) {}

func platformCommands(streams) []*cobra.Command { return nil }
