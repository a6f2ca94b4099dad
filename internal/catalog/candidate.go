package catalog

import (
	"slices"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// ref is one row of one shard.
type ref struct {
	shard *Shard
	row   row
}

// offer is one version of a package with everything that carries it.
type offer struct {
	version  string
	refs     []ref
	archives []*Archive
	// live says that something that is not superseded carries it.
	live bool
}

// security reports whether a security suite carries the version.
func (o offer) security() bool {
	for _, r := range o.refs {
		if r.shard.secure(r.row) {
			return true
		}
	}
	return false
}

// phased is the vendor's rollout share in percent; 0 means everyone.
func (o offer) phased() int {
	for _, r := range o.refs {
		if r.row.phased > 0 {
			return int(r.row.phased)
		}
	}
	return 0
}

// Comparer is the version order of a kind of package (dpkg, rpm, apk, pkgutil,
// otherwise Windows products): -1, 0 or +1 as a is below, equal to or above b.
func Comparer(kind string) func(a, b string) int {
	switch kind {
	case "dpkg":
		return vercmp.Dpkg
	case "rpm":
		return vercmp.Rpm
	case "apk":
		return vercmp.Apk
	case "pkgutil":
		return vercmp.AppleVersion
	}
	return vercmp.WindowsQuad
}

// offers lists the versions that fit the package, newest first, the installed
// one included. It returns nil at once when none is newer, which is the case
// of nearly every package.
func (m *matcher) offers(p inventory.Package, arch string, compare func(a, b string) int) []offer {
	newer := false
	refs := m.refs[:0]
	for _, s := range m.shards {
		from, to := s.span(p.Kind, p.Name)
		for i := from; i < to; i++ {
			r := s.rowAt(i)
			if r.flags&flagOwnRules != 0 || !m.fits(s, r.arch, arch) {
				continue
			}
			refs = append(refs, ref{s, r})
			newer = newer || compare(r.version, p.Version) > 0
		}
	}
	m.refs = refs
	if !newer {
		return nil
	}
	out := []offer{{version: p.Version, archives: []*Archive{installedArchive}, live: true}}
	for _, r := range refs {
		out = addOffer(out, r)
	}
	slices.SortStableFunc(out, func(a, b offer) int { return compare(b.version, a.version) })
	return out
}

// fits reports whether an item of the architecture serves packages that the
// machine counts under arch. dpkg's "all" belongs to the native architecture.
func (m *matcher) fits(s *Shard, item, arch string) bool {
	switch item {
	case "":
		return true
	case "all", "noarch":
		return arch == m.snap.OS.Arch && s.arch == arch
	}
	return item == arch
}

// addOffer merges equal versions of several patches, archives and shards.
func addOffer(out []offer, r ref) []offer {
	i := slices.IndexFunc(out, func(o offer) bool { return o.version == r.row.version })
	if i < 0 {
		out = append(out, offer{version: r.row.version})
		i = len(out) - 1
	}
	o := &out[i]
	o.refs = append(o.refs, r)
	in := r.shard.sets[r.row.set]
	o.live = o.live || len(in) == 0
	for _, a := range in {
		if !a.Superseded {
			o.live = true
			o.archives = append(o.archives, a)
		}
	}
	return out
}

// candidate picks what apt would: the highest priority, then the newest
// version; nothing below priority 1; nothing older than what is installed
// unless its priority reaches 1000 (apt's pkgPolicy::GetCandidateVer). The
// offers are sorted, newest first. It returns -1 when there is none.
func candidate(offers []offer, p inventory.Package, arch string, compare func(a, b string) int, rules *policy) int {
	best, at := 0, -1
	for i, o := range offers {
		if !o.live {
			continue
		}
		prio := rules.of(p, arch, o.version, o.archives)
		if prio <= best || (prio < priorityDowngrade && compare(o.version, p.Version) < 0) {
			continue
		}
		best, at = prio, i
	}
	return at
}
