// Package patch holds the nouns of patching: advisory, vulnerability, patch,
// item and payload, with severity and classification.
//
// An Advisory is what a vendor says (DSA, USN, RHSA, a KB bulletin). A Patch
// is what can be installed: its items, payloads, manifest and edges to other
// patches. One advisory may need several patches; one patch may answer several
// advisories or none.
package patch

import (
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
)

// ID identifies a patch for ever. For packages it reads
// "<release>:<arch>:<source package>:<version>", such as
// "debian-12:amd64:openssl:3.0.17-1~deb12u3". The same id never names other
// content; its payload hashes are part of what is signed.
type ID string

// Severity is the vendor's word, else derived from CVSS, else Unknown. An
// unknown severity is never shown as low.
type Severity string

// The severities, worst first.
const (
	Critical  Severity = "critical"
	Important Severity = "important" // high
	Moderate  Severity = "moderate"  // medium
	Low       Severity = "low"
	Unknown   Severity = "unknown"
)

// ParseSeverity reads one of the four words that say how bad it is, as vendors
// write them; anything else is Unknown.
func ParseSeverity(word string) Severity {
	switch s := Severity(strings.ToLower(strings.TrimSpace(word))); s {
	case Critical, Important, Moderate, Low:
		return s
	}
	return Unknown
}

// Rank orders severities for sorting: 5 for critical to 1 for unknown, 0 for
// anything else. Unknown ranks above low, because it may be anything.
func (s Severity) Rank() int {
	switch s {
	case Critical:
		return 5
	case Important:
		return 4
	case Moderate:
		return 3
	case Unknown:
		return 2
	case Low:
		return 1
	}
	return 0
}

// Classification says what kind of change a patch is.
type Classification string

// The classifications.
const (
	Security    Classification = "security"
	Bugfix      Classification = "bugfix"
	Enhancement Classification = "enhancement"
	ServicePack Classification = "service_pack"
	Rollup      Classification = "rollup"
	Feature     Classification = "feature"
	Driver      Classification = "driver"
	Definition  Classification = "definition"
	Application Classification = "application"
	Update      Classification = "update" // the vendor does not say more
)

// Advisory is a vendor's bulletin.
type Advisory struct {
	ID          string    `json:"id"` // DSA-5764-1, KB5034441
	Vendor      string    `json:"vendor"`
	Title       string    `json:"title,omitempty"`
	Description string    `json:"description,omitempty"`
	Severity    Severity  `json:"severity,omitempty"`
	Published   time.Time `json:"published,omitzero"`
	Updated     time.Time `json:"updated,omitzero"`
	CVEs        []string  `json:"cves,omitempty"`
	References  []string  `json:"references,omitempty"`
	// Fixes says from which version on a product is fixed.
	Fixes []Fix `json:"fixes,omitempty"`
}

// Fix names the first fixed version of a product in a release.
type Fix struct {
	Product string `json:"product"` // source package, KB product
	Release string `json:"release"` // bookworm, "Windows 11 23H2 x64"
	Version string `json:"version"`
}

// Vulnerability is the risk of one CVE, merged from several sources.
type Vulnerability struct {
	ID          string   `json:"id"` // CVE-2024-5535
	Description string   `json:"description,omitempty"`
	Severity    Severity `json:"severity,omitempty"`
	// CVSS is the base score 0.0 to 10.0 of the newest vector known.
	CVSS       float64 `json:"cvss,omitempty"`
	CVSSVector string  `json:"cvss_vector,omitempty"`
	// EPSS is FIRST's probability of exploitation in 30 days, 0 to 1.
	EPSS float64 `json:"epss,omitempty"`
	// KEV is set when CISA lists the CVE as exploited.
	KEV *KEV `json:"kev,omitempty"`
	// Exploited and Disclosed are the vendor's word: known to be used in
	// attacks, or public before the fix.
	Exploited bool `json:"exploited,omitempty"`
	Disclosed bool `json:"disclosed,omitempty"`
	// Impact is the vendor's word on what an attacker gains: "Remote Code
	// Execution".
	Impact string `json:"impact,omitempty"`
}

