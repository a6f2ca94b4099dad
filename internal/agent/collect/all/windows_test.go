//go:build unix

package all

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/agent/collect/collecttest"
	"github.com/fettlehq/fettle/internal/agent/collect/state"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// exported reads registries from the text that regedit writes.
func exported(t testing.TB, texts ...string) *winreg.Memory {
	t.Helper()
	m := &winreg.Memory{}
	for _, text := range texts {
		if err := m.Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// image is a Windows machine with some files on its drive.
func image(t testing.TB, reg winreg.Registry, files map[string]string) *collect.Tree {
	t.Helper()
	tr, err := collect.Image(collecttest.Folder(t, files), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() }) // read only
	return tr
}

// TestWindows collects a whole fixture machine.
func TestWindows(t *testing.T) {
	tr := image(t, exported(t, fixture(t, "windows.reg")), map[string]string{
		"Users/ben/NTUSER.DAT":   fixture(t, "NTUSER.DAT"),
		"Users/Carol/NTUSER.DAT": "no hive",
		"WINDOWS/servicing/Packages/Package_for_RollupFix~31bf3856ad364e35~amd64~~22621.3007.1.9.mum": `<?xml version="1.0" encoding="utf-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" description="Fix for KB5034123" displayName="default">
<assemblyIdentity name="Package_for_RollupFix" version="22621.3007.1.9"/><package identifier="kb5034123" releaseType="Security Update" restart="required">`,
		"WINDOWS/servicing/Packages/Package_for_DotNetRollup_481~31bf3856ad364e35~x86~~10.0.9206.3.mum": `<assembly><package identifier="other"/><package identifier="KB5033920"/></assembly>`,
	})
	got, problems, err := Collect(context.Background(), tr, Windows())
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.Contains(fault.Public(problems[0]), "products of S-1-5-21-9-9-9-1003 alone are not known: the file is no registry hive") {
		t.Errorf("problems %v", problems)
	}
	wantOS := inventory.OS{
		Family: "windows", ID: "windows-11", Version: "23h2", Build: "10.0.22631.3007", Edition: "Professional", Codename: "23H2",
		Name: "Windows 11 Pro", Arch: "amd64", Hostname: "Desk7",
	}
	if diff := cmp.Diff(wantOS, got.OS); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	arp := func(name, arch, version, title, publisher, upgrade, scope string) inventory.Package {
		return inventory.Package{Kind: "arp", Name: name, Arch: arch, Version: version, Title: title, Publisher: publisher, UpgradeCode: upgrade, Scope: scope}
	}
	want := []inventory.Package{
		arp("7-Zip", "amd64", "24.08", "7-Zip 24.08 (x64)", "Igor Pavlov", "", ""),
		arp("Browser", "", "100.0.1", "Browser", "", "", "user:ann"),
		arp("Browser", "", "98.1", "Browser for Ben", "Browser Ltd", "", "user:ben"),
		arp("Browser", "", "99.0", "Browser", "", "", "user:S-1-5-21-1-2-3-1003"),
		arp("ByService", "", "1", "Installed by a service", "", "", "user:SYSTEM"),
		arp("NSIS", "386", "3.10", "Nullsoft Install System", "", "", ""),
		arp("Old", "386", "0.1", "Old", "", "", "user:ann"),
		arp("{2FEE1475-E9F3-4D75-BBA7-25BB6D6E80FF}", "amd64", "1.1.0", "LabApp", "Lab Inc", "{7B8A5B1E-9E3A-4B0B-9B5C-0A1B2C3D4E5F}", ""),
		arp("{90160000-008C-0000-1000-0000000FF1CE}", "386", "16.0.17328.20162", "Office 16 Click-to-Run Extensibility Component", "Microsoft Corporation", "", ""),
		arp("{AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA}", "", "2.0", "Lost", "", "{33221100-5544-7766-8899-AABBCCDDEEFF}", ""),
		arp("{BBBBBBBB-BBBB-BBBB-BBBB-BBBBBBBBBBBB}", "", "5", "Hers alone", "", "{7B8A5B1E-9E3A-4B0B-9B5C-0A1B2C3D4E7F}", "user:ann"),
		arp("{BBBBBBBB-BBBB-BBBB-BBBB-BBBBBBBBBBBB}", "", "5", "His alone", "", "{7B8A5B1E-9E3A-4B0B-9B5C-0A1B2C3D4E7F}", "user:ben"),
		{Kind: "cbs", Name: "Package_for_DotNetRollup_481~31bf3856ad364e35~x86~~10.0.9206.3", Arch: "386", Version: "10.0.9206.3"},
		{Kind: "cbs", Name: "Package_for_KB5027397~31bf3856ad364e35~amd64~~22621.2355.1.1", Arch: "amd64", Version: "22621.2355.1.1"},
		{Kind: "cbs", Name: "Package_for_RollupFix~31bf3856ad364e35~amd64~~22621.3007.1.9", Arch: "amd64", Version: "22621.3007.1.9"},
		{Kind: "cbs", Name: "Package_for_ServicingStack_3000~31bf3856ad364e35~amd64~~22621.3000.1.0", Arch: "amd64", Version: "22621.3000.1.0"},
		{Kind: "kb", Name: "KB5027397"},
		{Kind: "kb", Name: "KB5034123"},
		{Kind: "msp", Name: "{7B8A5B1E-9E3A-4B0B-9B5C-0A1B2C3D4E5F}", Source: "{2FEE1475-E9F3-4D75-BBA7-25BB6D6E80FF}", Title: "Hotfix 1"},
	}
	if diff := cmp.Diff(want, got.Packages); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantHardware := inventory.Hardware{Vendor: "VMware, Inc.", Model: "VMware7,1", Firmware: "VMW71.00V", CPU: "A CPU", Cores: 2, Virtual: "vmware"}
	if diff := cmp.Diff(wantHardware, got.Hardware); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantState := inventory.State{
		BootID: "boot-1", BootTime: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC), RebootDue: true,
		RebootReasons: []string{
			"7-Zip 24.08 asks for a restart", "Windows Update has installed what a restart completes", "Windows servicing has changes that a restart completes",
			"an installer of updates waits for a restart", "the computer's name becomes DESK8",
		},
		Services: []inventory.Service{
			{Name: "Spooler", Account: "LocalSystem", Start: "auto"},
			{Name: "event", Start: "trigger"},
			{Name: "late", Title: "Late", Start: "delayed"},
			{Name: "manual", Start: "manual"},
			{Name: "never", Start: "disabled"},
		},
	}
	if diff := cmp.Diff(wantState, got.State); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPendingFiles: what the session manager will do at the next start.
func TestPendingFiles(t *testing.T) {
	const manager = `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager`
	for name, c := range map[string]struct {
		pairs []string
		want  string
	}{
		"nothing":       {nil, ""},
		"empty":         {[]string{"", ""}, ""},
		"a deletion":    {[]string{`\??\C:\a.tmp`, ""}, `a file is replaced or deleted at the next start: C:\a.tmp`},
		"swept":         {[]string{`\??\C:\Users\x\AppData\Local\Temp\~nsuA.tmp\Un_A.exe`, "", `\??\C:\Windows\TEMP\a`}, ""},
		"from temp":     {[]string{`\??\C:\Windows\Temp\b.new`, `!\??\C:\b.dll`}, `a file is replaced or deleted at the next start: C:\Windows\Temp\b.new`},
		"a replacement": {[]string{`\??\C:\b.new`, `!\??\C:\b.dll`}, `a file is replaced or deleted at the next start: C:\b.new`},
		"several":       {[]string{`*1\??\C:\a.tmp`, "", `\??\C:\b.new`, `!\??\C:\b.dll`, `\??\C:\c`}, `3 files are replaced or deleted at the next start: C:\a.tmp and others`},
	} {
		reg := &winreg.Memory{}
		if err := reg.Set(manager, "PendingFileRenameOperations", winreg.TextValue(winreg.MultiSZ, c.pairs...)); err != nil {
			t.Fatal(err)
		}
		var s inventory.Snapshot
		if err := state.Windows().Collect(t.Context(), image(t, reg, nil), &s); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.State.RebootReasons, "|"); got != c.want || s.State.RebootDue != (c.want != "") {
			t.Errorf("%s: %q, due %v", name, got, s.State.RebootDue)
		}
	}
}

