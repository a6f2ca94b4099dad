package agent

import (
	"github.com/fettlehq/fettle/internal/agent/install/apt"
	"github.com/fettlehq/fettle/internal/run"
)

// installers lists those of this build by manifest kind.
func installers(r run.Runner) map[string]Installer {
	return map[string]Installer{"apt": apt.New(r)}
}

// noteRebootDue does nothing: the machine's own marks say it.
func noteRebootDue(string) error { return nil }
