package winget

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

// TestTrustRow2ManifestBombs: small files that YAML readers grow large of are
// refused before they cost anything.
func TestTrustRow2ManifestBombs(t *testing.T) {
	var keys strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&keys, "key%d: 1\n", i)
	}
	for name, text := range map[string]string{
		"one key again and again": strings.Repeat("a: 1\n", 20_000), // each pair was an error message: 10 GB
		"keys without end":        keys.String(),
		"a key twice":             "a: 1\na: 2\n",
		"keys below":              "a:\n  - {" + strings.Repeat("b: 1, ", 20_000) + "}\n",
		"values without end":      "a: [" + strings.Repeat("1,", 2_000_000) + "]",
		"deep":                    strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseDocument([]byte(text))
		runtime.ReadMemStats(&after)
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; !fault.Is(err, fault.Invalid) || len(err.Error()) > 4096 || mib > 100 {
			t.Errorf("%s: %d MiB, %d bytes of error", name, mib, len(fmt.Sprint(err)))
		}
	}
}

// TestTrustRow2ClaimedProducts: the manifest of a Windows Installer package
// claims no products but the package's own.
func TestTrustRow2ClaimedProducts(t *testing.T) {
	const own, family, other = "{11111111-1111-1111-1111-111111111111}", "{22222222-2222-2222-2222-222222222222}", "{33333333-3333-3333-3333-333333333333}"
	s := said{ProductCode: own, UpgradeCode: family}
	for _, c := range []struct {
		in Installer
		ok bool
	}{
		{Installer{}, true},
		{Installer{ProductCode: own, Entries: []AppsFeatures{{ProductCode: own, UpgradeCode: family}}}, true},
		{Installer{ProductCode: other}, false},
		{Installer{Entries: []AppsFeatures{{ProductCode: other}}}, false},
		{Installer{Entries: []AppsFeatures{{ProductCode: own, UpgradeCode: other}}}, false},
		{Installer{Entries: []AppsFeatures{{}, {UpgradeCode: other}}}, false},
	} {
		if why := s.against(c.in); (why == "") != c.ok {
			t.Errorf("%+v: %q", c.in, why)
		}
		if told := c.in.told(s); !c.ok && len(told.Entries) != len(c.in.Entries) {
			t.Errorf("%+v is taken", told)
		}
	}
}

// TestTrustRow2ClaimsWithoutEnd: no installer claims products without end, each
// of which would be part of all later versions.
func TestTrustRow2ClaimsWithoutEnd(t *testing.T) {
	var entries strings.Builder
	for i := range maxClaims + 1 {
		fmt.Fprintf(&entries, "\n  - DisplayName: Other %d", i)
	}
	b, out := build(t, 3, singleton("1.0", "1.6.0", "InstallerType: nullsoft", "Installers:", installerLines("x64", "\n  AppsAndFeaturesEntries:"+entries.String()), installerLines("x86", "")))
	if len(b.tally.Left["it claims to be more products than any installer is"]) != 1 || len(out) != 3 {
		t.Errorf("%d patches, %+v", len(out), b.tally)
	}
}

// TestTrustRow2StrayFamily: a package's family name makes no program the fix of
// a package, and a manifest of a package claims no program's names.
func TestTrustRow2StrayFamily(t *testing.T) {
	names := []string{
		"PackageFamilyName: Other.App_8wekyb3d8bbwe", "ProductCode: '{11111111-1111-1111-1111-111111111111}'", "AppsAndFeaturesEntries:",
		"- {DisplayName: Other, Publisher: Other, ProductCode: Other_is1, UpgradeCode: '{22222222-2222-2222-2222-222222222222}'}", "Installers:",
	}
	for form, packaged := range map[string]bool{"msix": true, "appx": true, "exe": false, "nullsoft": false, "inno": false, "burn": false, "msi": false, "wix": false} {
		_, out := build(t, 3, singleton("1.0.0.0", "1.9.0", append([]string{"InstallerType: " + form}, append(names, installerLines("x64", ""))...)...))
		if len(out) != 2 {
			t.Errorf("%s: %d patches", form, len(out))
		}
		for _, p := range out {
			for _, it := range p.Items {
				if (it.Kind == inventory.KindPackaged) != packaged {
					t.Errorf("%s claims %s %s", form, it.Kind, it.Name)
				}
			}
		}
	}
}

// TestTrustRow2SoldBefore: the bytes of a version that was published, and has
// left file and manifest, do not come back under a new number, where the
// program that unpacks them hides what they are. What speaks for the number is
// the maker's word, or a person's.
func TestTrustRow2SoldBefore(t *testing.T) {
	dir := t.TempDir()
	v := &wingettest.Vendor{Dir: dir, Manifests: filepath.Join(dir, "tree")}
	stubs := map[string]string{}
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		stubs[version] = v.BuildProgram(t, "setup-"+version+".exe", wingettest.Program{Name: "7zS.sfx", Maker: "Maker", Version: "18.5"})
	}
	offer := func(version, file string) {
		if err := os.RemoveAll(filepath.Join(v.Manifests, "m")); err != nil {
			t.Fatal(err)
		}
		v.Publish(t, "Maker.Tool", version, "Tool", "Maker", false, wingettest.Installer{Arch: "x64", Type: "nullsoft", Path: file})
	}
	c := &crawler{t: t, dir: t.TempDir(), cfg: Config{Manifests: v.Manifests, Packages: []string{"Maker.Tool"}, Keep: 1}}
	id := func(version string) patch.ID { return patch.ID("winget:Maker.Tool:" + version + ":amd64:nullsoft") }
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		offer(version, stubs[version])
		if res, out := c.run(); !res.Health.OK() || !fetched(out[id(version)]) {
			t.Fatalf("%s: %+v, %+v", version, res.Health, res.Output.Rejected)
		}
	}
	offer("9.0", stubs["1.0"])
	for range 2 { // and it stays so
		res, out := c.run()
		if len(out) != 0 || len(res.Output.Rejected) != 1 || !strings.Contains(res.Output.Rejected[0].Reason, "sells it as version 9.0, but the same file was sold as version 1.0 before") {
			t.Fatalf("%v, %+v", out, res.Output.Rejected)
		}
	}
	c.cfg.OtherVersions = []string{"Maker.Tool"}
	if res, out := c.run(); !fetched(out[id("9.0")]) {
		t.Errorf("a person's word: %v, %+v", out, res.Output.Rejected)
	}
}
