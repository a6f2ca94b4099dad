package detect

import "errors"

// Facts answers a rule's questions about one machine. Every method may return
// an error made by Unknown when the fact can't be learned; "does not exist"
// is an answer, not an error.
type Facts interface {
	// File describes the file at the rule's path (before expansion).
	File(path string) (FileFact, error)
	// Checksum returns the file's SHA-256 in lower-case hex.
	Checksum(path string) (sum string, exists bool, err error)
	// Registry returns a value ("" names the key itself).
	Registry(key, view, name string) (RegistryFact, error)
	// Packages returns every installed package of the kind and name.
	Packages(kind, name string) ([]PackageFact, error)
	// OS describes the operating system.
	OS() (OSFact, error)
}

// Querier is Facts that can ask Windows Management Instrumentation.
type Querier interface {
	Facts
	// Query reports whether the query finds anything.
	Query(namespace, wql string) (bool, error)
}

// FileFact is what is known of a file.
type FileFact struct {
	Exists  bool
	Version string // "" when the file has none
}

// RegistryFact is what is known of a registry key or value.
type RegistryFact struct {
	Exists bool
	Type   string // sz, expand_sz, multi_sz, dword, qword, binary
	Data   string // numbers in decimal
}

// PackageFact is one installed package.
type PackageFact struct {
	Version string
	Arch    string
}

// OSFact is the operating system.
type OSFact struct {
	Family  string
	Product string
	Build   string
	Arch    string
}

// unknown is the error of a fact that can't be learned.
type unknown struct{ reason string }

func (u unknown) Error() string { return u.reason }

// Unknown returns the error that makes a test unknown with the reason.
func Unknown(reason string) error { return unknown{reason} }

func reasonOf(err error) string {
	if u, ok := errors.AsType[unknown](err); ok {
		return u.reason
	}
	return err.Error()
}
