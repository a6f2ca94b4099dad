package debian

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// parse makes patches of the snapshots of a state, which it reads from their
// blobs in dir.
func parse(ctx context.Context, dir string, s state) (crawl.Output, error) {
	b := builder{patches: map[patch.ID]*building{}}
	out := crawl.Output{Releases: map[string]string{}}
	for _, pass := range []bool{false, true} { // what is current comes first
		for _, su := range s.Suites {
			for _, snap := range su.all() {
				if snap.Archive.Superseded != pass || out.Releases[snap.Archive.ID] != "" {
					continue
				}
				if err := b.snapshot(ctx, dir, snap); err != nil {
					return crawl.Output{}, err
				}
				out.Archives = append(out.Archives, snap.Archive)
				out.Releases[snap.Archive.ID] = cmp.Or(baseCodename(snap.Archive.Codename), snap.Archive.Path)
			}
		}
	}
	out.Patches, out.Rejected = b.finish(), b.rejected
	return out, nil
}

// building is a patch in the making.
type building struct {
	patch patch.Patch
	items []heldItem
}

// heldItem is an item with the archives that hold it.
type heldItem struct {
	item     patch.Item
	archives []string
}

type builder struct {
	patches  map[patch.ID]*building
	rejected []crawl.Rejection
}

// group is what one snapshot holds of one version of a source package.
type group struct {
	source, version string
	nmu             int // highest binary-only rebuild
	packages        []Package
}

type groupKey struct{ source, version string }

// snapshot enters one snapshot: its packages grouped by platform and source.
// An index of architecture "all" counts for each architecture.
func (b *builder) snapshot(ctx context.Context, dir string, s snapshot) error {
	arches := map[string]map[groupKey]*group{}
	for _, ix := range s.Archive.Indexes {
		if ix.Arch != "all" && arches[ix.Arch] == nil {
			arches[ix.Arch] = map[groupKey]*group{}
		}
	}
	err := eachPackage(ctx, dir, s, func(ix catalog.Index, p Package) {
		for arch, groups := range arches {
			if ix.Arch == arch || ix.Arch == "all" {
				addTo(groups, p)
			}
		}
	}, func(r crawl.Rejection) { b.rejected = append(b.rejected, r) })
	if err != nil {
		return err
	}
	for arch, groups := range arches {
		for _, g := range groups {
			b.add(s, arch, g)
		}
	}
	return nil
}

func addTo(groups map[groupKey]*group, p Package) {
	k := groupKey{p.Source, p.SourceVersion}
	g := groups[k]
	if g == nil {
		g = &group{source: p.Source, version: p.SourceVersion}
		groups[k] = g
	}
	g.nmu = max(g.nmu, rebuild(p))
	g.packages = append(g.packages, p)
}

var binaryRebuild = regexp.MustCompile(`\+b([0-9]{1,4})$`)

// rebuild is the number of a binary-only rebuild: 2 for foo 1.0-1+b2 of source
// version 1.0-1. It has other bytes, so it is another patch.
func rebuild(p Package) int {
	if p.Version == p.SourceVersion || strings.IndexByte(p.Version, '+') < 0 {
		return 0
	}
	m := binaryRebuild.FindStringSubmatch(p.Version)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // at most four digits
	return n
}

// add enters a group, or merges it into the patch that another archive gave.
func (b *builder) add(s snapshot, arch string, g *group) {
	version := g.version
	if g.nmu > 0 {
		version += "+b" + strconv.Itoa(g.nmu)
	}
	release := s.Release
	if !s.Own {
		release += "+" + s.Vendor
	}
	id := patch.ID(release + ":" + arch + ":" + g.source + ":" + version)
	old := b.patches[id]
	if old != nil && s.Archive.Superseded && old.holds(g.packages) {
		return
	}
	if old == nil {
		old = &building{patch: patch.Patch{
			ID: id, Vendor: s.Vendor, Platform: s.Release + "-" + arch, Product: g.source, Version: version,
			Classification: patch.Update, Severity: patch.Unknown,
			Install: patch.Manifest{Kind: "apt", Reboot: patch.RebootMaybe},
		}}
		b.patches[id] = old
	}
	if s.Archive.Security {
		old.patch.Classification = patch.Security
	}
	for _, p := range g.packages {
		if why := old.merge(p, s.Archive.ID); why != "" {
			b.rejected = append(b.rejected, crawl.Rejection{What: s.Archive.Path + " " + p.Name + " " + p.Version, Reason: why})
		}
	}
}

// holds says that every package is in the patch already, from something newer.
func (b *building) holds(packages []Package) bool {
	for _, p := range packages {
		if b.find(p) == nil {
			return false
		}
	}
	return true
}

func (b *building) find(p Package) *heldItem {
	for i := range b.items {
		it := &b.items[i].item
		if it.Name == p.Name && it.Version == p.Version && it.Arch == p.Arch {
			return &b.items[i]
		}
	}
	return nil
}

// merge enters one package. Two files of one name, version and architecture
// can't both be right: the first stays and the reason for the other comes back.
func (b *building) merge(p Package, archive string) string {
	if held := b.find(p); held != nil {
		if held.item.Payload.SHA256 != p.SHA256 {
			return "another archive or stanza has other bytes under this version"
		}
		if !slices.Contains(held.archives, archive) {
			held.archives = append(held.archives, archive)
		}
		return ""
	}
	b.items = append(b.items, heldItem{archives: []string{archive}, item: patch.Item{
		Kind: "dpkg", Name: p.Name, Arch: p.Arch, Version: p.Version, PhasedPercent: p.Phased,
		Payload: patch.Payload{SHA256: p.SHA256, Size: p.Size, Name: p.Filename},
	}})
	return ""
}

// finish gives the patches in the order of their ids.
func (b *builder) finish() []patch.Patch {
	out := make([]patch.Patch, 0, len(b.patches))
	for _, x := range b.patches {
		out = append(out, x.finish())
	}
	slices.SortFunc(out, func(a, b patch.Patch) int { return strings.Compare(string(a.ID), string(b.ID)) })
	slices.SortFunc(b.rejected, func(a, b crawl.Rejection) int {
		return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Reason, b.Reason))
	})
	b.rejected = slices.Compact(b.rejected)
	return out
}

func (b *building) finish() patch.Patch {
	p := b.patch
	for i := range b.items {
		slices.Sort(b.items[i].archives)
		for _, a := range b.items[i].archives {
			if !slices.Contains(p.Archives, a) {
				p.Archives = append(p.Archives, a)
			}
		}
	}
	slices.Sort(p.Archives)
	p.Items = make([]patch.Item, 0, len(b.items))
	for _, h := range b.items {
		if !slices.Equal(h.archives, p.Archives) {
			h.item.Archives = h.archives
		}
		p.Items = append(p.Items, h.item)
	}
	slices.SortFunc(p.Items, func(a, b patch.Item) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch), vercmp.Dpkg(a.Version, b.Version))
	})
	return p
}

// payloadURL is where an archive offers a package file.
func payloadURL(base, filename string) (string, error) {
	if !isPath(filename) || base == "" {
		return "", fault.New(fault.Invalid, "debian: %q is no package file of an archive", clip(filename))
	}
	return strings.TrimSuffix(base, "/") + "/" + strings.ReplaceAll(strings.TrimPrefix(filename, "./"), "+", "%2B"), nil
}
