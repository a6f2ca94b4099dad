package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Normalize returns the canonical form of the contents: records sorted by id,
// sets inside them sorted and without doubles, empty lists nil, times in UTC.
// It refuses (Invalid) a record without id, two records with one id, and an
// archive id that the header does not name. The argument stays as it is.
func Normalize(c Contents) (Contents, error) {
	out := Contents{Header: normalHeader(c.Header)}
	known := map[string]bool{}
	for _, a := range out.Header.Archives {
		if known[a.ID] || a.ID == "" {
			return Contents{}, fault.New(fault.Invalid, "catalog: archive id %q is empty or comes twice", a.ID)
		}
		known[a.ID] = true
	}
	for _, p := range c.Patches {
		q, err := normalPatch(p, known)
		if err != nil {
			return Contents{}, err
		}
		out.Patches = append(out.Patches, q)
	}
	for _, a := range c.Advisories {
		out.Advisories = append(out.Advisories, normalAdvisory(a))
	}
	for _, v := range c.Vulnerabilities {
		v.EPSS = roundEPSS(v.EPSS)
		out.Vulnerabilities = append(out.Vulnerabilities, v)
	}
	if err := sortUnique("patch", out.Patches, patchKey); err != nil {
		return Contents{}, err
	}
	if err := sortUnique("advisory", out.Advisories, advisoryKey); err != nil {
		return Contents{}, err
	}
	return out, sortUnique("vulnerability", out.Vulnerabilities, vulnerabilityKey)
}

func patchKey(p patch.Patch) string                 { return string(p.ID) }
func advisoryKey(a patch.Advisory) string           { return a.ID }
func vulnerabilityKey(v patch.Vulnerability) string { return v.ID }

// sortUnique sorts records by key and refuses empty and double keys.
func sortUnique[T any](what string, records []T, key func(T) string) error {
	slices.SortFunc(records, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	for i, r := range records {
		switch k := key(r); {
		case k == "":
			return fault.New(fault.Invalid, "catalog: a %s has no id", what)
		case i > 0 && key(records[i-1]) == k:
			return fault.New(fault.Invalid, "catalog: %s %s comes twice", what, k)
		}
	}
	return nil
}

func normalHeader(h Header) Header {
	h.Format = Format
	h.Created = h.Created.UTC()
	h.Notes = set(h.Notes)
	h.Archives = orNil(slices.Clone(h.Archives))
	slices.SortFunc(h.Archives, func(a, b Archive) int { return strings.Compare(a.ID, b.ID) })
	for i := range h.Archives {
		a := &h.Archives[i]
		a.Date, a.ValidUntil = a.Date.UTC(), a.ValidUntil.UTC()
		a.Signers = set(a.Signers)
		a.Indexes = orNil(slices.Clone(a.Indexes))
		slices.SortFunc(a.Indexes, func(x, y Index) int { return strings.Compare(x.Name, y.Name) })
	}
	return h
}

func normalAdvisory(a patch.Advisory) patch.Advisory {
	a.Published, a.Updated = a.Published.UTC(), a.Updated.UTC()
	a.CVEs, a.References = set(a.CVEs), set(a.References)
	a.Fixes = orNil(slices.Clone(a.Fixes))
	slices.SortFunc(a.Fixes, func(x, y patch.Fix) int {
		return cmp.Or(strings.Compare(x.Product, y.Product), strings.Compare(x.Release, y.Release), strings.Compare(x.Version, y.Version))
	})
	return a
}

func normalPatch(p patch.Patch, known map[string]bool) (patch.Patch, error) {
	p.Released = p.Released.UTC()
	p.Advisories, p.Archives = set(p.Advisories), set(p.Archives)
	p.Requires, p.Supersedes = set(p.Requires), set(p.Supersedes)
	p.CVEs = orNil(slices.Clone(p.CVEs))
	slices.SortFunc(p.CVEs, func(x, y patch.CVEFix) int {
		return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(x.FixedIn, y.FixedIn), strings.Compare(x.From, y.From))
	})
	p.CVEs = slices.Compact(p.CVEs)
	p.Evidence.Checks = orNil(p.Evidence.Checks)
	p.Install.Argv, p.Install.UninstallArgv = orNil(p.Install.Argv), orNil(p.Install.UninstallArgv)
	if len(p.Install.ExitCodes) == 0 {
		p.Install.ExitCodes = nil
	}
	p.Items = orNil(slices.Clone(p.Items))
	for i := range p.Items {
		p.Items[i].Name = inventory.Named(p.Items[i].Kind, p.Items[i].Name).Name
	}
	slices.SortFunc(p.Items, compareItems)
	for i := range p.Items {
		it := &p.Items[i]
		if i > 0 && compareItems(p.Items[i-1], *it) == 0 {
			return p, fault.New(fault.Invalid, "catalog: patch %s brings %s %s %s twice", p.ID, it.Name, it.Arch, it.Version)
		}
		if it.PhasedPercent < 0 || it.PhasedPercent > 100 {
			return p, fault.New(fault.Invalid, "catalog: patch %s: %d is no percentage", p.ID, it.PhasedPercent)
		}
		if it.Archives = set(it.Archives); slices.Equal(it.Archives, p.Archives) {
			it.Archives = nil
		}
		if id := firstUnknown(it.Archives, known); id != "" {
			return p, fault.New(fault.Invalid, "catalog: patch %s names archive %s, the header does not", p.ID, id)
		}
	}
	if id := firstUnknown(p.Archives, known); id != "" {
		return p, fault.New(fault.Invalid, "catalog: patch %s names archive %s, the header does not", p.ID, id)
	}
	return p, nil
}

func compareItems(a, b patch.Item) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name),
		strings.Compare(a.Arch, b.Arch), strings.Compare(a.Version, b.Version))
}

func firstUnknown(ids []string, known map[string]bool) string {
	for _, id := range ids {
		if !known[id] {
			return id
		}
	}
	return ""
}

// set returns the strings sorted, each once, nil when there are none.
func set[S ~string](in []S) []S {
	out := slices.Clone(in)
	slices.Sort(out)
	return orNil(slices.Compact(out))
}

func orNil[T any](in []T) []T {
	if len(in) == 0 {
		return nil
	}
	return in
}
