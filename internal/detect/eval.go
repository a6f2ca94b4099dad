package detect

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/vercmp"
)

// Value is the outcome of a rule.
type Value string

// The three values.
const (
	True         Value = "true"
	False        Value = "false"
	Undetermined Value = "unknown"
)

// Verdict is a value with what it stands on.
type Verdict struct {
	Value Value `json:"value"`
	// Evidence lists the tests that were evaluated, in order of evaluation.
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Evidence says which test was made, what was wanted and what was found.
type Evidence struct {
	Test  string `json:"test"`  // "package dpkg openssl"
	Want  string `json:"want"`  // "lt 3.0.17-1~deb12u3"
	Found string `json:"found"` // "3.0.15-1~deb12u1", "not installed", or why it is unknown
	Value Value  `json:"value"`
	// By is ByMachine for the machine's own answer to a test that its
	// inventory does not hold, given when it was scanned; At is when, where
	// that is known. Both are empty for what follows from the facts.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
}

// Reason joins the evidence that decided the verdict into one sentence part.
func (v Verdict) Reason() string {
	var parts []string
	for _, e := range v.Evidence {
		if e.Value == v.Value {
			parts = append(parts, e.Test+": "+e.Found+" (wanted "+e.Want+")")
		}
	}
	return strings.Join(parts, "; ")
}

// Eval evaluates the rule over the facts. All children are evaluated even
// when the first decides, so that the evidence is whole.
func Eval(r Rule, f Facts) Verdict {
	switch {
	case len(r.All) > 0:
		return fold(r.All, f, False, True)
	case len(r.Any) > 0:
		return fold(r.Any, f, True, False)
	case r.Not != nil:
		v := Eval(*r.Not, f)
		v.Value = negate(v.Value)
		return v
	case r.Always != nil:
		return Verdict{Value: of(*r.Always)}
	}
	return leaf(r, f)
}

// Outcome is the value of Eval without its evidence. It stops where one child
// decides, so it is for the many rules of which nobody wants to see more.
func Outcome(r Rule, f Facts) Value {
	switch {
	case len(r.All) > 0:
		return outcome(r.All, f, False, True)
	case len(r.Any) > 0:
		return outcome(r.Any, f, True, False)
	case r.Not != nil:
		return negate(Outcome(*r.Not, f))
	case r.Always != nil:
		return of(*r.Always)
	}
	if t, can := f.(Teller); can {
		if a, given := t.Told(r); given {
			return a.Value
		}
	}
	return look(r, f).Value
}

func outcome(rules []Rule, f Facts, decisive, otherwise Value) Value {
	out := otherwise
	for _, r := range rules {
		switch Outcome(r, f) {
		case decisive:
			return decisive
		case Undetermined:
			out = Undetermined
		}
	}
	return out
}

// fold combines children: one that equals decisive decides, else any unknown
// makes the whole unknown, else it is otherwise.
func fold(rules []Rule, f Facts, decisive, otherwise Value) Verdict {
	out := Verdict{Value: otherwise}
	for _, r := range rules {
		v := Eval(r, f)
		out.Evidence = append(out.Evidence, v.Evidence...)
		switch {
		case v.Value == decisive:
			out.Value = decisive
		case v.Value == Undetermined && out.Value != decisive:
			out.Value = Undetermined
		}
	}
	return out
}

func negate(v Value) Value {
	switch v {
	case True:
		return False
	case False:
		return True
	}
	return Undetermined
}

func of(b bool) Value {
	if b {
		return True
	}
	return False
}

func leaf(r Rule, f Facts) Verdict {
	if t, can := f.(Teller); can {
		if a, given := t.Told(r); given {
			return Verdict{Value: a.Value, Evidence: []Evidence{told(r, a)}}
		}
	}
	e := look(r, f)
	return Verdict{Value: e.Value, Evidence: []Evidence{e}}
}

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

func holdsText(found, want string, op Op) bool {
	switch op {
	case Begins:
		return strings.HasPrefix(found, want)
	case Ends:
		return strings.HasSuffix(found, want)
	case Contains:
		return strings.Contains(found, want)
	}
	return holds(strings.Compare(found, want), op)
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

func (e Evidence) compare(s vercmp.Scheme, found string, op Op, want string) Evidence {
	c, err := vercmp.Compare(s, found, want)
	if err != nil {
		return e.unknown(Unknown(found + " can't be compared: " + err.Error()))
	}
	return e.found(found, holds(c, op))
}

func (e Evidence) numbers(found string, op Op, want string) Evidence {
	a, errA := strconv.ParseUint(found, 0, 64)
	b, errB := strconv.ParseUint(want, 0, 64)
	switch {
	case errA != nil:
		return e.unknown(Unknown(found + " is not a number"))
	case errB != nil:
		return e.unknown(Unknown("the rule's " + want + " is not a number"))
	case a < b:
		return e.found(found, holds(-1, op))
	case a > b:
		return e.found(found, holds(1, op))
	}
	return e.found(found, holds(0, op))
}

func holds(c int, op Op) bool {
	switch op {
	case EQ:
		return c == 0
	case NE:
		return c != 0
	case LT:
		return c < 0
	case LE:
		return c <= 0
	case GT:
		return c > 0
	case GE:
		return c >= 0
	}
	return false
}

func scheme(given, otherwise vercmp.Scheme) vercmp.Scheme {
	if given != "" {
		return given
	}
	return otherwise
}

func packageScheme(kind string) vercmp.Scheme {
	switch kind {
	case "dpkg":
		return vercmp.DPKG
	case "rpm":
		return vercmp.RPM
	case "apk":
		return vercmp.APK
	case "pkgutil":
		return vercmp.Apple
	}
	return vercmp.Windows
}

func osScheme(family string) vercmp.Scheme {
	switch family {
	case "darwin":
		return vercmp.Apple
	case "linux":
		return vercmp.DPKG
	}
	return vercmp.Windows
}
