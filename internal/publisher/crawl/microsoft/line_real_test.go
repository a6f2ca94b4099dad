//go:build !race

package microsoft

import (
	"slices"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// at is a machine at a build, of an edition that is serviced longest, without
// a list of KBs.
func at(p patch.Patch, build string) *inventory.Snapshot {
	r := ParsePlatform(p.Platform)
	return &inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: r.Release.ID, Version: r.Release.Version, Build: build, Edition: "EnterpriseS", Arch: r.Arch}}
}

// TestRealBuildsDecide: on every release since Windows 10, a machine at the
// build of any cumulative update has that and every older one, and lacks every
// newer one, whatever KBs it lists: here none.
func TestRealBuildsDecide(t *testing.T) {
	out, _ := realBuild(t)
	byPlatform := map[string][]patch.Patch{}
	for _, p := range out.Patches {
		if p.Installed != nil && len(p.Version) > 5 && p.Version[:5] == "10.0." {
			byPlatform[p.Platform] = append(byPlatform[p.Platform], p)
		}
	}
	machines, judged := 0, 0
	for platform, line := range byPlatform {
		slices.SortFunc(line, func(a, b patch.Patch) int { return vercmp.WindowsQuad(a.Version, b.Version) })
		for _, here := range line {
			facts := at(here, here.Version).Facts()
			machines++
			for _, p := range line {
				judged++
				got := detect.Eval(*p.Installed, facts).Value
				want := detect.False
				if vercmp.WindowsQuad(p.Version, here.Version) <= 0 {
					want = detect.True
				}
				if got != want {
					t.Errorf("%s at %s: %s (%s) installed: %s", platform, here.Version, p.ID, p.Version, got)
				}
			}
		}
	}
	t.Logf("%d platforms, %d builds, %d judgements", len(byPlatform), machines, judged)
	if len(byPlatform) < 40 {
		t.Errorf("only %d platforms", len(byPlatform))
	}
}

// TestRealChains: every shard opens, and on each platform the newest cumulative
// update replaces all others, across years and months that are not at hand.
func TestRealChains(t *testing.T) {
	docs, snaps := realMonths(t)
	list := realList(t)
	g := collect(newestStates(docs, snaps))
	loose := 0
	for _, platform := range sortedKeys(g.entries) {
		l := newLine(platform, g.entries[platform], list.Edges[platform])
		if len(l.cumulative) == 0 {
			continue
		}
		top := l.cumulative[len(l.cumulative)-1]
		for _, e := range l.cumulative[:len(l.cumulative)-1] {
			if !l.graph.reaches(top.kb, e.kb) {
				loose++
				t.Errorf("%s: KB%s (%s) does not replace KB%s (%s, %s)", platform, top.kb, top.build, e.kb, e.released.Format("2006-01"), e.build)
			}
		}
	}
}

// TestRealShards: what comes out is fit for the catalog, on every platform.
func TestRealShards(t *testing.T) {
	out, _ := realBuild(t)
	platforms := map[string]bool{}
	for _, p := range out.Patches {
		platforms[p.Platform] = true
		if a, i := p.Rules(); a.Validate() != nil || i.Validate() != nil {
			t.Errorf("%s: a rule is not valid: %v, %v", p.ID, a.Validate(), i.Validate())
		}
	}
	var sum catalog.Counts
	for platform := range platforms {
		n := shardOf(t, out, platform).Counts()
		sum.Patches += n.Patches
	}
	if sum.Patches != len(out.Patches) {
		t.Errorf("%d patches in shards, %d in all", sum.Patches, len(out.Patches))
	}
}
