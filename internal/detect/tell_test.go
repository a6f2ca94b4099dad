package detect

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// partly is the world of which one part alone is settled.
type partly struct {
	world
	files, registry, packages bool
}

func (p partly) File(path string) (FileFact, error) {
	if !p.files {
		return FileFact{}, errDenied
	}
	return p.world.File(path)
}

func (p partly) Registry(key, view, name string) (RegistryFact, error) {
	if !p.registry {
		return RegistryFact{}, errDenied
	}
	return p.world.Registry(key, view, name)
}

func (p partly) Packages(kind, name string) ([]PackageFact, error) {
	if !p.packages {
		return nil, errDenied
	}
	return p.world.Packages(kind, name)
}

// remembering is the settled facts with a machine's answers.
type remembering struct {
	partly
	given map[string]Answer
}

func (r remembering) Told(test Rule) (Answer, bool) {
	a, given := r.given[test.Key()]
	return a, given
}

// TestDecide: the answers that Decide asks for are enough to say what the
// machine says, and none is asked that was not needed.
func TestDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := testWorld()
		known := remembering{partly{live, rapid.Bool().Draw(t, "files"), rapid.Bool().Draw(t, "registry"), rapid.Bool().Draw(t, "packages")}, map[string]Answer{}}
		r := genRule(t, 3)
		want := Eval(r, live).Value
		got := Decide(r, known.partly, func(test Rule) Value {
			if Eval(test, known.partly).Value != Undetermined {
				t.Fatalf("%+v was asked and is settled", test)
			}
			a := Look(test, live)
			known.given[test.Key()] = a
			return a.Value
		})
		if got != want || Eval(r, known).Value != want || Outcome(r, known) != want || Outcome(r, live) != want {
			t.Fatalf("%+v: decided %s, told %s and %s, is %s and %s", r, got, Eval(r, known).Value, Outcome(r, known), want, Outcome(r, live))
		}
		if Eval(r, known.partly).Value != Undetermined && len(known.given) > 0 {
			t.Fatalf("%+v is settled, and %d tests were asked", r, len(known.given))
		}
	})
}

