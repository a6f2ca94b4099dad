package catalog

import (
	"slices"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// unfinished reports whether the package manager stopped in the middle of
// installing the package. Pending triggers are work that it does by itself.
func unfinished(p inventory.Package) bool {
	return p.Broken != "" && p.Broken != "triggers-pending"
}

// assessBroken adds the finding that the catalog's own version of a package is
// installed only half: to the version numbers the machine looks level.
func (m *matcher) assessBroken(p inventory.Package) error {
	if !unfinished(p) {
		return nil
	}
	arch := m.snap.OS.EffectiveArch(p.Arch)
	var at []ref
	for _, s := range m.shards {
		from, to := s.span(p.Kind, p.Name)
		for i := from; i < to; i++ {
			r := s.rowAt(i)
			if r.flags&flagOwnRules == 0 && r.version == p.Version && m.fits(s, r.arch, arch) {
				at = append(at, ref{s, r})
			}
		}
	}
	if len(at) == 0 {
		return nil // not from this catalog; the machine's state tells of it
	}
	b, err := m.brief(at[0])
	if err != nil {
		return err
	}
	f := Finding{
		Patch: b.ID, Product: b.Product, Kind: p.Kind, Package: p.Name, Arch: p.Arch, Installed: p.Version, Available: p.Version,
		Security: slices.ContainsFunc(at, func(r ref) bool { return r.shard.secure(r.row) }),
		Severity: b.Severity, Advisories: []string{}, CVEs: []string{}, State: Broken,
		Reason: p.Name + " " + p.Version + " is " + p.Broken + ": its installation was begun and did not end well; see why with 'dpkg --configure -a' on the machine; a deployment that names its patch tries it again",
	}
	if f.Severity.Rank() == 0 {
		f.Severity = patch.Unknown
	}
	test := detect.Package{Kind: p.Kind, Name: p.Name, Arch: arch, Op: detect.EQ, Version: p.Version}
	f.Evidence = detect.Eval(detect.Rule{Package: &test}, m.snap.Facts()).Evidence
	m.out = append(m.out, f)
	return nil
}
