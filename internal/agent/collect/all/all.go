// Package all lists every collector and runs them in order.
package all

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/agent/collect/apt"
	"github.com/fettlehq/fettle/internal/agent/collect/dpkg"
	"github.com/fettlehq/fettle/internal/agent/collect/hardware"
	"github.com/fettlehq/fettle/internal/agent/collect/network"
	"github.com/fettlehq/fettle/internal/agent/collect/release"
	"github.com/fettlehq/fettle/internal/agent/collect/restart"
	"github.com/fettlehq/fettle/internal/agent/collect/services"
	"github.com/fettlehq/fettle/internal/agent/collect/state"
	"github.com/fettlehq/fettle/internal/agent/collect/updates"
	"github.com/fettlehq/fettle/internal/agent/collect/winapps"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// List returns the collectors in the order in which they run: later ones may
// use what earlier ones found.
func List() []collect.Collector {
	if runtime.GOOS == "windows" {
		return Windows()
	}
	return []collect.Collector{
		release.Collector(), dpkg.Collector(), apt.Collector(), hardware.Collector(),
		network.Collector(), state.Collector(), restart.Collector(),
	}
}

// Windows returns the collectors of Windows machines, in their order.
func Windows() []collect.Collector {
	return []collect.Collector{
		release.Windows(), winapps.Collector(), winapps.Packaged(), hardware.Windows(), network.Windows(), state.Windows(), restart.Windows(),
		services.Collector(), updates.Collector(),
	}
}

// Basics returns the collectors without which there is no inventory: the
// operating system and its packages.
func Basics() []collect.Collector {
	return slices.DeleteFunc(List(), func(c collect.Collector) bool { return !c.Essential })
}

// Collect builds the inventory of the tree with the collectors of a list.
// problems are what single ones could not learn; err is set when the snapshot
// is worth nothing, with fault.Unsupported where this build knows no way to
// look at the machine.
func Collect(ctx context.Context, t *collect.Tree, list []collect.Collector) (s inventory.Snapshot, problems []error, err error) {
	if t.Live() && runtime.GOOS == "darwin" {
		return s, nil, fault.New(fault.Unsupported, "collect: the inventory of %s machines is not built yet", runtime.GOOS)
	}
	for _, c := range list {
		err := c.Collect(ctx, t, &s)
		_, filled := errors.AsType[*collect.Partial](err)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return s, problems, fault.Wrap(err, fault.Cancelled, "collect: the scan was stopped")
		case c.Essential && !filled:
			return s, problems, err
		default:
			problems = append(problems, err)
		}
	}
	return s, problems, nil
}
