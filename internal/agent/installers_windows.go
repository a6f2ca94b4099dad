package agent

import "github.com/fettlehq/fettle/internal/run"

// installers lists those of this build by manifest kind.
func installers(run.Runner) map[string]Installer {
	return map[string]Installer{}
}
