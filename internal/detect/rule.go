// Package detect holds detection rules and their one evaluator.
//
// A Rule is a tree of all, any and not over tests of file versions, file
// checksums, file presence, registry keys and values, packages, the OS build
// and the architecture. Server and agent evaluate the same tree with the same
// code over Facts: stored inventory there, the live machine here.
//
// Evaluation is three-valued (Kleene's strong logic): a test whose fact can't
// be read is unknown with a reason, and unknown never turns into true or false
// on its way up unless the other branches decide alone.
package detect

import (
	"fmt"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// Op compares a fact (left) with the rule's value (right).
type Op string

// The comparison operators.
const (
	EQ Op = "eq"
	NE Op = "ne"
	LT Op = "lt"
	LE Op = "le"
	GT Op = "gt"
	GE Op = "ge"
	// Begins, Ends and Contains compare text alone: registry values of type
	// sz, without regard to case.
	Begins   Op = "begins"
	Ends     Op = "ends"
	Contains Op = "contains"
)

// Rule is one node: exactly one of its fields is set.
type Rule struct {
	// All is true when every child is; an empty list is not valid.
	All []Rule `json:"all,omitempty"`
	// Any is true when at least one child is; an empty list is not valid.
	Any []Rule `json:"any,omitempty"`
	// Not is true when its child is false.
	Not *Rule `json:"not,omitempty"`
	// Always is a constant: vendors publish rules such as <True/>.
	Always *bool `json:"always,omitempty"`

	File          *File          `json:"file,omitempty"`
	FileVersion   *FileVersion   `json:"file_version,omitempty"`
	FileChecksum  *FileChecksum  `json:"file_checksum,omitempty"`
	RegistryKey   *RegistryKey   `json:"registry_key,omitempty"`
	RegistryValue *RegistryValue `json:"registry_value,omitempty"`
	Package       *Package       `json:"package,omitempty"`
	OSBuild       *OSBuild       `json:"os_build,omitempty"`
	Architecture  *Architecture  `json:"architecture,omitempty"`
	WMI           *WMI           `json:"wmi,omitempty"`
}

// File tests that a file is present. Path may hold environment variables
// (%ProgramFiles%) and known folders ({CSIDL_SYSTEM}); the probe expands them.
type File struct {
	Path string `json:"path"`
}

// FileVersion compares the version of a file: the VS_FIXEDFILEINFO quad of a
// PE, CFBundleShortVersionString of a bundle. A missing file makes it false.
type FileVersion struct {
	Path    string `json:"path"`
	Op      Op     `json:"op"`
	Version string `json:"version"`
	// Scheme defaults to Windows quads.
	Scheme vercmp.Scheme `json:"scheme,omitempty"`
}

// FileChecksum tests a file's SHA-256 (lower-case hex). A missing file makes
// it false.
type FileChecksum struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// RegistryKey tests that a Windows registry key exists.
type RegistryKey struct {
	Key string `json:"key"` // "HKLM\\SOFTWARE\\..."
	// View is "" (native), "32" or "64".
	View string `json:"view,omitempty"`
}

// RegistryValue compares a Windows registry value. Type says how: "sz" as
// text without case, "dword" and "qword" as numbers, "version" by Scheme.
// Op "" tests presence alone.
type RegistryValue struct {
	Key    string        `json:"key"`
	View   string        `json:"view,omitempty"`
	Name   string        `json:"name"`
	Type   string        `json:"type,omitempty"`
	Op     Op            `json:"op,omitempty"`
	Data   string        `json:"data,omitempty"`
	Scheme vercmp.Scheme `json:"scheme,omitempty"`
}

// Package compares the version of an installed package or product. Op ""
// tests presence alone. With several matches (other architectures, several
// kernels) it is true when any matches.
type Package struct {
	// Kind is "dpkg", "rpm", "apk", "msi", "arp" (Uninstall key) or "pkgutil".
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Arch restricts to one architecture; "" means any.
	Arch    string        `json:"arch,omitempty"`
	Op      Op            `json:"op,omitempty"`
	Version string        `json:"version,omitempty"`
	Scheme  vercmp.Scheme `json:"scheme,omitempty"`
}

// OSBuild compares the operating system's build: "10.0.17763.8389" on
// Windows, "24G90" on macOS, VERSION_ID on Linux.
type OSBuild struct {
	// Family is "windows", "linux" or "darwin"; Product narrows it (ID of
	// os-release, or the Windows edition id); both may be empty.
	Family  string        `json:"family,omitempty"`
	Product string        `json:"product,omitempty"`
	Op      Op            `json:"op,omitempty"`
	Build   string        `json:"build,omitempty"`
	Scheme  vercmp.Scheme `json:"scheme,omitempty"`
}

// Architecture tests the machine's native architecture in Go's names (amd64,
// arm64, 386).
type Architecture struct {
	Any []string `json:"any"`
}

// WMI tests that a query in WMI's query language finds something. Vendors ask
// so for models and devices. Facts answer it when they are a Querier; it is
// unknown to others.
type WMI struct {
	Namespace string `json:"namespace"` // "root\\cimv2"
	Query     string `json:"query"`     // "SELECT * FROM Win32_BaseBoard WHERE ..."
}

// MaxDepth bounds the nesting of rules that come from outside.
const MaxDepth = 32

// Validate returns an Invalid fault that names the first node that is not
// well-formed: no or several fields set, unknown operators or schemes, empty
// lists, nesting beyond MaxDepth.
func (r Rule) Validate() error { return r.validate("detect: rule", 0) }

func (r Rule) validate(path string, depth int) error {
	if depth > MaxDepth {
		return fault.New(fault.Invalid, "%s: nested deeper than %d", path, MaxDepth)
	}
	if n := r.set(); n != 1 {
		return fault.New(fault.Invalid, "%s: has %d tests, must have exactly one", path, n)
	}
	for i, child := range append(append([]Rule{}, r.All...), r.Any...) {
		if err := child.validate(fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
			return err
		}
	}
	if r.Not != nil {
		return r.Not.validate(path+".not", depth+1)
	}
	return r.validateLeaf(path)
}

func (r Rule) set() int {
	n := 0
	for _, is := range []bool{
		len(r.All) > 0, len(r.Any) > 0, r.Not != nil, r.Always != nil, r.File != nil,
		r.FileVersion != nil, r.FileChecksum != nil, r.RegistryKey != nil,
		r.RegistryValue != nil, r.Package != nil, r.OSBuild != nil, r.Architecture != nil, r.WMI != nil,
	} {
		if is {
			n++
		}
	}
	return n
}

func (r Rule) validateLeaf(path string) error {
	var op Op
	var scheme vercmp.Scheme
	needsOp := false
	switch {
	case r.FileVersion != nil:
		op, scheme, needsOp = r.FileVersion.Op, r.FileVersion.Scheme, true
	case r.RegistryValue != nil:
		op, scheme = r.RegistryValue.Op, r.RegistryValue.Scheme
	case r.Package != nil:
		op, scheme = r.Package.Op, r.Package.Scheme
	case r.OSBuild != nil:
		op, scheme = r.OSBuild.Op, r.OSBuild.Scheme
	}
	if op == "" && needsOp {
		return fault.New(fault.Invalid, "%s: has no operator", path)
	}
	switch op {
	case "", EQ, NE, LT, LE, GT, GE:
	case Begins, Ends, Contains:
		if r.RegistryValue == nil || r.RegistryValue.Type != "sz" {
			return fault.New(fault.Invalid, "%s: the operator %q compares text alone", path, op)
		}
	default:
		return fault.New(fault.Invalid, "%s: unknown operator %q", path, op)
	}
	if scheme != "" && !scheme.Known() {
		return fault.New(fault.Invalid, "%s: unknown version scheme %q", path, scheme)
	}
	return nil
}
