package detect

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/vercmp"
)

// look evaluates one test.
func look(r Rule, f Facts) (e Evidence) {
	switch {
	case r.File != nil:
		e = evalFile(*r.File, f)
	case r.FileVersion != nil:
		e = evalFileVersion(*r.FileVersion, f)
	case r.FileChecksum != nil:
		e = evalChecksum(*r.FileChecksum, f)
	case r.RegistryKey != nil:
		e = evalKey(*r.RegistryKey, f)
	case r.RegistryValue != nil:
		e = evalValue(*r.RegistryValue, f)
	case r.Package != nil:
		e = evalPackage(*r.Package, f)
	case r.OSBuild != nil:
		e = evalOS(*r.OSBuild, f)
	case r.Architecture != nil:
		e = evalArch(*r.Architecture, f)
	case r.WMI != nil:
		e = evalWMI(*r.WMI, f)
	default:
		e = Evidence{Test: "empty rule", Want: "one test", Found: "none", Value: Undetermined}
	}
	return e
}

func (e Evidence) unknown(err error) Evidence {
	e.Found, e.Value = reasonOf(err), Undetermined
	return e
}

func (e Evidence) found(text string, v bool) Evidence {
	e.Found, e.Value = text, of(v)
	return e
}

func evalFile(t File, f Facts) Evidence {
	e := Evidence{Test: "file " + t.Path, Want: "present"}
	fact, err := f.File(t.Path)
	switch {
	case err != nil:
		return e.unknown(err)
	case fact.Exists:
		return e.found("present", true)
	}
	return e.found("absent", false)
}

func evalFileVersion(t FileVersion, f Facts) Evidence {
	e := Evidence{Test: "file version " + t.Path, Want: string(t.Op) + " " + t.Version}
	fact, err := f.File(t.Path)
	switch {
	case err != nil:
		return e.unknown(err)
	case !fact.Exists:
		return e.found("absent", false)
	case fact.Version == "":
		return e.unknown(Unknown("the file carries no version"))
	}
	return e.compare(scheme(t.Scheme, vercmp.Windows), fact.Version, t.Op, t.Version)
}

func evalChecksum(t FileChecksum, f Facts) Evidence {
	e := Evidence{Test: "checksum " + t.Path, Want: "sha256 " + t.SHA256}
	sum, exists, err := f.Checksum(t.Path)
	switch {
	case err != nil:
		return e.unknown(err)
	case !exists:
		return e.found("absent", false)
	}
	return e.found("sha256 "+sum, strings.EqualFold(sum, t.SHA256))
}

func evalKey(t RegistryKey, f Facts) Evidence {
	e := Evidence{Test: "registry key " + t.Key, Want: "present"}
	fact, err := f.Registry(t.Key, t.View, "")
	switch {
	case err != nil:
		return e.unknown(err)
	case fact.Exists:
		return e.found("present", true)
	}
	return e.found("absent", false)
}

func evalValue(t RegistryValue, f Facts) Evidence {
	e := Evidence{Test: "registry value " + t.Key + `\` + t.Name, Want: "present"}
	if t.Op != "" {
		e.Want = string(t.Op) + " " + t.Data
	}
	fact, err := f.Registry(t.Key, t.View, t.Name)
	switch {
	case err != nil:
		return e.unknown(err)
	case !fact.Exists:
		return e.found("absent", false)
	case t.Op == "":
		return e.found("present", true)
	}
	switch t.Type {
	case "dword", "qword":
		return e.numbers(fact.Data, t.Op, t.Data)
	case "version":
		return e.compare(scheme(t.Scheme, vercmp.Windows), fact.Data, t.Op, t.Data)
	}
	return e.found(fact.Data, holdsText(strings.ToLower(fact.Data), strings.ToLower(t.Data), t.Op))
}

func evalPackage(t Package, f Facts) Evidence {
	e := Evidence{Test: "package " + t.Kind + " " + t.Name, Want: "installed"}
	if t.Arch != "" {
		e.Test += ":" + t.Arch
	}
	if t.Op != "" {
		e.Want = string(t.Op) + " " + t.Version
	}
	all, err := f.Packages(t.Kind, t.Name)
	if err != nil {
		return e.unknown(err)
	}
	out := e.found("not installed", false)
	for _, p := range all {
		if t.Arch != "" && p.Arch != t.Arch {
			continue
		}
		if t.Op == "" {
			return e.found(p.Version, true)
		}
		one := e.compare(scheme(t.Scheme, packageScheme(t.Kind)), p.Version, t.Op, t.Version)
		if one.Value == True {
			return one
		}
		if out.Value != Undetermined { // one that can't be compared outlasts those that do not match
			out = one
		}
	}
	return out
}

func evalOS(t OSBuild, f Facts) Evidence {
	e := Evidence{Test: strings.TrimSpace("os build " + t.Family + " " + t.Product), Want: strings.TrimSpace(string(t.Op) + " " + t.Build)}
	fact, err := f.OS()
	switch {
	case err != nil:
		return e.unknown(err)
	case t.Family != "" && t.Family != fact.Family:
		return e.found(fact.Family, false)
	case t.Product != "" && !strings.EqualFold(t.Product, fact.Product):
		return e.found(fact.Product, false)
	case t.Op == "":
		return e.found(strings.TrimSpace(fact.Product+" "+fact.Build), true)
	}
	return e.compare(scheme(t.Scheme, osScheme(fact.Family)), fact.Build, t.Op, t.Build)
}

func evalArch(t Architecture, f Facts) Evidence {
	e := Evidence{Test: "architecture", Want: strings.Join(t.Any, " or ")}
	fact, err := f.OS()
	if err != nil {
		return e.unknown(err)
	}
	return e.found(fact.Arch, slices.Contains(t.Any, fact.Arch))
}

// noWMI is said where nobody can ask.
const noWMI = "not part of the inventory; an agent on Windows answers it"

func evalWMI(t WMI, f Facts) Evidence {
	e := Evidence{Test: "WMI " + t.Namespace, Want: t.Query}
	q, can := f.(Querier)
	if !can {
		return e.unknown(Unknown(noWMI))
	}
	some, err := q.Query(t.Namespace, t.Query)
	switch {
	case err != nil:
		return e.unknown(err)
	case some:
		return e.found("something", true)
	}
	return e.found("nothing", false)
}
