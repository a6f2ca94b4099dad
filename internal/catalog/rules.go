package catalog

import (
	"cmp"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// judged is a patch with rules of its own and what they say.
type judged struct {
	patch      patch.Patch
	applicable detect.Verdict
	installed  detect.Verdict
}

// ruled lists the ordinals of the patches that are judged by their own rules.
func (s *Shard) ruled() []int {
	s.ruleOnce.Do(func() {
		for i := range s.count(patches) {
			if indexAt(s.index[patches], i).b&flagOwnRules != 0 {
				s.rules = append(s.rules, i)
			}
		}
	})
	return s.rules
}

// ruling is the outcome of all patches of a shard that have rules. A shard may
// have thousands, and most don't concern the machine: of those that it does not
// lack only the edges stay in memory, of the others no rule does.
type ruling struct {
	shard *Shard
	all   []judged                // those that are, or may be, missing
	edges map[patch.ID][]patch.ID // what each replaces directly
}

// assessRules adds the findings of the patches with rules of their own. A
// patch that another applicable one replaces, directly or through others, is
// not listed.
func (m *matcher) assessRules(s *Shard) error {
	r := ruling{shard: s, edges: map[patch.ID][]patch.ID{}}
	var apply []patch.ID
	for n := range s.ruled() {
		p, err := s.ruledPatch(n)
		if err != nil {
			return err
		}
		applicable, installed := p.Rules()
		may := m.outcome(applicable)
		if len(p.Supersedes) > 0 {
			r.edges[p.ID] = p.Supersedes
		}
		if may == detect.True {
			apply = append(apply, p.ID)
		}
		if may != detect.False && m.outcome(installed) != detect.True {
			j := judged{patch: p, applicable: m.judge(applicable), installed: m.judge(installed)}
			j.patch.Applicable, j.patch.Installed = nil, nil
			r.all = append(r.all, j)
		}
	}
	replaced := map[patch.ID]bool{}
	for _, over := range apply {
		for _, id := range below(r.edges, over) {
			replaced[id] = true
		}
	}
	for i := range r.all {
		if j := &r.all[i]; !replaced[j.patch.ID] {
			if err := m.foundByRule(r, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// below lists what the patch replaces, directly and through others.
func below(edges map[patch.ID][]patch.ID, from patch.ID) []patch.ID {
	seen := map[patch.ID]bool{from: true}
	todo := append([]patch.ID(nil), edges[from]...)
	var out []patch.ID
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		out = append(out, id)
		todo = append(todo, edges[id]...)
	}
	return out
}

// foundByRule adds the finding of a patch that its rules call missing, with
// what is open in the patches that it replaces.
func (m *matcher) foundByRule(r ruling, j *judged) error {
	p := j.patch
	o := &outstanding{cves: []string{}, advisories: []string{}}
	covers := map[patch.ID]bool{p.ID: true}
	for _, id := range below(r.edges, p.ID) {
		covers[id] = true
	}
	every := func(string) bool { return true }
	for i := range r.all {
		if q := &r.all[i].patch; covers[q.ID] {
			b := &brief{ID: q.ID, Product: q.Product, Version: q.Version, Advisories: q.Advisories, CVEs: q.CVEs}
			if err := m.add(o, r.shard, b, every, every); err != nil {
				return err
			}
		}
	}
	o.finish(p.Severity)
	f := Finding{
		Patch: p.ID, Product: p.Product, Kind: p.Install.Kind, Package: p.Product, Installed: cmp.Or(m.installedOf(p), j.build(m.snap)), Available: p.Version,
		Security: p.IsSecurity(), Severity: o.severity, Advisories: o.advisories, CVEs: o.cves, Exploited: o.exploited, EPSS: o.epss,
		State: Missing, Archive: p.Vendor, Bulletin: p.Bulletin(),
		Evidence: append(append([]detect.Evidence(nil), j.applicable.Evidence...), j.installed.Evidence...),
	}
	f.State, f.Reason = j.verdict()
	if f.Bulletin && len(p.Evidence.Checks) > 0 {
		f.Reason += "; " + p.Evidence.Checks[0]
	}
	m.out = append(m.out, f)
	return nil
}

// verdict puts the two rules' outcome into a state and a sentence.
func (j *judged) verdict() (FindingState, string) {
	name := j.patch.Product + " " + j.patch.Version
	if j.patch.Title != "" {
		name = j.patch.Title
	}
	switch {
	case j.applicable.Value == detect.Undetermined:
		return Unsure, name + ": whether it applies is not known: " + j.applicable.Reason()
	case j.installed.Value == detect.Undetermined:
		return Unsure, name + ": whether it is installed is not known: " + j.installed.Reason()
	}
	return Missing, name + " applies and is not installed: " + j.installed.Reason()
}

// build is the system's build when the patch is one of the system and is judged
// by the build alone: that is what is installed in its place.
func (j *judged) build(snap *inventory.Snapshot) string {
	for _, e := range j.installed.Evidence {
		if !strings.HasPrefix(e.Test, "os build ") {
			return ""
		}
	}
	if len(j.installed.Evidence) == 0 {
		return ""
	}
	return snap.OS.Build
}

// installedOf is the installed version of the patch's first package, empty
// when it has none or none is there.
func (m *matcher) installedOf(p patch.Patch) string {
	for _, it := range p.Items {
		for _, q := range m.snap.Find(it.Kind, it.Name) {
			return q.Version
		}
	}
	return ""
}
