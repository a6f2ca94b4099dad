package winpkg

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/inventory"
)

// agentFamily is the upgrade code of the agent's own package (packaging/msi).
const agentFamily = "{3F0A7C52-5B1D-4E0E-9C39-6B8D1B6A2F41}"

// agentItself refuses what would replace or remove the agent under its own
// feet: which products a patch is for is its manifest's word, and that may
// claim another's.
func agentItself(rows []inventory.Package) string {
	if slices.ContainsFunc(rows, func(r inventory.Package) bool { return strings.EqualFold(r.UpgradeCode, agentFamily) }) {
		return "it claims to be a version of the agent itself, which no patch replaces or removes"
	}
	return ""
}

// strangers refuses to uninstall, to make room for one patch, products that do
// not belong together: a manifest may name any, such as a virus scanner.
func strangers(rows []inventory.Package) string {
	for _, r := range rows {
		first := rows[0]
		first.Arch = r.Arch
		if !sameFamily(first, r) {
			return "it would have " + title(rows[0]) + " and " + title(r) + " uninstalled, which do not belong together"
		}
	}
	return ""
}
