package publisher

import (
	"context"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// assemble cuts what was crawled into one shard per platform.
func (p *Publisher) assemble(_ context.Context, b *batch) error {
	byPlatform := map[string][]patch.Patch{}
	for _, x := range b.all.Patches {
		byPlatform[x.Platform] = append(byPlatform[x.Platform], x)
	}
	advisories, vulns := map[string]patch.Advisory{}, map[string]patch.Vulnerability{}
	for _, a := range b.all.Advisories {
		advisories[a.ID] = a
	}
	for _, v := range b.vulns {
		vulns[v.ID] = v
	}
	for platform, patches := range byPlatform {
		c := catalog.Contents{Patches: patches, Header: catalog.Header{
			Format: catalog.Format, Platform: platform, Notes: b.all.Notes, Archives: archivesOf(platform, patches, b.all.Archives),
			CodeSigning: p.codeSigning(patches),
		}}
		for id := range named(patches, func(x patch.Patch) []string { return x.Advisories }) {
			if a, ok := advisories[id]; ok {
				c.Advisories = append(c.Advisories, a)
			}
		}
		for id := range named(patches, cves) {
			if v, ok := vulns[id]; ok {
				c.Vulnerabilities = append(c.Vulnerabilities, v)
			}
		}
		merged, err := catalog.Merge(c)
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "publisher: shard %s", platform)
		}
		b.shards = append(b.shards, merged)
	}
	slices.SortFunc(b.shards, func(x, y catalog.Contents) int { return strings.Compare(x.Header.Platform, y.Header.Platform) })
	return nil
}

// archivesOf are the snapshots that the shard's patches name, each with the
// indexes of the shard's architecture.
func archivesOf(platform string, patches []patch.Patch, all []catalog.Archive) []catalog.Archive {
	arch := platform[strings.LastIndexByte(platform, '-')+1:]
	used := named(patches, func(x patch.Patch) []string {
		ids := slices.Clone(x.Archives)
		for _, it := range x.Items {
			ids = append(ids, it.Archives...)
		}
		return ids
	})
	var out []catalog.Archive
	for _, a := range all {
		if !used[a.ID] {
			continue
		}
		a.Indexes = slices.DeleteFunc(slices.Clone(a.Indexes), func(ix catalog.Index) bool { return ix.Arch != arch && ix.Arch != "all" })
		out = append(out, a)
	}
	return out
}

func cves(p patch.Patch) []string {
	ids := make([]string, 0, len(p.CVEs))
	for _, c := range p.CVEs {
		ids = append(ids, c.ID)
	}
	return ids
}

// named collects the ids that patches name.
func named(patches []patch.Patch, ids func(patch.Patch) []string) map[string]bool {
	out := map[string]bool{}
	for _, p := range patches {
		for _, id := range ids(p) {
			out[id] = true
		}
	}
	return out
}
