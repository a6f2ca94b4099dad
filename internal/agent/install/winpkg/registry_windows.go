package winpkg

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// uninstallKey is where products register themselves (Windows Installer SDK,
// "Uninstall Registry Key").
const uninstallKey = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\`

// registered reads the product's Uninstall key. The key of a user is never
// read: what stands there is the user's word.
func registered(p inventory.Package) (Registered, error) {
	views := []uint32{registry.WOW64_64KEY, registry.WOW64_32KEY}
	if p.Arch == "386" {
		views = views[1:]
	}
	var lastErr error
	for _, view := range views {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, uninstallKey+p.Name, registry.READ|view)
		if err != nil {
			lastErr = err
			continue
		}
		defer func() { _ = k.Close() }()
		msi, _, _ := k.GetIntegerValue("WindowsInstaller")
		return Registered{Quiet: text(k, "QuietUninstallString"), Uninstall: text(k, "UninstallString"), Location: text(k, "InstallLocation"), ByWindowsInstaller: msi == 1}, nil
	}
	return Registered{}, fault.Wrap(lastErr, fault.NotFound, "%s has no Uninstall key for the whole machine", title(p))
}

func text(k registry.Key, name string) string {
	v, kind, err := k.GetStringValue(name)
	if err != nil {
		return ""
	}
	if kind == registry.EXPAND_SZ {
		if v, err = registry.ExpandString(v); err != nil {
			return ""
		}
	}
	return strings.TrimRight(v, "\x00")
}

// machineFiles are this machine's.
type machineFiles struct{}

func (machineFiles) regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (machineFiles) usersOwn(path string) bool {
	long, err := filepath.EvalSymlinks(path)
	if err != nil {
		return true
	}
	for _, id := range []*windows.KNOWNFOLDERID{windows.FOLDERID_UserProfiles, windows.FOLDERID_Public} {
		dir, err := windows.KnownFolderPath(id, 0)
		if err == nil && strings.HasPrefix(strings.ToLower(long), strings.ToLower(strings.TrimRight(dir, `\`)+`\`)) {
			return true
		}
	}
	return othersWrite(long)
}

// holders names the processes that run from the product's own folder: they may
// keep its files from being replaced.
func holders(p *inventory.Package) string {
	if p == nil {
		return ""
	}
	reg, err := registered(*p)
	if err != nil {
		return ""
	}
	dir := strings.Trim(reg.Location, `"`)
	if dir == "" {
		if argv, err := findProgram(reg.Uninstall, machineFiles{}); err == nil && !strings.EqualFold(filepath.Dir(argv[0]), systemDir()) {
			dir = filepath.Dir(argv[0])
		}
	}
	if len(dir) <= 3 || filepath.Dir(filepath.Clean(dir)) == filepath.Clean(dir) {
		return ""
	}
	return strings.Join(below(dir), ", ")
}

func systemDir() string { return filepath.Dir(systemProgram("msiexec")) }
