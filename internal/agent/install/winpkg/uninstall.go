package winpkg

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winargs"
)

// Registered is what a product has put down about itself below its Uninstall
// key of the whole machine.
type Registered struct {
	Quiet     string // QuietUninstallString
	Uninstall string // UninstallString
	Location  string // InstallLocation
	// ByWindowsInstaller says that Windows Installer manages it.
	ByWindowsInstaller bool
}

// files asks about files; tests off Windows answer for themselves.
type files interface {
	// regular reports whether the path is a file.
	regular(path string) bool
	// usersOwn reports whether the path is in a place where users without
	// rights may write.
	usersOwn(path string) bool
}

// registeredCommand turns what the product registered for its removal into an
// argument list, with the manifest's words added where the product has given
// no silent command itself (or lacks them). Only a program that exists, named
// by its full path, and out of reach of mere users is taken.
func registeredCommand(reg Registered, extra []string, fs files) ([]string, error) {
	line, silent := reg.Quiet, true
	if line == "" {
		line, silent = reg.Uninstall, false
	}
	if strings.TrimSpace(line) == "" {
		return nil, fault.New(fault.Unsupported, "the product has registered no command for its removal")
	}
	argv, err := findProgram(line, fs)
	if err != nil {
		return nil, err
	}
	if !silent && len(extra) == 0 {
		return nil, fault.New(fault.Unsupported, "the product has registered no silent removal, and the signed manifest names no switch for one")
	}
	for _, word := range extra {
		if !slices.ContainsFunc(argv[1:], func(a string) bool { return strings.EqualFold(a, word) }) {
			argv = append(argv, word)
		}
	}
	return argv, nil
}

// findProgram splits the line. A path with blanks and without quotes is taken
// up to the first ".exe" that is a file.
func findProgram(line string, fs files) ([]string, error) {
	line = strings.TrimSpace(line)
	argv := winargs.Split(line)
	if !strings.HasPrefix(line, `"`) {
		lower := asciiLower(line)
		for at := 0; ; {
			i := strings.Index(lower[at:], ".exe")
			if i < 0 {
				break
			}
			at += i + len(".exe")
			if ends := at == len(line) || line[at] == ' ' || line[at] == '\t'; ends && absolute(line[:at]) && fs.regular(line[:at]) {
				argv = append([]string{line[:at]}, winargs.SplitArguments(line[at:])...)
				break
			}
		}
	}
	switch program := argv[0]; {
	case !absolute(program):
		return nil, fault.New(fault.Untrusted, "the product's command for its removal does not name its program by a full path: %s", line)
	case !strings.EqualFold(filepath.Ext(program), ".exe"):
		return nil, fault.New(fault.Untrusted, "the product's command for its removal is not a program: %s", line)
	case !fs.regular(program):
		return nil, fault.New(fault.NotFound, "the program that the product registered for its removal is gone: %s", program)
	case fs.usersOwn(program):
		return nil, fault.New(fault.Untrusted, "the program that the product registered for its removal lies where users may write, so it is not run with the rights of the system: %s", program)
	}
	return argv, nil
}

// asciiLower keeps the length in bytes.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// absolute reports whether the path begins with a drive: shares of the network
// are no place to run things from.
func absolute(path string) bool {
	return len(path) > 3 && path[1] == ':' && (path[2] == '\\' || path[2] == '/') && (path[0]|0x20) >= 'a' && (path[0]|0x20) <= 'z'
}

// installerRemoval finds the product code when the command is Windows
// Installer's ("MsiExec.exe /X{...}", or /I, which many register).
func installerRemoval(line string) (code string, ok bool) {
	argv := winargs.Split(line)
	if len(argv) < 2 {
		return "", false
	}
	program := strings.ToLower(argv[0])
	program = strings.TrimSuffix(program[strings.LastIndexAny(program, `\/`)+1:], ".exe")
	if program != "msiexec" {
		return "", false
	}
	for _, a := range argv[1:] {
		if i := strings.IndexByte(a, '{'); i >= 0 && inventory.IsGUID(a[i:]) {
			return strings.ToUpper(a[i:]), true
		}
	}
	return "", false
}

// Removal is how a registered product is taken away: by Windows Installer, or
// by its own program.
type Removal struct {
	ProductCode string
	Argv        []string
}

// Removal finds out how w.Product is removed; extra are the manifest's words
// after "{uninstall}".
func (w *Work) Removal(extra []string) (Removal, error) {
	if w.Product == nil {
		return Removal{}, fault.New(fault.NotFound, "%s is not installed any more", w.Patch.Product)
	}
	reg, err := registered(*w.Product)
	if err != nil {
		return Removal{}, err
	}
	return removal(reg, *w.Product, extra, machineFiles{})
}

func removal(reg Registered, p inventory.Package, extra []string, fs files) (Removal, error) {
	if reg.ByWindowsInstaller && inventory.IsGUID(p.Name) {
		return Removal{ProductCode: strings.ToUpper(p.Name)}, nil
	}
	for _, line := range []string{reg.Quiet, reg.Uninstall} {
		if line == "" {
			continue
		}
		if code, ok := installerRemoval(line); ok {
			return Removal{ProductCode: code}, nil
		}
		break
	}
	argv, err := registeredCommand(reg, extra, fs)
	return Removal{Argv: argv}, err
}
