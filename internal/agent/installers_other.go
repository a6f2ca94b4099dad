//go:build !linux && !windows

package agent

import "github.com/fettlehq/fettle/internal/run"

// installers lists those of this build by manifest kind: none yet.
func installers(run.Runner) map[string]Installer { return nil }

// noteRebootDue does nothing: the machine's own marks say it.
func noteRebootDue(string) error { return nil }
