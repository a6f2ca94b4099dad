package dotnet

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// place is where an installer's files go on machines of one architecture.
type place struct{ arch, folder string }

// machines are the machines that an installer serves.
var machines = map[string][]place{
	"win-x64":   {{"amd64", `%ProgramFiles%`}},
	"win-x86":   {{"amd64", `%ProgramFiles(x86)%`}, {"386", `%ProgramFiles%`}},
	"win-arm64": {{"arm64", `%ProgramFiles%`}},
}

// kinds say how each product is called, where its versions lie, and under which
// name the inventory knows it (inventory.AppName).
var kinds = map[string]struct{ title, folder, app string }{
	"runtime": {"Microsoft .NET Runtime", `shared\Microsoft.NETCore.App\VERSION\.version`, "microsoft .net runtime|microsoft"},
	"desktop": {"Microsoft Windows Desktop Runtime", `shared\Microsoft.WindowsDesktop.App\VERSION\.version`, "microsoft windows desktop runtime|microsoft"},
	"sdk":     {"Microsoft .NET SDK", `sdk\VERSION\dotnet.dll`, "microsoft .net sdk|microsoft"},
}

// one is a product with the release that brought it.
type one struct {
	Product
	release Release
}

// output makes the patches of all channels.
func output(channels []Channel) crawl.Output {
	lines := map[string][]one{}
	var out crawl.Output
	for _, c := range channels {
		for _, r := range c.Releases {
			out.Advisories = append(out.Advisories, advisory(r))
			for _, p := range r.Products {
				key := p.line() + " " + p.RID
				if !slices.ContainsFunc(lines[key], func(o one) bool { return o.Version == p.Version }) {
					lines[key] = append(lines[key], one{p, r})
				}
			}
		}
	}
	keys := make([]string, 0, len(lines))
	for k := range lines {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		line := lines[k]
		slices.SortFunc(line, func(a, b one) int { return vercmp.WindowsQuad(a.Version, b.Version) })
		for i, p := range line {
			for _, at := range machines[p.RID] {
				out.Patches = append(out.Patches, p.patch(line, i, at))
			}
		}
	}
	return out
}

func (p one) id(at place) patch.ID {
	return patch.ID("dotnet:" + p.Kind + ":" + p.Version + ":" + strings.TrimPrefix(p.RID, "win-") + ":" + at.arch)
}

// patch makes the patch of the i-th version of a line. It applies where an
// older version of the line lies and the inventory knows the product, and is
// installed where this or a newer one lies: versions stand side by side, and
// programs take the newest.
func (p one) patch(line []one, i int, at place) patch.Patch {
	kind := kinds[p.Kind]
	word := strings.TrimPrefix(p.RID, "win-")
	out := patch.Patch{
		ID: p.id(at), Vendor: microsoft.Vendor, Platform: "windows-apps-" + at.arch, Product: kind.title + " " + p.line()[len(p.Kind)+1:],
		Version: p.Version, Title: kind.title + " " + p.Version + " (" + word + ")", Classification: patch.Bugfix, Severity: patch.Unknown,
		Released: p.release.Date, Advisories: []string{advisoryID(p.release)},
		Install: patch.Manifest{
			Kind: "exe", Argv: []string{"{payload}", "/install", "/quiet", "/norestart"}, UninstallArgv: []string{"{payload}", "/uninstall", "/quiet", "/norestart"},
			ExitCodes: map[int]patch.ExitMeaning{1641: patch.ExitRebootBegun, 3010: patch.ExitRebootDue, 1618: patch.ExitBusy, 1602: patch.ExitUserCanceled},
			Reboot:    patch.RebootMaybe, Scope: "machine",
		},
		Items: []patch.Item{{Kind: "file", Name: p.Name, Version: p.Version, Payload: patch.Payload{
			Name: p.Name, URL: p.URL, Digest: "sha512:" + p.SHA512, Signer: "Microsoft Corporation",
		}}},
	}
	if p.release.Security {
		out.Classification = patch.Security
	}
	for _, c := range p.release.CVEs {
		out.CVEs = append(out.CVEs, patch.CVEFix{ID: c, FixedIn: p.Version})
	}
	if i > 0 {
		out.Supersedes = []patch.ID{line[i-1].id(at)}
	}
	var older, level []detect.Rule
	for k, v := range line {
		path := at.folder + `\dotnet\` + strings.Replace(kind.folder, "VERSION", v.Version, 1)
		if test := (detect.Rule{File: &detect.File{Path: path}}); k < i {
			older = append(older, test)
		} else {
			level = append(level, test)
		}
	}
	never := false
	may := detect.Rule{Always: &never} // nothing is older than the first
	if len(older) > 0 {
		may = detect.Rule{All: []detect.Rule{{Package: &detect.Package{Kind: "app", Name: kind.app}}, {Any: older}}}
	}
	out.Applicable, out.Installed = &may, &detect.Rule{Any: level}
	return out
}

func advisoryID(r Release) string { return "DOTNET-" + r.Version }

func advisory(r Release) patch.Advisory {
	a := patch.Advisory{
		ID: advisoryID(r), Vendor: microsoft.Vendor, Title: ".NET " + r.Version, Severity: patch.Unknown, Published: r.Date, Updated: r.Date, CVEs: r.CVEs,
	}
	if strings.HasPrefix(r.Notes, "https://") {
		a.References = []string{r.Notes}
	}
	return a
}
