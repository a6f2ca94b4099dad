package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// lackedProduct is what tells findings of products apart: a product may stand
// in several rows and answer to several names, and still lacks a patch once.
type lackedProduct struct {
	patch patch.ID
	state FindingState
}

// named is a row of a shard that names a product, and how exactly: 0 stands for
// the first of its identities.
type named struct {
	ref
	rank int
}

// assessProduct adds the finding of one product of Windows. Every row counts by
// itself, also older ones that an installer left beside newer ones.
func (m *matcher) assessProduct(p inventory.Package) error {
	sides := m.sides(p)
	for i, s := range sides {
		for _, refs := range m.counting(s, p) {
			if err := m.assessSide(p, refs, rivals(sides, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// assessSide adds the finding of what one maker offers for a product; others
// says who else does.
func (m *matcher) assessSide(p inventory.Package, refs []ref, others string) error {
	if vercmp.Valid(vercmp.Windows, p.Version) != nil {
		return m.incomparable(p, refs)
	}
	offers := []offer{{version: p.Version, archives: []*Archive{installedArchive}, live: true}}
	for _, r := range refs {
		offers = addOffer(offers, r)
	}
	slices.SortStableFunc(offers, func(a, b offer) int { return vercmp.WindowsQuad(b.version, a.version) })
	arch := m.snap.OS.EffectiveArch(p.Arch)
	at := candidate(offers, p, arch, vercmp.WindowsQuad, &policy{})
	if at < 0 || vercmp.WindowsQuad(offers[at].version, p.Version) <= 0 {
		return nil
	}
	return m.lacks(p, offers, at, others)
}

// installable is the newest offer from at on that something can be installed
// from, when it is newer than what is there; else at: a bulletin that nothing is
// installed from must not stand in the way of a patch.
func (m *matcher) installable(p inventory.Package, offers []offer, at int) int {
	for i := at; i < len(offers) && vercmp.WindowsQuad(offers[i].version, p.Version) > 0; i++ {
		if b, err := m.brief(offers[i].refs[0]); err == nil && !b.Evidence.Bulletin() {
			return i
		}
	}
	return at
}

// fitsProduct reports whether a row serves the product: of its architecture,
// and nothing that installs for one user where the machine has it.
func (m *matcher) fitsProduct(r row, p inventory.Package) bool {
	if r.flags&flagUser != 0 && p.Scope == "" {
		return false
	}
	return r.arch == "" || r.arch == m.snap.OS.EffectiveArch(p.Arch)
}

// sameInstaller keeps, where both have the product, what the installer that it
// came with installs: Windows Installer or another; and for a user's product
// what installs for users.
func sameInstaller(all []named, p inventory.Package) []named {
	want := func(flag uint8, on bool) {
		fits := func(r named) bool { return (r.row.flags&flag != 0) == on }
		if slices.ContainsFunc(all, fits) {
			all = slices.DeleteFunc(all, func(r named) bool { return !fits(r) })
		}
	}
	want(flagMSI, p.UpgradeCode != "")
	want(flagUser, p.Scope != "")
	return all
}

// runs reports whether the row's patch may run on this system. One whose
// condition can't be judged stays, and is judged when it becomes a finding.
func (m *matcher) runs(r ref) bool {
	b, err := m.brief(r)
	return err == nil && (b.Applicable == nil || m.outcome(*b.Applicable) != detect.False)
}

// lacks adds the finding that the product lacks offer newest, or the one before
// it that can be installed.
func (m *matcher) lacks(p inventory.Package, offers []offer, newest int, others string) error {
	at := m.installable(p, offers, newest)
	o := offers[at]
	todo, err := m.outstanding(p, offers, at)
	if err != nil {
		return err
	}
	f := m.productFinding(p, todo)
	f.Available, f.Security = o.version, o.security() || len(todo.cves) > 0
	test := detect.Package{Kind: p.Kind, Name: p.Name, Arch: m.snap.OS.EffectiveArch(p.Arch), Op: detect.LT, Version: o.version}
	f.Evidence = []detect.Evidence{{
		Test: "package " + p.Kind + " " + p.Name, Want: "lt " + o.version, Found: p.Version, Value: detect.True,
	}}
	if p.Scope == "" {
		f.Evidence = detect.Eval(detect.Rule{Package: &test}, m.stored).Evidence
	}
	f.Reason = title(p) + " " + p.Version + " is installed; " + o.version + " is in the catalog"
	if b, err := m.brief(offers[newest].refs[0]); err == nil && b.Evidence.Bulletin() && len(b.Evidence.Checks) > 0 {
		if at != newest {
			f.Reason += "; " + offers[newest].version + " is out"
		}
		f.Reason += ", but " + b.Evidence.Checks[0]
	}
	f.Reason += others
	if rule := todo.patch.Applicable; rule != nil {
		if v := m.judge(*rule); v.Value == detect.Undetermined {
			f.State, f.Reason = Unsure, f.Reason+"; whether it runs on this system is not known: "+v.Reason()
		}
	}
	if p.Scope != "" {
		f.State, f.Reason = UserOnly, ""
	}
	m.put(p, f)
	return nil
}

// incomparable adds the finding of a product whose version is no number.
func (m *matcher) incomparable(p inventory.Package, refs []ref) error {
	newest := slices.MaxFunc(refs, func(a, b ref) int { return vercmp.WindowsQuad(a.row.version, b.row.version) })
	if p.Version == newest.row.version {
		return nil
	}
	b, err := m.brief(newest)
	if err != nil {
		return err
	}
	f := m.productFinding(p, &outstanding{patch: b, advisories: []string{}, cves: []string{}, severity: b.Severity})
	f.Available, f.State = newest.row.version, Unsure
	f.Reason = title(p) + " is installed with the version \"" + clipped(p.Version) + "\", which can't be compared with " + f.Available
	m.put(p, f)
	return nil
}

func (m *matcher) productFinding(p inventory.Package, todo *outstanding) Finding {
	return Finding{
		Patch: todo.patch.ID, Product: todo.patch.Product, Kind: p.Kind, Package: p.Name, Arch: p.Arch, Installed: p.Version,
		Severity: todo.severity, Advisories: todo.advisories, CVEs: todo.cves, Exploited: todo.exploited, EPSS: todo.epss, State: Missing,
		Bulletin: todo.patch.Evidence.Bulletin(),
	}
}

// maxUsers is how many users of one product are named: each user of a machine
// may write as many rows as he likes.
const maxUsers = 10

// put adds the finding unless the product has it already under another name.
// Users that have the same product are named together; the oldest version
// among the rows is the one that is shown.
func (m *matcher) put(p inventory.Package, f Finding) {
	if m.lacked == nil {
		m.lacked, m.users = map[lackedProduct]int{}, map[lackedProduct]int{}
	}
	if f.State == UserOnly {
		f.Reason = "only user " + strings.TrimPrefix(p.Scope, "user:") + " has " + title(p) + " " + p.Version + "; " + f.Available +
			" is in the catalog. It is the user's to update: Fettle installs for the whole machine"
	}
	key := lackedProduct{f.Patch, f.State}
	i, twice := m.lacked[key]
	if !twice {
		m.lacked[key] = len(m.out)
		m.out = append(m.out, f)
		return
	}
	have := &m.out[i]
	reason := have.Reason
	if f.State == UserOnly {
		switch m.users[key]++; {
		case m.users[key] < maxUsers:
			reason += "; " + f.Reason
		case m.users[key] == maxUsers:
			reason += "; and others"
		}
		f.Reason = reason
	}
	if vercmp.WindowsQuad(f.Installed, have.Installed) < 0 {
		*have = f
	} else {
		have.Reason = reason
	}
}

// title is what people know the product by.
func title(p inventory.Package) string { return cmp.Or(p.Title, p.Name) }

func clipped(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
