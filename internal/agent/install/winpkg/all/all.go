// Package all lists every kind of patch that is installed on Windows.
package all

import (
	"maps"
	"slices"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/exe"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/msi"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/msu"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/wua"
	"github.com/fettlehq/fettle/internal/run"
)

// New returns the one installer for all of Kinds; an order may mix them. stock
// is what the agent's inventory reads of the Uninstall keys and updates. It
// implements agent.Installer: Plan, Install, Recover.
//
// A result's RebootDue is what an installer said (3010, 1641); the agent adds
// what the machine's own marks say and must not take it back.
func New(runner run.Runner, stock winpkg.Stock) *winpkg.Installer {
	return winpkg.New(runner, stock, kinds())
}

// Kinds are the manifest kinds that New's installer takes, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }

func kinds() map[string]winpkg.Kind {
	return map[string]winpkg.Kind{
		"msi": msi.Package{},
		"msp": msi.Patch{},
		"msu": msu.Update{},
		"cab": msu.Cabinet{},
		"exe": exe.New(msi.Remove),
		"wua": wua.New(wua.COM),
	}
}
