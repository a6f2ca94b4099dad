package sdp

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus"
	"github.com/fettlehq/fettle/internal/winargs"
)

// machines are the architectures that a package is published for, if its rules
// can hold there. Packages serve all releases of Windows: their rules say which.
var machines = []string{"amd64", "386", "arm64"}

// output makes the patches and advisories of a catalog.
func output(c Catalog, name, signer string) crawl.Output {
	var out crawl.Output
	newest := newestOf(c.Packages)
	order := wsus.Order(sortedKeys(newest), func(id string) []string { return newest[id].Superseded })
	for _, id := range sortedKeys(newest) {
		p := newest[id]
		for _, arch := range machines {
			if !possible(p.Applicable, arch) {
				continue
			}
			out.Patches = append(out.Patches, p.patch(name, arch, signer, order[id]))
		}
		out.Advisories = append(out.Advisories, p.advisory(name))
	}
	for _, r := range c.Refused {
		out.Rejected = append(out.Rejected, crawl.Rejection{What: r.Package, Reason: r.Reason})
	}
	return out
}

// newestOf are the packages by id; of several states of one the newest.
func newestOf(all []Package) map[string]Package {
	out := map[string]Package{}
	for _, p := range all {
		if old, twice := out[p.ID]; !twice || p.Created.After(old.Created) {
			out[p.ID] = p
		}
	}
	return out
}

// inTitle is the version that vendors write at the end of a title: "[02.22.A1]",
// "version 1.2.3", ", 1.2.3, A04".
var inTitle = regexp.MustCompile(`\[([^\]]{1,40})\]\s*$|[, ]v(?:ersion)? ?([0-9][0-9A-Za-z.]{0,30})\b`)

func (p Package) version() string {
	if m := inTitle.FindStringSubmatch(p.Title); m != nil {
		return strings.TrimSpace(cmp.Or(m[1], m[2]))
	}
	return cmp.Or(p.KB, p.Created.Format("2006.01.02"))
}

func (p Package) patch(name, arch, signer string, supersedes []string) patch.Patch {
	id := func(pkg string) patch.ID { return patch.ID("sdp:" + name + ":" + pkg + ":" + arch) }
	applicable, installed := p.rules()
	out := patch.Patch{
		ID: id(p.ID), Vendor: name, Platform: "windows-apps-" + arch, Product: cmp.Or(p.KB, p.Product), Version: p.version(), Title: p.Title,
		Classification: p.class(), Severity: p.Severity, Released: p.Created, Advisories: []string{p.advisoryID(name)},
		Applicable: &applicable, Installed: &installed, Install: p.manifest(),
	}
	for _, c := range p.CVEs {
		out.CVEs = append(out.CVEs, patch.CVEFix{ID: c, FixedIn: out.Version})
	}
	for _, i := range p.Items {
		out.Items = append(out.Items, i.item(out.Version, signer))
	}
	for _, old := range supersedes {
		out.Supersedes = append(out.Supersedes, id(old))
	}
	return out
}

// item names the payload. What vendors give is a digest: the lab learns the
// SHA-256 when it has fetched and proven the file.
func (i Item) item(version, signer string) patch.Item {
	pay := patch.Payload{Size: i.File.Size, Name: i.File.Name, URL: i.File.URL, Signer: signer}
	switch { // even a SHA-256 is nothing to install from before the file was fetched and proven
	case i.File.SHA256 != "":
		pay.Digest = "sha256:" + i.File.SHA256
	case i.File.SHA1 != "":
		pay.Digest = "sha1:" + i.File.SHA1
	}
	return patch.Item{Kind: "file", Name: i.File.Name, Version: version, Payload: pay}
}

