// Package catalog holds all patches together: the consolidated vulnerability
// database that a publisher assembles and signs, cut into one shard per
// platform, and the match of a shard against a machine.
//
// A Shard is one canonical file: a header, and records sorted by key (patches,
// advisories, vulnerabilities), with a flat table of package items that is
// read without decoding the patches. The same set of records always gives the
// same bytes, so a Delta is a list of changed records and its application is
// checked by the hash of the whole.
package catalog

import (
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/patch"
)

// Format is the number of the shard's file format. Readers refuse others.
const Format = 1

// Header is what a shard says of itself.
type Header struct {
	Format   int    `json:"format"`
	Platform string `json:"platform"` // debian-12-amd64
	// Version counts up with each published catalog; all shards of one
	// publication carry the same.
	Version int64     `json:"version"`
	Created time.Time `json:"created"`
	// Archives are the vendor's archive snapshots that the shard pins.
	Archives []Archive `json:"archives,omitempty"`
	// CodeSigning says whose Authenticode signatures count for the payloads
	// of this shard; nil when it has none that are signed so.
	CodeSigning *CodeSigning `json:"code_signing,omitempty"`
	// Notes tell people what is not as usual: a source that failed, a
	// severity feed that could not be reached.
	Notes []string `json:"notes,omitempty"`
}

// CodeSigning are the certificates that publishers' and time-stamping
// authorities' chains must end in. The publisher of the catalog chooses them,
// and they travel signed with it: an endpoint's own certificate store, which
// any administrator's tool may add to, is not asked.
type CodeSigning struct {
	// Roots and TimestampRoots are X.509 certificates in DER.
	Roots          [][]byte `json:"roots"`
	TimestampRoots [][]byte `json:"timestamp_roots,omitempty"`
}

// Archive is one suite of a vendor's package archive at one moment: what was
// tested is what is installed.
type Archive struct {
	// ID is the first 16 hex digits of the InRelease's SHA-256.
	ID       string `json:"id"`
	Label    string `json:"label"`    // "Debian-Security"
	Origin   string `json:"origin"`   // "Debian"
	Suite    string `json:"suite"`    // "oldstable-security"
	Codename string `json:"codename"` // "bookworm-security"
	// Path is the dists path as in sources.list, such as "bookworm-security".
	Path string `json:"path"`
	// Security says that the suite is the vendor's security suite.
	Security bool `json:"security,omitempty"`
	// NotAutomatic and ButAutomaticUpgrades are the Release file's fields;
	// they set the default pin priority (apt_preferences(5)).
	NotAutomatic         bool   `json:"not_automatic,omitempty"`
	ButAutomaticUpgrades bool   `json:"but_automatic_upgrades,omitempty"`
	Version              string `json:"version,omitempty"` // Release's Version: "12.12"

	Date       time.Time `json:"date"`
	ValidUntil time.Time `json:"valid_until,omitzero"`
	// Signers are the fingerprints of the keys that signed InRelease.
	Signers []string `json:"signers"`
	// Keyring is the name of the keyring file on Debian-like machines that
	// holds the key, such as "/usr/share/keyrings/debian-archive-keyring.gpg";
	// empty means apt's trusted set.
	Keyring string `json:"keyring,omitempty"`
	// InRelease is the signed file itself.
	InRelease Blob `json:"in_release"`
	// Indexes are the package indexes that InRelease signs and the shard uses.
	Indexes []Index `json:"indexes"`
	// Site is the host name of the archive for "origin" pins, as the
	// machine's own apt sees it; publishers may leave it empty.
	Site string `json:"site,omitempty"`
	// Superseded says that a newer snapshot of the same suite is in the
	// shard; this one stays for deployments that were approved from it.
	Superseded bool `json:"superseded,omitempty"`
}

// Index is one package index of an archive.
type Index struct {
	// Name is the path within the suite: "main/binary-amd64/Packages".
	Name      string `json:"name"`
	Component string `json:"component"`
	Arch      string `json:"arch"`
	// SHA256 and Size are of the uncompressed file, as InRelease signs them.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Blob is how it travels: zstd-compressed.
	Blob Blob `json:"blob"`
}

// Blob names bytes in the payload store by hash.
type Blob struct {
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
	Encoding string `json:"encoding,omitempty"` // "zstd" or empty
}

// Contents is a shard taken apart: what a publisher puts in.
type Contents struct {
	Header          Header
	Patches         []patch.Patch
	Advisories      []patch.Advisory
	Vulnerabilities []patch.Vulnerability
}

// Available is one version of a package that the shard offers.
type Available struct {
	Kind    string
	Name    string
	Arch    string // as in the item; "all" stays "all"
	Version string
	Patch   patch.ID
	// Archives that hold it.
	Archives []*Archive
	Security bool
	Phased   int
}

// FindingState says why a newer version stands where it stands.
type FindingState string

// The states of a finding.
const (
	// Missing: newer version available, nothing speaks against it.
	Missing FindingState = "missing"
	// Held: missing, but the machine's administrator holds the package.
	Held FindingState = "held"
	// Pinned: a pin of the machine keeps a newer version away. apt does not
	// list it as upgradable; Fettle reports it apart from missing.
	Pinned FindingState = "pinned"
	// UserOnly: a newer version is available of a product that single users
	// have for themselves. Nothing is deployed for it; the reason names them.
	// It counts apart from what is missing, and against the machine's health.
	UserOnly FindingState = "user_only"
	// Broken: the newest version is installed only half, because its
	// installation failed or was cut off.
	Broken FindingState = "broken"
	// Unsure: a test could not be answered; the reason says which.
	Unsure FindingState = "unknown"
)

// Finding is one thing that a machine lacks, with the reason. It is the row
// that people see everywhere: CLI, console, reports.
type Finding struct {
	Patch     patch.ID       `json:"patch"`
	Product   string         `json:"product"` // source package or application
	Kind      string         `json:"kind"`
	Package   string         `json:"package"`
	Arch      string         `json:"arch,omitempty"`
	Installed string         `json:"installed"`
	Available string         `json:"available"`
	Security  bool           `json:"security"`
	Severity  patch.Severity `json:"severity"`
	// Advisories and CVEs list only what the installed version still has.
	Advisories []string `json:"advisories"`
	CVEs       []string `json:"cves"`
	// Exploited says that one of the CVEs stands in CISA's KEV.
	Exploited bool              `json:"exploited,omitempty"`
	EPSS      float64           `json:"epss,omitempty"` // highest of the CVEs
	State     FindingState      `json:"state"`
	Reason    string            `json:"reason"` // one sentence
	Evidence  []detect.Evidence `json:"evidence,omitempty"`
	Archive   string            `json:"archive,omitempty"` // "Debian-Security bookworm-security"
	// Bulletin says that nothing can be installed from the patch: the machine
	// lacks it all the same, and the reason says why.
	Bulletin bool `json:"bulletin,omitempty"`
}
