package winget

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// maxClaims bounds the AppsAndFeaturesEntries of an installer: each becomes items
// of all later versions. Those of winget-pkgs have a handful.
const maxClaims = 64

// Vendor is the patches' vendor.
const Vendor = "winget"

// line is a row of versions of which each replaces the one before: of one
// package, architecture, installer form and scope.
type line struct{ id, arch, form, scope string }

// release is one version in a line.
type release struct {
	version   Version
	installer Installer
}

// builder makes patches of versions.
type builder struct {
	keep     int // versions of a line
	sizes    map[string]int64
	reasons  map[string]string // why an installer was not fetched, by SHA-256
	said     map[string]said   // what fetched installers say of themselves
	sold     map[string]string // as which version an installer was sold first, by fileOf
	trusted  follow            // packages whose installers' versions are not compared
	words    map[string]string // what was compared, by claimant and SHA-256
	rejected []crawl.Rejection
	judged   func(id, sha256 string) (good, known bool)
	fetching bool // names may still come from what is fetched
	lines    map[line][]release
	order    []line
	tally    Tally
	out      []patch.Patch
	needs    map[patch.ID][]Dependency
	notes    []string
	flaws    flaws
	bulletin map[string]patch.Advisory
}

// Tally counts what became of the manifests.
type Tally struct {
	Packages   int // followed packages that have a manifest
	Versions   int // versions of them
	Installers int // installers of these
	Usable     int // of a form and architecture that is served
	// Left are the others by reason: what is not served is no fault of theirs.
	Left map[string][]string
}

// add sorts the installers of versions into lines. Versions come in order.
func (b *builder) add(all []Version) {
	for i, v := range all {
		if i == 0 || !strings.EqualFold(all[i-1].Identifier, v.Identifier) {
			b.tally.Packages++
		}
		b.tally.Versions++
		for _, in := range v.Installers {
			b.tally.Installers++
			if why := b.enter(v, in); why != "" {
				b.tally.Left[why] = append(b.tally.Left[why], strings.Join(strings.Fields(v.Identifier+" "+v.Version+" "+in.Architecture+" "+in.Type), " "))
				continue
			}
			b.tally.Usable++
		}
	}
}

// enter adds an installer to its line, or says why not.
func (b *builder) enter(v Version, in Installer) string {
	if why := in.unusable(); why != "" {
		return why
	}
	if vercmp.Valid(vercmp.Windows, v.Version) != nil || vercmp.Valid(vercmp.Windows, in.displayVersion(v)) != nil {
		return "its version is not made of numbers, so it can't be compared"
	}
	if len(in.Entries) > maxClaims {
		return "it claims to be more products than any installer is"
	}
	if why := in.unmatched(v); in.packaged() && why != "" {
		return why
	}
	in = in.told(b.said[in.SHA256])
	if len(in.identities(v)) == 0 && !(b.fetching && in.kind() == "msi") {
		return "nothing says how the installed product is named"
	}
	k := line{id: v.Identifier, form: in.Type, scope: cmp.Or(in.Scope, "machine")}
	if in.packaged() { // one file for both: users and whole machines have the same package
		k.scope = "machine"
	}
	k.arch, _ = in.goArch()
	have := b.lines[k]
	if n := len(have); n > 0 && have[n-1].version.Version == v.Version {
		if in.packaged() { // languages and scopes are inside
			return "another entry of the same version of the package is taken"
		}
		if !preferred(in, have[n-1].installer) {
			return "another language of the same installer is taken"
		}
		have[n-1].installer = in
		return ""
	}
	if len(have) == 0 {
		b.order = append(b.order, k)
	}
	b.lines[k] = append(have, release{v, in})
	return ""
}

// preferred says which language of an installer is taken: the first one, but
// English before others.
func preferred(in, have Installer) bool {
	english := func(x Installer) bool { return x.Locale == "" || strings.HasPrefix(strings.ToLower(x.Locale), "en") }
	return english(in) && !english(have)
}

// build makes the patches of all lines.
func (b *builder) build() {
	b.compare()
	for _, k := range b.order {
		for _, platform := range platforms(k.arch) {
			b.line(k, platform)
		}
	}
	b.require()
}

// platforms are the catalog slices on whose machines an architecture runs.
func platforms(arch string) []string {
	switch arch {
	case "amd64":
		return []string{"amd64", "arm64"}
	case "arm64":
		return []string{"arm64"}
	}
	return []string{"amd64", "386", "arm64"}
}

// ID names the patch of an installer: "winget:Maker.Tool:2.0:amd64:msi", with
// ":user" for one user's. On slices that are not the plain one of its
// architecture (amd64 for installers that run anywhere) the slice is added,
// because an id names one content.
func patchID(k line, version, platform string) patch.ID {
	id := Vendor + ":" + k.id + ":" + version + ":" + cmp.Or(k.arch, "neutral") + ":" + k.form
	if k.scope == "user" {
		id += ":user"
	}
	plain := "amd64"
	if k.arch == "arm64" {
		plain = "arm64"
	}
	if platform != plain {
		id += ":on-" + platform
	}
	return patch.ID(id)
}

