package winpkg

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// older compares versions as Windows does.
func older(a, b string) bool { return vercmp.WindowsQuad(a, b) < 0 }

// title is the name by which people know the product.
func title(p inventory.Package) string {
	if p.Title != "" {
		return p.Title
	}
	return p.Name
}

// rows returns what the snapshot lists of the patch's products, each once.
func rows(snap *inventory.Snapshot, p patch.Patch) []inventory.Package {
	var out []inventory.Package
	for _, it := range p.Items {
		for _, have := range snap.Find(it.Kind, it.Name) {
			fits := it.Arch == "" || have.Arch == "" || it.Arch == have.Arch
			if fits && !slices.Contains(out, have) {
				out = append(out, have)
			}
		}
	}
	return out
}

// machineRows leaves out what belongs to one user.
func machineRows(snap *inventory.Snapshot, p patch.Patch) []inventory.Package {
	return slices.DeleteFunc(rows(snap, p), func(r inventory.Package) bool { return r.Scope != "" })
}

func userRow(snap *inventory.Snapshot, p patch.Patch) *inventory.Package {
	for _, r := range rows(snap, p) {
		if r.Scope != "" {
			return &r
		}
	}
	return nil
}

// list is what Windows lists, as a snapshot that can be asked by identity.
func list(packages []inventory.Package) *inventory.Snapshot {
	s := &inventory.Snapshot{Packages: slices.Clone(packages)}
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	return s
}

// changes compares two lists. A product that is gone and one that came count
// as one that changed when they are of one family: the same key, UpgradeCode,
// or title and publisher. Those of users are left out: nothing here touches
// them.
func changes(before, after []inventory.Package, why func(inventory.Package) string) []deploy.Change {
	gone, came := minus(before, after), minus(after, before)
	var out []deploy.Change
	for _, c := range came {
		change := deploy.Change{Package: title(c), Arch: c.Arch, To: c.Version, Why: why(c)}
		i := slices.IndexFunc(gone, func(g inventory.Package) bool { return sameFamily(g, c) })
		if i >= 0 {
			change.From = gone[i].Version
			gone = slices.Delete(gone, i, i+1)
		}
		if i < 0 || change.From != change.To {
			out = append(out, change)
		}
	}
	for _, g := range gone {
		out = append(out, deploy.Change{Package: title(g), Arch: g.Arch, From: g.Version, Why: why(g)})
	}
	return out
}

// minus returns the rows of a that b lacks.
func minus(a, b []inventory.Package) []inventory.Package {
	var out []inventory.Package
	for _, p := range a {
		if p.Scope == "" && !slices.ContainsFunc(b, func(o inventory.Package) bool {
			return o.Kind == p.Kind && o.Name == p.Name && o.Arch == p.Arch && o.Version == p.Version && o.Scope == p.Scope
		}) {
			out = append(out, p)
		}
	}
	return out
}

func sameFamily(a, b inventory.Package) bool {
	switch {
	case a.Kind != b.Kind || a.Arch != b.Arch:
		return false
	case strings.EqualFold(a.Name, b.Name), a.UpgradeCode != "" && strings.EqualFold(a.UpgradeCode, b.UpgradeCode):
		return true
	}
	name := inventory.AppName(a.Title, a.Publisher)
	return name != "" && name == inventory.AppName(b.Title, b.Publisher)
}