// KEV is CISA's entry in Known Exploited Vulnerabilities.
type KEV struct {
	Added      string `json:"added"` // YYYY-MM-DD
	Due        string `json:"due,omitempty"`
	Ransomware bool   `json:"ransomware,omitempty"`
}

// Patch is one thing that can be installed. The whole of it is signed: an
// agent installs nothing that does not stand in a patch of a signed catalog.
type Patch struct {
	ID             ID             `json:"id"`
	Vendor         string         `json:"vendor"`   // debian
	Platform       string         `json:"platform"` // catalog slice: debian-12-amd64
	Product        string         `json:"product"`  // source package or application
	Version        string         `json:"version"`
	Title          string         `json:"title,omitempty"`
	Classification Classification `json:"class"`
	// Severity of the worst advisory or CVE that it fixes.
	Severity   Severity  `json:"severity"`
	Released   time.Time `json:"released,omitzero"`
	Advisories []string  `json:"advisories,omitempty"`
	// CVEs lists what it fixes and from which version on, so that a
	// machine is shown only those its installed version still has.
	CVEs []CVEFix `json:"cves,omitempty"`
	// Items are the packages or products that it brings.
	Items []Item `json:"items,omitempty"`
	// Archives are ids of the vendor's archive snapshots that hold it.
	Archives []string `json:"archives,omitempty"`
	// Install says how it is installed.
	Install Manifest `json:"install"`
	// Applicable and Installed are the detection rules. For patches with
	// package items either may be nil: Rules derives it from the items. One
	// alone is a condition on top of them, such as a least build of the system.
	Applicable *detect.Rule `json:"applicable,omitempty"`
	Installed  *detect.Rule `json:"installed,omitempty"`
	// Requires are patches that must be installed before.
	Requires []ID `json:"requires,omitempty"`
	// Supersedes are patches that this one replaces.
	Supersedes []ID `json:"supersedes,omitempty"`
	// Evidence is the lab's verdict on where it comes from.
	Evidence Evidence `json:"evidence"`
}

// CVEFix is one CVE with the first fixed version of the product.
type CVEFix struct {
	ID      string `json:"id"`
	FixedIn string `json:"fixed_in"`
	// From is the first version that has the flaw; empty means all before
	// FixedIn.
	From string `json:"from,omitempty"`
}

// Item is one package of a patch.
type Item struct {
	Kind    string `json:"k"` // dpkg, rpm, msi, ...
	Name    string `json:"n"`
	Arch    string `json:"a,omitempty"` // as installed; "all" for dpkg's all
	Version string `json:"v"`
	// Archives lists snapshot ids that hold this item, where they differ
	// from the patch's.
	Archives []string `json:"archives,omitempty"`
	Payload  Payload  `json:"p"`
	// PhasedPercent is the vendor's rollout share; 0 means everyone.
	PhasedPercent int `json:"phased,omitempty"`
}

// Payload is one file that a vendor ships.
type Payload struct {
	// SHA256 is lower-case hex. It is empty while it is not known: then
	// Digest is what the vendor gives, and nothing may be installed from it.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
	// Digest is what a vendor gives who gives no SHA-256: "sha1:" or
	// "sha512:" and lower-case hex. The lab fetches the file, holds it against
	// this and the maker's signature, and learns the SHA-256 so.
	Digest string `json:"digest,omitempty"`
	// Name is the vendor's path or file name, such as
	// "pool/updates/main/o/openssl/openssl_3.0.17-1~deb12u3_amd64.deb".
	Name string `json:"name"`
	// URL is where the vendor offers it, when it is not relative to an
	// archive.
	URL string `json:"url,omitempty"`
	// Signer is the expected publisher of a signed file: the exact common
	// name or organization of the Authenticode certificate, or an OpenPGP
	// fingerprint; empty when an index vouches for it. For Windows agents run
	// nothing without one.
	Signer string `json:"signer,omitempty"`
}

