package publisher_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

// offerProgram offers a version of a package whose installer is a program that
// says that it is of version inside.
func offerProgram(t *testing.T, v *wingettest.Vendor, id, name, version, inside, signer string, fields ...string) string {
	t.Helper()
	path := v.BuildProgram(t, id+"-"+version+".exe", wingettest.Program{Name: name, Maker: "Maker", Version: inside})
	if signer != "" {
		v.Sign(t, path, signer)
	}
	v.Publish(t, id, version, name, "Maker", false, wingettest.Installer{Arch: "x64", Type: "nullsoft", Path: path, Fields: fields})
	return path
}

// lacks is what a machine with one product lacks, by the published catalog.
func (w *world) lacks(p inventory.Package) []string {
	w.t.Helper()
	p.Arch = "amd64"
	if p.Kind == "" {
		p.Kind = inventory.KindProduct
	}
	s, _ := w.shard("windows-apps-amd64")
	found, err := catalog.Assess([]*catalog.Shard{s}, &inventory.Snapshot{
		OS: inventory.OS{Family: "windows", ID: "windows", Version: "10-1903", Arch: "amd64"}, Packages: []inventory.Package{p},
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, f := range found {
		out = append(out, string(f.Patch)+" "+string(f.State))
	}
	return out
}

// told checks that a run has refused something, and that it stands in the notes
// of the report and of the catalog.
func (w *world) told(r publisher.Report, words ...string) {
	w.t.Helper()
	s, _ := w.shard("windows-apps-amd64")
	refused, err := json.Marshal(r.Rejected)
	if err != nil {
		w.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(refused), `\"`, `"`)
	for _, where := range []string{text, strings.Join(r.Notes, "\n"), strings.Join(s.Header().Notes, "\n")} {
		for _, word := range words {
			if !strings.Contains(where, word) {
				w.t.Errorf("%q is not told in:\n%s", word, where)
			}
		}
	}
}

// TestTrustRow2ClaimedProgram: a followed package that claims another's product
// by name and Uninstall key, with versions that are higher, or as old as what
// machines have, neither hides the fix nor takes its place.
func TestTrustRow2ClaimedProgram(t *testing.T) {
	w, v := newApps(t)
	w.cfg.Winget.Packages = []string{"**"}
	offerProgram(t, v, "Maker.Tool", "Tool", "2.0", "2.0", "Maker Inc", "ProductCode: Tool")
	w.open()
	w.once()
	claim := []string{"ProductCode: Tool", "UpgradeBehavior: uninstallPrevious", "AppsAndFeaturesEntries:", "- DisplayName: Tool", "  Publisher: Maker"}
	offerProgram(t, v, "Evil.Thing", "Thing", "99.0", "99.0", "Evil Inc", claim...)
	offerProgram(t, v, "Evil.Other", "Other", "1.0", "1.0", "Evil Inc", "ProductCode: Tool_old", "AppsAndFeaturesEntries:", "- DisplayName: Tool", "  Publisher: Maker")
	r := w.once()
	w.told(r, `Evil.Thing (signed by Evil Inc) claims the product "arp tool", which belongs to maker.tool (signed by Maker Inc), which had it first`,
		`Evil.Other (signed by Evil Inc) claims the product "app tool|maker"`, `winget.products: {"arp tool": Evil.Thing}`)
	for _, row := range []inventory.Package{
		{Name: "Tool", Title: "Tool", Publisher: "Maker", Version: "1.0"}, {Name: "Tool_old", Title: "Tool", Publisher: "Maker", Version: "1.0"},
	} {
		if diff := cmp.Diff([]string{"winget:Maker.Tool:2.0:amd64:nullsoft missing"}, w.lacks(row)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.Name, diff)
		}
	}
	if again := w.once(); again.Changed || len(again.Rejected) != len(r.Rejected) {
		t.Errorf("a second run: %+v", again)
	}
	w.p.Close()
	w.cfg.Winget.Products = map[string]string{"arp tool": "evil.thing", "app tool|maker": "Evil.Thing"} // a person's word counts more
	w.open()
	w.once()
	if got := w.lacks(inventory.Package{Name: "Tool", Version: "1.0"}); len(got) != 1 || got[0] != "winget:Evil.Thing:99.0:amd64:nullsoft missing" {
		t.Errorf("by the configuration: %v", got)
	}
}

// TestTrustRow2OldInstaller: genuine, signed installers of older versions that
// manifests sell as new ones are refused with what they say of themselves; what
// was compared of the others stands in their evidence.
func TestTrustRow2OldInstaller(t *testing.T) {
	w, v := newApps(t)
	publishTool(t, v, "1.0.0", code1, "Maker Inc")
	path := v.Build(t, wingettest.MSI{Name: "Tool", Maker: "Maker", Version: "1.5.0", ProductCode: code3, UpgradeCode: appFamily})
	v.Sign(t, path, "Maker Inc")
	v.Publish(t, "Maker.Tool", "9.0.0", "Tool", "Maker", false, wingettest.Installer{Arch: "x64", Type: "wix", Path: path, Fields: []string{"ProductCode: '" + code3 + "'"}})
	offerProgram(t, v, "Maker.App", "App", "2.0", "2.0", "Maker Inc")
	offerProgram(t, v, "Maker.App", "App", "9.0", "1.5", "Maker Inc")
	offerProgram(t, v, "Maker.Bare", "Bare", "9.0", "", "Maker Inc")
	w.open()
	r := w.once()
	w.told(r, "Maker.Tool 9.0.0 x64 wix", "sells it as version 9.0.0, but it says of itself that it is 1.5.0 (ProductVersion of the package)",
		"Maker.App 9.0 x64 nullsoft", "sells it as version 9.0, but it says of itself that it is 1.5 (ProductVersion)", "winget.other_versions")
	if len(r.Rejected) != 2 || r.Sources[0].Counts.Rejected != 2 || len(r.Sources[0].Rejected) != 2 {
		t.Errorf("%+v %+v", r.Rejected, r.Sources[0])
	}
	for id, says := range map[patch.ID]string{
		"winget:Maker.Tool:1.0.0:amd64:wix":    "version 1.0.0 as in the manifest: ProductVersion of the package is 1.0.0",
		"winget:Maker.App:2.0:amd64:nullsoft":  `the installer calls itself "App" of "Maker", the manifest "App" of "Maker"`,
		"winget:Maker.Bare:9.0:amd64:nullsoft": "the installer says nothing of its version",
	} {
		if p := w.patch("windows-apps-amd64", id); p.Evidence.Verdict != patch.Proven || !strings.Contains(strings.Join(p.Evidence.Checks, "\n"), says) {
			t.Errorf("%s: %+v, want %q", id, p.Evidence, says)
		}
	}
	if got := w.lacks(inventory.Package{Name: "App", Title: "App", Publisher: "Maker", Version: "2.0"}); len(got) > 0 {
		t.Errorf("a machine that is level lacks %v", got)
	}
	w.p.Close()
	w.cfg.Winget.OtherVersions = []string{"Maker.App"}
	w.open()
	w.once()
	if p := w.patch("windows-apps-amd64", "winget:Maker.App:9.0:amd64:nullsoft"); p.Evidence.Verdict != patch.Proven || !strings.Contains(strings.Join(p.Evidence.Checks, "\n"), "winget.other_versions") {
		t.Errorf("by the configuration: %+v", p.Evidence)
	}
}

// TestTrustRow2AcceptedSigner: a person lets a new signer in while a publisher
// runs; the configuration's word can't be overruled so.
func TestTrustRow2AcceptedSigner(t *testing.T) {
	w, v := newApps(t)
	offerProgram(t, v, "Maker.App", "App", "1.0", "1.0", "Maker Inc")
	w.open()
	w.once()
	offerProgram(t, v, "Maker.App", "App", "2.0", "2.0", "Maker AG")
	r := w.once()
	w.told(r, `winget:Maker.App:2.0:amd64:nullsoft`, `fettle publisher signers accept Maker.App "Maker AG"`)
	all, err := publisher.Signers(w.cfg)
	if err != nil || len(all) != 1 || all[0].Refused == nil || all[0].Refused.Name != "Maker AG" || !all[0].Fits() {
		t.Fatalf("%+v %v", all, err)
	}
	if _, err := publisher.AcceptSigner(w.cfg, "Maker.App", "Maker AG", false, day1); err != nil {
		t.Fatal(err)
	}
	if r := w.once(); len(r.Rejected) > 0 {
		t.Errorf("%+v", r.Rejected)
	}
	p := w.patch("windows-apps-amd64", "winget:Maker.App:2.0:amd64:nullsoft")
	if p.Items[0].Payload.Signer != "Maker AG" || p.Install.Restores != "winget:Maker.App:1.0:amd64:nullsoft" {
		t.Errorf("%+v", p)
	}
	w.cfg.Authenticode.Publishers = map[string]string{"maker.app": "Maker Inc"}
	if _, err := publisher.AcceptSigner(w.cfg, "Maker.App", "Maker AG", false, day1); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
}

// TestTrustRow2FloodOfVersions: any number of versions that nobody can install
// (not to be had, a stranger's, with hostile switches) pushes no real one out of
// those that are kept, nor keeps a new one from being published.
func TestTrustRow2FloodOfVersions(t *testing.T) {
	w, v := newApps(t)
	w.cfg.Winget.Keep = 2
	for _, version := range []string{"1.0", "2.0"} {
		offerProgram(t, v, "Maker.App", "App", version, version, "Maker Inc")
	}
	w.open()
	w.once()
	path := offerProgram(t, v, "Maker.App", "App", "90.0", "", "Maker Inc", "InstallerSwitches:", `  Custom: /LOADINF=\\evil.example\x`)
	for _, version := range []string{"91.0", "92.0", "93.0", "94.0", "95.0", "96.0"} {
		v.Publish(t, "Maker.App", version, "App", "Maker", false, wingettest.Installer{Arch: "x64", Type: "nullsoft", Path: path, URL: "file://" + path + version})
		sum := strings.Repeat("0", 62) + version[:2]
		replace(t, v, "Maker.App", version, strings.ToUpper(wingettest.Sum(t, path)), sum)
	}
	for _, version := range []string{"97.0", "98.0", "99.0"} {
		offerProgram(t, v, "Maker.App", "App", version, version, "Evil Inc")
	}
	lacks := func(what, version string) {
		t.Helper()
		got := w.lacks(inventory.Package{Name: "App", Title: "App", Publisher: "Maker", Version: "1.0"})
		if diff := cmp.Diff([]string{"winget:Maker.App:" + version + ":amd64:nullsoft missing"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	w.told(w.once(), "Maker.App:99.0", "signed by Evil Inc")
	lacks("at once", "2.0")
	w.told(w.once(), "Maker.App:99.0", "signed by Evil Inc")
	lacks("later", "2.0")
	offerProgram(t, v, "Maker.App", "App", "2.1", "2.1", "Maker Inc")
	for range 3 { // strangers' that were not seen before are looked at first
		w.once()
	}
	lacks("a new one", "2.1")
	if p := w.patch("windows-apps-amd64", "winget:Maker.App:2.1:amd64:nullsoft"); p.Install.Restores != "winget:Maker.App:2.0:amd64:nullsoft" {
		t.Errorf("%+v", p.Install)
	}
	if again := w.once(); again.Changed {
		t.Error("it does not come to rest")
	}
}

// replace changes a word of a version's installer manifest.
func replace(t *testing.T, v *wingettest.Vendor, id, version, old, by string) {
	t.Helper()
	path := filepath.Join(v.Manifests, strings.ToLower(id[:1]), strings.ReplaceAll(id, ".", "/"), version, id+".installer.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), old, by)), 0o600); err != nil {
		t.Fatal(err)
	}
}
