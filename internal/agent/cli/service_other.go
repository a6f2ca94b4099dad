//go:build !windows

package cli

import "github.com/spf13/cobra"

const (
	hasServices = false
	nextStep    = "systemctl enable --now fettle-agent"
)

func platformCommands(streams) []*cobra.Command { return nil }
