package inventory

import (
	"cmp"
	"sort"

	"github.com/fettlehq/fettle/internal/detect"
)

// Facts answers detection rules from a stored snapshot, on the server. What a
// snapshot does not hold (files, registry) is unknown there: the agent's probe
// answers those on the machine.
func (s *Snapshot) Facts() detect.Facts { return snapshotFacts{s} }

type snapshotFacts struct{ s *Snapshot }

const notInInventory = "not part of the inventory; the agent answers it on the machine"

func (f snapshotFacts) File(string) (detect.FileFact, error) {
	return detect.FileFact{}, detect.Unknown(notInInventory)
}

func (f snapshotFacts) Checksum(string) (string, bool, error) {
	return "", false, detect.Unknown(notInInventory)
}

func (f snapshotFacts) Registry(string, string, string) (detect.RegistryFact, error) {
	return detect.RegistryFact{}, detect.Unknown(notInInventory)
}

func (f snapshotFacts) Packages(kind, name string) ([]detect.PackageFact, error) {
	var out []detect.PackageFact
	for _, p := range f.s.Find(kind, name) {
		out = append(out, detect.PackageFact{Version: p.Version, Arch: f.s.OS.EffectiveArch(p.Arch)})
	}
	return out, nil
}

func (f snapshotFacts) OS() (detect.OSFact, error) {
	o := f.s.OS
	if o.Family == "windows" { // rules compare the build with its revision, and know editions
		return detect.OSFact{Family: o.Family, Product: cmp.Or(o.Edition, o.ID), Build: o.Build, Arch: o.Arch}, nil
	}
	return detect.OSFact{Family: o.Family, Product: o.ID, Build: o.Version, Arch: o.Arch}, nil
}

// Find returns the installed packages of a kind and name. The snapshot's
// packages must be sorted, as Split and collectors leave them.
func (s *Snapshot) Find(kind, name string) []Package {
	less := func(p Package) bool { return p.Kind < kind || (p.Kind == kind && p.Name < name) }
	from := sort.Search(len(s.Packages), func(i int) bool { return !less(s.Packages[i]) })
	to := from
	for to < len(s.Packages) && s.Packages[to].Kind == kind && s.Packages[to].Name == name {
		to++
	}
	return s.Packages[from:to]
}
