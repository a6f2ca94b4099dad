package patch

import (
	"strings"
	"testing"
)

// TestTrustRow1HostileSwitches: whoever writes a vendor's manifest or its
// catalog of packages, but can't sign the vendor's programs, gets no other code
// run by them, no other machine asked and no file of this machine written.
func TestTrustRow1HostileSwitches(t *testing.T) {
	for _, c := range []struct{ kind, word string }{
		{"msi", `TRANSFORMS=\\attacker.example\share\evil.mst`},
		{"msi", `transforms=evil.mst`},
		{"msi", `TRANSFORMS=:inner`},
		{"msp", `PATCH=evil.msp`},
		{"msi", `SOURCELIST=http://attacker.example/`},
		{"msi", `/l*v`},
		{"msi", `/log`},
		{"msi", `/i`},
		{"msi", `/a`},
		{"msi", `/jm`},
		{"msi", `evil.msi`},
		{"msi", `ACTION=ADMIN`},
		{"msi", `REBOOT=Force`},
		{"msi", `INSTALLDIR=C:\Users\Public\x`},
		{"msi", `TARGETDIR=D:`},
		{"msi", `CONFIG=\\attacker.example\c`},
		{"msi", `CONFIG=//attacker.example/c`},
		{"msi", `CONFIG=\/attacker.example\c`},
		{"msi", `CONFIG=\Users\Public\c`},
		{"msi", "A=1\nTRANSFORMS=x"},
		{"msi", `A=..\..\Users\Public\c`},
		{"msi", `A=%PUBLIC%\c`},
		{"msi", `A="\\?\C:\x"`},
		{"exe", `/LOADINF=C:\Users\Public\evil.inf`},
		{"exe", `/LOG=C:\Windows\System32\x.dll`},
		{"exe", `/D=C:\Users\Public\app`},
		{"exe", `\\attacker.example\share\x`},
		{"exe", `/config:http://attacker.example/x`},
		{"exe", `cmd.exe`},
		{"exe", `powershell`},
		{"exe", `-Command=powershell -enc AAAA`},
		{"exe", `/v"/qn TRANSFORMS=\\h\s"`},
		{"exe", `/D=C:\Program Files\..\Users\Public`},
		{"exe", `/LOG=C:\Program Files\x`},
		{"exe", `/run:rundll32.exe`},
		{"exe", `c:/x`},
		{"exe", `/out=..`},
		{"exe", strings.Repeat("x", 3000)},
	} {
		for _, m := range []Manifest{
			{Kind: c.kind, Argv: []string{"{payload}", c.word}},
			{Kind: c.kind, Argv: []string{"{payload}"}, UninstallArgv: []string{"{uninstall}", c.word}},
		} {
			if c.kind == "msi" || c.kind == "msp" {
				m.Argv = m.Argv[1:]
			}
			if m.Stray() == "" {
				t.Errorf("%s with %q is taken", c.kind, c.word)
			}
		}
	}
}

// TestOrdinarySwitches: what vendors really write is taken.
func TestOrdinarySwitches(t *testing.T) {
	for _, m := range []Manifest{
		{Kind: "msi"},
		{Kind: "msu"},
		{Kind: "cab"},
		{Kind: "apt"},
		{Kind: "wua", Argv: []string{"6A8B28EC-0C2D-4D1C-9D80-6F9D5B8D0D11"}},
		{Kind: "msi", Argv: []string{"ADDLOCAL=ALL", "Reboot=ReallySuppress", "/qn", `NAME=a value "quoted"`, "EMPTY=", `INSTALLDIR=C:\Program Files\Maker\Tool\`}, UninstallArgv: []string{"{11111111-1111-1111-1111-111111111111}"}},
		{Kind: "msp", Argv: []string{"DISABLESRCPROMPT=1", "REINSTALLMODE=omus"}, UninstallArgv: []string{"{uninstall}"}},
		{Kind: "exe", Argv: []string{"{payload}", "/S", "/PreventRebootRequired=true"}, UninstallArgv: []string{"{uninstall}", "/S"}},
		{Kind: "exe", Argv: []string{"{payload}", "/SP-", "/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART", "/MERGETASKS=!runcode,desktopicon"}},
		{Kind: "exe", Argv: []string{"{payload}", "-sfx_nu", "/sAll", "/rs", "/msi", "InstallAllUsers=1", "PrependPath=1", "/v/qn", "--do-not-launch-chrome", "/reg"}},
		{Kind: "exe", Argv: []string{"{payload}", "/install", "/quiet", "/norestart"}, UninstallArgv: []string{"{payload}", "/uninstall", "/quiet"}},
	} {
		if why := m.Stray(); why != "" {
			t.Errorf("%+v: %s", m, why)
		}
	}
}

func FuzzStray(f *testing.F) {
	f.Add("msi", `TRANSFORMS=x`)
	f.Add("exe", `/D=C:\x`)
	f.Fuzz(func(t *testing.T, kind, word string) {
		why := Manifest{Kind: kind, Argv: []string{word}}.Stray()
		if strings.Contains(word, `\\`) && (kind == "msi" || kind == "exe") && why == "" {
			t.Errorf("%q is taken", word)
		}
	})
}

// TestTrustRow1UpdatesTakeNoWords: wusa and dism get the verified file and
// nothing else; a second /PackagePath would install another.
func TestTrustRow1UpdatesTakeNoWords(t *testing.T) {
	for kind, word := range map[string]string{"msu": `/extract:C:\x`, "cab": `/PackagePath:evil.cab`} {
		if (Manifest{Kind: kind, Argv: []string{word}}).Stray() == "" {
			t.Errorf("%s with %q is taken", kind, word)
		}
	}
}
