package lab

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/patch"
)

// delegatedKind are patches that the Windows Update Agent of each machine
// fetches, checks and installs.
const delegatedKind = "wua"

// judgeDelegated gives the verdict on a patch that the machine's own updater
// installs. Its source must say so, which it may only when the vendor's own
// signature on its list of updates was verified; that list, and nothing else,
// names the update that is asked for.
func (l *Lab) judgeDelegated(p *patch.Patch) patch.Evidence {
	if p.Evidence.Verdict != patch.Delegated || len(p.Items)+len(p.Archives) > 0 || len(p.Install.Argv) != 2 {
		return l.bulletin(p, "nothing is installed from it: no signed list of its vendor names the update that the machine would ask for")
	}
	return patch.Evidence{Verdict: patch.Delegated, Checks: append(slices.Clone(p.Evidence.Checks),
		"asks the Windows Update Agent for update "+strings.Join(p.Install.Argv, ", revision "))}
}