// line makes the patches of one line for one slice. A newer version is named by
// what all versions before it were named by: that is what machines have.
func (b *builder) line(k line, platform string) {
	all := b.lines[k]
	shown := b.shown(all)
	var known []inventory.Identity
	var before *patch.Patch
	for i, r := range all {
		for _, id := range r.installer.identities(r.version) {
			if !slices.Contains(known, id) {
				known = append(known, id)
			}
		}
		if !shown[i] || r.installer.notOn(platform) {
			continue
		}
		p := b.patch(k, r, platform, known)
		if i > 0 {
			b.flaws.enter(&p, r, all[i-1].version.Version, b.bulletin)
		} else {
			b.flaws.enter(&p, r, "", b.bulletin)
		}
		if before != nil {
			p.Supersedes = []patch.ID{before.ID}
			if fetched(*before) && fetched(p) {
				p.Install.Restores = before.ID
			}
		}
		if d := r.installer.Dependencies.Packages; len(d) > 0 {
			b.needs[p.ID] = d
		}
		b.out = append(b.out, p)
		before = &p
	}
}

func fetched(p patch.Patch) bool { return p.Items[0].Payload.SHA256 != "" }

// patch makes the patch of one installer.
func (b *builder) patch(k line, r release, platform string, known []inventory.Identity) patch.Patch {
	v, in := r.version, r.installer
	p := patch.Patch{
		ID: patchID(k, v.Version, platform), Vendor: Vendor, Platform: "windows-apps-" + platform, Product: v.Identifier, Version: v.Version,
		Title: cmp.Or(v.Name, v.Identifier) + " " + v.Version, Classification: patch.Application, Severity: patch.Unknown,
		Install:    patch.Manifest{Kind: in.kind(), Scope: k.scope, Reboot: patch.RebootMaybe},
		Applicable: minimum(in.MinimumOS),
	}
	if at, err := time.Parse(time.DateOnly, in.Released); err == nil {
		p.Released = at
	}
	var payload patch.Payload
	why := in.notInstallable()
	if why == "" {
		why = cmp.Or(b.reasons[in.SHA256], in.Denied)
	}
	size, have := b.sizes[in.SHA256]
	switch {
	case why == "" && have:
		payload = patch.Payload{SHA256: in.SHA256, Size: size, Name: fileName(k, in), URL: in.URL}
		p.Evidence.Checks = b.evidence(r)
		p.Install.Argv, p.Install.UninstallArgv, p.Install.ExitCodes = in.argv(), in.uninstall(), in.exitCodes()
		p.Install.Replace = in.replace()
	default:
		p.Evidence = patch.Evidence{Verdict: patch.Unproven, Checks: []string{
			"nothing is installed from it: " + cmp.Or(why, "the installer was not fetched yet"),
		}}
	}
	for _, id := range known {
		p.Items = append(p.Items, patch.Item{Kind: id.Kind, Name: id.Name, Arch: k.arch, Version: in.displayVersion(v), Payload: payload})
	}
	return p
}

// fileName is a name for the installer that tells people what it is and the
// agent its form; addresses often don't.
func fileName(k line, in Installer) string {
	ext := ".exe"
	if in.kind() == "msi" {
		ext = ".msi"
	}
	return k.id + "_" + cmp.Or(k.arch, "neutral") + ext
}

// minimum is the condition that the system is new enough.
func minimum(version string) *detect.Rule {
	if vercmp.Valid(vercmp.Windows, version) != nil {
		return nil
	}
	return &detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: detect.GE, Build: version}}
}

// require turns dependencies into edges to the newest patch of the other
// package that is new enough, where the package is followed.
func (b *builder) require() {
	for i := range b.out {
		p := &b.out[i]
		for _, d := range b.needs[p.ID] {
			best := b.provider(*p, d)
			if best == "" {
				b.note(p.Product + " needs " + d.Identifier + ", which is not followed or not fetched; machines that have the product should have that too")
				continue
			}
			p.Requires = append(p.Requires, best)
		}
	}
}

func (b *builder) note(text string) {
	if !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
	}
}

func (b *builder) provider(of patch.Patch, d Dependency) patch.ID {
	var best *patch.Patch
	for i := range b.out {
		q := &b.out[i]
		if q.Platform != of.Platform || !strings.EqualFold(q.Product, d.Identifier) || q.Install.Scope != "machine" || !fetched(*q) ||
			q.Items[0].Arch != of.Items[0].Arch || d.Minimum != "" && vercmp.WindowsQuad(q.Version, d.Minimum) < 0 {
			continue
		}
		if best == nil || vercmp.WindowsQuad(q.Version, best.Version) > 0 {
			best = q
		}
	}
	if best == nil {
		return ""
	}
	return best.ID
}

// notes say in words what was left out.
func (t Tally) notes() []string {
	out := []string{fmt.Sprintf("%d versions of %d packages; %d of %d installers can be published", t.Versions, t.Packages, t.Usable, t.Installers)}
	const shown = 3
	for _, why := range sortedKeys(t.Left) {
		of := t.Left[why]
		names := strings.Join(of[:min(len(of), shown)], ", ")
		if len(of) > shown {
			names += ", ..."
		}
		out = append(out, fmt.Sprintf("%d installers are left out: %s (%s)", len(of), why, names))
	}
	return out
}