// rules are those of the package over those of its items: with several, the
// package applies where one of them does, and is installed when all that apply
// are.
func (p Package) rules() (applicable, installed detect.Rule) {
	if len(p.Items) == 1 {
		return every(p.Applicable, p.Items[0].Applicable), p.Items[0].Installed
	}
	var some, done []detect.Rule
	for _, i := range p.Items {
		some = append(some, i.Applicable)
		not := i.Applicable
		done = append(done, detect.Rule{Any: []detect.Rule{i.Installed, {Not: &not}}})
	}
	return every(p.Applicable, detect.Rule{Any: some}), detect.Rule{All: done}
}

// every joins two rules; one that is always true adds nothing.
func every(a, b detect.Rule) detect.Rule {
	switch {
	case b.Always != nil && *b.Always:
		return a
	case a.Always != nil && *a.Always:
		return b
	}
	return detect.Rule{All: []detect.Rule{a, b}}
}

// manifest says how the package is installed. A package whose program is not
// the file that it names, or that has several items, has no command: it is
// found missing, and people install it.
func (p Package) manifest() patch.Manifest {
	i := p.Items[0]
	m := patch.Manifest{Kind: i.Kind, Reboot: i.Reboot, ExitCodes: i.ExitCodes, Scope: "machine"}
	if len(p.Items) > 1 || !strings.EqualFold(baseName(i.Program), i.File.Name) {
		return m
	}
	m.Argv = winargs.SplitArguments(i.Arguments)
	if i.Kind == "exe" {
		m.Argv = append([]string{"{payload}"}, m.Argv...)
	}
	return m
}

func baseName(p string) string { return p[strings.LastIndexAny(p, `\/`)+1:] }

// class is the vendor's word, and for the "Updates" that most packages are,
// what their product is.
func (p Package) class() patch.Classification {
	word := strings.ToLower(p.Classification)
	switch word {
	case "security updates":
		return patch.Security
	case "critical updates":
		return patch.Bugfix
	case "service packs":
		return patch.ServicePack
	case "drivers":
		return patch.Driver
	}
	about := strings.ToLower(p.Product + " " + p.Title)
	for _, w := range []string{"driver", "firmware", "bios"} {
		if strings.Contains(about, w) {
			return patch.Driver
		}
	}
	switch word {
	case "feature packs":
		return patch.Feature
	case "tools":
		return patch.Enhancement
	}
	return patch.Update
}

func (p Package) advisoryID(name string) string {
	return strings.ToUpper(name) + "-" + cmp.Or(p.KB, p.ID)
}

func (p Package) advisory(name string) patch.Advisory {
	a := patch.Advisory{
		ID: p.advisoryID(name), Vendor: name, Title: p.Title, Description: p.Description, Severity: p.Severity, Published: p.Created, Updated: p.Created, CVEs: p.CVEs,
	}
	if strings.HasPrefix(p.URL, "http://") || strings.HasPrefix(p.URL, "https://") {
		a.References = []string{p.URL}
	}
	return a
}

// possible reports whether a rule can hold on an architecture, whatever else a
// machine has.
func possible(r detect.Rule, arch string) bool {
	v := detect.Eval(r, onArch{arch})
	return v.Value != detect.False
}

// onArch are the facts of a machine of which the architecture alone is known.
type onArch struct{ arch string }

const notSaid = "only the architecture is known"

func (onArch) File(string) (detect.FileFact, error) {
	return detect.FileFact{}, detect.Unknown(notSaid)
}

func (onArch) Checksum(string) (string, bool, error) { return "", false, detect.Unknown(notSaid) }

func (onArch) Registry(string, string, string) (detect.RegistryFact, error) {
	return detect.RegistryFact{}, detect.Unknown(notSaid)
}

func (onArch) Packages(string, string) ([]detect.PackageFact, error) {
	return nil, detect.Unknown(notSaid)
}

// OS gives a build that compares with nothing, so that tests of it are unknown.
func (o onArch) OS() (detect.OSFact, error) {
	return detect.OSFact{Family: "windows", Build: "?", Arch: o.arch}, nil
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
