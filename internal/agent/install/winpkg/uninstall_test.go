package winpkg

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// disk is a machine with certain files.
type disk map[string]bool

func (d disk) regular(path string) bool { return d[strings.ToLower(path)] }
func (d disk) usersOwn(path string) bool {
	return strings.HasPrefix(strings.ToLower(path), `c:\users\`)
}

const code = "{9E1C1679-240F-3EBC-BEDC-71AE38841E09}"

func TestRemoval(t *testing.T) {
	machine := disk{
		`c:\program files\lab app\uninst.exe`: true, `c:\lab\unins000.exe`: true, `c:\users\mia\uninst.exe`: true,
		`c:\program.exe files.exe`: true, `c:\lab\run.bat`: true,
	}
	for _, tc := range []struct {
		name  string
		reg   Registered
		key   string
		extra []string
		want  Removal
		code  fault.Code
	}{
		{"quiet", Registered{Quiet: `"C:\Program Files\Lab App\uninst.exe" /S`, Uninstall: `x`}, "Lab", []string{"/S"}, Removal{Argv: []string{`C:\Program Files\Lab App\uninst.exe`, "/S"}}, ""},
		{"quiet with another word", Registered{Quiet: `"C:\Lab\unins000.exe" /SILENT`}, "Lab", []string{"/NORESTART"}, Removal{Argv: []string{`C:\Lab\unins000.exe`, "/SILENT", "/NORESTART"}}, ""},
		{"loud with a switch", Registered{Uninstall: `"C:\Program Files\Lab App\uninst.exe"`}, "Lab", []string{"/S"}, Removal{Argv: []string{`C:\Program Files\Lab App\uninst.exe`, "/S"}}, ""},
		{"without quotes", Registered{Uninstall: `C:\Program Files\Lab App\uninst.exe`}, "Lab", []string{"/S"}, Removal{Argv: []string{`C:\Program Files\Lab App\uninst.exe`, "/S"}}, ""},
		{"without quotes, with words", Registered{Uninstall: `C:\Program Files\Lab App\uninst.exe /x "a b"`}, "Lab", []string{"/S"}, Removal{Argv: []string{`C:\Program Files\Lab App\uninst.exe`, "/x", "a b", "/S"}}, ""},
		{"loud without a switch", Registered{Uninstall: `"C:\Lab\unins000.exe"`}, "Lab", nil, Removal{}, fault.Unsupported},
		{"nothing", Registered{}, "Lab", []string{"/S"}, Removal{}, fault.Unsupported},
		{"no full path", Registered{Uninstall: `uninst.exe /S`}, "Lab", []string{"/S"}, Removal{}, fault.Untrusted},
		{"share", Registered{Uninstall: `\\server\share\uninst.exe`}, "Lab", []string{"/S"}, Removal{}, fault.Untrusted},
		{"script", Registered{Uninstall: `C:\Lab\run.bat`}, "Lab", []string{"/S"}, Removal{}, fault.Untrusted},
		{"gone", Registered{Uninstall: `"C:\Lab\gone.exe"`}, "Lab", []string{"/S"}, Removal{}, fault.NotFound},
		{"a user's", Registered{Quiet: `"C:\Users\mia\uninst.exe" /S`}, "Lab", nil, Removal{}, fault.Untrusted},
		{"rundll32", Registered{Uninstall: `rundll32.exe dfshim.dll,ShArpMaintain x`}, "Lab", []string{"/S"}, Removal{}, fault.Untrusted},
		{"Windows Installer's key", Registered{Uninstall: "whatever", ByWindowsInstaller: true}, strings.ToLower(code), nil, Removal{ProductCode: code}, ""},
		{"msiexec", Registered{Uninstall: `MsiExec.exe /I` + strings.ToLower(code)}, "Lab", nil, Removal{ProductCode: code}, ""},
		{"msiexec with a path", Registered{Quiet: `"C:\Windows\System32\msiexec.exe" /qn /x ` + code}, "Lab", nil, Removal{ProductCode: code}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := removal(tc.reg, inventory.Package{Name: tc.key}, tc.extra, machine)
			if d := cmp.Diff(tc.want, got); (d != "" && tc.code == "") || fault.CodeOf(err) != tc.code {
				t.Errorf("%v\n%s", err, d)
			}
		})
	}
}

// FuzzRemoval: whatever a product has registered, what is run is a file that
// exists, named by its full path, and no user's.
func FuzzRemoval(f *testing.F) {
	for _, line := range []string{`"C:\Program Files\Lab App\uninst.exe" /S`, `C:\Program Files\Lab App\uninst.exe`, `MsiExec.exe /X` + code, `c:\lab\a.exe.exe x`, `C:\Users\a.exe`} {
		f.Add(line, "/S")
	}
	f.Fuzz(func(t *testing.T, line, extra string) {
		machine := disk{`c:\program files\lab app\uninst.exe`: true, `c:\lab\a.exe`: true, `c:\users\a.exe`: true}
		got, err := removal(Registered{Uninstall: line}, inventory.Package{Name: "Lab"}, []string{extra}, machine)
		switch {
		case err != nil:
		case got.ProductCode != "":
			if !inventory.IsGUID(got.ProductCode) || len(got.Argv) > 0 {
				t.Errorf("%q: %+v", line, got)
			}
		case len(got.Argv) == 0 || !machine.regular(got.Argv[0]) || machine.usersOwn(got.Argv[0]) || !absolute(got.Argv[0]):
			t.Errorf("%q: %+v", line, got)
		}
	})
}
