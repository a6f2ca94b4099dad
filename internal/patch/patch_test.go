package patch

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gotest.tools/v3/golden"

	"github.com/fettlehq/fettle/internal/detect"
)

// machine answers package tests only.
type machine struct {
	detect.Facts
	installed map[string][]detect.PackageFact // "dpkg openssl"
}

func (m machine) Packages(kind, name string) ([]detect.PackageFact, error) {
	if name == "locked" {
		return nil, detect.Unknown("the package database is locked")
	}
	return m.installed[kind+" "+name], nil
}

func openssl() Patch {
	item := func(name, arch string) Item {
		return Item{Kind: "dpkg", Name: name, Arch: arch, Version: "3.0.17-1~deb12u3", Payload: Payload{
			SHA256: strings.Repeat("ab", 32), Size: 1434000, Name: "pool/updates/main/o/openssl/" + name + "_3.0.17-1~deb12u3_" + arch + ".deb",
		}}
	}
	return Patch{
		ID: "debian-12:amd64:openssl:3.0.17-1~deb12u3", Vendor: "debian", Platform: "debian-12-amd64", Product: "openssl", Version: "3.0.17-1~deb12u3",
		Title: "openssl security update", Classification: Security, Severity: Important, Released: time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC),
		Advisories: []string{"DSA-6015-1"}, CVEs: []CVEFix{{ID: "CVE-2025-9230", FixedIn: "3.0.17-1~deb12u3"}},
		Items: []Item{item("libssl3", "amd64"), item("libssl-doc", "all"), item("openssl", "amd64")}, Archives: []string{"0123456789abcdef"},
		Install:  Manifest{Kind: "apt", Reboot: RebootMaybe},
		Requires: []ID{"debian-12:amd64:base:1"}, Supersedes: []ID{"debian-12:amd64:openssl:3.0.16-1~deb12u1"},
		Evidence: Evidence{Verdict: Vouched, Checks: []string{"InRelease is signed by 4CB5…"}},
	}
}

