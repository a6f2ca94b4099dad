package assess

import (
	"cmp"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Findings returns what the machine lacks, NotFound when it never reported to
// this tenant. The rows are shared: do not change their lists.
func (x *Index) Findings(id estate.TenantID, endpoint estate.EndpointID) ([]catalog.Finding, error) {
	missing := fault.New(fault.NotFound, "assess: no inventory of %s has been taken yet", endpoint)
	t := x.of(id)
	if t == nil {
		return nil, missing
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, known := t.numbers[endpoint]
	if !known {
		return nil, missing
	}
	p := t.machines[n].profile
	out := make([]catalog.Finding, 0, len(p.findings))
	for _, e := range p.findings {
		out = append(out, e.finding)
	}
	return out, nil
}

// Covered reports whether the catalog has content for the machine's platform.
// Without it, "nothing is missing" means nothing.
func (x *Index) Covered(id estate.TenantID, endpoint estate.EndpointID) bool {
	t := x.of(id)
	if t == nil {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, known := t.numbers[endpoint]
	return known && t.machines[n].profile.covered
}

// WhoLacks lists the machines that lack the patch, sorted by id. Without
// states it takes those that lack it for certain: missing and held.
func (x *Index) WhoLacks(id estate.TenantID, p patch.ID, in ...catalog.FindingState) []estate.EndpointID {
	t := x.of(id)
	if t == nil {
		return nil
	}
	if len(in) == 0 {
		in = []catalog.FindingState{catalog.Missing, catalog.Held}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	l := t.patches[p]
	if l == nil {
		return nil
	}
	profiles := roaring.New()
	for _, s := range in {
		if b := l.profiles[rank(s)]; b != nil {
			profiles.Or(b)
		}
	}
	return t.endpoints(profiles)
}

// WhoHas lists the machines that have a version of the package that fits op
// and version ("" fits any), sorted by id.
func (x *Index) WhoHas(id estate.TenantID, kind, name string, op detect.Op, version string) ([]estate.EndpointID, error) {
	fits, err := matcher(kind, op, version)
	if err != nil {
		return nil, err
	}
	t := x.of(id)
	if t == nil {
		return nil, nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	var sets []*roaring.Bitmap
	for _, it := range t.items[product{kind, name}] {
		if fits(it.version) {
			sets = append(sets, it.profiles)
		}
	}
	profiles := roaring.FastOr(sets...)
	profiles.And(t.alive)
	return t.endpoints(profiles), nil
}

// Version is one version of a package and how many machines have it.
type Version struct {
	Arch     string `json:"arch,omitempty"`
	Version  string `json:"version"`
	Machines int    `json:"machines"`
}

// Versions lists every version of a package in the tenant, newest first.
func (x *Index) Versions(id estate.TenantID, kind, name string) []Version {
	t := x.of(id)
	if t == nil {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []Version
	for _, it := range t.items[product{kind, name}] {
		n := 0
		living := roaring.And(it.profiles, t.alive).Iterator()
		for living.HasNext() {
			n += int(t.byNumber[living.Next()].machines.GetCardinality())
		}
		if n > 0 {
			out = append(out, Version{it.arch, it.version, n})
		}
	}
	order := catalog.Comparer(kind)
	slices.SortFunc(out, func(a, b Version) int {
		return cmp.Or(order(b.Version, a.Version), strings.Compare(a.Arch, b.Arch))
	})
	return out
}

// matcher prepares the condition on versions.
func matcher(kind string, op detect.Op, version string) (func(string) bool, error) {
	order := catalog.Comparer(kind)
	test := func(ok func(c int) bool) (func(string) bool, error) {
		return func(v string) bool { return ok(order(v, version)) }, nil
	}
	switch op {
	case "":
		return func(string) bool { return true }, nil
	case detect.EQ:
		return test(func(c int) bool { return c == 0 })
	case detect.NE:
		return test(func(c int) bool { return c != 0 })
	case detect.LT:
		return test(func(c int) bool { return c < 0 })
	case detect.LE:
		return test(func(c int) bool { return c <= 0 })
	case detect.GT:
		return test(func(c int) bool { return c > 0 })
	case detect.GE:
		return test(func(c int) bool { return c >= 0 })
	}
	return nil, fault.New(fault.Invalid, "assess: %q is not a comparison", op).WithHint("use eq, ne, lt, le, gt or ge")
}

// endpoints lists the machines of the profiles.
func (t *tenant) endpoints(profiles *roaring.Bitmap) []estate.EndpointID {
	var sets []*roaring.Bitmap
	it := profiles.Iterator()
	for it.HasNext() {
		sets = append(sets, t.byNumber[it.Next()].machines)
	}
	all := roaring.FastOr(sets...)
	out := make([]estate.EndpointID, 0, all.GetCardinality())
	machines := all.Iterator()
	for machines.HasNext() {
		out = append(out, t.machines[machines.Next()].endpoint)
	}
	slices.Sort(out)
	return out
}

// PatchCount is one patch and how many machines lack it, by state.
type PatchCount struct {
	Patch    patch.ID       `json:"patch"`
	Product  string         `json:"product"`
	Severity patch.Severity `json:"severity"`
	Security bool           `json:"security"`
	Missing  int            `json:"missing"`
	Held     int            `json:"held"`
	Broken   int            `json:"broken"`
	Unsure   int            `json:"unknown"`
	Pinned   int            `json:"pinned"`
	UserOnly int            `json:"user_only"`
}

// PatchCounts lists every patch that any machine of the tenant lacks, worst
// first, then by the number of machines.
func (x *Index) PatchCounts(id estate.TenantID) []PatchCount {
	t := x.of(id)
	if t == nil {
		return nil
	}
	t.mu.RLock()
	out := make([]PatchCount, 0, len(t.patches))
	for _, l := range t.patches {
		out = append(out, PatchCount{
			Patch: l.id, Product: l.product, Severity: l.severity, Security: l.security,
			Missing: l.machines[rank(catalog.Missing)], Held: l.machines[rank(catalog.Held)],
			Broken: l.machines[rank(catalog.Broken)], Unsure: l.machines[rank(catalog.Unsure)], Pinned: l.machines[rank(catalog.Pinned)],
			UserOnly: l.machines[rank(catalog.UserOnly)],
		})
	}
	t.mu.RUnlock()
	slices.SortFunc(out, func(a, b PatchCount) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(b.Missing+b.Held, a.Missing+a.Held),
			strings.Compare(string(a.Patch), string(b.Patch)))
	})
	return out
}

// Summary is a tenant at a glance.
type Summary struct {
	Machines int `json:"machines"`
	Profiles int `json:"profiles"` // distinct states among them
	// Level machines lack nothing; Uncovered ones have a platform that the
	// catalog does not know.
	Level     int `json:"level"`
	Uncovered int `json:"uncovered"`
	// Pending machines still stand as the previous catalog saw them.
	Pending int `json:"pending"`
	// Patches is the number of distinct patches that some machine lacks.
	Patches int `json:"patches"`
	// Missing counts findings (missing or held) by severity, Worst machines
	// by the worst of theirs.
	Missing map[patch.Severity]int `json:"missing"`
	Worst   map[patch.Severity]int `json:"worst"`
	// Bulletins are those of the missing that nothing can be installed from,
	// UserOnly findings about products of single users, which don't count as
	// missing.
	Bulletins int `json:"bulletins"`
	UserOnly  int `json:"user_only"`
	// Security counts findings of security, Insecure machines with any, those
	// of single users included.
	Security  int `json:"security"`
	Insecure  int `json:"insecure"`
	Exploited int `json:"exploited"`
	Pinned    int `json:"pinned"`
	Unsure    int `json:"unknown"`
	Broken    int `json:"broken"` // packages installed only half
}

// Summary reads the counters; it goes through the profiles only while a new
// catalog is being taken in.
func (x *Index) Summary(id estate.TenantID) Summary {
	generation := x.current().generation
	t := x.of(id)
	if t == nil {
		return Summary{Missing: bySeverity([severityRanks]int{}), Worst: bySeverity([severityRanks]int{})}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := Summary{
		Machines: t.total.machines, Profiles: len(t.profiles), Level: t.total.level, Uncovered: t.total.uncovered,
		Missing: bySeverity(t.total.missing), Worst: bySeverity(t.total.worst),
		Security: t.total.security, Insecure: t.total.insecure, Exploited: t.total.exploited, Pinned: t.total.pinned, Unsure: t.total.unsure,
		Broken: t.total.broken, Bulletins: t.total.bulletins, UserOnly: t.total.userOnly,
	}
	for _, l := range t.patches {
		if l.machines[rank(catalog.Missing)]+l.machines[rank(catalog.Held)] > 0 {
			out.Patches++
		}
	}
	for _, p := range t.profiles {
		if p.generation < generation {
			out.Pending += int(p.machines.GetCardinality())
		}
	}
	return out
}
