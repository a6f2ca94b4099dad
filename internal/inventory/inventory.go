// Package inventory holds what an endpoint has: its operating system,
// packages, package policy, hardware, network, running state, and its own
// answers to tests of the catalog.
//
// A Snapshot travels and is stored as content-hashed sections, so that a
// machine that has not changed sends hashes alone, and machines that resemble
// each other share rows. Ever-changing facts (free memory, uptime, load) stay
// out on purpose.
package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Snapshot is one machine at one moment.
type Snapshot struct {
	OS       OS        `json:"os"`
	Packages []Package `json:"packages"` // sorted by ComparePackages
	Policy   Policy    `json:"policy"`
	Hardware Hardware  `json:"hardware"`
	Network  Network   `json:"network"`
	State    State     `json:"state"`
	Answers  Answers   `json:"answers,omitzero"`
}

// OS is the operating system.
type OS struct {
	Family  string `json:"family"`            // linux, windows, darwin
	ID      string `json:"id"`                // os-release ID, or WindowsRelease.ID
	Version string `json:"version"`           // VERSION_ID, WindowsRelease.Version, macOS version
	Build   string `json:"build,omitempty"`   // /etc/debian_version, 10.0.19045.4046, 24G90
	Edition string `json:"edition,omitempty"` // Windows EditionID: Professional, EnterpriseS, ServerStandard
	// ServicePack is Windows' service pack as a number, "0" for none; empty
	// where it is not known.
	ServicePack string `json:"service_pack,omitempty"`
	Codename    string `json:"codename,omitempty"` // bookworm, 22H2
	Name        string `json:"name"`               // for people
	Arch        string `json:"arch"`               // package manager's native architecture, such as amd64
	Hostname    string `json:"hostname"`
}

// ParseOS decodes the body of section "os".
func ParseOS(body []byte) (OS, error) {
	var o OS
	if err := json.Unmarshal(body, &o); err != nil {
		return o, fault.Wrap(err, fault.Invalid, "inventory: section os is not well-formed")
	}
	return o, nil
}

// Platform is the catalog slice that serves the machine, such as
// "debian-12-amd64".
func (o OS) Platform() string { return o.PlatformFor(o.Arch) }

// PlatformFor is the catalog slice for another architecture of the machine.
func (o OS) PlatformFor(arch string) string {
	return strings.ToLower(o.ID + "-" + o.Version + "-" + arch)
}

// Applications is the catalog slice of the applications that run on every
// release of the system, such as "windows-apps-amd64"; empty where
// applications come with the release.
func (o OS) Applications() string {
	if o.Family != "windows" || o.Arch == "" {
		return ""
	}
	return strings.ToLower("windows-apps-" + o.Arch)
}

// Platforms are the catalog slices that serve the machine: the native one
// first, those of its foreign architectures, that of its applications last.
func (s *Snapshot) Platforms() []string {
	out := []string{s.OS.Platform()}
	for _, arch := range s.Policy.ForeignArchs {
		out = append(out, s.OS.PlatformFor(arch))
	}
	if apps := s.OS.Applications(); apps != "" {
		out = append(out, apps)
	}
	return out
}

// EffectiveArch is the architecture under which the package manager counts a
// package: dpkg's "all" and rpm's "noarch" count as the native one.
func (o OS) EffectiveArch(arch string) string {
	if arch == "all" || arch == "noarch" || arch == "" {
		return o.Arch
	}
	return arch
}

// Package is one installed package or product.
type Package struct {
	// Kind is dpkg, rpm, apk, pkgutil; on Windows arp (a product of the
	// Uninstall keys, Windows Installer's included), msp (a patch of a Windows
	// Installer product, whose code is Source), kb (an update of the system),
	// cbs (a component package of an update, Package_for_...; those that a
	// release is made of are left out), appx (an AppX or MSIX package).
	Kind string `json:"k"`
	// Name is the package's; for arp the name of the Uninstall key, which is
	// the product code for Windows Installer's products; for appx the package
	// family name.
	Name          string `json:"n"`
	Arch          string `json:"a,omitempty"`
	Version       string `json:"v"`
	Source        string `json:"s,omitempty"`  // source package, when it differs from Name
	SourceVersion string `json:"sv,omitempty"` // when it differs from Version
	// Title and Publisher are what people know a product by (DisplayName and
	// Publisher of the Uninstall key), where Name is not.
	Title     string `json:"t,omitempty"`
	Publisher string `json:"p,omitempty"`
	// UpgradeCode is the Windows Installer's family of the product, in braces
	// and upper case.
	UpgradeCode string `json:"uc,omitempty"`
	// Scope is "user:" and the account's name (or SID) for a product that only
	// one user of the machine has; empty for the whole machine.
	Scope string `json:"sc,omitempty"`
	// Hold says that the administrator holds it at this version.
	Hold bool `json:"hold,omitempty"`
	// Broken names an incomplete state: "half-installed", "unpacked",
	// "half-configured", "triggers-pending"; empty when all is well.
	Broken string `json:"broken,omitempty"`
}

