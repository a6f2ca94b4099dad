package deploy

import (
	"slices"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Restoration names what a rollback brings back in place of a patch, as the
// patch's signed manifest says.
type Restoration struct {
	For   patch.ID `json:"for"`   // the patch that is taken back
	Patch PatchRef `json:"patch"` // the one before it
}

// Reversible refuses (Unsupported) a patch that no rollback can take back: its
// package manager has no way back, its signed manifest says none, or it is told
// by its files alone. The rule of such a patch counts newer versions too, and
// the agent finds nothing of it among the products that it could uninstall.
func Reversible(p patch.Patch) error {
	switch {
	case p.Install.Kind == "apt":
		return fault.New(fault.Unsupported, "%s can't be rolled back: apt packages have no safe way back to an older version", p.ID).
			WithHint("restore the machine from its backup or snapshot; 'fettle decline' keeps the patch off the others")
	case len(p.Install.UninstallArgv) == 0:
		return fault.New(fault.Unsupported, "%s can't be rolled back: its signed manifest says no way to uninstall it", p.ID).
			WithHint("restore the machine from its backup or snapshot; 'fettle decline' keeps the patch off the others")
	case (p.Install.Kind == "exe" || p.Install.Kind == "msi") && !p.Listed():
		return fault.New(fault.Unsupported, "%s can't be rolled back: it is recognised by its files alone and not by a product that Windows lists, so that nothing tells which version is taken back", p.ID).
			WithHint("uninstall it on the machine by hand, where programs can do without it; 'fettle decline' keeps the patch off the others")
	}
	return nil
}

// OneVersion refuses (Invalid) to take back two versions of one product at
// once: a machine has one of them, and each would put another one back.
func OneVersion(patches []patch.Patch) error {
	type product struct{ vendor, platform, name string }
	seen := map[product]patch.Patch{}
	for _, p := range patches {
		k := product{p.Vendor, p.Platform, p.Product}
		if q, twice := seen[k]; twice && q.Version != p.Version {
			return fault.New(fault.Invalid, "%s and %s are two versions of %s; a rollback takes back one of them", q.ID, p.ID, p.Product).
				WithHint("name the one that is installed ('fettle hosts packages HOST' shows it); to go further back, roll back again afterwards")
		}
		seen[k] = p
	}
	return nil
}

// choose keeps those patches of a rollback that the endpoint has. Whoever may
// deploy may take back: there is nothing to approve.
func (a *advance) choose(t *Task) {
	var keep []PatchRef
	for _, p := range t.Patches {
		has, known := a.world.Has(t.Endpoint, p.ID)
		if !known {
			a.reason(t, "waiting: what the endpoint has can't be told at the moment")
			return
		}
		if has {
			keep = append(keep, p)
		}
	}
	if len(keep) == 0 {
		a.move(t, NotApplicable, "the endpoint has none of the patches any more")
		return
	}
	t.Patches = keep
	t.Restores = slices.DeleteFunc(slices.Clone(t.Restores), func(r Restoration) bool {
		return !slices.ContainsFunc(keep, func(p PatchRef) bool { return p.ID == r.For })
	})
	a.move(t, Scheduled, "to be rolled back")
}