// TestWindowsReleases: what the registry says of other machines, over the fixture.
func TestWindowsReleases(t *testing.T) {
	const head = "Windows Registry Editor Version 5.00\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion]\n"
	const env = "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Environment]\n\"PROCESSOR_ARCHITECTURE\"="
	const options = "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\ProductOptions]\n\"ProductType\"="
	for name, c := range map[string]struct{ text, platform, build, title string }{
		"server":          {"\"CurrentBuildNumber\"=\"20348\"\n\"InstallationType\"=\"Server Core\"\n", "windows-server-2022-amd64", "10.0.20348.3007", "Windows 10 Pro"},
		"multi-session":   {"\"CurrentBuildNumber\"=\"19045\"\n" + options + `"ServerNT"`, "windows-10-22h2-amd64", "10.0.19045.3007", "Windows 10 Pro"},
		"old server":      {"\"InstallationType\"=-\n\"CurrentBuildNumber\"=\"17763\"\n\"UBR\"=-\n" + options + `"LanmanNT"`, "windows-server-2019-amd64", "10.0.17763", "Windows 10 Pro"},
		"preview":         {"\"CurrentBuildNumber\"=\"27999\"\n", "windows-27999-amd64", "10.0.27999.3007", "Windows 11 Pro"},
		"arm":             {env + `"ARM64"`, "windows-11-23h2-arm64", "10.0.22631.3007", "Windows 11 Pro"},
		"32 bits":         {"\"CurrentBuildNumber\"=\"19045\"\n\"ProductName\"=-\n" + env + `"x86"`, "windows-10-22h2-386", "10.0.19045.3007", "Windows 10 22H2"},
		"before version":  {"\"CurrentMajorVersionNumber\"=-\n\"CurrentVersion\"=\"6.1\"\n\"CurrentBuildNumber\"=\"7601\"\n", "windows-7-amd64", "6.1.7601.3007", "Windows 10 Pro"},
		"build elsewhere": {"\"CurrentBuildNumber\"=-\n", "windows-11-23h2-amd64", "10.0.22631.3007", "Windows 11 Pro"},
	} {
		tr := image(t, exported(t, fixture(t, "windows.reg"), head+c.text), nil)
		s, _, err := Collect(context.Background(), tr, Windows())
		if err != nil || s.OS.Platform() != c.platform || s.OS.Build != c.build || s.OS.Name != c.title {
			t.Errorf("%s: %+v, %v", name, s.OS, err)
		}
	}
}

// TestWindowsWorthless: an inventory without a system or with an unreadable
// one is none.
func TestWindowsWorthless(t *testing.T) {
	if _, _, err := Collect(context.Background(), image(t, &winreg.Memory{}, nil), Windows()); !fault.Is(err, fault.NotFound) {
		t.Errorf("an empty registry gives %v", err)
	}
	text := "Windows Registry Editor Version 5.00\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion]\n\"CurrentVersion\"=\"10.0\"\n"
	if _, _, err := Collect(context.Background(), image(t, exported(t, text), nil), Windows()); !fault.Is(err, fault.Invalid) {
		t.Errorf("a registry without a build gives %v", err)
	}
}