// TestLookKeepsData: what a registry value or a file holds does not leave the
// machine.
func TestLookKeepsData(t *testing.T) {
	const secret = "hunter2"
	w := world{
		files:    map[string]string{"app.exe": "1.2.3.4", "plain.txt": ""},
		sums:     map[string]string{"key": secret},
		registry: map[string]RegistryFact{`HKLM\A\v`: {Exists: true, Type: "sz", Data: secret}, `HKLM\A\n`: {Exists: true, Type: "dword", Data: "4711"}, `HKLM\A\`: {Exists: true}},
	}
	text := func(op Op, data string) Rule {
		return Rule{RegistryValue: &RegistryValue{Key: `HKLM\A`, Name: "v", Type: "sz", Op: op, Data: data}}
	}
	number := func(name, data string) Rule {
		return Rule{RegistryValue: &RegistryValue{Key: `HKLM\A`, Name: name, Type: "dword", Op: LT, Data: data}}
	}
	for name, c := range map[string]struct {
		test Rule
		want Answer
	}{
		"same text":        {text(EQ, secret), Answer{Value: True}},
		"its beginning":    {text(Begins, "hunt"), Answer{Value: True}},
		"other text":       {text(EQ, "x"), Answer{False, "something else"}},
		"value there":      {text("", ""), Answer{Value: True}},
		"no value":         {Rule{RegistryValue: &RegistryValue{Key: `HKLM\A`, Name: "none"}}, Answer{Value: False}},
		"key there":        {Rule{RegistryKey: &RegistryKey{Key: `HKLM\A`}}, Answer{Value: True}},
		"lower":            {number("n", "5000"), Answer{Value: True}},
		"higher":           {number("n", "1"), Answer{False, "something else"}},
		"no number":        {number("v", "1"), Answer{Undetermined, "what is there can't be compared"}},
		"none to compare":  {number("none", "1"), Answer{False, "absent"}},
		"version":          {Rule{RegistryValue: &RegistryValue{Key: `HKLM\A`, Name: "v", Type: "version", Op: LT, Data: "1"}}, Answer{Undetermined, "what is there can't be compared"}},
		"denied":           {Rule{RegistryKey: &RegistryKey{Key: "denied"}}, Answer{Undetermined, "access is denied"}},
		"same file":        {Rule{FileChecksum: &FileChecksum{Path: "key", SHA256: secret}}, Answer{Value: True}},
		"other file":       {Rule{FileChecksum: &FileChecksum{Path: "key", SHA256: "x"}}, Answer{False, "something else"}},
		"no file":          {Rule{FileChecksum: &FileChecksum{Path: "none", SHA256: "x"}}, Answer{False, "absent"}},
		"version of files": {Rule{FileVersion: &FileVersion{Path: "app.exe", Op: LT, Version: "2"}}, Answer{True, "1.2.3.4"}},
		"no version":       {Rule{FileVersion: &FileVersion{Path: "plain.txt", Op: LT, Version: "2"}}, Answer{Undetermined, "the file carries no version"}},
		"no WMI here":      {Rule{WMI: &WMI{Namespace: `root\cimv2`, Query: "SELECT"}}, Answer{Undetermined, noWMI}},
	} {
		got := Look(c.test, w)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		e := told(c.test, got)
		direct := look(c.test, w)
		if e.Value != direct.Value || e.Test != direct.Test || e.Want != direct.Want || e.By != ByMachine || e.Found == "" {
			t.Errorf("%s: the evidence %+v of %+v", name, e, direct)
		}
		if strings.Contains(e.Found, secret) || strings.Contains(e.Found, "4711") {
			t.Errorf("%s: tells %q", name, e.Found)
		}
	}
}

// TestKey: what asks differently has another key, and what has children none.
func TestKey(t *testing.T) {
	seen := map[string]Rule{}
	for _, r := range []Rule{
		{File: &File{Path: "a"}},
		{File: &File{Path: "A"}},
		{FileVersion: &FileVersion{Path: "a", Op: LT, Version: "1"}},
		{FileVersion: &FileVersion{Path: "a", Op: LT, Version: "1", Scheme: "dpkg"}},
		{FileVersion: &FileVersion{Path: "a", Op: GE, Version: "1"}},
		{FileChecksum: &FileChecksum{Path: "a", SHA256: "1"}},
		{RegistryKey: &RegistryKey{Key: "a"}},
		{RegistryKey: &RegistryKey{Key: "a", View: "32"}},
		{RegistryValue: &RegistryValue{Key: "a", Name: "b"}},
		{RegistryValue: &RegistryValue{Key: "a", View: "b"}},
		{RegistryValue: &RegistryValue{Key: "a\x00", View: "", Name: "b"}},
		{RegistryValue: &RegistryValue{Key: "a", View: "", Name: "\x00b"}},
		{Package: &Package{Kind: "cbs", Name: "a"}},
		{OSBuild: &OSBuild{Family: "windows"}},
		{Architecture: &Architecture{Any: []string{"amd64"}}},
		{Architecture: &Architecture{Any: []string{"amd64", "386"}}},
		{WMI: &WMI{Namespace: "a", Query: "b"}},
		{WMI: &WMI{Namespace: "a\x00b"}},
	} {
		if other, twice := seen[r.Key()]; twice || r.Key() == "" {
			t.Errorf("%+v and %+v have the key %q", r, other, r.Key())
		}
		seen[r.Key()] = r
	}
	yes := true
	for _, r := range []Rule{{}, {Always: &yes}, {Not: &Rule{File: &File{Path: "a"}}}, {All: []Rule{{File: &File{Path: "a"}}}}, {Any: []Rule{{}}}} {
		if r.Key() != "" {
			t.Errorf("%+v has the key %q", r, r.Key())
		}
	}
}
