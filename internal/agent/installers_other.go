//go:build !linux && !windows

package agent

import "github.com/fettlehq/fettle/internal/run"

// installers lists those of this build by manifest kind: none yet.
func installers(run.Runner) map[string]Installer { return nil }
