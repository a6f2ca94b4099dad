package crawl

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// product is a vendor's source package in a release.
type product struct{ vendor, name, release string }

// Join enters into the patches of all outputs which CVEs and advisories they
// answer: those whose first fixed version is at or below the patch's. releases
// maps archive ids to release names, as in Output. A tracker's word on a CVE
// counts before an advisory's, because it is corrected in place.
func Join(patches []patch.Patch, releases map[string]string, fixes []Fix, advisories []patch.Advisory) {
	byProduct := map[product][]Fix{}
	for _, f := range fixes {
		k := product{f.Vendor, f.Product, f.Release}
		byProduct[k] = append(byProduct[k], f)
	}
	bulletins := map[product][]bulletin{}
	for i, a := range advisories {
		for _, f := range a.Fixes {
			k := product{a.Vendor, f.Product, f.Release}
			bulletins[k] = append(bulletins[k], bulletin{&advisories[i], f.Version})
		}
	}
	for i := range patches {
		p := &patches[i]
		for _, release := range releasesOf(*p, releases) {
			k := product{p.Vendor, p.Product, release}
			joinFixes(p, byProduct[k])
			joinAdvisories(p, bulletins[k])
		}
	}
}

// bulletin is an advisory with the version that fixes one product.
type bulletin struct {
	advisory *patch.Advisory
	fixedIn  string
}

func releasesOf(p patch.Patch, releases map[string]string) []string {
	var out []string
	for _, id := range p.Archives {
		if r := releases[id]; r != "" && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func joinFixes(p *patch.Patch, fixes []Fix) {
	for _, f := range fixes {
		if fixed(f.FixedIn, p.Version) {
			p.CVEs = append(p.CVEs, patch.CVEFix{ID: f.CVE, FixedIn: f.FixedIn})
		}
	}
	slices.SortFunc(p.CVEs, func(a, b patch.CVEFix) int { return strings.Compare(a.ID, b.ID) })
	p.CVEs = slices.CompactFunc(p.CVEs, func(a, b patch.CVEFix) bool { return a.ID == b.ID })
}

func joinAdvisories(p *patch.Patch, all []bulletin) {
	known := map[string]bool{}
	for _, c := range p.CVEs {
		known[c.ID] = true
	}
	newest := ""
	for _, b := range all {
		if !fixed(b.fixedIn, p.Version) {
			continue
		}
		p.Advisories = append(p.Advisories, b.advisory.ID)
		if newest == "" || vercmp.Dpkg(b.fixedIn, newest) >= 0 {
			newest = b.fixedIn
			if p.Title == "" || vercmp.Dpkg(b.fixedIn, p.Version) == 0 {
				p.Title = b.advisory.Title
			}
		}
		for _, cve := range b.advisory.CVEs {
			if !known[cve] {
				known[cve] = true
				p.CVEs = append(p.CVEs, patch.CVEFix{ID: cve, FixedIn: b.fixedIn})
			}
		}
		if vercmp.Dpkg(b.fixedIn, p.Version) == 0 && p.Released.IsZero() {
			p.Released = b.advisory.Published
		}
	}
	slices.Sort(p.Advisories)
	p.Advisories = slices.Compact(p.Advisories)
	slices.SortFunc(p.CVEs, func(a, b patch.CVEFix) int { return strings.Compare(a.ID, b.ID) })
}

// fixed says that version has a fix that came with fixedIn. "0" and "" stand
// for "never affected".
func fixed(fixedIn, version string) bool {
	return fixedIn != "" && fixedIn != "0" && vercmp.Dpkg(fixedIn, version) <= 0
}

// Supersede enters the edges between the versions of each source package of a
// platform: a patch supersedes the next lower one that machines get by
// themselves. Suites that are not automatic (backports, experimental) stay
// out, because their versions replace nothing unless somebody asks for it.
func Supersede(patches []patch.Patch, archives []catalog.Archive) {
	automatic := map[string]bool{}
	for _, a := range archives {
		automatic[a.ID] = !a.NotAutomatic
	}
	type line struct{ platform, vendor, product string }
	lines := map[line][]int{}
	for i := range patches {
		p := &patches[i]
		if len(p.Archives) == 0 { // its vendor says what replaces what, and the source has entered it
			continue
		}
		p.Supersedes = nil
		if slices.ContainsFunc(p.Archives, func(id string) bool { return automatic[id] }) {
			k := line{p.Platform, p.Vendor, p.Product}
			lines[k] = append(lines[k], i)
		}
	}
	for _, l := range lines {
		slices.SortFunc(l, func(a, b int) int {
			if c := vercmp.Dpkg(patches[a].Version, patches[b].Version); c != 0 {
				return c
			}
			return strings.Compare(string(patches[a].ID), string(patches[b].ID))
		})
		for n := 1; n < len(l); n++ {
			higher, lower := &patches[l[n]], patches[l[n-1]]
			if vercmp.Dpkg(lower.Version, higher.Version) < 0 {
				higher.Supersedes = []patch.ID{lower.ID}
			}
		}
	}
}
