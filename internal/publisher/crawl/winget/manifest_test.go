package winget

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

const sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// singleton is a whole manifest in one file; keys of the root are defaults.
func singleton(version, schema string, lines ...string) string {
	return "# made by hand\nPackageIdentifier: Maker.Tool\nPackageVersion: " + version + "\nPackageName: Tool\nPublisher: Maker GmbH\n" +
		strings.Join(lines, "\n") + "\nManifestType: singleton\nManifestVersion: " + schema + "\n"
}

func installerLines(arch, more string) string {
	return "- Architecture: " + arch + "\n  InstallerUrl: https://vendor.example/tool-" + arch + ".exe\n  InstallerSha256: " + strings.ToUpper(sumA) + more
}

func parse(t testing.TB, text string) Document {
	t.Helper()
	d, err := ParseDocument([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

// TestSchemas: manifests of all schemas 1.x say the same, whatever the line
// ends, and also behind a byte order mark.
func TestSchemas(t *testing.T) {
	var first []Version
	for minor := range 13 {
		text := singleton("25.01", fmt.Sprintf("1.%d.0", minor), "InstallerType: inno", "Scope: machine", "ReleaseDate: 2026-01-02", "NewIn1999: {a: [1]}",
			"Installers:", installerLines("x64", "\n  Scope: user"), installerLines("x86", ""))
		for _, form := range []string{text, strings.ReplaceAll(text, "\n", "\r\n"), "\ufeff" + text} {
			all, rejected := Join([]Document{parse(t, form)})
			if len(rejected) > 0 || len(all) != 1 {
				t.Fatal(all, rejected)
			}
			if first == nil {
				first = all
			}
			if diff := cmp.Diff(first, all); diff != "" {
				t.Fatalf("1.%d (-first +this):\n%s", minor, diff)
			}
		}
	}
	v := first[0]
	if v.Version != "25.01" || v.Installers[0].Scope != "user" || v.Installers[1].Scope != "machine" || v.Installers[1].Type != "inno" ||
		v.Installers[0].SHA256 != sumA || v.Installers[0].Released != "2026-01-02" {
		t.Errorf("%+v", v)
	}
}

func TestManifestsRefused(t *testing.T) {
	good := singleton("1.0", "1.6.0", "InstallerType: exe", "Installers:", installerLines("x64", ""))
	for name, c := range map[string]struct{ text, says string }{
		"a web page":     {"<!DOCTYPE html><html></html>", "it does not have the form"},
		"nothing":        {"", "no YAML"},
		"a list":         {"- a\n- b\n", "does not have the form"},
		"old schema":     {strings.Replace(good, "1.6.0", "0.1.0", 1), `schema "0.1.0" is not known`},
		"future schema":  {strings.Replace(good, "1.6.0", "2.0.0", 1), "is not known"},
		"a path":         {strings.Replace(good, "Maker.Tool", "Maker..Tool", 1), "identifier"},
		"a path up":      {strings.Replace(good, "PackageVersion: 1.0", "PackageVersion: ..", 1), "version"},
		"a folder":       {strings.Replace(good, "PackageVersion: 1.0", "PackageVersion: 1/2", 1), "version"},
		"unknown type":   {strings.Replace(good, "singleton", "merger", 1), "type"},
		"two documents":  {good + "---\n" + good, "more than one"},
		"aliases":        {good + "A: &a [1]\nB: *a\n", "aliases"},
		"a bomb":         {good + "A: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", "nested"},
		"words as codes": {good + "InstallerSuccessCodes: [many]\n", "form of a manifest"},
		"endless":        {strings.Repeat("#", MaxManifest+1), "bytes"},
	} {
		if _, err := ParseDocument([]byte(c.text)); !fault.Is(err, fault.Invalid) || !strings.Contains(why(err), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// build makes the patches of manifests whose installers all were fetched.
func build(t testing.TB, keep int, texts ...string) (*builder, map[patch.ID]patch.Patch) {
	t.Helper()
	var docs []Document
	for _, text := range texts {
		docs = append(docs, parse(t, text))
	}
	all, _ := Join(docs)
	s := &Source{cfg: Config{Keep: keep}}
	b := s.builder()
	b.sizes = map[string]int64{}
	for _, v := range all {
		for _, in := range v.Installers {
			b.sizes[in.SHA256] = 7
		}
	}
	b.add(all)
	b.build()
	out := map[patch.ID]patch.Patch{}
	for _, p := range b.out {
		out[p.ID] = p
	}
	return b, out
}

// TestCommands: each form of installer is run with the switches that its maker
// documents, unless the manifest says others.
func TestCommands(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		kind        string
		argv        []string
		uninstall   []string
		not         string // why it is not installed
	}{
		{"inno", "InstallerType: inno", "exe", []string{"{payload}", "/SP-", "/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART"}, []string{"{uninstall}", "/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART"}, ""},
		{"nullsoft", "InstallerType: nullsoft", "exe", []string{"{payload}", "/S"}, []string{"{uninstall}", "/S"}, ""},
		{"burn", "InstallerType: burn\nInstallerSwitches:\n  Custom: A=1 \"B=2 3\"\n  Upgrade: /up", "exe", []string{"{payload}", "/quiet", "/norestart", "A=1", "B=2 3", "/up"}, []string{"{uninstall}", "/quiet", "/norestart"}, ""},
		{"exe", "InstallerType: exe\nInstallerSwitches:\n  Silent: -sfx_nu /sAll", "exe", []string{"{payload}", "-sfx_nu", "/sAll"}, []string{"{uninstall}"}, ""},
		{"exe with progress", "InstallerType: exe\nInstallerSwitches:\n  SilentWithProgress: /P", "exe", []string{"{payload}", "/P"}, []string{"{uninstall}"}, ""},
		{"msi", "InstallerType: msi\nProductCode: '{2145b92e-336e-4965-a518-cefc517f0da8}'", "msi", nil, []string{"{2145B92E-336E-4965-A518-CEFC517F0DA8}"}, ""},
		{"wix", "InstallerType: wix\nInstallerSwitches:\n  Silent: /qn /norestart ALLUSERS=1\n  Custom: ADDLOCAL=ALL", "msi", []string{"ALLUSERS=1", "ADDLOCAL=ALL"}, []string{"{uninstall}"}, ""},
		{"exe without switch", "InstallerType: exe", "exe", nil, nil, "no switch for a silent installation"},
		{"only with questions", "InstallerType: nullsoft\nInstallModes: [interactive]", "exe", nil, nil, "without questions"},
		{"for one user", "InstallerType: nullsoft\nScope: user", "exe", nil, nil, "for one user"},
		{"uninstall first", "InstallerType: nullsoft\nUpgradeBehavior: uninstallPrevious", "exe", []string{"{payload}", "/S"}, []string{"{uninstall}", "/S"}, ""},
		{"updates itself", "InstallerType: nullsoft\nUpgradeBehavior: deny", "exe", nil, nil, "updates itself"},
		{"no administrator", "InstallerType: nullsoft\nElevationRequirement: elevationProhibited", "exe", nil, nil, "administrator's rights"},
	} {
		_, out := build(t, 3, singleton("1.0", "1.6.0", c.lines, "Installers:", installerLines("x64", "")))
		var p patch.Patch
		for _, q := range out {
			if q.Platform == "windows-apps-amd64" {
				p = q
			}
		}
		if p.Install.Kind != c.kind || !slices.Equal(p.Install.Argv, c.argv) || !slices.Equal(p.Install.UninstallArgv, c.uninstall) {
			t.Errorf("%s: %+v", c.name, p.Install)
		}
		if replaces := p.Install.Replace == patch.ReplaceUninstall; replaces != strings.Contains(c.lines, "uninstallPrevious") {
			t.Errorf("%s: replaced by %q", c.name, p.Install.Replace)
		}
		if installable := fetched(p); installable != (c.not == "") || !strings.Contains(strings.Join(p.Evidence.Checks, ""), c.not) {
			t.Errorf("%s: payload %v, %+v, want %q", c.name, installable, p.Evidence, c.not)
		}
	}
}

func TestExitCodes(t *testing.T) {
	_, out := build(t, 3, singleton("1.0", "1.6.0", "InstallerType: nullsoft", "InstallerSuccessCodes: [0, 17, 4294967295]", "ExpectedReturnCodes:",
		"- {InstallerReturnCode: 5, ReturnResponse: packageInUse}", "- {InstallerReturnCode: 3010, ReturnResponse: rebootRequiredToFinish}",
		"- {InstallerReturnCode: 1641, ReturnResponse: rebootInitiated}", "- {InstallerReturnCode: -2, ReturnResponse: cancelledByUser}",
		"- {InstallerReturnCode: 6, ReturnResponse: alreadyInstalled}", "- {InstallerReturnCode: 8, ReturnResponse: diskFull}", "Installers:", installerLines("x64", "")))
	want := map[int]patch.ExitMeaning{
		17: patch.ExitOK, -1: patch.ExitOK, 4294967295: patch.ExitOK, 5: patch.ExitBusy, 3010: patch.ExitRebootDue, 1641: patch.ExitRebootBegun,
		-2: patch.ExitUserCanceled, 4294967294: patch.ExitUserCanceled, 6: patch.ExitNotNeeded, 8: patch.ExitFailed,
	}
	if diff := cmp.Diff(want, out["winget:Maker.Tool:1.0:amd64:nullsoft"].Install.ExitCodes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLeftOut: what is not served is counted with the reason.
func TestLeftOut(t *testing.T) {
	b, out := build(t, 3, singleton("1.0", "1.9.0", "Installers:",
		installerLines("x64", "\n  InstallerType: msix"), installerLines("x64", "\n  InstallerType: zip\n  NestedInstallerType: portable"),
		installerLines("x64", "\n  InstallerType: portable"), installerLines("x64", "\n  InstallerType: font"), installerLines("arm", "\n  InstallerType: nullsoft"),
		installerLines("x64", ""), installerLines("x64", "\n  InstallerType: nullsoft"), installerLines("x64", "\n  InstallerType: nullsoft\n  InstallerLocale: de-DE"),
		"- {Architecture: x86, InstallerType: inno, InstallerUrl: 'ftp://vendor.example/a', InstallerSha256: "+sumA+"}",
		"- {Architecture: x86, InstallerType: inno, InstallerUrl: 'https://vendor.example/a', InstallerSha256: abc}",
	), singleton("2.0-beta", "1.9.0", "InstallerType: nullsoft", "Installers:", installerLines("x64", "")))
	want := map[string]int{
		"it names no package family": 1, "installer type zip is not supported": 1, "installer type portable is not supported": 1,
		"installer type font is not supported": 1, "architecture arm is not served": 1, "it names no installer type": 1,
		"another language of the same installer is taken": 1, "its address is not http, https or file": 1, "it names no SHA-256": 1,
		"its version is not made of numbers, so it can't be compared": 1,
	}
	got := map[string]int{}
	for why, of := range b.tally.Left {
		got[why] = len(of)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if notes := b.tally.notes(); len(notes) != 11 || !slices.Contains(notes, "1 installers are left out: it names no package family (Maker.Tool 1.0 x64 msix)") {
		t.Errorf("notes %q", notes)
	}
	if len(out) != 2 || b.tally.Installers != 11 || b.tally.Usable != 1 {
		t.Errorf("%d patches, %+v", len(out), b.tally)
	}
}

// TestLines: the newest versions of each architecture and form are kept, each
// replaces and restores the one before, and answers to the names of all.
func TestLines(t *testing.T) {
	code := func(n int) string { return fmt.Sprintf("{%08d-0000-0000-0000-000000000000}", n) }
	var texts []string
	for n := 1; n <= 4; n++ {
		text := singleton(fmt.Sprintf("%d.0", n), "1.6.0", "InstallerType: wix", "MinimumOSVersion: 10.0.17763.0", "ReleaseDate: 2026-01-0"+fmt.Sprint(n),
			"Installers:", installerLines("x64", "\n  ProductCode: '"+code(n)+"'"), installerLines("x86", "\n  ProductCode: '"+code(n+10)+"'"), installerLines("neutral", "\n  InstallerType: nullsoft"))
		texts = append(texts, strings.ReplaceAll(text, strings.ToUpper(sumA), strings.Repeat(fmt.Sprint(n), 64)))
	}
	_, out := build(t, 2, texts...)
	if len(out) != 2*(2+3+3) {
		t.Errorf("%d patches", len(out))
	}
	p := out["winget:Maker.Tool:4.0:amd64:wix"]
	if p.Install.Restores != "winget:Maker.Tool:3.0:amd64:wix" || !slices.Equal(p.Supersedes, []patch.ID{p.Install.Restores}) || p.Platform != "windows-apps-amd64" {
		t.Errorf("%+v", p)
	}
	if p.Applicable == nil || p.Applicable.OSBuild == nil || p.Applicable.OSBuild.Build != "10.0.17763.0" || p.Released.Format("2006-01-02") != "2026-01-04" {
		t.Errorf("%+v", p.Applicable)
	}
	var names []string
	for _, it := range p.Items {
		if it.Version != "4.0" || it.Arch != "amd64" {
			t.Errorf("%+v", it)
		}
		names = append(names, it.Kind+" "+it.Name)
	}
	want := []string{"arp " + code(1), "app tool|maker", "arp " + code(2), "arp " + code(3), "arp " + code(4)}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for id, platform := range map[patch.ID]string{
		"winget:Maker.Tool:4.0:amd64:wix:on-arm64": "windows-apps-arm64", "winget:Maker.Tool:4.0:386:wix": "windows-apps-amd64",
		"winget:Maker.Tool:3.0:386:wix:on-386": "windows-apps-386", "winget:Maker.Tool:3.0:neutral:nullsoft": "windows-apps-amd64",
	} {
		if out[id].Platform != platform {
			t.Errorf("%s is on %q", id, out[id].Platform)
		}
	}
	if _, old := out["winget:Maker.Tool:2.0:amd64:wix"]; old {
		t.Error("an old version is kept")
	}
}

// TestNotOn: where a maker rules an architecture out, nothing is published.
func TestNotOn(t *testing.T) {
	_, out := build(t, 2, singleton("1.0", "1.6.0", "InstallerType: nullsoft", "UnsupportedOSArchitectures: [arm, ARM64]", "Installers:", installerLines("x86", "")))
	if _, there := out["winget:Maker.Tool:1.0:386:nullsoft:on-arm64"]; there || len(out) != 2 {
		t.Errorf("%d patches", len(out))
	}
}

// TestNames: a display name counts only where it can't mean a sister product.
func TestNames(t *testing.T) {
	v := Version{Identifier: "Maker.Tool", Name: "Tool", Publisher: "Maker"}
	in := Installer{ProductCode: "Tool_is1", Entries: []AppsFeatures{{DisplayName: "Tool 3.1 (x64)", UpgradeCode: "{d931076a-d223-5314-a7dc-5c755c936363}", DisplayVersion: "3.1.0.0"}}}
	want := []inventory.Identity{{Kind: "arp", Name: "tool_is1"}, {Kind: "upgrade", Name: "{D931076A-D223-5314-A7DC-5C755C936363}"}, {Kind: "app", Name: "tool|maker"}}
	if diff := cmp.Diff(want, in.identities(v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	v.Identifier = "Maker.Tool.3"
	if diff := cmp.Diff(want[:2], in.identities(v)); diff != "" {
		t.Errorf("one of several (-want +got):\n%s", diff)
	}
	if got := in.displayVersion(v); got != "3.1.0.0" {
		t.Errorf("display version %q", got)
	}
}

func TestDependencies(t *testing.T) {
	tool := singleton("1.0", "1.6.0", "InstallerType: nullsoft", "Dependencies:", "  PackageDependencies:", "  - {PackageIdentifier: Maker.Lib, MinimumVersion: '2.0'}",
		"  - PackageIdentifier: Other.Thing", "Installers:", installerLines("x64", ""))
	lib := strings.ReplaceAll(singleton("2.5", "1.6.0", "InstallerType: burn", "Installers:", installerLines("x64", "")), "Maker.Tool", "Maker.Lib")
	b, out := build(t, 3, tool, lib)
	if got := out["winget:Maker.Tool:1.0:amd64:nullsoft"].Requires; !slices.Equal(got, []patch.ID{"winget:Maker.Lib:2.5:amd64:burn"}) {
		t.Errorf("requires %v", got)
	}
	if len(b.notes) != 1 || !strings.Contains(b.notes[0], "Maker.Tool needs Other.Thing") {
		t.Errorf("notes %v", b.notes)
	}
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"": nil, "  a  b ": {"a", "b"}, `/D="C:\Program Files\x" b`: {`/D=C:\Program Files\x`, "b"}, `"a b"c`: {"a bc"}, `a\"b`: {`a"b`}, `""`: {""}, `c:\x\ y`: {`c:\x\`, "y"},
	} {
		if got := split(line); !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", line, got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	f, err := newFollow([]string{"Mozilla.Firefox", "Git.*", "Python.**", "maker.t*.x64"})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{
		"mozilla.firefox": true, "Mozilla.Firefox.ESR": false, "Git.Git": true, "Git.Git.Beta": false, "Python.Python.3.13": true, "Pythonic.X": false,
		"Maker.Tool.x64": true, "Maker.Tool": false, "Maker.Lib.x64": false,
	} {
		if f.wants(id) != want {
			t.Errorf("%s is wanted: %v", id, !want)
		}
	}
	for name, want := range map[string]bool{
		"Git.Git.installer.yaml": true, "git.git.locale.de-DE.yaml": true, "Git.Git.yaml": true, "Git.Git.yml": false, "README.md": false, "Other.App.yaml": false,
	} {
		if f.file(name) != want {
			t.Errorf("%s is a file that is wanted: %v", name, !want)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"[a"}} {
		if _, err := newFollow(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestJoinRejects(t *testing.T) {
	d := parse(t, "PackageIdentifier: Maker.Tool\nPackageVersion: 1\nDefaultLocale: en-US\nManifestType: version\nManifestVersion: 1.4.0\n")
	all, rejected := Join([]Document{d})
	want := []crawl.Rejection{{What: "Maker.Tool 1", Reason: "no file of this version names an installer"}}
	if diff := cmp.Diff(want, rejected); diff != "" || len(all) != 0 {
		t.Errorf("%v %s", all, diff)
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(singleton("1.0", "1.6.0", "InstallerType: inno", "Dependencies: {PackageDependencies: [{PackageIdentifier: A.B}]}", "Installers:", installerLines("x64", ""))))
	f.Add([]byte(singleton("1.0.0.0", "1.9.0", "InstallerType: msix", "PackageFamilyName: "+toolFamily, "Installers:", installerLines("x64", "\n  PackageFamilyName: A_b"))))
	f.Add([]byte("PackageIdentifier: A.B\r\nPackageVersion: 1\r\nManifestType: version\r\nManifestVersion: 1.0.0\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDocument(data)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("an error that is no refusal: %v", err)
			}
			return
		}
		all, _ := Join([]Document{d})
		b := (&Source{cfg: Config{Keep: 2}}).builder()
		b.sizes = map[string]int64{sumA: 1}
		b.add(all)
		b.build()
		for _, p := range b.out {
			if applicable, installed := p.Rules(); applicable.Validate() != nil || installed.Validate() != nil {
				t.Errorf("%s has bad rules", p.ID)
			}
			if fetched(p) && p.Install.Kind == "exe" && p.Install.Argv[0] != "{payload}" {
				t.Errorf("%s runs %q", p.ID, p.Install.Argv)
			}
		}
	})
}
