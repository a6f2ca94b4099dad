package msu

import (
	"os"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

const identity = "Package_for_KB5034127~31bf3856ad364e35~amd64~~17763.5329.1.8"

// TestCommands asks for the very words that wusa and dism get. Off Windows
// there is no wusa, which is the case of systems without it.
func TestCommands(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		uninstall  string
		do         func(w *winpkg.Work) (winpkg.Outcome, error)
		code       fault.Code
	}{
		{"msu without wusa", "dism /English /Online /Quiet /NoRestart /LogPath:LOG /Add-Package /PackagePath:/x/KB.msu", "", func(w *winpkg.Work) (winpkg.Outcome, error) { return Update{}.Install(t.Context(), w) }, ""},
		{"cab", "dism /English /Online /Quiet /NoRestart /LogPath:LOG /Add-Package /PackagePath:/x/KB.msu", "", func(w *winpkg.Work) (winpkg.Outcome, error) { return Cabinet{}.Install(t.Context(), w) }, ""},
		{"remove by KB", "wusa /uninstall /kb:5034127 /quiet /norestart", "kb5034127", func(w *winpkg.Work) (winpkg.Outcome, error) { return Update{}.Uninstall(t.Context(), w) }, ""},
		{"remove by identity", "dism /English /Online /Quiet /NoRestart /LogPath:LOG /Remove-Package /PackageName:" + identity, identity, func(w *winpkg.Work) (winpkg.Outcome, error) { return Update{}.Uninstall(t.Context(), w) }, ""},
		{"remove a cab", "dism /English /Online /Quiet /NoRestart /LogPath:LOG /Remove-Package /PackageName:" + identity, identity, func(w *winpkg.Work) (winpkg.Outcome, error) { return Cabinet{}.Uninstall(t.Context(), w) }, ""},
		{"remove a switch", "nothing", "/PackageName:x", func(w *winpkg.Work) (winpkg.Outcome, error) { return Cabinet{}.Uninstall(t.Context(), w) }, fault.Unsupported},
		{"remove nothing", "nothing", "", func(w *winpkg.Work) (winpkg.Outcome, error) { return Cabinet{}.Uninstall(t.Context(), w) }, fault.Unsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			rec, err := run.ParseRecorded([]byte("-- exit 3010: " + strings.ReplaceAll(tc.line, "LOG", dir+"/dism.log") + " --\n"))
			if err != nil {
				t.Fatal(err)
			}
			p := patch.Patch{Install: patch.Manifest{}}
			if tc.uninstall != "" {
				p.Install.UninstallArgv = []string{tc.uninstall}
			}
			out, err := tc.do(winpkg.NewWork(rec, p, dir, []string{"/x/KB.msu"}, func(string) {}))
			if fault.CodeOf(err) != tc.code || tc.code == "" && out.Meaning != patch.ExitRebootDue {
				t.Errorf("%v %+v; asked for %v", err, out, rec.Calls())
			}
		})
	}
}

// TestSilentDism: one that ends with 0 and did not even begin its log, as
// Wine's does, has done nothing.
func TestSilentDism(t *testing.T) {
	dir := t.TempDir()
	rec, err := run.ParseRecorded([]byte("-- exit 0: dism /English /Online /Quiet /NoRestart /LogPath:" + dir + "/dism.log /Add-Package /PackagePath:/x/a.cab --\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := winpkg.NewWork(rec, patch.Patch{}, dir, []string{"/x/a.cab"}, func(string) {})
	if out, err := (Cabinet{}).Install(t.Context(), w); err != nil || out.Meaning != patch.ExitFailed || !strings.Contains(out.Reason, "did nothing") {
		t.Errorf("%v %+v", err, out)
	}
	if err := os.WriteFile(dir+"/dism.log", []byte("log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := (Cabinet{}).Install(t.Context(), w); err != nil || out.Meaning != patch.ExitOK {
		t.Errorf("%v %+v", err, out)
	}
}

func TestCodes(t *testing.T) {
	for code, want := range map[int64]patch.ExitMeaning{
		0: patch.ExitOK, 3010: patch.ExitRebootDue, 2359301: patch.ExitRebootDue, 2359302: patch.ExitNotNeeded, 0x80240017: patch.ExitNotNeeded,
		0x800F0823: patch.ExitFailed, 1: patch.ExitFailed, 1618: patch.ExitFailed,
	} {
		if got := winpkg.Judge(code, nil, wusaCodes()); got.Meaning != want {
			t.Errorf("%d: %+v, want %s", code, got, want)
		}
	}
}
