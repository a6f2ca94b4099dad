package winget

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fettlehq/fettle/internal/fault"
)

// Limits of a manifest file. The largest of winget-pkgs have some 200 kB.
const (
	MaxManifest = 4 << 20 // bytes
	maxNodes    = 200_000 // YAML values
	maxKeys     = 1000    // of one mapping: the reader compares each with each
	maxDepth    = 16
)

// Document is one manifest file.
type Document struct {
	Identifier    string `yaml:"PackageIdentifier"`
	Version       string `yaml:"PackageVersion"`
	Type          string `yaml:"ManifestType"` // version, installer, defaultLocale, locale, singleton
	Schema        string `yaml:"ManifestVersion"`
	DefaultLocale string `yaml:"DefaultLocale"`

	Locale       string `yaml:"PackageLocale"`
	Publisher    string `yaml:"Publisher"`
	Name         string `yaml:"PackageName"`
	ReleaseNotes string `yaml:"ReleaseNotesUrl"`
	Homepage     string `yaml:"PackageUrl"`

	Defaults   Installer   `yaml:",inline"`
	Installers []Installer `yaml:"Installers"`

	// Place is the file's path below the folder of manifests.
	Place string `yaml:"-"`
}

// Installer is one installer, or the defaults of all in the file's root.
type Installer struct {
	Locale       string         `yaml:"InstallerLocale" json:"locale,omitempty"`
	Type         string         `yaml:"InstallerType" json:"type,omitempty"`
	Nested       string         `yaml:"NestedInstallerType" json:"nested,omitempty"`
	Scope        string         `yaml:"Scope" json:"scope,omitempty"`
	Architecture string         `yaml:"Architecture" json:"arch,omitempty"`
	URL          string         `yaml:"InstallerUrl" json:"url,omitempty"`
	SHA256       string         `yaml:"InstallerSha256" json:"sha256,omitempty"`
	MinimumOS    string         `yaml:"MinimumOSVersion" json:"minimum_os,omitempty"`
	Modes        []string       `yaml:"InstallModes" json:"modes,omitempty"`
	Switches     Switches       `yaml:"InstallerSwitches" json:"switches,omitzero"`
	Success      []int64        `yaml:"InstallerSuccessCodes" json:"success,omitempty"`
	Returns      []ReturnCode   `yaml:"ExpectedReturnCodes" json:"returns,omitempty"`
	Upgrade      string         `yaml:"UpgradeBehavior" json:"upgrade,omitempty"`
	Dependencies Dependencies   `yaml:"Dependencies" json:"dependencies,omitzero"`
	ProductCode  string         `yaml:"ProductCode" json:"product_code,omitempty"`
	Family       string         `yaml:"PackageFamilyName" json:"family,omitempty"`
	Entries      []AppsFeatures `yaml:"AppsAndFeaturesEntries" json:"entries,omitempty"`
	Elevation    string         `yaml:"ElevationRequirement" json:"elevation,omitempty"`
	NotOn        []string       `yaml:"UnsupportedOSArchitectures" json:"not_on,omitempty"`
	Released     string         `yaml:"ReleaseDate" json:"released,omitempty"`
	// Denied says what the fetched package denies of this; not of the manifest.
	Denied string `yaml:"-" json:"-"`
}

// Switches are words of the installer's command line.
type Switches struct {
	Silent   string `yaml:"Silent" json:"silent,omitempty"`
	Progress string `yaml:"SilentWithProgress" json:"progress,omitempty"`
	Custom   string `yaml:"Custom" json:"custom,omitempty"`
	Upgrade  string `yaml:"Upgrade" json:"upgrade,omitempty"`
}

// ReturnCode says what an exit code means.
type ReturnCode struct {
	Code     int64  `yaml:"InstallerReturnCode" json:"code"`
	Response string `yaml:"ReturnResponse" json:"response"`
}

// Dependencies are what an installer needs on the machine.
type Dependencies struct {
	Features  []string     `yaml:"WindowsFeatures" json:"features,omitempty"`
	Libraries []string     `yaml:"WindowsLibraries" json:"libraries,omitempty"`
	Packages  []Dependency `yaml:"PackageDependencies" json:"packages,omitempty"`
	External  []string     `yaml:"ExternalDependencies" json:"external,omitempty"`
}