// ComparePackages orders by kind, name, architecture, version text and scope.
func ComparePackages(a, b Package) int {
	if c := strings.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	if c := strings.Compare(a.Arch, b.Arch); c != 0 {
		return c
	}
	if c := strings.Compare(a.Version, b.Version); c != 0 {
		return c
	}
	return strings.Compare(a.Scope, b.Scope)
}

// Policy is what the administrator of the machine has set for its package
// manager. Fettle respects it and reports where it keeps a patch away.
type Policy struct {
	ForeignArchs []string `json:"foreign_archs,omitempty"`
	// Pins are the rules of apt_preferences(5), in the order apt reads them.
	Pins []Pin `json:"pins,omitempty"`
	// DefaultRelease is APT::Default-Release.
	DefaultRelease string `json:"default_release,omitempty"`
	// ThirdParty names archives configured on the machine besides the
	// distribution's own, for people to see.
	ThirdParty []string `json:"third_party,omitempty"`
}

// Pin is one record of apt_preferences(5).
type Pin struct {
	Packages []string `json:"packages"` // names, globs or /regex/; "*" for the general form
	// Type is "version", "release" or "origin".
	Type string `json:"type"`
	// Value is the rest of the Pin line: "3.0.*", "a=bookworm, l=Debian",
	// or a host name.
	Value    string `json:"value"`
	Priority int    `json:"priority"`
}

