package wsus

import (
	"encoding/xml"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// count counts a rule's tests by kind.
func count(r detect.Rule, into map[string]int) {
	for _, c := range append(append([]detect.Rule{}, r.All...), r.Any...) {
		count(c, into)
	}
	switch {
	case r.Not != nil:
		count(*r.Not, into)
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

// TestRealFragments translates the rules of the offline scan file's fragments.
func TestRealFragments(t *testing.T) {
	var x struct {
		Fragments []struct {
			Source      string `xml:"source,attr"`
			Installed   Rules  `xml:"ApplicabilityRules>IsInstalled"`
			Installable Rules  `xml:"ApplicabilityRules>IsInstallable"`
		} `xml:"fragment"`
	}
	if err := xml.NewDecoder(feedtest.Open(t, feedtest.Path(t, "wsusscn2/rule-fragments.xml"))).Decode(&x); err != nil || len(x.Fragments) != 5 {
		t.Fatal(len(x.Fragments), err)
	}
	got := map[string]int{}
	for _, f := range x.Fragments {
		for _, nodes := range []Rules{f.Installed, f.Installable} {
			r, err := Translate(nodes.Nodes, Metadata{})
			if err != nil || r.Validate() != nil {
				t.Errorf("%s: %v, %v", f.Source, err, r.Validate())
			}
			count(r, got)
		}
	}
	if diff := cmp.Diff(map[string]int{"file_version": 1, "package": 1, "registry_value": 1, "wmi": 1}, got); diff != "" {
		t.Error(diff)
	}
}

func rule(t *testing.T, text string) (detect.Rule, error) {
	t.Helper()
	var x Rules
	if err := xml.Unmarshal([]byte("<rules>"+text+"</rules>"), &x); err != nil {
		t.Fatal(err)
	}
	return Translate(x.Nodes, Metadata{})
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
		`<RegSz Key="HKEY_LOCAL_MACHINE" Subkey="a" Value="b" Comparison="Near" Data="c"/>`, `<FileExists Path="x" Size="3"/>`, `<RegValueExists Key="HKEY_LOCAL_MACHINE" Subkey="a" Value="b" Type="REG_SZ"/>`, `<MsiProductInstalled ProductCode="{1}" Language="1033"/>`,
		`<WindowsVersion Comparison="EqualTo" MajorVersion="6" SuiteMask="2"/>`, `<Processor Architecture="9" Level="6"/>`, `<NumberOfProcessors Comparison="EqualTo" Number="x"/>`, `<RegKeyLoop/>`, `<WmiQuery/>`, `<Processor Architecture="99"/>`,
		`<WindowsVersion Comparison="EqualTo"/>`, `<And><Unknown/></And>`, `<Not><Unknown/></Not>`, strings.Repeat("<And>", 60) + strings.Repeat("</And>", 60),
	} {
		if _, err := rule(t, text); !fault.Is(err, fault.Unsupported) && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", clip(text), err)
		}
	}
}

// onRegistry answers one registry value.
type onRegistry struct {
	detect.Facts
	data string
}

func (o onRegistry) Registry(string, string, string) (detect.RegistryFact, error) {
	return detect.RegistryFact{Exists: true, Type: "sz", Data: o.data}, nil
}

func TestTexts(t *testing.T) {
	for comparison, want := range map[string]map[string]detect.Value{
		"EqualTo":    {"Intel": detect.True, "intel": detect.True, "Intel Corp": detect.False},
		"BeginsWith": {"Intel Corp": detect.True, "An Intel": detect.False},
		"EndsWith":   {"An Intel": detect.True, "Intel Corp": detect.False},
		"Contains":   {"An INTEL Corp": detect.True, "AMD": detect.False},
	} {
		r, err := rule(t, `<b.RegSz Key="HKEY_LOCAL_MACHINE" Subkey="a" Value="b" Comparison="`+comparison+`" Data="Intel"/>`)
		if err != nil || r.Validate() != nil {
			t.Fatal(err, r.Validate())
		}
		for data, v := range want {
			if got := detect.Eval(r, onRegistry{data: data}).Value; got != v {
				t.Errorf("%q %s Intel: %s", data, comparison, got)
			}
		}
	}
}

func TestOthers(t *testing.T) {
	wmi := func(q string) detect.Rule {
		return detect.Rule{WMI: &detect.WMI{Namespace: `root\cimv2`, Query: q}}
	}
	for text, want := range map[string]detect.Rule{
		`<FileExists Csidl="37" Path="\a.dll"/>`:                 {File: &detect.File{Path: `{CSIDL_SYSTEM}\a.dll`}},
		`<FileExists Path="%windir%\a.dll" Version="1.2"/>`:      {FileVersion: &detect.FileVersion{Path: `%windir%\a.dll`, Op: detect.EQ, Version: "1.2"}},
		`<NumberOfProcessors Comparison="LessThan" Number="4"/>`: wmi("SELECT * FROM Win32_ComputerSystem WHERE NumberOfLogicalProcessors < 4"),
		`<RegDword Key="HKEY_LOCAL_MACHINE" Subkey="a" Value="b" RegType32="true" Comparison="GreaterThan" Data="5"/>`: {
			RegistryValue: &detect.RegistryValue{Key: `HKLM\a`, View: "32", Name: "b", Type: "dword", Op: detect.GT, Data: "5"},
		},
	} {
		got, err := rule(t, text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
}

// schemaElement finds the rule elements that Microsoft's schemas declare.
var schemaElement = regexp.MustCompile(`<element name="(\w+)" substitutionGroup="sdp:ApplicabilityRuleElement"`)

// TestDocs holds the table in docs/microsoft.md against what is translated, and
// against Microsoft's own schemas.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../../../../docs/microsoft.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "## Microsoft's rule elements")
	if !found {
		t.Fatal("docs/microsoft.md has no table of rule elements")
	}
	known, refused := map[string]bool{}, map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) < 5 || strings.HasPrefix(row, "|--") {
			continue
		}
		for _, name := range regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`).FindAllString(regexp.MustCompile(`\([^)]*\)`).ReplaceAllString(cells[1], ""), -1) {
			if strings.Contains(cells[3], "refused") {
				refused[name] = true
			} else {
				known[name] = true
			}
		}
	}
	for _, name := range Elements() {
		if !known[name] {
			t.Errorf("docs/microsoft.md does not name %s among the elements that are translated", name)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("docs/microsoft.md promises %s, which is refused", name)
	}
	for _, file := range []string{"BaseApplicabilityRules.xsd", "MsiApplicabilityRules.xsd"} {
		schema, err := os.ReadFile(feedtest.Path(t, "wsus-sdp/schema/"+file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range schemaElement.FindAllStringSubmatch(string(schema), -1) {
			if !slices.Contains(Elements(), m[1]) && !refused[m[1]] {
				t.Errorf("docs/microsoft.md does not say that %s is refused", m[1])
			}
		}
	}
}

func FuzzTranslate(f *testing.F) {
	f.Add(`<And><b.FileVersion Csidl="37" Path="\x" Comparison="LessThan" Version="1"/><Not><Or><False/></Or></Not></And>`)
	f.Add(`<WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="6" MinorVersion="1" ServicePackMajor="1" ProductType="3"/>`)
	f.Add(`<MsiProductInstalled ProductCode="{A}" VersionMin="1" VersionMax="2" ExcludeVersionMax="true"/>`)
	f.Fuzz(func(t *testing.T, text string) {
		var x Rules
		if xml.Unmarshal([]byte("<rules>"+text+"</rules>"), &x) != nil {
			return
		}
		r, err := Translate(x.Nodes, Metadata{Packages: []string{"a~b~amd64~~1.0"}})
		if err != nil {
			return
		}
		if err := r.Validate(); err != nil {
			t.Fatalf("%v: %+v", err, r)
		}
	})
}
