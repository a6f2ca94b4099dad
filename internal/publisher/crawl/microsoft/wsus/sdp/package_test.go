package sdp

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

const packageText = "\ufeff" + `<sdp:SoftwareDistributionPackage xmlns:sdp="urn:sdp" xmlns:bar="urn:bar" xmlns:lar="urn:lar" xmlns:cmd="urn:cmd">
<sdp:Properties PackageID="AB" VendorName="Maker"><sdp:ProductName>Driver</sdp:ProductName></sdp:Properties>
<sdp:LocalizedProperties><sdp:Language>en</sdp:Language><sdp:Title>T</sdp:Title></sdp:LocalizedProperties>
<sdp:UpdateSpecificData MsrcSeverity="Important" UpdateClassification="Updates"><sdp:KBArticleID>sp1</sdp:KBArticleID></sdp:UpdateSpecificData>
<sdp:SupersededPackages><sdp:PackageID>AA</sdp:PackageID></sdp:SupersededPackages>
<sdp:InstallableItem ID="I"><sdp:ApplicabilityRules><sdp:IsInstalled><lar:And><bar:FileVersion Csidl="37" Path="drivers\a.sys" Comparison="GreaterThanOrEqualTo" Version="1.2.3.4"/></lar:And></sdp:IsInstalled></sdp:ApplicabilityRules>
<sdp:InstallProperties RebootBehavior="NeverReboots"/><cmd:CommandLineInstallerData Program="a.exe" Arguments="-s"><cmd:ReturnCode Code="3010" Result="Succeeded" Reboot="true"/><cmd:ReturnCode Code="1" Result="Failed" Reboot="false"/></cmd:CommandLineInstallerData>
<sdp:OriginFile Digest="ObBUTGTsNukG1LtQhAiEi0Jkdsg=" FileName="a.exe" Size="7" OriginUri="https://vendor.example/a.exe"/></sdp:InstallableItem></sdp:SoftwareDistributionPackage>`

func TestParsePackage(t *testing.T) {
	got, err := ParsePackage(strings.NewReader(packageText))
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := Package{
		ID: "ab", Vendor: "Maker", Product: "Driver", Title: "T", KB: "sp1", Severity: patch.Important, Classification: "Updates", Superseded: []string{"aa"},
		Applicable: detect.Rule{Always: &yes},
		Items: []Item{{
			ID: "i", Applicable: detect.Rule{Always: &yes}, Reboot: patch.RebootNever, Kind: "exe", Program: "a.exe", Arguments: "-s",
			Installed: detect.Rule{FileVersion: &detect.FileVersion{Path: `{CSIDL_SYSTEM}\drivers\a.sys`, Op: detect.GE, Version: "1.2.3.4"}},
			ExitCodes: map[int]patch.ExitMeaning{3010: patch.ExitRebootDue, 1: patch.ExitFailed},
			File:      File{Name: "a.exe", URL: "https://vendor.example/a.exe", Size: 7, SHA1: "39b0544c64ec36e906d4bb508408848b426476c8"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{"", "<a/>", packageText[:400]} {
		if _, err := ParsePackage(strings.NewReader(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", clip(text), err)
		}
	}
}

// TestOwnPackage: what the rules of an item speak of is the item's, not its
// neighbour's.
func TestOwnPackage(t *testing.T) {
	item := func(id, metadata string) string {
		return `<InstallableItem ID="` + id + `"><ApplicabilityRules><IsInstalled><CbsPackageInstalled/></IsInstalled>` + metadata + `</ApplicabilityRules></InstallableItem>`
	}
	const metadata = `<Metadata><CbsPackageApplicabilityMetadata><assembly><assemblyIdentity name="Tool" version="1.2.3.4" processorArchitecture="amd64" language="neutral" publicKeyToken="31bf3856ad364e35"/></assembly></CbsPackageApplicabilityMetadata></Metadata>`
	text := func(items ...string) *strings.Reader {
		return strings.NewReader(`<SoftwareDistributionPackage><Properties PackageID="1"/>` + strings.Join(items, "") + `</SoftwareDistributionPackage>`)
	}
	p, err := ParsePackage(text(item("a", metadata)))
	want := []detect.Rule{{Package: &detect.Package{Kind: "cbs", Name: "Tool~31bf3856ad364e35~amd64~~1.2.3.4"}}}
	if err != nil || cmp.Diff(want, []detect.Rule{p.Items[0].Installed}) != "" {
		t.Errorf("%v, %+v", err, p)
	}
	if _, err := ParsePackage(text(item("a", metadata), item("b", ""))); !fault.Is(err, fault.Invalid) {
		t.Errorf("an item without a package of its own: %v", err)
	}
}

func FuzzParsePackage(f *testing.F) {
	f.Add([]byte(packageText))
	f.Add([]byte(`<SoftwareDistributionPackage><Properties PackageID="1"/><IsInstallable><Or/><Not/><WindowsVersion Comparison="LessThan" MajorVersion="6"/></IsInstallable></SoftwareDistributionPackage>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePackage(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range append([]detect.Rule{p.Applicable}, itemRules(p)...) {
			if err := r.Validate(); err != nil {
				t.Fatalf("%v: %+v", err, r)
			}
		}
	})
}

func itemRules(p Package) []detect.Rule {
	var out []detect.Rule
	for _, i := range p.Items {
		out = append(out, i.Installed, i.Applicable)
	}
	return out
}
