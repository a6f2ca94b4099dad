package microsoft

import (
	"archive/tar"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// leaves counts a rule's tests by kind.
func leaves(r detect.Rule, into map[string]int) {
	for _, c := range append(append([]detect.Rule{}, r.All...), r.Any...) {
		leaves(c, into)
	}
	switch {
	case r.Not != nil:
		leaves(*r.Not, into)
	case r.FileVersion != nil:
		into["file_version"]++
	case r.RegistryValue != nil:
		into["registry_value"]++
	case r.OSBuild != nil:
		into["os_build"]++
	case r.Architecture != nil:
		into["architecture"]++
	case r.WMI != nil:
		into["wmi"]++
	case r.Package != nil:
		into["package"]++
	}
}

// TestRealPackages translates every real package whole. The numbers stand in
// docs/microsoft.md.
func TestRealPackages(t *testing.T) {
	in := tar.NewReader(openFeed(t, need(t, "wsus-sdp/hp/HpCatalogForSms.V2.sdp.tar.zst")))
	packages, items, exits, got := 0, 0, 0, map[string]int{}
	take := func(r io.Reader, name string) {
		t.Helper()
		p, err := ParsePackage(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		packages++
		rules := []detect.Rule{p.Applicable}
		for _, i := range p.Items {
			items++
			exits += len(i.ExitCodes)
			rules = append(rules, i.Installed, i.Applicable)
			if len(i.File.SHA1) != 40 || i.File.Size <= 0 || i.File.URL == "" || i.Program == "" {
				t.Errorf("%s: %+v", name, i)
			}
		}
		for _, r := range rules {
			if err := r.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			leaves(r, got)
		}
		if p.Title == "" || p.KB == "" || p.Vendor == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".sdp") {
			take(in, h.Name)
		}
	}
	dell, err := filepath.Glob(filepath.Join(need(t, "wsus-sdp/dell"), "*.sdp"))
	if err != nil || len(dell) != 1 {
		t.Fatal(dell, err)
	}
	take(openFeed(t, dell[0]), dell[0])
	t.Log(packages, items, exits, got)
	if packages != 1465 || items != 1465 {
		t.Errorf("%d packages, %d items", packages, items)
	}
}

// TestRealFragments translates the rules of the offline scan file's fragments.
func TestRealFragments(t *testing.T) {
	var x struct {
		Fragments []struct {
			Source      string   `xml:"source,attr"`
			Installed   xmlRules `xml:"ApplicabilityRules>IsInstalled"`
			Installable xmlRules `xml:"ApplicabilityRules>IsInstallable"`
		} `xml:"fragment"`
	}
	if err := xml.NewDecoder(openFeed(t, need(t, "wsusscn2/rule-fragments.xml"))).Decode(&x); err != nil || len(x.Fragments) != 5 {
		t.Fatal(len(x.Fragments), err)
	}
	got := map[string]int{}
	for _, f := range x.Fragments {
		for _, nodes := range []xmlRules{f.Installed, f.Installable} {
			r, err := translate(nodes.Nodes)
			if err != nil || r.Validate() != nil {
				t.Errorf("%s: %v, %v", f.Source, err, r.Validate())
			}
			leaves(r, got)
		}
	}
	if diff := cmp.Diff(map[string]int{"file_version": 1, "package": 1, "registry_value": 1, "wmi": 1}, got); diff != "" {
		t.Error(diff)
	}
}

func rule(t *testing.T, text string) (detect.Rule, error) {
	t.Helper()
	var x xmlRules
	if err := xml.Unmarshal([]byte("<rules>"+text+"</rules>"), &x); err != nil {
		t.Fatal(err)
	}
	return translate(x.Nodes)
}

// onBuild answers the build alone.
type onBuild struct {
	detect.Facts
	build string
	pack  string
}

func (o onBuild) OS() (detect.OSFact, error) {
	return detect.OSFact{Family: "windows", Build: o.build, Arch: "amd64"}, nil
}

func (o onBuild) Registry(string, string, string) (detect.RegistryFact, error) {
	return detect.RegistryFact{Exists: o.pack != "", Type: "sz", Data: o.pack}, nil
}

func TestWindowsVersion(t *testing.T) {
	for _, c := range []struct {
		rule        string
		build, pack string
		want        detect.Value
	}{
		{`<WindowsVersion Comparison="EqualTo" MajorVersion="10" MinorVersion="0"/>`, "10.0.17763.1", "", detect.True},
		{`<WindowsVersion Comparison="EqualTo" MajorVersion="6" MinorVersion="1"/>`, "6.2.9200", "", detect.False},
		{`<WindowsVersion Comparison="EqualTo" MajorVersion="6"/>`, "6.3.9600", "", detect.True},
		{`<WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="4"/>`, "10.0.22631.1", "", detect.True},
		{`<WindowsVersion Comparison="GreaterThan" MajorVersion="6" MinorVersion="1"/>`, "6.1.7601", "", detect.False},
		{`<WindowsVersion Comparison="GreaterThan" MajorVersion="6" MinorVersion="1"/>`, "6.2.9200", "", detect.True},
		{`<WindowsVersion Comparison="LessThanOrEqualTo" MajorVersion="6" MinorVersion="1"/>`, "6.1.7601", "", detect.True},
		{`<WindowsVersion Comparison="LessThan" MajorVersion="6" MinorVersion="1"/>`, "6.1.7601", "", detect.False},
		{`<WindowsVersion Comparison="EqualTo" MajorVersion="10" MinorVersion="0" BuildNumber="17763"/>`, "10.0.17763.55", "", detect.True},
		{`<WindowsVersion Comparison="EqualTo" MajorVersion="10" MinorVersion="0" BuildNumber="17763"/>`, "10.0.17764", "", detect.False},
		{`<WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="5" MinorVersion="0" ServicePackMajor="4"/>`, "5.0.2195", "Service Pack 4", detect.True},
		{`<WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="5" MinorVersion="0" ServicePackMajor="4"/>`, "5.0.2195", "Service Pack 3", detect.False},
		{`<WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="5" MinorVersion="0" ServicePackMajor="4"/>`, "5.1.2600", "", detect.True},
		{`<Not><Or><False/><WindowsVersion Comparison="EqualTo" MajorVersion="10"/></Or></Not>`, "10.0.1", "", detect.False},
		{`<And><True/><Processor Architecture="9"/></And>`, "10.0.1", "", detect.True},
		{`<Processor Architecture="0"/>`, "10.0.1", "", detect.False},
	} {
		r, err := rule(t, c.rule)
		if err != nil || r.Validate() != nil {
			t.Errorf("%s: %v, %v", c.rule, err, r.Validate())
			continue
		}
		if got := detect.Eval(r, onBuild{build: c.build, pack: c.pack}).Value; got != c.want {
			t.Errorf("%s on %s %s: %s, want %s", c.rule, c.build, c.pack, got, c.want)
		}
	}
}

func TestTranslateRefuses(t *testing.T) {
	for _, text := range []string{
		`<FileSize Path="x" Size="1"/>`, `<FileVersion Path="x" Comparison="Near" Version="1"/>`, `<FileVersion Csidl="26" Path="x" Comparison="EqualTo" Version="1"/>`,
		`<FileVersion Path="x" Comparison="EqualTo"/>`, `<RegSz Key="HKEY_CURRENT_USER" Subkey="a" Value="b" Comparison="EqualTo" Data="c"/>`,
		`<RegSz Key="HKEY_LOCAL_MACHINE" Subkey="a" Value="b" Comparison="Contains" Data="c"/>`, `<WmiQuery/>`, `<Processor Architecture="99"/>`,
		`<WindowsVersion Comparison="EqualTo"/>`, `<And><Unknown/></And>`, `<Not><Unknown/></Not>`, strings.Repeat("<And>", 60) + strings.Repeat("</And>", 60),
	} {
		if _, err := rule(t, text); !fault.Is(err, fault.Unsupported) && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", clip(text), err)
		}
	}
}

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
		Items: []PackageItem{{
			ID: "i", Applicable: detect.Rule{Always: &yes}, Reboot: patch.RebootNever, Kind: "exe", Program: "a.exe", Arguments: "-s",
			Installed: detect.Rule{FileVersion: &detect.FileVersion{Path: `{CSIDL_SYSTEM}\drivers\a.sys`, Op: detect.GE, Version: "1.2.3.4"}},
			ExitCodes: map[int]patch.ExitMeaning{3010: patch.ExitRebootDue, 1: patch.ExitFailed},
			File:      PackageFile{Name: "a.exe", URL: "https://vendor.example/a.exe", Size: 7, SHA1: "39b0544c64ec36e906d4bb508408848b426476c8"},
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
