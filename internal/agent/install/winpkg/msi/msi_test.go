package msi

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

// failed is the part of a log that matters, in the form that msiexec /l*v has.
const failed = `=== Verbose logging started: 11/22/2026  10:11:12  Build type: SHIP UNICODE 5.00.10011.00 ===
MSI (c) (0C:D4) [10:11:12:345]: Resetting cached policy values
MSI (s) (10:20) [10:11:13:001]: Executing op: CustomActionSchedule(Action=SetUp,ActionType=3073)
Info 1603. The file C:\Program Files\Lab\app.exe is being held in use by the following process: Name: app, Id: 4711, Window Title: '(not determined yet)'. Close that application and retry.
CustomAction SetUp returned actual error code 1601 (note this may not be 100% accurate if translation happened inside sandbox)
MSI (s) (10:20) [10:11:14:002]: Product: Lab Editor -- Error 1722. There is a problem with this Windows Installer package.

Error 1722. There is a problem with this Windows Installer package. Action SetUp, location: C:\x.exe
Action ended 10:11:14: InstallFinalize. Return value 3.
MSI (s) (10:20) [10:11:15:002]: Executing op: rollback
Error 9999. Something later
Action ended 10:11:15: INSTALL. Return value 3.
`

func wide(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(strings.ReplaceAll(s, "\n", "\r\n"))) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

func TestLog(t *testing.T) {
	want := "CustomAction SetUp returned actual error code 1601 (note this may not be 100% accurate if translation happened inside sandbox)" +
		" | Product: Lab Editor -- Error 1722. There is a problem with this Windows Installer package." +
		" | Error 1722. There is a problem with this Windows Installer package. Action SetUp, location: C:\\x.exe" +
		" | Info 1603. The file C:\\Program Files\\Lab\\app.exe is being held in use by the following process: Name: app, Id: 4711, Window Title: '(not determined yet)'. Close that application and retry."
	for name, log := range map[string][]byte{"single bytes": []byte(failed), "UTF-16": wide(failed)} {
		x := parseLog(bytes.NewReader(log))
		if d := cmp.Diff(want, x.reason()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if last := x.before[len(x.before)-1]; !strings.Contains(last, "InstallFinalize. Return value 3") {
			t.Errorf("%s: the excerpt ends with %q", name, last)
		}
	}
	plain := "Action start 1: LaunchConditions.\nA newer version of Lab Editor is already installed.\nAction ended 1: LaunchConditions. Return value 3.\n"
	if got := parseLog(strings.NewReader(plain)).reason(); got != "A newer version of Lab Editor is already installed." {
		t.Errorf("without an error line: %q", got)
	}
	for name, log := range map[string]string{
		"empty":      "",
		"Wine's own": "Property(S): PASSWORD = hunter2\nMSI (c) (0C:D4) [10:11:12:345]: Command Line: PASSWORD=hunter2\n1: 2 2: 1 \nAction ended 3:40:56: INSTALL. Return value 0.\n",
	} {
		x := parseLog(strings.NewReader(log))
		if got := x.reason(); got != "" || strings.Contains(strings.Join(x.before, ""), "hunter2") {
			t.Errorf("%s: %q %q", name, got, x.before)
		}
	}
}

// TestLogIsBounded: a log of any size takes little memory.
func TestLogIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20) + "\n"
	x := parseLog(strings.NewReader(strings.Repeat(long, 8) + strings.Repeat("MSI (s): line\n", 10000)))
	size := 0
	for _, l := range x.before {
		size += len(l)
	}
	if len(x.before) != kept || size > kept*maxLogLine {
		t.Errorf("%d lines of %d bytes together", len(x.before), size)
	}
}

