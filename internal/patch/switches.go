package patch

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxWord bounds one word of a manifest's command, in bytes.
const maxWord = 2048

// Stray says what in the manifest's words reaches beyond the payload that was
// verified, or "" when nothing does. Commands come from vendors' manifests,
// whose files nobody has signed as they have the payload: a genuine Windows
// Installer package with TRANSFORMS=\\host\evil.mst runs the transform's code
// as the system, and a program may be told to run another. Publishers publish
// no such command, and agents run none.
//
// Properties are those of the Windows Installer SDK, "Property Reference".
func (m Manifest) Stray() string {
	words := slices.Concat(m.Argv, m.UninstallArgv)
	switch m.Kind {
	case "msi", "msp":
		for _, w := range words {
			if why := strayProperty(w); why != "" {
				return why
			}
		}
	case "exe":
		for _, w := range words {
			if why := strayProgram(w); why != "" {
				return why
			}
		}
	case "msu", "cab":
		if len(m.Argv) > 0 {
			return fmt.Sprintf("gives wusa or dism the further word %s", shown(m.Argv[0]))
		}
	default:
		return ""
	}
	for _, w := range words {
		if why := strayPlace(w); why != "" {
			return why
		}
	}
	return ""
}

var (
	onDrive  = regexp.MustCompile(`(^|[^A-Za-z0-9])[A-Za-z]:[\\/]`)
	rooted   = regexp.MustCompile("(^|[=:,;\"' ])\\\\")
	twice    = regexp.MustCompile(`[\\/]{2}`)
	upwards  = regexp.MustCompile(`(^|[^.])\.\.([\\/]|$)`)
	variable = regexp.MustCompile(`%[^% ]+%`)
	// chosen is a folder of installation in a place where no user may write.
	chosen   = regexp.MustCompile(`(?i)^((?:/D|/DIR|APPDIR|INSTALL[A-Z_]*)=)"?[A-Z]:\\Program Files(?: \(x86\))?\\`)
	property = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_.]*)=(.*)$`)
)

// strayPlace is what a word of any kind must not hold: the names of other
// machines, and of folders and files of this one, which any of its users may
// have made.
func strayPlace(w string) string {
	w = chosen.ReplaceAllString(w, "$1")
	switch {
	case len(w) > maxWord:
		return "has a word that is too long"
	case strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Sprintf("has the word %s with signs that no switch has", shown(w))
	case twice.MatchString(w):
		return fmt.Sprintf("names another machine or a device: %s", shown(w))
	case onDrive.MatchString(w), rooted.MatchString(w), upwards.MatchString(w), variable.MatchString(w):
		return fmt.Sprintf("names a place on the machine: %s", shown(w))
	}
	return ""
}

// strayProperty refuses what is neither a property nor asks for silence, and
// properties that bring other code, other sources, or another course of the
// installation.
func strayProperty(w string) string {
	switch lower := strings.ToLower(w); {
	case w == "{uninstall}", len(w) == 38 && strings.HasPrefix(w, "{") && strings.HasSuffix(w, "}"):
		return ""
	case slices.Contains([]string{"/quiet", "/passive", "/q", "/qn", "/qb", "/qb!", "/qb-", "/norestart", "-quiet", "-qn", "-norestart"}, lower):
		return ""
	}
	m := property.FindStringSubmatch(w)
	if m == nil {
		return fmt.Sprintf("gives Windows Installer the word %s, which is no property", shown(w))
	}
	switch name, value := strings.ToUpper(m[1]), strings.ToUpper(m[2]); name {
	case "TRANSFORMS", "TRANSFORMSATSOURCE", "TRANSFORMSSECURE", "PATCH", "MSIPATCHREMOVE", "SOURCELIST", "SOURCEDIR", "MSINEWINSTANCE",
		"MSIINSTANCEGUID", "ACTION", "EXECUTEACTION", "SEQUENCE", "ADMINPROPERTIES", "LOGACTION", "SHIMFLAGS", "ROOTDRIVE", "TARGETDIR", "AFTERREBOOT":
		return fmt.Sprintf("sets Windows Installer's own property %s", name)
	case "REBOOT":
		if value != "REALLYSUPPRESS" && value != "SUPPRESS" && value != "R" && value != "S" {
			return fmt.Sprintf("restarts the machine by itself: %s", shown(w))
		}
	}
	return ""
}

// strayProgram refuses words that name one of Windows' own programs that run
// what they are told.
func strayProgram(w string) string {
	parts := strings.FieldsFunc(strings.ToLower(w), func(r rune) bool { return strings.ContainsRune("=:,;\"' \t", r) })
	for _, part := range parts {
		name := strings.TrimSuffix(path.Base(strings.ReplaceAll(part, `\`, "/")), ".exe")
		switch name {
		case "cmd", "command.com", "powershell", "powershell_ise", "pwsh", "wscript", "cscript", "mshta", "rundll32", "regsvr32", "regsvcs", "regasm",
			"msiexec", "msbuild", "installutil", "certutil", "bitsadmin", "curl", "schtasks", "wmic", "forfiles", "reg", "regedit", "net", "netsh", "sc":
			if strings.HasSuffix(part, ".exe") || !strings.HasPrefix(w, "/") && !strings.HasPrefix(w, "-") || name == "powershell" || name == "cmd" {
				return fmt.Sprintf("has another program run: %s", shown(w))
			}
		}
	}
	return ""
}

func shown(w string) string {
	const most = 80
	if len(w) > most {
		w = strings.ToValidUTF8(w[:most], "") + "..."
	}
	return fmt.Sprintf("%q", w)
}
