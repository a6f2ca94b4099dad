package inventory

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/fettlehq/fettle/internal/detect"
)

// Facts answers detection rules from a stored snapshot, on the server. What an
// inventory does not hold (files, registry, WMI) it takes from the answers that
// the machine gave; without one it is unknown, and the reason says why.
//
// Products of Windows are found under any of their identities; those that one
// user alone has are left out, because rules speak of the machine.
func (s *Snapshot) Facts() detect.Facts { return &snapshotFacts{s: s} }

type snapshotFacts struct {
	s        *Snapshot
	once     sync.Once
	products map[Identity][]detect.PackageFact
	tell     sync.Once
	given    map[string]detect.Answer // by the key of the test
}

var (
	_ detect.Querier = (*snapshotFacts)(nil)
	_ detect.Teller  = (*snapshotFacts)(nil)
)

// Told implements detect.Teller.
func (f *snapshotFacts) Told(test detect.Rule) (detect.Answer, bool) {
	if len(f.s.Answers.Given) == 0 || !MayAnswer(test) {
		return detect.Answer{}, false
	}
	f.tell.Do(func() {
		f.given = make(map[string]detect.Answer, len(f.s.Answers.Given))
		for _, a := range f.s.Answers.Given {
			f.given[a.Test.Key()] = a.Answer
		}
	})
	a, given := f.given[test.Key()]
	return a, given
}

// Query implements detect.Querier: only a machine can answer it.
func (f *snapshotFacts) Query(string, string) (bool, error) { return false, f.s.Answers.silence() }

func (f *snapshotFacts) File(string) (detect.FileFact, error) {
	return detect.FileFact{}, f.s.Answers.silence()
}

func (f *snapshotFacts) Checksum(string) (string, bool, error) {
	return "", false, f.s.Answers.silence()
}

// Registry answers the values that say what system the machine has, as far as
// the inventory holds them: vendors' rules ask for these most.
func (f *snapshotFacts) Registry(key, _, name string) (detect.RegistryFact, error) {
	if f.s.OS.Family == "windows" {
		if fact, known := f.s.OS.registry(key, name); known {
			return fact, nil
		}
	}
	return detect.RegistryFact{}, f.s.Answers.silence()
}

func (f *snapshotFacts) Packages(kind, name string) ([]detect.PackageFact, error) {
	if IsProduct(kind) {
		f.once.Do(f.index)
		return f.products[Named(kind, name)], nil
	}
	var out []detect.PackageFact
	for _, p := range f.s.Find(kind, name) {
		out = append(out, detect.PackageFact{Version: p.Version, Arch: f.s.OS.EffectiveArch(p.Arch)})
	}
	if kind == kindComponent && !strings.HasPrefix(name, "Package_for_") { // see Package.Kind
		return nil, f.s.Answers.silence()
	}
	return out, nil
}

func (f *snapshotFacts) OS() (detect.OSFact, error) {
	o := f.s.OS
	if o.Family == "windows" { // rules compare the build with its revision, and know editions
		return detect.OSFact{Family: o.Family, Product: cmp.Or(o.Edition, o.ID), Build: o.Build, Arch: o.Arch}, nil
	}
	return detect.OSFact{Family: o.Family, Product: o.ID, Build: o.Version, Arch: o.Arch}, nil
}

// index enters the machine's products under all their identities: rules ask
// for thousands.
func (f *snapshotFacts) index() {
	f.products = map[Identity][]detect.PackageFact{}
	for _, kind := range []string{KindPackaged, KindProduct} {
		for _, p := range f.s.kind(kind) {
			if p.Scope != "" {
				continue
			}
			fact := detect.PackageFact{Version: p.Version, Arch: f.s.OS.EffectiveArch(p.Arch)}
			for _, id := range p.Identities() {
				f.products[id] = append(f.products[id], fact)
			}
		}
	}
}

// Find returns the installed packages of a kind and name. Products of Windows
// are found under any of their identities, those of single users (Scope)
// included. The snapshot's packages must be sorted, as Split and collectors
// leave them.
func (s *Snapshot) Find(kind, name string) []Package {
	if IsProduct(kind) {
		return s.findProducts(Named(kind, name))
	}
	less := func(p Package) bool { return p.Kind < kind || (p.Kind == kind && p.Name < name) }
	from := sort.Search(len(s.Packages), func(i int) bool { return !less(s.Packages[i]) })
	to := from
	for to < len(s.Packages) && s.Packages[to].Kind == kind && s.Packages[to].Name == name {
		to++
	}
	return s.Packages[from:to]
}

func (s *Snapshot) findProducts(id Identity) []Package {
	row := KindProduct
	if id.Kind == KindPackaged {
		row = KindPackaged
	}
	var out []Package
	for _, p := range s.kind(row) {
		if slices.Contains(p.Identities(), id) {
			out = append(out, p)
		}
	}
	return out
}

// kind returns the packages of one kind.
func (s *Snapshot) kind(kind string) []Package {
	from := sort.Search(len(s.Packages), func(i int) bool { return s.Packages[i].Kind >= kind })
	to := from
	for to < len(s.Packages) && s.Packages[to].Kind == kind {
		to++
	}
	return s.Packages[from:to]
}
