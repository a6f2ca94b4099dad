//go:build unix

package probe

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

const machineReg = `Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion]
"SystemRoot"="C:\\Windows"

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList]
"ProgramData"="%SystemDrive%\\ProgramData"

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion]
"ProgramFilesDir"="C:\\Program Files"
"ProgramFilesDir (x86)"="C:\\Program Files (x86)"
"CommonFilesDir"="C:\\Program Files\\Common Files"
"CommonFilesDir (x86)"="C:\\Program Files (x86)\\Common Files"

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment]
"ComSpec"="%SystemRoot%\\system32\\cmd.exe"
"LAB"="D:\\Lab"
"PUBLIC"="C:\\Users\\Public"

[HKEY_LOCAL_MACHINE\SOFTWARE\Lab]
"Text"="Value"
"Number"=dword:0000000a
"Large"=hex(b):00,00,00,00,01,00,00,00
"Version"="10.2.0"
"Path"=hex(2):25,00,58,00,25,00,00,00
"Many"=hex(7):61,00,00,00,62,00,00,00,00,00
"Bytes"=hex:0a,ff

[HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Lab]
"Text"="32 bits"

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\Package_for_X~31bf3856ad364e35~x86~~1.2.3.4]
"CurrentState"=dword:00000070

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\Package_for_Y~31bf3856ad364e35~amd64~~1.2.3.4]
"CurrentState"=dword:00000050
`

// windowsFacts are those of a fixture machine with the files below its drive.
func windowsFacts(t testing.TB, files map[string]string) *Facts {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		full := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := &winreg.Memory{}
	if err := m.Parse([]byte(machineReg)); err != nil {
		t.Fatal(err)
	}
	f := New(context.Background(), root, &inventory.Snapshot{
		OS:       inventory.OS{Family: "windows", ID: "windows-10", Version: "22h2", Build: "10.0.19045.4046", Edition: "Professional", Arch: "amd64"},
		Packages: []inventory.Package{{Kind: "arp", Name: "7-Zip", Version: "24.08"}, {Kind: "arp", Name: "{2FEE1475-E9F3-4D75-BBA7-25BB6D6E80FF}", Version: "4.10.0.0", Title: "Lab Driver", Publisher: "Lab Inc"}, {Kind: "kb", Name: "KB5034122"}},
	})
	f.registry = m
	return f
}

func TestWindowsPaths(t *testing.T) {
	f := windowsFacts(t, nil)
	for rule, want := range map[string]string{
		`{CSIDL_SYSTEM}\drivers\a.sys`:           "C: /Windows/System32/drivers/a.sys",
		`{CSIDL_SYSTEMX86}\b.dll`:                "C: /Windows/SysWOW64/b.dll",
		`{CSIDL_WINDOWS}\\explorer.exe`:          "C: /Windows/explorer.exe",
		`{CSIDL_PROGRAM_FILES}\Lab\a.exe`:        "C: /Program Files/Lab/a.exe",
		`{CSIDL_PROGRAM_FILESX86}\Lab\a.exe`:     "C: /Program Files (x86)/Lab/a.exe",
		`{CSIDL_PROGRAM_FILES_COMMON}\a`:         "C: /Program Files/Common Files/a",
		`{CSIDL_PROGRAM_FILES_COMMONX86}\a`:      "C: /Program Files (x86)/Common Files/a",
		`{CSIDL_COMMON_APPDATA}\a`:               "C: /ProgramData/a",
		`{FOLDERID_Fonts}\a.ttf`:                 "C: /Windows/Fonts/a.ttf",
		`{FOLDERID_Public}\a`:                    "C: /Users/Public/a",
		`%ProgramFiles%\Lab\a.exe`:               "C: /Program Files/Lab/a.exe",
		`%programfiles(x86)%\Lab/a.exe`:          "C: /Program Files (x86)/Lab/a.exe",
		`%SystemRoot%\..\x`:                      "C: /x",
		`%windir%\System32\..\..\..\..\boot.ini`: "C: /boot.ini",
		`%SystemDrive%\a%LAB`:                    "",
		`%SystemDrive%\a.exe`:                    "C: /a.exe",
		`%LAB%\a.exe`:                            "D: /Lab/a.exe",
		`%ComSpec%`:                              "C: /Windows/system32/cmd.exe",
		`d:\a.exe`:                               "d: /a.exe",
		`%APPDATA%\a`:                            "",
		`{CSIDL_APPDATA}\a`:                      "",
		`{CSIDL_SYSTEM`:                          "",
		`{}`:                                     "",
		`\\server\share\a.exe`:                   "",
		`//server/share/a.exe`:                   "",
		`\\.\PhysicalDrive0`:                     "",
		`\\?\C:\a`:                               "",
		`C:a`:                                    "",
		`C:\a.txt:stream`:                        "",
		`C:\*.exe`:                               "",
		"C:\\a\x00b":                             "",
		`C:\NUL`:                                 "",
		`C:\dir\com1.txt`:                        "",
		`C:\dir\COM¹`:                            "",
		`C:\dir\aux .txt`:                        "",
		`C:\dir\conin$`:                          "",
		`C:\dir\com10\console\a.nul`:             "C: /dir/com10/console/a.nul",
		`/etc/passwd`:                            "",
		`a.exe`:                                  "",
		``:                                       "",
		`%%`:                                     "",
		`%`:                                      "",
		`1:\a`:                                   "",
	} {
		drive, below, err := f.windowsPath(rule)
		got := ""
		if err == nil {
			got = drive + " " + below
		}
		if got != want {
			t.Errorf("%q: %q, %v, want %q", rule, got, err, want)
		}
	}
}