// Manifest says how a patch is installed. Agents take these words from the
// signed catalog alone, never from a server's message.
type Manifest struct {
	// Kind picks the installer: apt, dnf, zypper, msi, msp, msu, exe, macpkg.
	Kind string `json:"kind"`
	// Argv is the command for kinds that run the payload; "{payload}" stands
	// for the verified file's path. Empty for package managers.
	Argv []string `json:"argv,omitempty"`
	// UninstallArgv undoes it where the platform can. {payload} stands for
	// the verified file as in Argv; "{uninstall}" as its first word stands for
	// the command that the product itself registered for a silent removal
	// (QuietUninstallString), the words after it are added.
	UninstallArgv []string `json:"uninstall_argv,omitempty"`
	// Restores names the patch that a rollback installs once this one is
	// uninstalled: the version before it, of the same product and in the same
	// catalog. Empty: a rollback leaves the product uninstalled, or, without
	// UninstallArgv, is not possible.
	Restores ID `json:"restores,omitempty"`
	// Replace says how the version before makes room: ReplaceUninstall, or
	// empty where the installer upgrades in place.
	Replace string `json:"replace,omitempty"`
	// Scope says for whom a product is installed: "machine" or "user"; empty
	// where the platform knows no difference.
	Scope string `json:"scope,omitempty"`
	// ExitCodes maps the installer's exit codes beyond 0.
	ExitCodes map[int]ExitMeaning `json:"exit_codes,omitempty"`
	// Reboot says what the patch does to the machine.
	Reboot Reboot `json:"reboot,omitempty"`
}

// ReplaceUninstall has the installed older product uninstalled first.
const ReplaceUninstall = "uninstall"

// ExitMeaning is what an exit code says.
type ExitMeaning string

// The meanings of exit codes.
const (
	ExitOK           ExitMeaning = "ok"
	ExitRebootDue    ExitMeaning = "reboot_due"
	ExitRebootBegun  ExitMeaning = "reboot_begun"
	ExitBusy         ExitMeaning = "busy" // another installation runs: retry
	ExitFailed       ExitMeaning = "failed"
	ExitNotNeeded    ExitMeaning = "not_needed"
	ExitUserCanceled ExitMeaning = "user_cancelled"
)

// Reboot is the reboot behaviour of a patch.
type Reboot string

// The reboot behaviours.
const (
	RebootNever  Reboot = "never"
	RebootMaybe  Reboot = "maybe" // the machine tells after the installation
	RebootAlways Reboot = "always"
)

// Verdict is the lab's word on a patch.
type Verdict string

// The verdicts.
const (
	// Proven: payload bytes were fetched and match what the vendor signed.
	Proven Verdict = "proven"
	// Vouched: the vendor's signed index names the payload's hash; the
	// payload itself was not fetched here. It is checked at staging.
	Vouched Verdict = "vouched"
	// Rejected: a check failed; the patch is not published.
	Rejected Verdict = "rejected"
	// Delegated: nothing was fetched here, and no hash stands in the catalog.
	// The vendor's signed list names the update, and the platform's own updater
	// fetches it on each machine and checks the vendor's signature there.
	Delegated Verdict = "delegated"
	// Unproven: the vendor signs nothing that covers it.
	Unproven Verdict = "unproven"
)

// Evidence says what the lab checked.
type Evidence struct {
	Verdict Verdict `json:"verdict"`
	// Checks are sentences: "InRelease signed by 4CB5…, index by hash".
	Checks []string `json:"checks,omitempty"`
}

// Bulletin reports that nothing can be installed from the patch: it says what
// machines lack, and the lab's first check says why it is no more than that.
func (p Patch) Bulletin() bool { return p.Evidence.Bulletin() }

// Bulletin reports that the lab has let nothing through that could be installed.
func (e Evidence) Bulletin() bool { return e.Verdict == Unproven }

// IsSecurity reports whether the patch is classified as security.
func (p Patch) IsSecurity() bool { return p.Classification == Security }
