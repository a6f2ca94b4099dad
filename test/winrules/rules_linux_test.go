package winrules

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus/sdp"
	"github.com/fettlehq/fettle/test/lab"
	"github.com/fettlehq/fettle/test/lab/wine"
)

const pkg = "github.com/fettlehq/fettle/test/winrules"

// fixture are rules as vendors write them, with what is true of a machine under
// Wine 8 that calls itself Windows 10 1903.
var fixture = []struct {
	text string
	want detect.Value
}{
	{`<FileVersion Csidl="37" Path="kernel32.dll" Comparison="GreaterThan" Version="1.0"/>`, detect.True},
	{`<FileVersion Csidl="37" Path="kernel32.dll" Comparison="LessThan" Version="1.0"/>`, detect.False},
	{`<FileVersion Csidl="37" Path="no-such.dll" Comparison="LessThan" Version="1.0"/>`, detect.False},
	{`<FileExists Csidl="36" Path="system32\kernel32.dll"/>`, detect.True},
	{`<FileExists Path="%windir%\system32\no-such.dll"/>`, detect.False},
	{`<RegSz Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="Text" Comparison="EqualTo" Data="hello world"/>`, detect.True},
	{`<RegSz Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="Text" Comparison="BeginsWith" Data="HELLO"/>`, detect.True},
	{`<RegSz Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="Text" Comparison="EndsWith" Data="World"/>`, detect.True},
	{`<RegSz Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="Text" Comparison="Contains" Data="lo wo"/>`, detect.True},
	{`<RegSz Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="Text" Comparison="Contains" Data="goodbye"/>`, detect.False},
	{`<RegKeyExists Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test"/>`, detect.True},
	{`<RegKeyExists Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\None"/>`, detect.False},
	{`<RegValueExists Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="Text"/>`, detect.True},
	{`<RegSzToVersion Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="Version" Comparison="GreaterThanOrEqualTo" Data="1.9"/>`, detect.True},
	{`<RegDword Key="HKEY_LOCAL_MACHINE" Subkey="SOFTWARE\Fettle\Test" Value="None" Comparison="EqualTo" Data="1"/>`, detect.False},
	{`<WindowsVersion Comparison="EqualTo" MajorVersion="10" MinorVersion="0"/>`, detect.True},
	{`<WindowsVersion Comparison="LessThan" MajorVersion="6" MinorVersion="2"/>`, detect.False},
	{`<Processor Architecture="9"/>`, detect.True},
	{`<Processor Architecture="0"/>`, detect.False},
	{`<WmiQuery Namespace="Root\cimv2" WqlQuery="select * from Win32_OperatingSystem"/>`, detect.True},
	{`<WmiQuery Namespace="Root\cimv2" WqlQuery="select * from Win32_ComputerSystem where Manufacturer='HP'"/>`, detect.False},
	{`<MsiProductInstalled ProductCode="{11111111-2222-3333-4444-555555555555}"/>`, detect.False},
	{`<And><True/><Or><False/><Not><FileExists Csidl="37" Path="no-such.dll"/></Not></Or></And>`, detect.True},
}

// TestFixture evaluates the rules whose answers are known.
func TestFixture(t *testing.T) {
	var rules []Rule
	for _, f := range fixture {
		var x wsus.Rules
		if err := xml.Unmarshal([]byte("<rules>"+f.text+"</rules>"), &x); err != nil {
			t.Fatal(err)
		}
		r, err := wsus.Translate(x.Nodes, wsus.Metadata{})
		if err != nil {
			t.Fatalf("%s: %v", f.text, err)
		}
		rules = append(rules, Rule{Name: f.text, Rule: r, Want: f.want})
	}
	evaluate(t, rules)
}

// TestRealPackages evaluates all rules of the real packages: nothing of a
// virtual machine is HP's or Dell's, so none may apply, and none may stay
// unknown.
func TestRealPackages(t *testing.T) { evaluate(t, realRules(t)) }

// realRules are all rules of the real packages, two of each.
func realRules(t *testing.T) []Rule {
	t.Helper()
	var rules []Rule
	for _, text := range feedtest.Packages(t) {
		rules = append(rules, of(t, text)...)
	}
	rules = append(rules, of(t, feedtest.Open(t, feedtest.Path(t, "wsus-sdp/dell/dc718411-a5f1-4b15-966a-63a77cbb156e.sdp")))...)
	if len(rules) != 2*1465 {
		t.Fatalf("%d rules", len(rules))
	}
	return rules
}

// of are the two rules of a package with one item.
func of(t *testing.T, r io.Reader) []Rule {
	t.Helper()
	p, err := sdp.ParsePackage(r)
	if err != nil {
		t.Fatal(err)
	}
	i := p.Items[0]
	may := detect.Rule{All: []detect.Rule{p.Applicable, i.Applicable}}
	return []Rule{{Name: p.KB + " applies", Rule: may, Want: detect.False}, {Name: p.KB + " is installed", Rule: i.Installed}}
}

// evaluate has a machine evaluate the rules.
func evaluate(t *testing.T, rules []Rule) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	fleet, err := lab.NewFleet(ctx, "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	}()
	h, err := wine.Start(ctx, fleet, "rules", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Text": "Hello World", "Version": "1.10.2"} {
		if err := h.SetRegistry(ctx, `HKLM\SOFTWARE\Fettle\Test`, name, value); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.WriteFile(rulesFile, text); err != nil {
		t.Fatal(err)
	}
	wine.RunTests(t, h, pkg, "-test.run=^TestOnWindows$")
}
