package wininstall

import (
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/test/lab/wine/vendor"
	"github.com/fettlehq/fettle/test/wininstall/driver/drive"
)

// testReplace: a patch whose manifest wants the version before uninstalled gets
// that; when its installer then fails, the version before comes back.
func testReplace(m *machine) {
	t := m.t
	replacing := func(a vendor.Application) (p, before patch.Patch) {
		p, before = m.patch(a, "2.0.0"), m.patch(a, "1.0.0")
		p.Install.Replace, p.Install.Restores = patch.ReplaceUninstall, before.ID
		m.have(a, "1.0.0")
		return p, before
	}
	for _, a := range []vendor.Application{{Name: "Lab Viewer", Kind: vendor.EXE}, {Name: "Lab Reader", Kind: vendor.MSI}} {
		p, before := replacing(a)
		got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{p}, Restored: []patch.Patch{before}})
		want := []deploy.Change{{Package: a.Name, Arch: "amd64", From: "1.0.0", To: "2.0.0", Why: "approved"}}
		told := strings.Join(got.Lines, "\n")
		if d := cmp.Diff(want, got.Result.Changes); d != "" || got.Error != "" || len(got.Result.Failures) > 0 {
			t.Fatalf("%s: %s %s %+v\n%s", a.Name, got.Cause, d, got.Result, told)
		}
		if !strings.Contains(told, "removing "+a.Name) || m.version(a) != "2.0.0" {
			t.Errorf("%s: Windows lists %q after\n%s", a.Name, m.version(a), told)
		}
	}
	for _, a := range []vendor.Application{
		{Name: "Lab Scanner", Kind: vendor.EXE, Endings: map[string]vendor.Ending{"2.0.0": vendor.Failed}},
		{Name: "Lab Printer", Kind: vendor.MSI, Endings: map[string]vendor.Ending{"2.0.0": vendor.Failed}},
	} {
		p, before := replacing(a)
		got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{p}, Restored: []patch.Patch{before}})
		if got.Error != "" || len(got.Result.Changes) > 0 || len(got.Result.Failures) != 1 {
			t.Fatalf("%s: %s %+v\n%s", a.Name, got.Cause, got.Result, strings.Join(got.Lines, "\n"))
		}
		if why := got.Result.Failures[0].Reason; !strings.HasPrefix(why, "1603: ") || !strings.HasSuffix(why, a.Name+" 1.0.0 was put back") || m.version(a) != "1.0.0" {
			t.Errorf("%s: Windows lists %q: %s", a.Name, m.version(a), why)
		}
	}
}
