package scan

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// fetched says that the patch's payload is here.
func fetched(p patch.Patch) bool {
	return slices.ContainsFunc(p.Items, func(it patch.Item) bool { return it.Payload.SHA256 != "" })
}

// updateID is what the Windows Update Agent takes for an update's name.
var updateID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// delegate leaves an update to the Windows Update Agent of each machine: it is
// asked for the very revision that the signed file names, and finds its files,
// and Microsoft's signature on them, by itself.
func delegate(p *patch.Patch, u *Update, proof *crawl.Proof) {
	if !updateID.MatchString(u.ID) || u.Number <= 0 {
		return
	}
	p.Install = patch.Manifest{Kind: "wua", Argv: []string{u.ID, strconv.Itoa(u.Number)}, Reboot: p.Install.Reboot, Scope: "machine"}
	p.Items = nil
	p.Evidence = patch.Evidence{Verdict: patch.Delegated, Checks: []string{
		proof.Tell(),
		"nothing was fetched or looked at here, and no hash of its files stands in this catalog: the Windows Update Agent of each machine fetches them from where the machine is set to (Windows Update, or its own WSUS server) and checks Microsoft's signature itself",
	}}
}
