package catalog

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Merge joins what several sources gave for one platform into the contents of
// one shard, independently of the order of the parts.
//
// A patch or advisory that comes twice must say the same each time (Conflict
// otherwise), only the archives that carry a patch add up. Vulnerabilities are
// merged field by field, the worse word wins. Supersedence and prerequisites
// must be free of circles (Invalid). A prerequisite that is not there is
// replaced by a patch that supersedes it; a patch whose prerequisite can't be
// met at all is left out and named in the header's notes.
func Merge(parts ...Contents) (Contents, error) {
	var out Contents
	ps, as := map[string]patch.Patch{}, map[string]patch.Advisory{}
	vs := map[string]patch.Vulnerability{}
	for _, part := range parts {
		part, err := Normalize(part)
		if err != nil {
			return Contents{}, err
		}
		if err := mergeHeader(&out.Header, part.Header); err != nil {
			return Contents{}, err
		}
		for _, p := range part.Patches {
			if err := mergePatch(ps, p); err != nil {
				return Contents{}, err
			}
		}
		for _, a := range part.Advisories {
			if err := mergeSame(as, a.ID, a, "advisory"); err != nil {
				return Contents{}, err
			}
		}
		for _, v := range part.Vulnerabilities {
			vs[v.ID] = mergeVulnerability(vs[v.ID], v)
		}
	}
	out.Patches, out.Advisories, out.Vulnerabilities = values(ps), values(as), values(vs)
	if err := out.close(); err != nil {
		return Contents{}, err
	}
	return Normalize(out)
}

func values[T any](m map[string]T) []T {
	out := make([]T, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

func mergeHeader(into *Header, h Header) error {
	if into.Platform != "" && h.Platform != "" && into.Platform != h.Platform {
		return fault.New(fault.Invalid, "catalog: parts of %s and %s do not make one shard", into.Platform, h.Platform)
	}
	into.Platform = cmp.Or(into.Platform, h.Platform)
	into.Version = max(into.Version, h.Version)
	if h.Created.After(into.Created) {
		into.Created = h.Created
	}
	into.Notes = append(into.Notes, h.Notes...)
	if into.CodeSigning == nil {
		into.CodeSigning = h.CodeSigning
	} else if h.CodeSigning != nil {
		if same, err := equal(into.CodeSigning, h.CodeSigning); err != nil || !same {
			return cmp.Or(err, error(fault.New(fault.Conflict, "catalog: parts of %s trust other code-signing certificates", into.Platform)))
		}
	}
	for _, a := range h.Archives {
		i := slices.IndexFunc(into.Archives, func(b Archive) bool { return b.ID == a.ID })
		if i < 0 {
			into.Archives = append(into.Archives, a)
			continue
		}
		same, err := equal(into.Archives[i], a)
		if err != nil {
			return err
		}
		if !same {
			return fault.New(fault.Conflict, "catalog: archive snapshot %s (%s) comes with two descriptions", a.ID, a.title())
		}
	}
	return nil
}

// mergePatch adds a patch. The archives of both add up, per item.
func mergePatch(into map[string]patch.Patch, p patch.Patch) error {
	q, twice := into[string(p.ID)]
	if !twice {
		into[string(p.ID)] = p
		return nil
	}
	same, err := equal(withoutArchives(q), withoutArchives(p))
	if err != nil {
		return err
	}
	if !same {
		return fault.New(fault.Conflict, "catalog: patch %s comes twice with different content", p.ID).
			WithHint("a patch id names one content for ever; one of the sources builds it wrongly")
	}
	merged := withoutArchives(q)
	merged.Archives = set(append(slices.Clone(q.Archives), p.Archives...))
	for i := range merged.Items {
		merged.Items[i].Archives = set(append(slices.Clone(archivesOf(q, q.Items[i])), archivesOf(p, p.Items[i])...))
	}
	into[string(p.ID)] = merged
	return nil
}

func mergeSame[T any](into map[string]T, id string, v T, what string) error {
	if old, twice := into[id]; twice {
		same, err := equal(old, v)
		if err != nil {
			return err
		}
		if !same {
			return fault.New(fault.Conflict, "catalog: %s %s comes twice with different content", what, id)
		}
	}
	into[id] = v
	return nil
}

// equal compares the canonical forms.
func equal(a, b any) (bool, error) {
	x, err := marshal(a)
	if err != nil {
		return false, err
	}
	y, err := marshal(b)
	return bytes.Equal(x, y), err
}

// mergeVulnerability takes the worse word of both, whichever comes first.
func mergeVulnerability(a, b patch.Vulnerability) patch.Vulnerability {
	out := patch.Vulnerability{ID: cmp.Or(a.ID, b.ID), EPSS: max(a.EPSS, b.EPSS)}
	out.Description = longer(a.Description, b.Description)
	out.Exploited, out.Disclosed = a.Exploited || b.Exploited, a.Disclosed || b.Disclosed
	out.Impact = longer(a.Impact, b.Impact)
	known := func(s patch.Severity) bool { return s != "" && s != patch.Unknown }
	switch {
	case known(a.Severity) && !known(b.Severity):
		out.Severity = a.Severity
	case known(b.Severity) && !known(a.Severity):
		out.Severity = b.Severity
	default:
		out.Severity = worst(a.Severity, b.Severity)
	}
	score := a
	if c := cmp.Or(cmp.Compare(a.CVSS, b.CVSS), strings.Compare(a.CVSSVector, b.CVSSVector)); c < 0 {
		score = b
	}
	out.CVSS, out.CVSSVector = score.CVSS, score.CVSSVector
	switch {
	case a.KEV == nil:
		out.KEV = b.KEV
	case b.KEV == nil:
		out.KEV = a.KEV
	default:
		k := *a.KEV
		if cmp.Or(strings.Compare(b.KEV.Added, k.Added), strings.Compare(b.KEV.Due, k.Due)) < 0 {
			k.Added, k.Due = b.KEV.Added, b.KEV.Due
		}
		k.Ransomware = a.KEV.Ransomware || b.KEV.Ransomware
		out.KEV = &k
	}
	return out
}

func longer(a, b string) string {
	if c := cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)); c < 0 {
		return b
	}
	return a
}

