package winget

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

const toolFamily = "Maker.Tool_8wekyb3d8bbwe"

// TestPackaged: what a manifest says of an MSIX package becomes a bulletin that
// is found by the family name alone, wherever in the file it stands.
func TestPackaged(t *testing.T) {
	for name, c := range map[string]struct {
		root, lines string // of the file, of its installer
		version     string // of the manifest
		want        string // the item's version
		left        string // or the reason why there is none
	}{
		"on the installer":           {"InstallerType: msix", "\n  PackageFamilyName: " + toolFamily, "1.2.3.0", "1.2.3.0", ""},
		"at the root":                {"InstallerType: appx\nPackageFamilyName: " + toolFamily, "", "1.2.3.0", "1.2.3.0", ""},
		"on both":                    {"InstallerType: msix\nPackageFamilyName: Maker.Other_8wekyb3d8bbwe", "\n  PackageFamilyName: " + toolFamily, "1.2.3.0", "1.2.3.0", ""},
		"a bundle of other version":  {"InstallerType: msix\nPackageFamilyName: " + toolFamily, "\n  AppsAndFeaturesEntries:\n  - DisplayVersion: 1.2.3.4", "2026.11.3.0", "1.2.3.4", ""},
		"an entry of the program's":  {"InstallerType: msix\nPackageFamilyName: " + toolFamily + "\nAppsAndFeaturesEntries:\n- {DisplayVersion: '7', InstallerType: exe}\n- {DisplayVersion: 1.2.3.4, InstallerType: MSIX}", "", "1.2.3.0", "1.2.3.4", ""},
		"three numbers":              {"InstallerType: msix\nPackageFamilyName: " + toolFamily, "", "1.2.3", "", "its version is not made of four numbers, as those of packages are"},
		"numbers too large":          {"InstallerType: msix\nPackageFamilyName: " + toolFamily, "", "1.2.3.65536", "", "its version is not made of four numbers, as those of packages are"},
		"three numbers in the entry": {"InstallerType: msix\nPackageFamilyName: " + toolFamily, "\n  AppsAndFeaturesEntries:\n  - DisplayVersion: 1.2.3", "1.2.3.0", "", "its version is not made of four numbers, as those of packages are"},
		"no family":                  {"InstallerType: msix", "", "1.2.3.0", "", "it names no package family"},
		"a full name":                {"InstallerType: msix\nPackageFamilyName: Maker.Tool_1.2.3.0_x64__8wekyb3d8bbwe", "", "1.2.3.0", "", "its package family name is not well-formed"},
	} {
		t.Run(name, func(t *testing.T) {
			b, out := build(t, 3, singleton(c.version, "1.6.0", "Scope: user", c.root, "ProductCode: Tool", "Installers:", installerLines("x64", c.lines)))
			if c.left != "" {
				if len(out) > 0 || len(b.tally.Left[c.left]) != 1 {
					t.Fatalf("%d patches, left out %v", len(out), b.tally.Left)
				}
				return
			}
			if len(out) != 2 || len(b.wanted()) > 0 {
				t.Fatalf("%d patches, %d to be fetched, left out %v", len(out), len(b.wanted()), b.tally.Left)
			}
			for _, p := range out {
				items := []patch.Item{{Kind: inventory.KindPackaged, Name: strings.ToLower(toolFamily), Arch: "amd64", Version: c.want}}
				if diff := cmp.Diff(items, p.Items); diff != "" {
					t.Errorf("items (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(patch.Manifest{Kind: "msix", Scope: "machine", Reboot: patch.RebootMaybe}, p.Install); diff != "" {
					t.Errorf("manifest (-want +got):\n%s", diff)
				}
				says := []string{"nothing is installed from it: MSIX packages are not installed by Fettle yet; the vendor has it at https://vendor.example/tool-x64.exe"}
				if p.Evidence.Verdict != patch.Unproven || !slices.Equal(p.Evidence.Checks, says) {
					t.Errorf("evidence %+v", p.Evidence)
				}
			}
		})
	}
}

// TestPackagedTwice: users and the whole machine get one package.
func TestPackagedTwice(t *testing.T) {
	b, out := build(t, 3, singleton("1.2.3.0", "1.6.0", "InstallerType: msix", "PackageFamilyName: "+toolFamily, "Installers:",
		installerLines("arm64", "\n  Scope: machine"), installerLines("arm64", "\n  Scope: user\n  InstallerLocale: en-US")))
	if len(out) != 1 || len(b.tally.Left["another entry of the same version of the package is taken"]) != 1 {
		t.Errorf("%d patches, left out %v", len(out), b.tally.Left)
	}
}

// TestPackagedBeside: a manifest with a program and a package gives both, each
// by the names of its own kind, and neither pushes the other out.
func TestPackagedBeside(t *testing.T) {
	var texts []string
	for _, version := range []string{"1.0.0.0", "2.0.0.0", "3.0.0.0"} {
		texts = append(texts, singleton(version, "1.9.0", "PackageFamilyName: "+toolFamily, "ProductCode: Tool", "AppsAndFeaturesEntries:",
			"- {DisplayName: Tool, DisplayVersion: "+version[:3]+", InstallerType: nullsoft}",
			"Installers:", installerLines("x64", "\n  InstallerType: nullsoft"), strings.ReplaceAll(installerLines("x64", "\n  InstallerType: msix"), "AAAA", "BBBB")))
		texts[len(texts)-1] = strings.ReplaceAll(strings.ReplaceAll(texts[len(texts)-1], "AAAA", "AAA"+version[:1]), "BBBB", "BBB"+version[:1])
	}
	_, out := build(t, 2, texts...)
	if len(out) != 2*2*2 {
		t.Errorf("%d patches", len(out))
	}
	for id, want := range map[patch.ID][]patch.Item{
		"winget:Maker.Tool:3.0.0.0:amd64:nullsoft": {{Kind: "arp", Name: "tool", Arch: "amd64", Version: "3.0"}, {Kind: "app", Name: "tool|maker", Arch: "amd64", Version: "3.0"}},
		"winget:Maker.Tool:3.0.0.0:amd64:msix":     {{Kind: "appx", Name: strings.ToLower(toolFamily), Arch: "amd64", Version: "3.0.0.0"}},
	} {
		got := slices.Clone(out[id].Items)
		for i := range got {
			if has := got[i].Payload.SHA256 != ""; has != (out[id].Install.Kind == "exe") {
				t.Errorf("%s has a payload: %v", id, has)
			}
			got[i].Payload = patch.Payload{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}

// TestPackagedAddress: what is told of the vendor's address is one of the network.
func TestPackagedAddress(t *testing.T) {
	const told = "; the vendor has it at "
	for at, want := range map[string]string{
		"https://vendor.example/a.msix":                      told + "https://vendor.example/a.msix",
		"https://ada:secret@vendor.example/a.msix":           told + "https://ada:xxxxx@vendor.example/a.msix",
		"file:///srv/a.msix":                                 "",
		"https://vendor.example/" + strings.Repeat("a", 300): "",
		"https://vendor.example/\x1b[31m":                    "",
		"https:a.msix":                                       "",
	} {
		if got := (Installer{Type: "msix", URL: at}).elsewhere(); got != "MSIX packages are not installed by Fettle yet"+want {
			t.Errorf("%q: %q", at, got)
		}
	}
}
