package exe

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

func TestExpand(t *testing.T) {
	got, err := expand([]string{"{payload}", "/S", "/from={payload}"}, `C:\x\setup.exe`)
	if d := cmp.Diff([]string{`C:\x\setup.exe`, "/S", `/from=C:\x\setup.exe`}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range [][]string{nil, {"cmd.exe", "{payload}"}, {" {payload}"}} {
		if _, err := expand(bad, `C:\x\setup.exe`); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := expand([]string{"{payload}"}, ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("without a file: %v", err)
	}
}

// TestRun: the program is the payload, and the manifest's meanings come first.
func TestRun(t *testing.T) {
	rec, err := run.ParseRecorded([]byte("-- exit 2: /x/setup.exe /quiet --\n-- exit 1: /x/setup.exe /uninstall /quiet --\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := patch.Patch{Install: patch.Manifest{
		Argv: []string{"{payload}", "/quiet"}, UninstallArgv: []string{"{payload}", "/uninstall", "/quiet"},
		ExitCodes: map[int]patch.ExitMeaning{2: patch.ExitRebootDue},
	}}
	in := New(func(context.Context, *winpkg.Work, string) (winpkg.Outcome, error) {
		t.Error("this is no product of Windows Installer")
		return winpkg.Outcome{}, nil
	})
	w := winpkg.NewWork(rec, p, t.TempDir(), []string{"/x/setup.exe"}, func(string) {})
	if out, err := in.Install(t.Context(), w); err != nil || out.Meaning != patch.ExitRebootDue {
		t.Errorf("%v %+v", err, out)
	}
	if out, err := in.Uninstall(t.Context(), w); err != nil || out.Meaning != patch.ExitFailed || out.Code != 1 {
		t.Errorf("%v %+v", err, out)
	}
	p.Install.UninstallArgv = []string{"{uninstall}", "/S"}
	w = winpkg.NewWork(rec, p, t.TempDir(), nil, func(string) {})
	if _, err := in.Uninstall(t.Context(), w); !fault.Is(err, fault.NotFound) {
		t.Errorf("nothing is listed: %v", err)
	}
}