// FuzzLog: no log breaks the reader, and what it keeps stays within bounds and
// can be shown.
func FuzzLog(f *testing.F) {
	f.Add([]byte(failed))
	f.Add(wide(failed))
	f.Add([]byte("\xff\xfe\x0a"))
	f.Add([]byte("Return value 3."))
	f.Fuzz(func(t *testing.T, log []byte) {
		x := parseLog(bytes.NewReader(log))
		if len(x.before) > kept || len(x.held) > 5 || len(x.reason()) > (kept+10)*4*maxLogLine || strings.ToValidUTF8(x.reason(), "") != x.reason() {
			t.Errorf("%d lines, %d bytes", len(x.before), len(x.reason()))
		}
	})
}

func TestCommandLine(t *testing.T) {
	argv := []string{`C:\Windows\system32\msiexec.exe`, "/i", `C:\a b\x.msi`, `INSTALLDIR=C:\Lab Files`, "ADDLOCAL=ALL", "EMPTY=", `SAY=a "b"`, "/qn", "/l*v", `C:\logs\x.log`}
	want := `C:\Windows\system32\msiexec.exe /i "C:\a b\x.msi" INSTALLDIR="C:\Lab Files" ADDLOCAL=ALL EMPTY="" SAY="a ""b""" /qn /l*v C:\logs\x.log`
	if got := commandLine(argv); got != want {
		t.Errorf("%s\n%s", got, want)
	}
}

const (
	productCode = "{9E1C1679-240F-3EBC-BEDC-71AE38841E09}"
	patchCode   = "{11111111-2222-3333-4444-555555555555}"
)

// TestCommands asks for the very words that msiexec gets.
func TestCommands(t *testing.T) {
	product := &inventory.Package{Kind: "arp", Name: productCode, Version: "1.0"}
	for _, tc := range []struct {
		name     string
		manifest patch.Manifest
		product  *inventory.Package
		do       func(w *winpkg.Work) (winpkg.Outcome, error)
		want     string
		code     fault.Code
	}{
		{"install", patch.Manifest{Argv: []string{"ALLUSERS=1"}}, nil, func(w *winpkg.Work) (winpkg.Outcome, error) { return Package{}.Install(t.Context(), w) }, "/i /x/a.msi ALLUSERS=1", ""},
		{"uninstall by the manifest", patch.Manifest{UninstallArgv: []string{patchCode}}, product, func(w *winpkg.Work) (winpkg.Outcome, error) { return Package{}.Uninstall(t.Context(), w) }, "/x " + patchCode, ""},
		{"uninstall what is listed", patch.Manifest{}, product, func(w *winpkg.Work) (winpkg.Outcome, error) { return Package{}.Uninstall(t.Context(), w) }, "/x " + productCode, ""},
		{"uninstall nothing", patch.Manifest{}, nil, func(w *winpkg.Work) (winpkg.Outcome, error) { return Package{}.Uninstall(t.Context(), w) }, "", fault.NotFound},
		{"patch", patch.Manifest{}, product, func(w *winpkg.Work) (winpkg.Outcome, error) { return Patch{}.Install(t.Context(), w) }, "/p /x/a.msi", ""},
		{"take a patch off", patch.Manifest{UninstallArgv: []string{patchCode}}, product, func(w *winpkg.Work) (winpkg.Outcome, error) { return Patch{}.Uninstall(t.Context(), w) }, "/package " + productCode + " /uninstall " + patchCode, ""},
		{"take nothing off", patch.Manifest{}, product, func(w *winpkg.Work) (winpkg.Outcome, error) { return Patch{}.Uninstall(t.Context(), w) }, "", fault.Unsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			line := "msiexec " + tc.want + " /qn /norestart /l*v " + dir + "/msiexec.log"
			rec, err := run.ParseRecorded([]byte("-- exit 3010: " + line + " --\n"))
			if err != nil {
				t.Fatal(err)
			}
			w := winpkg.NewWork(rec, patch.Patch{Install: tc.manifest}, dir, []string{"/x/a.msi"}, func(string) {})
			w.Product = tc.product
			out, err := tc.do(w)
			if fault.CodeOf(err) != tc.code || tc.code == "" && out.Meaning != patch.ExitRebootDue {
				t.Errorf("%v %+v; asked for %v", err, out, rec.Calls())
			}
		})
	}
}
