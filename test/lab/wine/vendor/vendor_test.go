package vendor_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/test/lab"
	"github.com/fettlehq/fettle/test/lab/wine"
	"github.com/fettlehq/fettle/test/lab/wine/vendor"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// install is how an administrator installs.
func install(i vendor.Installer) []string {
	if i.Application.Kind == vendor.MSI {
		return []string{"msiexec", "/i", `C:\setup.msi`, "/qn", "/norestart"}
	}
	return []string{`C:\setup.exe`, "/S"}
}

// TestSoftware installs everything that a vendor makes on one host, version
// after version, without Fettle.
func TestSoftware(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	v, err := vendor.New(ctx, t.TempDir(), t.TempDir())
	must(t, err)
	fleet, err := lab.NewFleet(ctx, "", t.Output())
	must(t, err)
	t.Cleanup(func() { must(t, fleet.Close()) })
	h, err := wine.Start(ctx, fleet, "software", os.Stderr)
	must(t, err)

	type step struct {
		version   string
		code      int
		installed string // DisplayVersion afterwards
	}
	for _, tc := range []struct {
		app   vendor.Application
		steps []step
	}{
		{vendor.Application{Name: "Lab Editor", Kind: vendor.MSI}, []step{{"1.0.0", 0, "1.0.0"}, {"3.0.0", 0, "3.0.0"}, {"2.0.0", 1603, "3.0.0"}}},
		{vendor.Application{Name: "Lab Driver", Kind: vendor.MSI, Endings: map[string]vendor.Ending{"2.0.0": vendor.Reboot}}, []step{{"1.0.0", 0, "1.0.0"}, {"2.0.0", 3010, "2.0.0"}}},
		{vendor.Application{Name: "Lab Database", Kind: vendor.MSI, Endings: map[string]vendor.Ending{"2.0.0": vendor.Failed}}, []step{{"1.0.0", 0, "1.0.0"}, {"2.0.0", 1603, "1.0.0"}}},
		{vendor.Application{Name: "Lab Player", Kind: vendor.EXE}, []step{{"1.0.0", 0, "1.0.0"}, {"2.0.0", 0, "2.0.0"}}},
		{vendor.Application{Name: "Lab Agent", Kind: vendor.EXE, Endings: map[string]vendor.Ending{"1.0.0": vendor.Reboot, "2.0.0": vendor.Failed}}, []step{{"1.0.0", 3010, "1.0.0"}, {"2.0.0", 1603, "1.0.0"}}},
		{vendor.Application{Name: "Lab Queue", Kind: vendor.EXE, Endings: map[string]vendor.Ending{"2.0.0": vendor.BusyOnce, "3.0.0": vendor.Busy}}, []step{{"1.0.0", 0, "1.0.0"}, {"2.0.0", 1618, "1.0.0"}, {"2.0.0", 0, "2.0.0"}, {"3.0.0", 1618, "2.0.0"}}},
		{vendor.Application{Name: "Lab Legacy", Kind: vendor.EXE32}, []step{{"1.0.0", 0, ""}}},
	} {
		t.Run(tc.app.Name, func(t *testing.T) {
			for _, s := range tc.steps {
				i, err := v.Build(ctx, tc.app, s.version)
				must(t, err)
				must(t, h.CopyIn(i.File, `C:\setup`+i.File[len(i.File)-4:]))
				res, err := h.Exec(ctx, install(i)...)
				if err != nil || res.Code != s.code {
					t.Errorf("%s: exit code %d, want %d (%v)", s.version, res.Code, s.code, err)
				}
				const uninstall = `HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\`
				key := uninstall + tc.app.Folder()
				if tc.app.Kind == vendor.MSI {
					key = uninstall + tc.app.ProductCode(s.installed)
				}
				values, err := h.Registry(ctx, key)
				if err != nil || values["DisplayVersion"] != s.installed || s.installed != "" && values["DisplayName"] != tc.app.Name {
					t.Errorf("%s: afterwards %q, %v; want version %q", s.version, values, err, s.installed)
				}
				if s.installed == "" {
					continue
				}
				out, err := h.Run(ctx, `C:\Program Files\`+tc.app.Folder()+`\app.exe`)
				if err != nil || strings.TrimSpace(out) != s.installed {
					t.Errorf("%s: the program says %q, %v", s.version, out, err)
				}
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	v, err := vendor.New(t.Context(), t.TempDir(), t.TempDir())
	must(t, err)
	pem, err := os.ReadFile(v.RootFile())
	must(t, err)
	roots, err := authenticode.ParseRoots(pem)
	must(t, err)
	trust := authenticode.Trust{Roots: roots, TSARoots: roots}
	for _, kind := range []vendor.Kind{vendor.MSI, vendor.EXE, vendor.EXE32} {
		i, err := v.Build(t.Context(), vendor.Application{Name: "Lab Signed", Kind: kind, Signers: map[string]string{"2.0.0": vendor.Stranger}}, "2.0.0")
		must(t, err)
		f, err := os.Open(i.File)
		must(t, err)
		defer f.Close()
		info, err := f.Stat()
		must(t, err)
		got, err := authenticode.Verify(f, info.Size(), authenticode.Sniff, trust, authenticode.Expect{Publisher: vendor.Stranger}, time.Now())
		if err != nil || got.Timestamped != v.Stamps() { // what a timestamp is worth is tested in the room, with an authority of its own
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
		if _, err := authenticode.Verify(f, info.Size(), authenticode.Sniff, trust, authenticode.Expect{Publisher: vendor.Publisher}, time.Now()); err == nil {
			t.Errorf("%s by a stranger passes as %s's", kind, vendor.Publisher)
		}
	}
}