// Dependency is another package.
type Dependency struct {
	Identifier string `yaml:"PackageIdentifier" json:"id"`
	Minimum    string `yaml:"MinimumVersion" json:"minimum,omitempty"`
}

// AppsFeatures is how the installed product is registered.
type AppsFeatures struct {
	DisplayName    string `yaml:"DisplayName" json:"name,omitempty"`
	Publisher      string `yaml:"Publisher" json:"publisher,omitempty"`
	DisplayVersion string `yaml:"DisplayVersion" json:"version,omitempty"`
	ProductCode    string `yaml:"ProductCode" json:"product_code,omitempty"`
	UpgradeCode    string `yaml:"UpgradeCode" json:"upgrade_code,omitempty"`
	InstallerType  string `yaml:"InstallerType" json:"type,omitempty"`
}

// identifier and versionText are the schema's patterns of PackageIdentifier and
// PackageVersion: both become parts of paths.
var (
	identifier  = regexp.MustCompile(`^[^.\s\\/:*?"<>|\x01-\x1f]{1,32}(\.[^.\s\\/:*?"<>|\x01-\x1f]{1,32}){1,7}$`)
	versionText = regexp.MustCompile(`^[^\\/:*?"<>|\x01-\x1f]{1,128}$`)
	schemaText  = regexp.MustCompile(`^1\.\d{1,4}(\.\d{1,5})?$`)
)

// ParseDocument reads one manifest file, of at most MaxManifest bytes. It
// refuses (fault.Invalid) what is no single YAML document with an identifier, a
// version and a schema of number 1.x, and YAML with aliases, which no manifest
// needs. Elements that it doesn't know are passed over: newer schemas add some.
func ParseDocument(data []byte) (Document, error) {
	if len(data) > MaxManifest {
		return Document{}, refused(nil, "it has %d bytes, at most %d are read", len(data), MaxManifest)
	}
	if bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte(",")) > maxNodes { // there is no value without one of these before it
		return Document{}, refused(nil, "it is split up beyond measure")
	}
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&root); err != nil {
		return Document{}, refused(err, "it is no YAML")
	}
	if left := maxNodes; !plain(&root, maxDepth, &left) {
		return Document{}, refused(nil, "it has aliases or a key twice, or is nested or split up beyond measure")
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Document{}, refused(err, "more than one YAML document is in it")
	}
	var d Document
	if err := root.Decode(&d); err != nil {
		return Document{}, refused(err, "it does not have the form of a manifest")
	}
	switch {
	case !schemaText.MatchString(d.Schema):
		return Document{}, refused(nil, "its schema %q is not known", clip(d.Schema))
	case !identifier.MatchString(d.Identifier):
		return Document{}, refused(nil, "its package identifier %q is not well-formed", clip(d.Identifier))
	case !versionText.MatchString(d.Version) || strings.Trim(d.Version, ".") == "":
		return Document{}, refused(nil, "its version %q is not well-formed", clip(d.Version))
	}
	d.Type = strings.ToLower(d.Type)
	switch d.Type {
	case "version", "installer", "defaultlocale", "locale", "singleton", "merged":
		return d, nil
	}
	return Document{}, refused(nil, "its type %q is not known", clip(d.Type))
}

// plain reports that a node has no aliases and no mapping the same key twice,
// of which the reader would tell for each pair, and bounds depth and number.
func plain(n *yaml.Node, depth int, left *int) bool {
	*left--
	if depth == 0 || *left < 0 || n.Kind == yaml.AliasNode {
		return false
	}
	if n.Kind == yaml.MappingNode && !distinct(n.Content) {
		return false
	}
	for _, c := range n.Content {
		if !plain(c, depth-1, left) {
			return false
		}
	}
	return true
}

// distinct reports that a mapping's keys, every other node, are few and differ.
func distinct(content []*yaml.Node) bool {
	if len(content) > 2*maxKeys {
		return false
	}
	seen := map[string]bool{}
	for i := 0; i < len(content); i += 2 {
		key := content[i].Value
		if content[i].Kind != yaml.ScalarNode || seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

func refused(cause error, format string, args ...any) error {
	return fault.Wrap(cause, fault.Invalid, "winget: the manifest is refused: "+format, args...)
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