// close resolves supersedence and closes prerequisites.
func (c *Contents) close() error {
	slices.SortFunc(c.Patches, func(a, b patch.Patch) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if err := c.checkSupersedence(); err != nil {
		return err
	}
	for {
		dropped := c.dropUnmet()
		if len(dropped) == 0 {
			break
		}
		c.Header.Notes = append(c.Header.Notes, dropped...)
	}
	_, err := Order(c.Patches)
	return err
}

// checkSupersedence refuses circles: nothing would be left to install.
func (c *Contents) checkSupersedence() error {
	turned := make([]patch.Patch, len(c.Patches))
	for i, p := range c.Patches {
		turned[i] = patch.Patch{ID: p.ID, Requires: p.Supersedes}
	}
	if _, err := Order(turned); err != nil {
		return fault.Wrap(err, fault.Invalid, "catalog: patches supersede each other")
	}
	return nil
}

// dropUnmet replaces prerequisites that are gone by what supersedes them,
// leaves out patches with one that can't be met, and says so.
func (c *Contents) dropUnmet() []string {
	have := map[patch.ID]bool{}
	by := map[patch.ID]patch.ID{} // superseded and gone -> what is there instead
	for _, p := range c.Patches {
		have[p.ID] = true
	}
	for _, p := range c.Patches {
		for _, old := range p.Supersedes {
			if _, known := by[old]; !known || slices.Contains(p.Supersedes, by[old]) {
				by[old] = p.ID
			}
		}
	}
	var notes []string
	c.Patches = slices.DeleteFunc(c.Patches, func(p patch.Patch) bool {
		for _, id := range p.Requires {
			if _, met := by[id]; !have[id] && (!met || by[id] == p.ID) {
				notes = append(notes, "patch "+string(p.ID)+" is left out: it requires "+string(id)+", which no source has")
				return true
			}
		}
		return false
	})
	for i, p := range c.Patches {
		c.Patches[i].Requires = slices.Clone(p.Requires)
		for n, id := range p.Requires {
			if !have[id] {
				c.Patches[i].Requires[n] = by[id]
			}
		}
	}
	return notes
}
