package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Assess says what the machine lacks: the one matcher of server and agent.
//
// A package counts when the version that its package manager would choose is
// newer than the installed one; for dpkg the choice follows apt_preferences(5)
// with the machine's own pins. A product of Windows counts under any of its
// identities, and once. Patches with rules of their own are judged by
// detect.Eval over the facts, which default to the snapshot's. Shards are those
// of the machine's platform and of its foreign architectures; the native one
// comes first. The findings are sorted by package, architecture, version and
// state. Snapshots must be sorted, as Split and collectors leave them.
func Assess(shards []*Shard, snap *inventory.Snapshot, facts detect.Facts) ([]Finding, error) {
	m := newMatcher(shards, snap, facts)
	for i, p := range snap.Packages {
		if inventory.IsProduct(p.Kind) {
			if err := m.assessProduct(p); err != nil {
				return nil, err
			}
			continue
		}
		if !m.newest(i) {
			continue
		}
		if err := m.assess(p); err != nil {
			return nil, err
		}
	}
	for _, s := range shards {
		if err := m.assessRules(s); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(m.out, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Arch, b.Arch),
			strings.Compare(a.Available, b.Available), strings.Compare(string(a.State), string(b.State)))
	})
	return m.out, nil
}

// newMatcher returns a matcher that judges rules over the facts, nil for the
// snapshot's.
func newMatcher(shards []*Shard, snap *inventory.Snapshot, facts detect.Facts) *matcher {
	stored := snap.Facts()
	if facts == nil {
		facts = stored
	}
	return &matcher{
		shards: shards, snap: snap, stored: stored,
		outcome: func(r detect.Rule) detect.Value { return detect.Outcome(r, facts) },
		judge:   func(r detect.Rule) detect.Verdict { return detect.Eval(r, facts) },
		policy:  newPolicy(snap.Policy, snap.OS.Arch), known: map[string]*outstanding{},
		patches: map[*Shard]map[uint32]*brief{},
	}
}

// matcher is one run of Assess.
type matcher struct {
	shards  []*Shard
	snap    *inventory.Snapshot
	outcome func(detect.Rule) detect.Value   // evaluates rules that patches bring
	judge   func(detect.Rule) detect.Verdict // the same with its evidence
	stored  detect.Facts                     // the snapshot's own
	policy  *policy
	refs    []ref // scratch
	known   map[string]*outstanding
	patches map[*Shard]map[uint32]*brief
	lacked  map[lackedProduct]int // products' findings in out
	users   map[lackedProduct]int // users that such a finding names beyond the first
	out     []Finding
}

// newest reports whether package i is the newest installed of its name and
// architecture: rpm keeps several kernels, and only the newest can lack one.
func (m *matcher) newest(i int) bool {
	p := m.snap.Packages[i]
	arch := m.snap.OS.EffectiveArch(p.Arch)
	for j, q := range m.snap.Find(p.Kind, p.Name) {
		if m.snap.OS.EffectiveArch(q.Arch) != arch {
			continue
		}
		c := Comparer(p.Kind)(q.Version, p.Version)
		if c > 0 || (c == 0 && m.before(p, j, i)) {
			return false
		}
	}
	return true
}

// before reports whether entry j among those of p's name stands before i.
func (m *matcher) before(p inventory.Package, j, i int) bool {
	first := i
	for first > 0 && m.snap.Packages[first-1].Kind == p.Kind && m.snap.Packages[first-1].Name == p.Name {
		first--
	}
	return first+j < i
}

// assess adds the findings of one package.
func (m *matcher) assess(p inventory.Package) error {
	compare := Comparer(p.Kind)
	arch := m.snap.OS.EffectiveArch(p.Arch)
	offers := m.offers(p, arch, compare)
	if offers == nil {
		return m.assessBroken(p)
	}
	rules := m.policy
	if p.Kind != "dpkg" {
		rules = &policy{}
	}
	at := candidate(offers, p, arch, compare, rules)
	if at >= 0 && compare(offers[at].version, p.Version) > 0 {
		state := Missing
		if p.Hold {
			state = Held
		}
		if err := m.found(p, offers, at, state); err != nil {
			return err
		}
	} else if err := m.assessBroken(p); err != nil {
		return err
	}
	if rules.plain() {
		return nil
	}
	free := candidate(offers, p, arch, compare, &policy{native: m.policy.native})
	if free >= 0 && compare(offers[free].version, p.Version) > 0 && (at < 0 || compare(offers[free].version, offers[at].version) > 0) {
		return m.found(p, offers, free, Pinned)
	}
	return nil
}

// found adds the finding that the package lacks offer at.
func (m *matcher) found(p inventory.Package, offers []offer, at int, state FindingState) error {
	o := offers[at]
	todo, err := m.outstanding(p, offers, at)
	if err != nil {
		return err
	}
	arch := m.snap.OS.EffectiveArch(p.Arch)
	f := Finding{
		Patch: todo.patch.ID, Product: todo.patch.Product, Kind: p.Kind, Package: p.Name, Arch: p.Arch,
		Installed: p.Version, Available: o.version, Security: o.security(),
		Severity: todo.severity, Advisories: todo.advisories, CVEs: todo.cves, Exploited: todo.exploited, EPSS: todo.epss,
		State: state, Archive: m.archiveName(o), Bulletin: todo.patch.Evidence.Bulletin(),
	}
	f.Reason = m.reason(f, arch, o.phased())
	if unfinished(p) {
		f.Reason += "; what is installed is " + p.Broken
	}
	test := detect.Package{Kind: p.Kind, Name: p.Name, Arch: arch, Op: detect.LT, Version: o.version}
	f.Evidence = detect.Eval(detect.Rule{Package: &test}, m.stored).Evidence
	m.out = append(m.out, f)
	return nil
}

// archiveName names the archive that people should think of: a security suite
// before others, then the one with the highest priority.
func (m *matcher) archiveName(o offer) string {
	var best *Archive
	for _, a := range o.archives {
		if a == installedArchive {
			continue
		}
		if best == nil || (a.Security && !best.Security) ||
			(a.Security == best.Security && m.policy.archive(a) > m.policy.archive(best)) {
			best = a
		}
	}
	if best == nil {
		return ""
	}
	return best.title()
}

// title is "Debian-Security bookworm-security".
func (a *Archive) title() string {
	return strings.TrimSpace(cmp.Or(a.Label, a.Origin) + " " + cmp.Or(a.Codename, a.Path, a.Suite))
}

// reason is the sentence that people read.
func (m *matcher) reason(f Finding, arch string, phased int) string {
	name := f.Package
	if arch != m.snap.OS.Arch {
		name += ":" + arch
	}
	text := name + " " + f.Installed + " is installed; " + f.Available + " is in " + cmp.Or(f.Archive, "the catalog")
	switch f.State {
	case Held:
		text += ", but the machine's administrator holds the package"
	case Pinned:
		text += ", but the machine's apt preferences keep it away"
	}
	if phased > 0 && phased < 100 {
		text += ", which the vendor is still rolling out by phases"
	}
	return text
}

// worst returns the higher of two severities; an empty one counts for nothing.
func worst(a, b patch.Severity) patch.Severity {
	if b.Rank() > a.Rank() {
		return b
	}
	return a
}
