package crawl

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
)

// Combine joins the outputs of all sources into one. The same patch from
// several archives becomes one that names them all, and is a security patch
// when one of them is a security suite. Where two sources have other bytes
// under one name and version, the first source's stay and the other's are
// rejected.
func Combine(results []Result) Output {
	c := combiner{archives: map[string]int{}, patches: map[patch.ID]int{}, advisories: map[string]bool{}}
	c.out.Releases = map[string]string{}
	for _, r := range results {
		o := r.Output
		for _, a := range o.Archives {
			c.archive(a)
		}
		maps.Copy(c.out.Releases, o.Releases)
		for _, p := range o.Patches {
			c.patch(p)
		}
		for _, a := range o.Advisories {
			if !c.advisories[a.ID] {
				c.advisories[a.ID] = true
				c.out.Advisories = append(c.out.Advisories, a)
			}
		}
		c.out.Vulnerabilities = append(c.out.Vulnerabilities, o.Vulnerabilities...)
		c.out.Fixes = append(c.out.Fixes, o.Fixes...)
		c.out.Rejected = append(c.out.Rejected, o.Rejected...)
		for _, n := range o.Notes {
			c.out.Notes = append(c.out.Notes, r.Health.Source+": "+n)
		}
		if n := r.Health.Note(); n != "" {
			c.out.Notes = append(c.out.Notes, n)
		}
	}
	slices.SortFunc(c.out.Patches, func(a, b patch.Patch) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return c.out
}

type combiner struct {
	out        Output
	archives   map[string]int
	patches    map[patch.ID]int
	advisories map[string]bool
}

// archive enters a snapshot; one that two sources have is one, with the
// indexes of both, and superseded only when both say so.
func (c *combiner) archive(a catalog.Archive) {
	i, twice := c.archives[a.ID]
	if !twice {
		c.archives[a.ID] = len(c.out.Archives)
		a.Indexes = slices.Clone(a.Indexes)
		c.out.Archives = append(c.out.Archives, a)
		return
	}
	have := &c.out.Archives[i]
	have.Superseded = have.Superseded && a.Superseded
	have.Security = have.Security || a.Security
	have.Keyring = cmp.Or(have.Keyring, a.Keyring)
	have.Site = cmp.Or(have.Site, a.Site)
	for _, ix := range a.Indexes {
		if !slices.ContainsFunc(have.Indexes, func(h catalog.Index) bool { return h.Name == ix.Name }) {
			have.Indexes = append(have.Indexes, ix)
		}
	}
}

func (c *combiner) patch(p patch.Patch) {
	i, twice := c.patches[p.ID]
	if !twice {
		c.patches[p.ID] = len(c.out.Patches)
		c.out.Patches = append(c.out.Patches, p)
		return
	}
	merged, rejected := mergePatches(c.out.Patches[i], p)
	c.out.Patches[i] = merged
	c.out.Rejected = append(c.out.Rejected, rejected...)
}

// mergePatches gives what two sources say of one patch.
func mergePatches(a, b patch.Patch) (patch.Patch, []Rejection) {
	if b.Classification == patch.Security {
		a.Classification = patch.Security
	}
	a = completed(a, b)
	if len(a.Archives) == 0 && len(b.Archives) == 0 {
		return a, nil // no archive: the one that was first names the payload
	}
	items := spelledOut(a.Items, a)
	a.Archives = union(a.Archives, b.Archives)
	var rejected []Rejection
	for _, it := range spelledOut(b.Items, b) {
		i := slices.IndexFunc(items, func(h patch.Item) bool {
			return h.Kind == it.Kind && h.Name == it.Name && h.Arch == it.Arch && h.Version == it.Version
		})
		switch {
		case i < 0:
			items = append(items, it)
		case items[i].Payload.SHA256 != it.Payload.SHA256:
			rejected = append(rejected, Rejection{What: it.Name + " " + it.Version, Reason: "two sources have other bytes under this version"})
		default:
			items[i].Archives = union(items[i].Archives, it.Archives)
		}
	}
	slices.SortFunc(items, func(x, y patch.Item) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Arch, y.Arch), strings.Compare(x.Version, y.Version))
	})
	for i := range items {
		if slices.Equal(items[i].Archives, a.Archives) {
			items[i].Archives = nil
		}
	}
	a.Items = items
	return a, rejected
}

// completed gives a bulletin what another source knows of the same patch: its
// rules, its payload with the way to install it, what it replaces.
func completed(a, b patch.Patch) patch.Patch {
	if a.Installed == nil && a.Applicable == nil && len(a.Items) == 0 {
		a.Installed, a.Applicable = b.Installed, b.Applicable
	}
	if !obtainable(a) && (len(a.Items) == 0 || obtainable(b)) && len(a.Archives) == 0 && len(b.Archives) == 0 {
		a.Items, a.Install, a.Evidence = b.Items, b.Install, b.Evidence
	}
	if len(a.Supersedes) == 0 {
		a.Supersedes = b.Supersedes
	}
	if len(a.Requires) == 0 {
		a.Requires = b.Requires
	}
	return a
}

// obtainable says that a source knows how machines get the patch: its payload was
// fetched, or their own updater fetches it.
func obtainable(p patch.Patch) bool {
	return p.Evidence.Verdict == patch.Delegated || slices.ContainsFunc(p.Items, func(it patch.Item) bool { return it.Payload.SHA256 != "" })
}

// spelledOut gives every item its archives.
func spelledOut(items []patch.Item, of patch.Patch) []patch.Item {
	out := slices.Clone(items)
	for i := range out {
		if len(out[i].Archives) == 0 {
			out[i].Archives = of.Archives
		}
	}
	return out
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
