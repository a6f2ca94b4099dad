package detect

import "strings"

// Answer is what a machine itself said to one test.
type Answer struct {
	Value Value `json:"v"`
	// Found is what was found, or why it is unknown. It never holds the data
	// of a registry value nor a checksum: see Look. Empty stands for the word
	// that follows from the value ("present").
	Found string `json:"f,omitempty"`
}

// Teller is Facts that also hold a machine's own answers to whole tests. They
// come before what the facts themselves say.
type Teller interface {
	Facts
	// Told returns the answer to a test, a rule without children; false when
	// the machine gave none.
	Told(test Rule) (Answer, bool)
}

// ByMachine is the Evidence.By of what the machine itself answered.
const ByMachine = "machine"

// told makes evidence of a machine's answer.
func told(r Rule, a Answer) Evidence {
	e := look(r, nothing{})
	e.Found, e.Value, e.By = a.Found, a.Value, ByMachine
	if e.Found == "" {
		e.Found = usual(r, a.Value)
	}
	return e
}

// usual is what is found where the value says it all.
func usual(r Rule, v Value) string {
	words := map[Value]string{True: "as wanted", False: "not as wanted", Undetermined: "it can't be told"}
	switch {
	case r.File != nil, r.RegistryKey != nil, r.RegistryValue != nil && r.RegistryValue.Op == "":
		words[True], words[False] = "present", "absent"
	case r.WMI != nil:
		words[True], words[False] = "something", "nothing"
	}
	return words[v]
}

// Look answers a test, a rule without children, from the facts as it may be
// told to others: of a registry value and a file's checksum it says whether
// they are as wanted, and never what they are.
func Look(test Rule, f Facts) Answer {
	w := &noting{Facts: f}
	e := look(test, w)
	a := Answer{Value: e.Value, Found: e.Found}
	if w.read {
		switch a.Value {
		case True:
			a.Found = ""
		case False:
			a.Found = "something else"
		default:
			a.Found = "what is there can't be compared"
		}
	}
	if a.Found == usual(test, a.Value) {
		a.Found = ""
	}
	return a
}

// noting is facts that note when data came out which stay on the machine.
type noting struct {
	Facts
	read bool
}

func (n *noting) Checksum(path string) (sum string, exists bool, err error) {
	sum, exists, err = n.Facts.Checksum(path)
	n.read = n.read || exists && err == nil
	return sum, exists, err
}

func (n *noting) Registry(key, view, name string) (RegistryFact, error) {
	fact, err := n.Facts.Registry(key, view, name)
	n.read = n.read || err == nil && fact.Exists && name != ""
	return fact, err
}

func (n *noting) Query(namespace, wql string) (bool, error) {
	if q, can := n.Facts.(Querier); can {
		return q.Query(namespace, wql)
	}
	return false, Unknown(noWMI)
}

// nothing is facts that know nothing.
type nothing struct{}

func (nothing) File(string) (FileFact, error)                  { return FileFact{}, Unknown("") }
func (nothing) Checksum(string) (string, bool, error)          { return "", false, Unknown("") }
func (nothing) Registry(_, _, _ string) (RegistryFact, error)  { return RegistryFact{}, Unknown("") }
func (nothing) Packages(string, string) ([]PackageFact, error) { return nil, Unknown("") }
func (nothing) OS() (OSFact, error)                            { return OSFact{}, Unknown("") }

// Decide evaluates a rule with as few tests as it takes: it begins with the
// settled facts, asks the machine what they leave open, and stops where one
// answer decides. Its value is the one that Eval gives over the settled facts
// and all answers: whatever the tests say that were not asked, it stays.
func Decide(r Rule, settled Facts, ask func(test Rule) Value) Value {
	if v := Outcome(r, settled); v != Undetermined {
		return v
	}
	switch {
	case len(r.All) > 0:
		return decide(r.All, settled, ask, False, True)
	case len(r.Any) > 0:
		return decide(r.Any, settled, ask, True, False)
	case r.Not != nil:
		return negate(Decide(*r.Not, settled, ask))
	}
	return ask(r)
}

func decide(rules []Rule, settled Facts, ask func(Rule) Value, decisive, otherwise Value) Value {
	out := otherwise
	for _, r := range rules {
		switch Decide(r, settled, ask) {
		case decisive:
			return decisive
		case Undetermined:
			out = Undetermined
		}
	}
	return out
}

// Tests calls each for every test of the rule, in the order of Eval.
func (r Rule) Tests(each func(test Rule)) {
	switch {
	case len(r.All) > 0:
		for _, child := range r.All {
			child.Tests(each)
		}
	case len(r.Any) > 0:
		for _, child := range r.Any {
			child.Tests(each)
		}
	case r.Not != nil:
		r.Not.Tests(each)
	case r.Always == nil:
		each(r)
	}
}

// Key is the canonical form of a test: two tests with the same one ask the
// same. It is empty for rules with children, constants and empty rules.
func (r Rule) Key() string {
	switch {
	case r.File != nil:
		return key("file", r.File.Path)
	case r.FileVersion != nil:
		t := r.FileVersion
		return key("file_version", t.Path, string(t.Op), t.Version, string(t.Scheme))
	case r.FileChecksum != nil:
		return key("file_checksum", r.FileChecksum.Path, r.FileChecksum.SHA256)
	case r.RegistryKey != nil:
		return key("registry_key", r.RegistryKey.Key, r.RegistryKey.View)
	case r.RegistryValue != nil:
		t := r.RegistryValue
		return key("registry_value", t.Key, t.View, t.Name, t.Type, string(t.Op), t.Data, string(t.Scheme))
	case r.Package != nil:
		t := r.Package
		return key("package", t.Kind, t.Name, t.Arch, string(t.Op), t.Version, string(t.Scheme))
	case r.OSBuild != nil:
		t := r.OSBuild
		return key("os_build", t.Family, t.Product, string(t.Op), t.Build, string(t.Scheme))
	case r.Architecture != nil:
		return key(append([]string{"architecture"}, r.Architecture.Any...)...)
	case r.WMI != nil:
		return key("wmi", r.WMI.Namespace, r.WMI.Query)
	}
	return ""
}

// key joins the parts so that no two lists of them give the same text.
func key(parts ...string) string {
	size := len(parts)
	for _, p := range parts {
		size += len(p)
	}
	var b strings.Builder
	b.Grow(size)
	for _, p := range parts {
		b.WriteString(strings.ReplaceAll(p, "\x00", "\x00\x00"))
		b.WriteString("\x00 ")
	}
	return b.String()
}
