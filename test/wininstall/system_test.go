package wininstall

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/test/lab/wine/vendor"
	"github.com/fettlehq/fettle/test/wininstall/driver/drive"
)

// update packs an update of the system as Microsoft does: a cabinet with
// manifests and files, in a cabinet with instructions for wusa. It returns both.
func (m *machine) update() (msu, cab patch.Payload) {
	m.t.Helper()
	const name = "Windows10.0-KB9999001-x64"
	dir := m.t.TempDir()
	must(m.t, os.CopyFS(dir, os.DirFS(filepath.Join("source", "msu"))))
	must(m.t, os.Mkdir(filepath.Join(dir, "lab"), 0o700))
	must(m.t, os.WriteFile(filepath.Join(dir, "lab", "labkb.dll"), []byte("MZ KB9999001"), 0o600))
	for _, argv := range [][]string{
		{"-c", name + ".CAB", "update.mum", "lab.manifest", "lab/labkb.dll"},
		{"-c", name + ".msu", name + ".CAB", name + ".xml"},
	} {
		cmd := exec.CommandContext(m.ctx, "gcab", argv...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			m.t.Fatalf("gcab: %v\n%s", err, out)
		}
	}
	for _, ext := range []string{".msu", ".CAB"} {
		must(m.t, m.vendor.Sign(m.ctx, vendor.Publisher, filepath.Join(dir, name+ext)))
	}
	return m.put(filepath.Join(dir, name+".msu")), m.put(filepath.Join(dir, name+".CAB"))
}

// testSystem: an update of the system, by Wine's wusa, which really puts its
// files and registry values into place, and by Wine's dism, which ends with 0
// and does nothing.
func testSystem(m *machine) {
	t := m.t
	yes, no := true, false
	msu, cab := m.update()
	p := patch.Patch{
		ID: "microsoft:kb9999001", Platform: "windows-10-1903-amd64", Product: "KB9999001", Version: "10.0.1.0",
		Items:      []patch.Item{{Kind: "kb", Name: "KB9999001", Payload: msu}},
		Install:    patch.Manifest{Kind: "msu", UninstallArgv: []string{"KB9999001"}},
		Applicable: &detect.Rule{Always: &yes}, Installed: &detect.Rule{Always: &no},
	}
	got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{p}})
	if got.Error != "" || len(got.Result.Failures) > 0 || got.Result.ExitCode != 0 {
		t.Fatalf("%s %+v", got.Cause, got.Result)
	}
	if file, err := m.host.ReadFile(`C:\windows\system32\labkb.dll`); err != nil || string(file) != "MZ KB9999001" {
		t.Errorf("the update's file: %q %v", file, err)
	}
	if v, err := m.host.Registry(m.ctx, `HKLM\SOFTWARE\LabKB`); err != nil || v["Installed"] != "KB9999001" {
		t.Errorf("the update's registry value: %v %v", v, err)
	}

	damaged := p
	damaged.Items = []patch.Item{{Kind: "kb", Name: "KB9999001", Payload: m.cabinet("empty.msu")}}
	got = m.drive(drive.Request{Do: "install", Patches: []patch.Patch{damaged}})
	if got.Error != "" || len(got.Result.Failures) != 1 || !strings.HasPrefix(got.Result.Failures[0].Reason, "1: ") {
		t.Errorf("not an update: %s %+v", got.Cause, got.Result)
	}

	p.Install.Kind, p.Items[0].Payload = "cab", cab
	got = m.drive(drive.Request{Do: "install", Patches: []patch.Patch{p}})
	if got.Error != "" || len(got.Result.Failures) != 1 || !strings.Contains(got.Result.Failures[0].Reason, "dism ended with 0 and has not even begun its log") {
		t.Errorf("dism: %s %+v", got.Cause, got.Result)
	}
}

// testProperty: a property's value with blanks and quotes reaches Windows
// Installer whole.
func testProperty(m *machine) {
	t := m.t
	a := vendor.Application{Name: "Lab Folder", Kind: vendor.MSI}
	m.have(a, "1.0.0")
	p := m.patch(a, "2.0.0")
	p.Install.Argv = []string{`INSTALLDIR=C:\Program Files\Some Folder\`}
	got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{p}})
	if got.Error != "" || len(got.Result.Failures) > 0 || len(got.Result.Changes) != 1 {
		t.Fatalf("%s %+v", got.Cause, got.Result)
	}
	if _, err := m.host.ReadFile(`C:\Program Files\Some Folder\app.exe`); err != nil {
		t.Errorf("%v\n%s", err, strings.Join(got.Lines, "\n"))
	}
}
