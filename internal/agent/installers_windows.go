package agent

import (
	"context"

	collectors "github.com/fettlehq/fettle/internal/agent/collect/all"
	"github.com/fettlehq/fettle/internal/agent/collect/state"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/all"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/run"
)

// installers lists those of this build by manifest kind.
func installers(r run.Runner) map[string]Installer {
	in := all.New(r, func(ctx context.Context) ([]inventory.Package, error) {
		snap, _, err := gather(ctx, "/", collectors.Basics())
		return snap.Packages, err
	})
	out := map[string]Installer{}
	for _, kind := range all.Kinds() {
		out[kind] = in
	}
	return out
}

// noteRebootDue keeps until the next start that an installer asked for one:
// its exit code is the only mark that some leave.
func noteRebootDue(reason string) error { return state.MarkDue(reason) }
