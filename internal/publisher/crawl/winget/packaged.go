package winget

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/inventory"
)

// kindPackaged is how patches of MSIX and AppX packages are called. No agent
// installs them.
const kindPackaged = "msix"

// familyText is the form of a package family name: the package's name, and 13
// digits that stand for the publisher (PackageFamilyName of winget's installer
// schema; Package Identity of the Windows documentation).
var familyText = regexp.MustCompile(`^[A-Za-z0-9][-.A-Za-z0-9]{2,49}_[A-Za-z0-9]{13}$`)

// packaged reports an installer that Windows' app deployment would install.
func (in Installer) packaged() bool { return in.kind() == kindPackaged }

// unmatched says why no machine's package could be found by the installer of a
// package, or compared with it.
func (in Installer) unmatched(of Version) string {
	switch {
	case in.Family == "":
		return "it names no package family"
	case !familyText.MatchString(in.Family):
		return "its package family name is not well-formed"
	case !fourNumbers(in.displayVersion(of)):
		return "its version is not made of four numbers, as those of packages are"
	}
	return ""
}

// fourNumbers reports a version of packages: four numbers of 16 bits.
func fourNumbers(version string) bool {
	part := strings.Split(version, ".")
	for _, p := range part {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil {
			return false
		}
	}
	return len(part) == 4
}

// describes reports whether an entry is about what the installer installs, where
// one list stands for installers of several kinds.
func (in Installer) describes(e AppsFeatures) bool {
	switch strings.ToLower(e.InstallerType) {
	case "":
		return true
	case "msix", "appx":
		return in.packaged()
	}
	return !in.packaged()
}

// family is the only name that a package is found by: it has no Uninstall key,
// and what else the manifest names is of its other installers.
func (in Installer) family() []inventory.Identity {
	if !familyText.MatchString(in.Family) {
		return nil
	}
	return []inventory.Identity{inventory.Named(inventory.KindPackaged, in.Family)}
}

// elsewhere says that packages are not installed here, and where the vendor has
// this one, if he has it in the network.
func (in Installer) elsewhere() string {
	const longest = 300
	why := "MSIX packages are not installed by Fettle yet"
	if u, err := url.Parse(in.URL); err == nil && u.Scheme != "file" && u.Host != "" && len(in.URL) <= longest {
		why += "; the vendor has it at " + u.Redacted()
	}
	return why
}