func TestRules(t *testing.T) {
	on := func(arch, version string) []detect.PackageFact {
		return []detect.PackageFact{{Version: version, Arch: arch}}
	}
	const older, level = "3.0.15-1", "3.0.17-1~deb12u3"
	for name, c := range map[string]struct {
		installed             map[string][]detect.PackageFact
		applicable, satisfied detect.Value
	}{
		"nothing installed":            {nil, detect.False, detect.True},
		"one package behind":           {map[string][]detect.PackageFact{"dpkg libssl3": on("amd64", older)}, detect.True, detect.False},
		"one of two behind":            {map[string][]detect.PackageFact{"dpkg libssl3": on("amd64", level), "dpkg openssl": on("amd64", older)}, detect.True, detect.False},
		"level":                        {map[string][]detect.PackageFact{"dpkg libssl3": on("amd64", level)}, detect.True, detect.True},
		"ahead":                        {map[string][]detect.PackageFact{"dpkg libssl3": on("amd64", "3.1.0-1")}, detect.True, detect.True},
		"another architecture":         {map[string][]detect.PackageFact{"dpkg libssl3": on("i386", older)}, detect.False, detect.True},
		"one for all, counted native":  {map[string][]detect.PackageFact{"dpkg libssl-doc": on("amd64", older)}, detect.True, detect.False},
		"a package of another manager": {map[string][]detect.PackageFact{"rpm libssl3": on("amd64", older)}, detect.False, detect.True},
	} {
		p := openssl()
		applicable, installed := p.Rules()
		for _, r := range []detect.Rule{applicable, installed} {
			if err := r.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		facts := machine{installed: c.installed}
		if a, i := detect.Eval(applicable, facts).Value, detect.Eval(installed, facts).Value; a != c.applicable || i != c.satisfied {
			t.Errorf("%s: applicable %s, installed %s, want %s, %s", name, a, i, c.applicable, c.satisfied)
		}
	}
}

func TestRulesOfUnknownFacts(t *testing.T) {
	p := openssl()
	p.Items[0].Name = "locked"
	applicable, installed := p.Rules()
	if a, i := detect.Eval(applicable, machine{}).Value, detect.Eval(installed, machine{}).Value; a != detect.Undetermined || i != detect.Undetermined {
		t.Errorf("a locked database: applicable %s, installed %s, want unknown", a, i)
	}
}

func TestOwnRulesCount(t *testing.T) {
	yes, no := true, false
	p := openssl()
	p.Applicable, p.Installed = &detect.Rule{Always: &yes}, &detect.Rule{Always: &no}
	applicable, installed := p.Rules()
	if applicable.Always != &yes || installed.Always != &no {
		t.Errorf("rules %+v, %+v", applicable, installed)
	}
	p.Installed = nil // half a pair is a condition more
	if applicable, _ := p.Rules(); len(applicable.All) != 2 || applicable.All[0].Always != &yes || len(applicable.All[1].Any) != 3 {
		t.Errorf("half a pair: %+v", applicable)
	}
	applicable, installed = Patch{}.Rules()
	if detect.Eval(applicable, machine{}).Value != detect.False || detect.Eval(installed, machine{}).Value != detect.True {
		t.Error("a patch without items and rules is missing somewhere")
	}
}

func TestSeverityRank(t *testing.T) {
	order := []Severity{"", Low, Unknown, Moderate, Important, Critical}
	if !slices.IsSortedFunc(order, func(a, b Severity) int { return a.Rank() - b.Rank() }) {
		t.Error("severities are out of order")
	}
	for i, a := range order {
		for _, b := range order[i+1:] {
			if a.Rank() >= b.Rank() {
				t.Errorf("%q ranks %d, %q ranks %d", a, a.Rank(), b, b.Rank())
			}
		}
	}
	if Severity("high").Rank() != 0 {
		t.Error("a foreign word has a rank")
	}
}

func TestIsSecurity(t *testing.T) {
	for _, c := range []Classification{Bugfix, Enhancement, ServicePack, Rollup, Feature, Driver, Definition, Application, Update, ""} {
		if (Patch{Classification: c}).IsSecurity() {
			t.Errorf("%q counts as security", c)
		}
	}
	if !openssl().IsSecurity() {
		t.Error("a security update does not")
	}
}

// TestGolden pins the forms that stand in signed catalogs.
func TestGolden(t *testing.T) {
	yes := true
	windows := Patch{
		ID: "windows-11:amd64:KB5034441:1", Vendor: "microsoft", Platform: "windows-11-amd64", Product: "KB5034441", Version: "10.0.22621.3007",
		Classification: Rollup, Severity: Unknown, Applicable: &detect.Rule{Always: &yes}, Installed: &detect.Rule{Always: &yes},
		Items: []Item{{
			Kind: "msu", Name: "KB5034441", Version: "10.0.22621.3007", PhasedPercent: 10, Archives: []string{"0123456789abcdef"},
			Payload: Payload{SHA256: strings.Repeat("cd", 32), Size: 1, Name: "kb.msu", URL: "https://vendor.example/kb.msu", Signer: "CN=Vendor"},
		}},
		Install: Manifest{
			Kind: "msu", Argv: []string{"wusa.exe", "{payload}", "/quiet"}, UninstallArgv: []string{"wusa.exe", "/uninstall"},
			ExitCodes: map[int]ExitMeaning{3010: ExitRebootDue, 1618: ExitBusy}, Reboot: RebootAlways,
		},
		Evidence: Evidence{Verdict: Proven},
	}
	asBefore(t, "patch.json", []Patch{openssl(), windows})
	asBefore(t, "advisory.json", Advisory{
		ID: "DSA-6015-1", Vendor: "debian", Title: "openssl", Description: "text", Severity: Important,
		Published: time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC), CVEs: []string{"CVE-2025-9230"}, References: []string{"https://vendor.example/DSA-6015-1"},
		Fixes: []Fix{{Product: "openssl", Release: "bookworm", Version: "3.0.17-1~deb12u3"}},
	})
	asBefore(t, "vulnerability.json", Vulnerability{
		ID: "CVE-2025-9230", Description: "text", Severity: Moderate, CVSS: 7.5, CVSSVector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", EPSS: 0.00043,
		KEV: &KEV{Added: "2026-01-02", Due: "2026-01-23", Ransomware: true},
	})
}

func asBefore[T any](t *testing.T, name string, v T) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Assert(t, string(got)+"\n", name)
	var back T
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, back); diff != "" {
		t.Errorf("%s does not read back (-want +got):\n%s", name, diff)
	}
}

func TestParseSeverity(t *testing.T) {
	for word, want := range map[string]Severity{
		"Critical": Critical, " important ": Important, "MODERATE": Moderate, "low": Low, "": Unknown, "unknown": Unknown, "high": Unknown, "Unspecified": Unknown,
	} {
		if got := ParseSeverity(word); got != want {
			t.Errorf("%q is %q, want %q", word, got, want)
		}
	}
}
