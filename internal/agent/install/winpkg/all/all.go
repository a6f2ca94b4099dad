// Package all lists every kind of patch that is installed on Windows.
package all

import (
	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/exe"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/msi"
	"github.com/fettlehq/fettle/internal/run"
)

// New returns the one installer for all of Kinds; an order may mix them. stock
// is what the agent's inventory reads of the Uninstall keys and updates. It
// implements agent.Installer: Plan, Install, Recover.
//
// A result's RebootDue is what an installer said (3010, 1641); the agent adds
// what the machine's own marks say and must not take it back.
func New(runner run.Runner, stock winpkg.Stock) *winpkg.Installer {
	return winpkg.New(runner, stock, map[string]winpkg.Kind{
		"msi": msi.Package{},
		"msp": msi.Patch{},
		"exe": exe.New(msi.Remove),
	})
}

// Kinds are the manifest kinds that New's installer takes.
func Kinds() []string { return []string{"exe", "msi", "msp"} }
