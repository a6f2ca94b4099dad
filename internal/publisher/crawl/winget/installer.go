package winget

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// kind is how an installer of the manifest's type is run here, or kindPackaged
// for what is only told of; empty for types that nothing is made of.
func (in Installer) kind() string {
	switch in.Type {
	case "msi", "wix":
		return "msi"
	case "exe", "burn", "inno", "nullsoft":
		return "exe"
	case "msix", "appx":
		return kindPackaged
	}
	return ""
}

// goArch is the architecture in Go's words; empty for any. ok is false for one
// that no endpoint of ours has.
func (in Installer) goArch() (arch string, ok bool) {
	switch in.Architecture {
	case "x64":
		return "amd64", true
	case "x86":
		return "386", true
	case "arm64":
		return "arm64", true
	case "neutral":
		return "", true
	}
	return "", false
}

// notOn reports that the installer's maker rules a machine's architecture out,
// though its programs would run there.
func (in Installer) notOn(platform string) bool {
	words := map[string]string{"amd64": "x64", "386": "x86", "arm64": "arm64"}
	return slices.ContainsFunc(in.NotOn, func(a string) bool { return strings.EqualFold(a, words[platform]) })
}

// unusable says why nothing can be made of an installer; empty means that it
// can be published.
func (in Installer) unusable() string {
	if _, ok := in.goArch(); !ok {
		return "architecture " + clip(cmp.Or(in.Architecture, "(none)")) + " is not served"
	}
	u, err := url.Parse(in.URL)
	switch {
	case in.kind() == "" && in.Type == "":
		return "it names no installer type"
	case in.kind() == "":
		return "installer type " + clip(in.Type) + " is not supported"
	case len(in.SHA256) != 64 || strings.Trim(in.SHA256, "0123456789abcdef") != "":
		return "it names no SHA-256"
	case err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "file":
		return "its address is not http, https or file"
	}
	return ""
}

// notInstallable says why an installer is published for what it says alone;
// empty means that agents may run it once it is proven.
func (in Installer) notInstallable() string {
	switch {
	case in.packaged():
		return in.elsewhere()
	case in.Scope == "user":
		return "it installs for one user, and Fettle installs for the whole machine"
	case in.Elevation == "elevationProhibited":
		return "it must not run with an administrator's rights"
	case in.Upgrade == "deny":
		return "its maker wants no upgrade by others: the application updates itself"
	case len(in.Modes) > 0 && !slices.Contains(in.Modes, "silent") && !slices.Contains(in.Modes, "silentWithProgress"):
		return "it can't be installed without questions"
	case in.kind() == "exe" && in.silent() == "":
		return "the manifest names no switch for a silent installation"
	}
	if why := (patch.Manifest{Kind: in.kind(), Argv: in.argv(), UninstallArgv: in.uninstall()}).Stray(); why != "" {
		return "its manifest " + why
	}
	return ""
}

// replace says whether the version before must be uninstalled first.
func (in Installer) replace() string {
	if in.Upgrade == "uninstallPrevious" {
		return patch.ReplaceUninstall
	}
	return ""
}

// silent are the switches for an installation without questions: the
// manifest's, else the documented ones of the installer's maker
// (https://learn.microsoft.com/windows/package-manager/package/manifest and
// GetDefaultKnownSwitches in microsoft/winget-cli's ManifestCommon.cpp).
func (in Installer) silent() string {
	known := map[string]string{
		"burn": "/quiet /norestart", "wix": "/quiet /norestart", "msi": "/quiet /norestart", "nullsoft": "/S",
		"inno": "/SP- /VERYSILENT /SUPPRESSMSGBOXES /NORESTART",
	}
	return cmp.Or(in.Switches.Silent, known[in.Type], in.Switches.Progress)
}

// argv is the command for the agent. For Windows Installer it is what comes
// after "msiexec /i FILE /qn /norestart"; words that say the same are left out.
func (in Installer) argv() []string {
	words := split(strings.Join([]string{in.silent(), in.Switches.Custom, in.Switches.Upgrade}, " "))
	if in.kind() == "exe" {
		return append([]string{"{payload}"}, words...)
	}
	return slices.DeleteFunc(words, func(w string) bool {
		switch strings.ToLower(w) {
		case "/quiet", "/passive", "/q", "/qn", "/qb", "/qb!", "/qb-", "/norestart", "-quiet", "-qn":
			return true
		}
		return false
	})
}