func TestWindowsPathsOn386(t *testing.T) {
	f := windowsFacts(t, nil)
	f.snap.OS.Arch = "386"
	m := &winreg.Memory{}
	const without = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion]\n\"ProgramFilesDir (x86)\"=-\n\"CommonFilesDir (x86)\"=-\n"
	if err := m.Parse([]byte(machineReg + without)); err != nil {
		t.Fatal(err)
	}
	f.registry = m
	for rule, want := range map[string]string{
		`{CSIDL_SYSTEMX86}\a`: "/Windows/System32/a", `{CSIDL_PROGRAM_FILESX86}\a`: "/Program Files/a",
		`{CSIDL_PROGRAM_FILES_COMMONX86}\a`: "/Program Files/Common Files/a",
	} {
		if _, below, err := f.windowsPath(rule); below != want || err != nil {
			t.Errorf("%s: %s, %v", rule, below, err)
		}
	}
}

// TestNoPathLeaves: whatever a rule says, the path stays on a drive, without a
// device's name.
func TestNoPathLeaves(t *testing.T) {
	f := windowsFacts(t, nil)
	part := rapid.SampledFrom([]string{`..`, `.`, `\`, `/`, `%windir%`, `{CSIDL_SYSTEM}`, `C:`, `c:\`, `\\`, `a`, `nul`, `%`, `{`, `:`, " ", "COM1", "é"})
	rapid.Check(t, func(t *rapid.T) {
		rule := strings.Join(rapid.SliceOfN(part, 0, 10).Draw(t, "parts"), "")
		drive, below, err := f.windowsPath(rule)
		if err != nil {
			return
		}
		if len(drive) != 2 || drive[1] != ':' || !strings.HasPrefix(below, "/") || strings.ContainsAny(below, `:\*?`) || strings.Contains(below+"/", "/../") {
			t.Fatalf("%q became %q %q", rule, drive, below)
		}
	})
}

func TestWindowsRules(t *testing.T) {
	f := windowsFacts(t, map[string]string{"Windows/notes.txt": "text", "Windows/System32/empty.exe": "MZ"})
	value := func(name, typ string, op detect.Op, data string) detect.Rule {
		return detect.Rule{RegistryValue: &detect.RegistryValue{Key: `HKLM\SOFTWARE\Lab`, Name: name, Type: typ, Op: op, Data: data}}
	}
	key := func(k, view string) detect.Rule {
		return detect.Rule{RegistryKey: &detect.RegistryKey{Key: k, View: view}}
	}
	file := func(p string) detect.Rule { return detect.Rule{File: &detect.File{Path: p}} }
	pkg := func(kind, name string, op detect.Op, version string) detect.Rule {
		return detect.Rule{Package: &detect.Package{Kind: kind, Name: name, Op: op, Version: version}}
	}
	newer := func(p string) detect.Rule {
		return detect.Rule{FileVersion: &detect.FileVersion{Path: p, Op: detect.GE, Version: "1"}}
	}
	for name, tc := range map[string]struct {
		rule detect.Rule
		want detect.Value
		says string
	}{
		"text":               {value("text", "sz", detect.EQ, "VALUE"), detect.True, "Value"},
		"number":             {value("Number", "dword", detect.GE, "0x0A"), detect.True, "10"},
		"large number":       {value("Large", "qword", detect.GT, "4294967295"), detect.True, "4294967296"},
		"version":            {value("Version", "version", detect.LT, "10.10.0"), detect.True, "10.2.0"},
		"unexpanded":         {value("Path", "sz", detect.EQ, "%x%"), detect.True, "%X%"},
		"several texts":      {value("Many", "sz", detect.EQ, "a\nb"), detect.True, "a\nb"},
		"bytes":              {value("Bytes", "sz", detect.EQ, "0aff"), detect.True, "0aff"},
		"no number":          {value("Text", "dword", detect.EQ, "1"), detect.Undetermined, "not a number"},
		"present":            {value("Text", "", "", ""), detect.True, "present"},
		"absent value":       {value("None", "", "", ""), detect.False, "absent"},
		"absent key":         {key(`HKLM\SOFTWARE\None`, ""), detect.False, "absent"},
		"key":                {key(`HKEY_LOCAL_MACHINE\Software\Lab\`, ""), detect.True, "present"},
		"32 bits":            {detect.Rule{RegistryValue: &detect.RegistryValue{Key: `HKLM\SOFTWARE\Lab`, View: "32", Name: "Text", Type: "sz", Op: detect.EQ, Data: "32 bits"}}, detect.True, "32 bits"},
		"no 32 bits":         {key(`HKLM\SOFTWARE\Microsoft`, "32"), detect.False, "absent"},
		"a user's":           {key(`HKCU\SOFTWARE`, ""), detect.Undetermined, "one user"},
		"performance":        {key(`HKEY_PERFORMANCE_DATA\x`, ""), detect.Undetermined, "no root"},
		"a file":             {file(`%windir%\notes.txt`), detect.True, "present"},
		"a folder":           {file(`{CSIDL_SYSTEM}`), detect.True, "present"},
		"no file":            {file(`{CSIDL_SYSTEM}\none`), detect.False, "absent"},
		"below a file":       {file(`%windir%\notes.txt\none`), detect.False, "absent"},
		"elsewhere":          {file(`\\server\share`), detect.Undetermined, "drive"},
		"no version":         {newer(`%windir%\notes.txt`), detect.Undetermined, "no version"},
		"a damaged program":  {newer(`{CSIDL_SYSTEM}\empty.exe`), detect.Undetermined, "no version"},
		"no file's version":  {newer(`{CSIDL_SYSTEM}\none.exe`), detect.False, "absent"},
		"product":            {pkg("arp", "7-Zip", detect.LT, "24.09"), detect.True, "24.08"},
		"update":             {pkg("kb", "KB5034122", "", ""), detect.True, ""},
		"component":          {pkg("cbs", "Package_for_X~31bf3856ad364e35~x86~~1.2.3.4", "", ""), detect.True, "1.2.3.4"},
		"superseded":         {pkg("cbs", "Package_for_Y~31bf3856ad364e35~amd64~~1.2.3.4", "", ""), detect.False, "not installed"},
		"no component":       {pkg("cbs", "Package_for_Z~31bf3856ad364e35~amd64~~1.2.3.4", "", ""), detect.False, "not installed"},
		"half an identity":   {pkg("cbs", "InternetExplorer-Package~11.2.9600.16428", "", ""), detect.Undetermined, "not named in full"},
		"edition and build":  {detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Product: "professional", Op: detect.GE, Build: "10.0.19045.4000"}}, detect.True, "10.0.19045.4046"},
		"a path of Linux":    {file("/etc/passwd"), detect.Undetermined, "drive"},
		"checksum elsewhere": {detect.Rule{FileChecksum: &detect.FileChecksum{Path: `\\.\pipe\x`, SHA256: "00"}}, detect.Undetermined, "drive"},
		"checksum":           {detect.Rule{FileChecksum: &detect.FileChecksum{Path: `%windir%\notes.txt`, SHA256: "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"}}, detect.True, "982d9e"},
	} {
		t.Run(name, func(t *testing.T) {
			v := detect.Eval(tc.rule, f)
			if v.Value != tc.want || len(v.Evidence) != 1 || !strings.Contains(v.Evidence[0].Found, tc.says) {
				t.Errorf("%s %+v", v.Value, v.Evidence)
			}
		})
	}
}

// TestWindowsWithoutServicing: a machine without a list of packages (Wine)
// does not say that one is lacking.
func TestWindowsWithoutServicing(t *testing.T) {
	f := windowsFacts(t, nil)
	f.registry = &winreg.Memory{}
	if _, err := f.Packages("cbs", "a~b~amd64~~1"); err == nil {
		t.Error("a package is said to be lacking")
	}
	if _, err := f.expand(`{CSIDL_WINDOWS}\x`); err == nil {
		t.Error("a folder is known without a registry")
	}
}

// TestWMIElsewhere: other systems have no WMI.
func TestWMIElsewhere(t *testing.T) {
	linux := New(context.Background(), "/", &inventory.Snapshot{OS: inventory.OS{Family: "linux"}})
	for _, f := range []*Facts{linux, windowsFacts(t, nil)} {
		v := detect.Eval(detect.Rule{WMI: &detect.WMI{Namespace: `root\cimv2`, Query: "SELECT * FROM Win32_BIOS"}}, f)
		if v.Value != detect.Undetermined {
			t.Errorf("%+v", v)
		}
	}
}

// TestWMIProducts: Win32_Product is answered from the scan, as far as that
// knows its properties.
func TestWMIProducts(t *testing.T) {
	f := windowsFacts(t, nil)
	for query, want := range map[string]detect.Value{
		"select * from Win32_Product where Name='LAB driver' and Version >= '4.1' and Vendor='Lab Inc'": detect.True,
		"select * from win32_product where IdentifyingNumber like '{2fee%'":                             detect.True,
		"select * from Win32_Product where Name='7-Zip'":                                                detect.False,
		"select * from Win32_Product where PackageCode='x'":                                             detect.Undetermined,
	} {
		if v := detect.Eval(detect.Rule{WMI: &detect.WMI{Namespace: `Root/CIMV2`, Query: query}}, f); v.Value != want {
			t.Errorf("%s: %+v", query, v)
		}
	}
}
