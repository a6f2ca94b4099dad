package probe

import (
	"path"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Registry implements detect.Facts. A user's own keys are unknown: the agent
// is another user.
func (f *Facts) Registry(key, view, name string) (detect.RegistryFact, error) {
	if !f.isWindows() {
		return detect.RegistryFact{}, detect.Unknown("this machine has no registry")
	}
	if err := f.ended(); err != nil {
		return detect.RegistryFact{}, err
	}
	root, _, _ := strings.Cut(key, `\`)
	if r := strings.ToUpper(root); r == "HKCU" || r == "HKEY_CURRENT_USER" {
		return detect.RegistryFact{}, detect.Unknown("the key is that of one user")
	}
	k, err := f.registry.Open(key, view)
	switch {
	case fault.Is(err, fault.NotFound):
		return detect.RegistryFact{}, nil
	case err != nil:
		return detect.RegistryFact{}, detect.Unknown(fault.Public(err))
	}
	defer func() { _ = k.Close() }() // read only
	if name == "" {
		return detect.RegistryFact{Exists: true}, nil
	}
	v, err := k.Value(name)
	switch {
	case fault.Is(err, fault.NotFound):
		return detect.RegistryFact{}, nil
	case err != nil:
		return detect.RegistryFact{}, detect.Unknown(fault.Public(err))
	}
	return detect.RegistryFact{Exists: true, Type: v.Type.String(), Data: strings.Join(v.Texts(), "\n")}, nil
}

const (
	currentVersion   = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion`
	currentVersionNT = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	profileList      = currentVersionNT + `\ProfileList`
	environment      = `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
	componentsKey    = currentVersion + `\Component Based Servicing\Packages`
)

// folder resolves a machine's folder by its name in shlobj_core.h (CSIDL_...)
// or knownfolders.h (FOLDERID_...), from the same registry values that Windows
// takes. false for those that it does not know, a user's among them.
func (f *Facts) folder(name string) (string, bool) {
	text := func(key, value string) string { return winreg.TextAt(f.registry, key, value) }
	windows := text(currentVersionNT, "SystemRoot")
	at := ""
	switch name {
	case "CSIDL_WINDOWS", "FOLDERID_Windows":
		at = windows
	case "CSIDL_SYSTEM", "FOLDERID_System":
		at = windows + `\System32`
	case "CSIDL_SYSTEMX86", "FOLDERID_SystemX86":
		at = windows + `\System32`
		if f.snap.OS.Arch != "386" {
			at = windows + `\SysWOW64`
		}
	case "CSIDL_FONTS", "FOLDERID_Fonts":
		at = windows + `\Fonts`
	case "CSIDL_PROGRAM_FILES", "FOLDERID_ProgramFiles", "FOLDERID_ProgramFilesX64":
		at = text(currentVersion, "ProgramFilesDir")
	case "CSIDL_PROGRAM_FILESX86", "FOLDERID_ProgramFilesX86":
		at = or(text(currentVersion, "ProgramFilesDir (x86)"), f.onlyOn386("ProgramFilesDir"))
	case "CSIDL_PROGRAM_FILES_COMMON", "FOLDERID_ProgramFilesCommon", "FOLDERID_ProgramFilesCommonX64":
		at = text(currentVersion, "CommonFilesDir")
	case "CSIDL_PROGRAM_FILES_COMMONX86", "FOLDERID_ProgramFilesCommonX86":
		at = or(text(currentVersion, "CommonFilesDir (x86)"), f.onlyOn386("CommonFilesDir"))
	case "CSIDL_COMMON_APPDATA", "FOLDERID_ProgramData":
		at = or(text(profileList, "ProgramData"), text(environment, "ProgramData"))
	case "FOLDERID_Public":
		at = or(text(profileList, "Public"), text(environment, "PUBLIC"))
	}
	drive, _, _ := strings.Cut(windows, `\`)
	if rest, ok := cutFold(at, "%SystemDrive%"); ok {
		at = drive + rest
	}
	return at, len(at) > 2 && at[1] == ':'
}

func (f *Facts) onlyOn386(value string) string {
	if f.snap.OS.Arch != "386" {
		return ""
	}
	return winreg.TextAt(f.registry, currentVersion, value)
}

// variable resolves an environment variable of the machine. Those of a user
// (%APPDATA%) would be the agent's own.
func (f *Facts) variable(name string) (string, bool) {
	known := map[string]string{
		"SYSTEMROOT": "FOLDERID_Windows", "WINDIR": "FOLDERID_Windows", "PROGRAMDATA": "FOLDERID_ProgramData", "ALLUSERSPROFILE": "FOLDERID_ProgramData",
		"PROGRAMFILES": "FOLDERID_ProgramFiles", "PROGRAMW6432": "FOLDERID_ProgramFiles", "PROGRAMFILES(X86)": "FOLDERID_ProgramFilesX86",
		"COMMONPROGRAMFILES": "FOLDERID_ProgramFilesCommon", "COMMONPROGRAMW6432": "FOLDERID_ProgramFilesCommon",
		"COMMONPROGRAMFILES(X86)": "FOLDERID_ProgramFilesCommonX86", "PUBLIC": "FOLDERID_Public",
	}
	if id, ok := known[strings.ToUpper(name)]; ok {
		return f.folder(id)
	}
	if strings.EqualFold(name, "SystemDrive") {
		windows, ok := f.folder("FOLDERID_Windows")
		if !ok {
			return "", false
		}
		return windows[:2], true
	}
	value := winreg.TextAt(f.registry, environment, name)
	return value, value != ""
}

// expand replaces the folder that a rule's path begins with and its
// environment variables, once: what they hold is not looked into again but for
// %SystemRoot%, which the machine's own variables name.
func (f *Facts) expand(rule string) (string, error) {
	if rest, ok := strings.CutPrefix(rule, "{"); ok {
		name, below, closed := strings.Cut(rest, "}")
		folder, known := f.folder(name)
		if !closed || !known {
			return "", detect.Unknown("the folder {" + clip(name) + "} is not one of a machine")
		}
		rule = folder + `\` + strings.TrimLeft(below, `\`)
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(rule, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "%")
		value, known := f.variable(name)
		if !closed || !known {
			return "", detect.Unknown("the variable %" + clip(name) + "% is not one of this machine")
		}
		if below, ok := cutFold(value, "%SystemRoot%"); ok {
			windows, _ := f.folder("FOLDERID_Windows")
			value = windows + below
		}
		b.WriteString(value)
		rule = after
	}
}

// windowsPath turns a rule's path into one on a drive of this machine, with
// forward slashes behind the drive's colon. Paths of the network and of
// devices are unknown: a rule must make the machine neither sign in elsewhere
// nor wait for a port.
func (f *Facts) windowsPath(rule string) (drive, below string, err error) {
	full, err := f.expand(rule)
	if err != nil {
		return "", "", err
	}
	full = strings.ReplaceAll(full, "/", `\`)
	if len(full) < 3 || !letter(full[0]) || full[1] != ':' || full[2] != '\\' {
		return "", "", detect.Unknown("the path does not begin with a drive")
	}
	below = path.Clean("/" + strings.ReplaceAll(full[3:], `\`, "/"))
	if strings.ContainsAny(below, "\x00:*?\"<>|") {
		return "", "", detect.Unknown("the path holds what no file's name does")
	}
	for part := range strings.SplitSeq(below, "/") {
		if device(part) {
			return "", "", detect.Unknown("the path names a device")
		}
	}
	return full[:2], below, nil
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// device reports names that Windows takes for devices in any folder, with any
// ending ("Naming Files, Paths, and Namespaces").
func device(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, digit := strings.TrimRight(base, "0123456789¹²³"), base
	digit = strings.TrimPrefix(digit, port)
	return (port == "COM" || port == "LPT") && len([]rune(digit)) == 1
}

// components answers for a package of component based servicing, any of them,
// from the registry.
func (f *Facts) components(identity string) ([]detect.PackageFact, error) {
	const installed, permanent = 0x70, 0x80 // CbsPackageState
	parts := strings.Split(identity, "~")
	if len(parts) != 5 || strings.ContainsAny(identity, `\`) {
		return nil, detect.Unknown("the package is not named in full (name~token~architecture~language~version)")
	}
	all, err := f.registry.Open(componentsKey, winreg.View64)
	if err != nil {
		return nil, detect.Unknown("Windows has no list of its packages")
	}
	defer func() { _ = all.Close() }() // read only
	k, err := all.Open(identity)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, detect.Unknown(fault.Public(err))
	}
	defer func() { _ = k.Close() }() // read only
	if state, _ := winreg.Number(k, "CurrentState"); state != installed && state != permanent {
		return nil, nil
	}
	arch := parts[2]
	if arch == "x86" {
		arch = "386"
	}
	return []detect.PackageFact{{Version: parts[4], Arch: arch}}, nil
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func clip(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