// uninstall is how the product is removed again.
func (in Installer) uninstall() []string {
	own := "{uninstall}"
	switch in.Type {
	case "msi", "wix":
		if inventory.IsGUID(in.ProductCode) {
			return []string{strings.ToUpper(in.ProductCode)}
		}
		return []string{own}
	case "nullsoft":
		return []string{own, "/S"}
	case "inno":
		return []string{own, "/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART"}
	case "burn":
		return []string{own, "/quiet", "/norestart"}
	}
	return []string{own} // only where the product registers a silent command
}

// split cuts a command line into words as Windows programs do: quotes keep
// spaces together and are taken away, a backslash before a quote keeps it
// (CommandLineToArgvW).
func split(line string) []string {
	var out []string
	var word strings.Builder
	quoted, open := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '"':
			i++
			word.WriteByte('"')
			open = true
		case c == '"':
			quoted, open = !quoted, true
		case (c == ' ' || c == '\t' || c == '\r' || c == '\n') && !quoted:
			if open {
				out = append(out, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		out = append(out, word.String())
	}
	return out
}

// exitCodes are the manifest's words on exit codes.
func (in Installer) exitCodes() map[int]patch.ExitMeaning {
	out := map[int]patch.ExitMeaning{}
	enter := func(code int64, m patch.ExitMeaning) {
		if code == 0 || code < math.MinInt32 || code > math.MaxUint32 {
			return
		}
		out[int(code)] = m
		if code < 0 { // Windows knows 32 bits without a sign
			out[int(code)+1<<32] = m
		} else if code > math.MaxInt32 {
			out[int(code)-1<<32] = m
		}
	}
	for _, r := range in.Returns {
		enter(r.Code, meaning(r.Response))
	}
	for _, c := range in.Success {
		enter(c, patch.ExitOK)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// meaning puts a ReturnResponse of the schema into our words.
func meaning(response string) patch.ExitMeaning {
	switch response {
	case "rebootRequiredToFinish":
		return patch.ExitRebootDue
	case "rebootInitiated":
		return patch.ExitRebootBegun
	case "installInProgress", "packageInUse", "packageInUseByApplication", "fileInUse":
		return patch.ExitBusy
	case "alreadyInstalled", "downgrade":
		return patch.ExitNotNeeded
	case "cancelledByUser":
		return patch.ExitUserCanceled
	}
	return patch.ExitFailed
}

// displayVersion is the version that the installed product shows; the package's
// where the manifest names none.
func (in Installer) displayVersion(of Version) string {
	for _, e := range in.Entries {
		if e.DisplayVersion != "" && in.describes(e) {
			return e.DisplayVersion
		}
	}
	return of.Version
}

// identities are the names under which the installed product is found. A
// display name counts only where no other package of the same name differs in
// a number, such as Python.Python.3.12 and 3.13.
func (in Installer) identities(of Version) []inventory.Identity {
	if in.packaged() {
		return in.family()
	}
	var out []inventory.Identity
	add := func(kind, name string) {
		id := inventory.Named(kind, name)
		if name != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	add(inventory.KindProduct, in.ProductCode)
	for _, e := range in.Entries {
		add(inventory.KindProduct, e.ProductCode)
		if inventory.IsGUID(e.UpgradeCode) {
			add(inventory.KindFamily, e.UpgradeCode)
		}
	}
	if sideBySide(of.Identifier) {
		return out
	}
	named := false
	for _, e := range in.Entries {
		if e.DisplayName != "" {
			named = true
			add(inventory.KindApp, inventory.AppName(e.DisplayName, cmp.Or(e.Publisher, of.Publisher)))
		}
	}
	if !named {
		add(inventory.KindApp, inventory.AppName(of.Name, of.Publisher))
	}
	return out
}

// sideBySide reports an identifier that ends in a number: one of several
// products of like name.
func sideBySide(id string) bool {
	for part := range strings.SplitSeq(id, ".") {
		if strings.Trim(part, "0123456789") == "" {
			return true
		}
	}
	return false
}