// Hardware rarely changes.
type Hardware struct {
	Vendor    string `json:"vendor,omitempty"`
	Model     string `json:"model,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Firmware  string `json:"firmware,omitempty"`
	CPU       string `json:"cpu,omitempty"`
	Cores     int    `json:"cores,omitempty"`
	MemoryMiB int64  `json:"memory_mib,omitempty"`
	Disks     []Disk `json:"disks,omitempty"`
	// Virtual names the hypervisor or container runtime; empty on metal.
	Virtual string `json:"virtual,omitempty"`
}

// Disk is a fixed disk.
type Disk struct {
	Name    string `json:"name"`
	SizeMiB int64  `json:"size_mib"`
}

// Network is how the machine can be reached and woken.
type Network struct {
	Interfaces []Interface `json:"interfaces,omitempty"`
}

// Interface is one network interface with its addresses in CIDR form.
type Interface struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

// State is what runs now, as far as it matters for patching.
type State struct {
	BootID        string    `json:"boot_id,omitempty"`
	BootTime      time.Time `json:"boot_time,omitzero"` // to the second
	RunningKernel string    `json:"running_kernel,omitempty"`
	NewestKernel  string    `json:"newest_kernel,omitempty"` // newest installed
	RebootDue     bool      `json:"reboot_due,omitempty"`
	RebootReasons []string  `json:"reboot_reasons,omitempty"` // packages or causes
	// RestartsDue are services that run replaced files, by the name of the
	// unit or of Windows' service.
	RestartsDue []string `json:"restarts_due,omitempty"`
	// ManagerBroken says that the package manager was interrupted and must
	// be repaired before it can install anything.
	ManagerBroken bool `json:"manager_broken,omitempty"`
	// Services are those of Windows, sorted by name.
	Services []Service `json:"services,omitempty"`
}

// Service is a service of Windows. Whether it runs is told of those alone that
// run all the time: others come and go.
type Service struct {
	Name    string `json:"n"`
	Title   string `json:"t,omitempty"` // in the system's language
	Account string `json:"a,omitempty"` // LocalSystem, NT AUTHORITY\NetworkService
	// Start is auto, delayed (auto, a while after the start), trigger (auto, on
	// an event), manual, disabled or boot.
	Start   string `json:"s"`
	Running bool   `json:"r,omitempty"` // for auto and delayed
}

// SectionName names one part of a snapshot.
type SectionName string

// The sections, in wire order.
const (
	SectionOS       SectionName = "os"
	SectionPackages SectionName = "packages"
	SectionPolicy   SectionName = "policy"
	SectionHardware SectionName = "hardware"
	SectionNetwork  SectionName = "network"
	SectionState    SectionName = "state"
	// SectionAnswers is there alone of machines that have answered something.
	SectionAnswers SectionName = "answers"
)

// Sections lists every section name in wire order. All but SectionAnswers are
// part of every inventory.
func Sections() []SectionName {
	return []SectionName{SectionOS, SectionPackages, SectionPolicy, SectionHardware, SectionNetwork, SectionState, SectionAnswers}
}

// Complete reports whether the sections have every one that each inventory
// has.
func Complete(sections []Section) bool {
	for _, name := range Sections() {
		if name != SectionAnswers && !slices.ContainsFunc(sections, func(s Section) bool { return s.Name == name }) {
			return false
		}
	}
	return true
}

// Section is one part with the SHA-256 (hex) of its body.
type Section struct {
	Name SectionName     `json:"name"`
	Hash string          `json:"hash"`
	Body json.RawMessage `json:"body,omitempty"`
}

// MaxSection bounds the body of one section in bytes. 16 MiB holds about
// 150,000 packages; anything larger is refused before it is parsed.
const MaxSection = 16 << 20

// Split turns the snapshot into hashed sections. The same snapshot always
// gives the same bytes; packages are sorted first.
func Split(s Snapshot) ([]Section, error) {
	s.Packages = slices.Clone(s.Packages)
	slices.SortFunc(s.Packages, ComparePackages)
	parts := s.parts()
	out := make([]Section, 0, len(parts))
	for _, name := range Sections() {
		if name == SectionAnswers && s.Answers.empty() {
			continue
		}
		body, err := json.Marshal(parts[name])
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "inventory: encode section %s", name)
		}
		out = append(out, Section{Name: name, Hash: HashBody(body), Body: body})
	}
	return out, nil
}

// Join rebuilds a snapshot from all its sections. It refuses (Invalid) a
// body whose hash differs, an unknown, double or missing section, and a body
// over MaxSection, which is neither hashed nor parsed.
func Join(sections []Section) (Snapshot, error) {
	var s Snapshot
	parts := s.parts()
	seen := map[SectionName]bool{}
	for _, sec := range sections {
		into, known := parts[sec.Name]
		switch {
		case !known:
			return Snapshot{}, fault.New(fault.Invalid, "inventory: unknown section %q", sec.Name)
		case seen[sec.Name]:
			return Snapshot{}, fault.New(fault.Invalid, "inventory: section %s comes twice", sec.Name)
		}
		if err := sec.Check(); err != nil {
			return Snapshot{}, err
		}
		seen[sec.Name] = true
		var err error
		if sec.Name == SectionAnswers {
			s.Answers, err = ParseAnswers(sec.Body)
		} else {
			err = json.Unmarshal(sec.Body, into)
		}
		if err != nil {
			return Snapshot{}, fault.Wrap(err, fault.Invalid, "inventory: section %s is not well-formed", sec.Name)
		}
	}
	for _, name := range Sections() {
		if !seen[name] && name != SectionAnswers {
			return Snapshot{}, fault.New(fault.Invalid, "inventory: section %s is missing", name)
		}
	}
	if !slices.IsSortedFunc(s.Packages, ComparePackages) { // Find needs the order, whoever sent it
		slices.SortFunc(s.Packages, ComparePackages)
	}
	return s, nil
}

// parts maps each section to where it lives in the snapshot.
func (s *Snapshot) parts() map[SectionName]any {
	return map[SectionName]any{
		SectionOS: &s.OS, SectionPackages: &s.Packages, SectionPolicy: &s.Policy,
		SectionHardware: &s.Hardware, SectionNetwork: &s.Network, SectionState: &s.State, SectionAnswers: &s.Answers,
	}
}

// Check verifies the body against the hash and the size limit.
func (s Section) Check() error {
	if len(s.Body) > MaxSection {
		return fault.New(fault.Invalid, "inventory: section %s has %d bytes, at most %d are taken", s.Name, len(s.Body), MaxSection)
	}
	if got := HashBody(s.Body); got != s.Hash {
		return fault.New(fault.Invalid, "inventory: section %s hashes to %s, announced as %s", s.Name, got, s.Hash)
	}
	return nil
}

// HashBody is the SHA-256 of a section's body in hex.
func HashBody(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Root is one hash over all sections' names and hashes: equal roots mean
// equal snapshots.
func Root(sections []Section) string {
	h := sha256.New()
	for _, s := range sections {
		h.Write([]byte(string(s.Name) + "=" + s.Hash + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}
