package detect

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/vercmp"
)

// world is a machine for tests. What is not in a map does not exist; a name
// that begins with "denied" can't be read.
type world struct {
	files    map[string]string // path -> version
	sums     map[string]string
	registry map[string]RegistryFact // key\value
	packages map[string][]PackageFact
	os       OSFact
	blind    bool // the operating system can't be told
}

var errDenied = Unknown("access is denied")

func denied(name string) bool { return len(name) >= 6 && name[:6] == "denied" }

func (w world) File(path string) (FileFact, error) {
	if denied(path) {
		return FileFact{}, errDenied
	}
	v, ok := w.files[path]
	return FileFact{Exists: ok, Version: v}, nil
}

func (w world) Checksum(path string) (string, bool, error) {
	if denied(path) {
		return "", false, errors.New("read failed") // any error makes it unknown
	}
	s, ok := w.sums[path]
	return s, ok, nil
}

func (w world) Registry(key, _, name string) (RegistryFact, error) {
	if denied(key) {
		return RegistryFact{}, errDenied
	}
	return w.registry[key+`\`+name], nil
}

func (w world) Packages(kind, name string) ([]PackageFact, error) {
	if denied(name) {
		return nil, errDenied
	}
	return w.packages[kind+" "+name], nil
}

func (w world) OS() (OSFact, error) {
	if w.blind {
		return OSFact{}, errDenied
	}
	return w.os, nil
}

func testWorld() world {
	return world{
		files: map[string]string{"ntoskrnl.exe": "10.0.17763.8389", "plain.txt": "", "odd.dll": "v1"},
		sums:  map[string]string{"plain.txt": "abcd"},
		registry: map[string]RegistryFact{
			`HKLM\A\`:      {Exists: true},
			`HKLM\A\text`:  {Exists: true, Type: "sz", Data: "Server"},
			`HKLM\A\ubr`:   {Exists: true, Type: "dword", Data: "8389"},
			`HKLM\A\build`: {Exists: true, Type: "sz", Data: "10.0.9"},
			`HKLM\A\words`: {Exists: true, Type: "sz", Data: "many"},
		},
		packages: map[string][]PackageFact{
			"dpkg openssl": {{Version: "3.0.15-1~deb12u1", Arch: "amd64"}, {Version: "3.0.17-1~deb12u3", Arch: "i386"}},
			"rpm kernel":   {{Version: "5.14.0-1", Arch: "x86_64"}, {Version: "5.14.0-2", Arch: "x86_64"}},
			"apk musl":     {{Version: "1.2.4-r2"}},
			"msi odd":      {{Version: "one"}, {Version: "2.0"}},
			"pkgutil os":   {{Version: "15.6.1"}},
		},
		os: OSFact{Family: "windows", Product: "Enterprise", Build: "10.0.17763.8389", Arch: "amd64"},
	}
}

func dpkg(arch string, op Op, version string) Rule {
	return Rule{Package: &Package{Kind: "dpkg", Name: "openssl", Arch: arch, Op: op, Version: version}}
}

func value(name, kind string, op Op, data string) Rule {
	return Rule{RegistryValue: &RegistryValue{Key: `HKLM\A`, Name: name, Type: kind, Op: op, Data: data}}
}

func TestLeaves(t *testing.T) {
	file := func(path string, op Op, v string) Rule {
		return Rule{FileVersion: &FileVersion{Path: path, Op: op, Version: v}}
	}
	pkg := func(kind, name string, op Op, v string) Rule {
		return Rule{Package: &Package{Kind: kind, Name: name, Op: op, Version: v}}
	}
	for name, c := range map[string]struct {
		rule  Rule
		want  Value
		found string
	}{
		"a file":                      {Rule{File: &File{Path: "plain.txt"}}, True, "present"},
		"no file":                     {Rule{File: &File{Path: "other"}}, False, "absent"},
		"a file behind a wall":        {Rule{File: &File{Path: "denied"}}, Undetermined, "access is denied"},
		"a file version":              {file("ntoskrnl.exe", GE, "10.0.17763.8389"), True, "10.0.17763.8389"},
		"an older file version":       {file("ntoskrnl.exe", GT, "10.0.17763.8389"), False, "10.0.17763.8389"},
		"a version of no file":        {file("other", LT, "1"), False, "absent"},
		"a file without version":      {file("plain.txt", LT, "1"), Undetermined, "the file carries no version"},
		"a version behind a wall":     {file("denied", LT, "1"), Undetermined, "access is denied"},
		"a version that is none":      {file("odd.dll", LT, "1"), Undetermined, ""},
		"a version in another scheme": {Rule{FileVersion: &FileVersion{Path: "ntoskrnl.exe", Op: LT, Version: "10.0.17763.8389a", Scheme: vercmp.DPKG}}, True, "10.0.17763.8389"},
		"a checksum":                  {Rule{FileChecksum: &FileChecksum{Path: "plain.txt", SHA256: "ABCD"}}, True, "sha256 abcd"},
		"another checksum":            {Rule{FileChecksum: &FileChecksum{Path: "plain.txt", SHA256: "ff"}}, False, "sha256 abcd"},
		"a checksum of no file":       {Rule{FileChecksum: &FileChecksum{Path: "other", SHA256: "ff"}}, False, "absent"},
		"a checksum that fails":       {Rule{FileChecksum: &FileChecksum{Path: "denied", SHA256: "ff"}}, Undetermined, "read failed"},
		"a key":                       {Rule{RegistryKey: &RegistryKey{Key: `HKLM\A`}}, True, "present"},
		"no key":                      {Rule{RegistryKey: &RegistryKey{Key: `HKLM\B`}}, False, "absent"},
		"a key behind a wall":         {Rule{RegistryKey: &RegistryKey{Key: "denied"}}, Undetermined, "access is denied"},
		"a value":                     {value("text", "", "", ""), True, "present"},
		"no value":                    {value("none", "", EQ, "x"), False, "absent"},
		"a text ignores case":         {value("text", "sz", EQ, "SERVER"), True, "Server"},
		"another text":                {value("text", "sz", NE, "Client"), True, "Server"},
		"a number":                    {value("ubr", "dword", GE, "8389"), True, "8389"},
		"a number in hex":             {value("ubr", "dword", EQ, "0x20c5"), True, "8389"},
		"numbers, not texts":          {value("ubr", "dword", LT, "10000"), True, "8389"},
		"a number that is none":       {value("words", "dword", LT, "10"), Undetermined, "many is not a number"},
		"a rule's number is none":     {value("ubr", "qword", LT, "ten"), Undetermined, "the rule's ten is not a number"},
		"versions, not texts":         {value("build", "version", LT, "10.0.10"), True, "10.0.9"},
		"a value behind a wall":       {Rule{RegistryValue: &RegistryValue{Key: "denied"}}, Undetermined, "access is denied"},
		"a package":                   {dpkg("", "", ""), True, "3.0.15-1~deb12u1"},
		"any architecture":            {dpkg("", GE, "3.0.17-1~deb12u3"), True, "3.0.17-1~deb12u3"},
		"one architecture":            {dpkg("amd64", GE, "3.0.17-1~deb12u3"), False, "3.0.15-1~deb12u1"},
		"an architecture not there":   {dpkg("arm64", "", ""), False, "not installed"},
		"a package not there":         {pkg("dpkg", "nginx", LT, "1"), False, "not installed"},
		"another kind":                {pkg("rpm", "openssl", "", ""), False, "not installed"},
		"one of two kernels":          {pkg("rpm", "kernel", EQ, "5.14.0-2"), True, "5.14.0-2"},
		"neither of two kernels":      {pkg("rpm", "kernel", GT, "5.14.0-2"), False, "5.14.0-2"},
		"an Alpine package":           {pkg("apk", "musl", LT, "1.2.4-r10"), True, "1.2.4-r2"},
		"an Apple package":            {pkg("pkgutil", "os", LT, "26.0"), True, "15.6.1"},
		"one that can't be compared":  {pkg("msi", "odd", LT, "1.0"), Undetermined, ""},
		"but the other decides":       {pkg("msi", "odd", EQ, "2.0"), True, "2.0"},
		"packages behind a wall":      {pkg("dpkg", "denied", "", ""), Undetermined, "access is denied"},
		"a build":                     {Rule{OSBuild: &OSBuild{Family: "windows", Op: GE, Build: "10.0.17763.1"}}, True, "10.0.17763.8389"},
		"a product":                   {Rule{OSBuild: &OSBuild{Product: "enterprise"}}, True, "Enterprise 10.0.17763.8389"},
		"another product":             {Rule{OSBuild: &OSBuild{Product: "Core"}}, False, "Enterprise"},
		"another family":              {Rule{OSBuild: &OSBuild{Family: "linux", Op: GE, Build: "12"}}, False, "windows"},
		"an architecture":             {Rule{Architecture: &Architecture{Any: []string{"arm64", "amd64"}}}, True, "amd64"},
		"no architecture":             {Rule{Architecture: &Architecture{Any: []string{"arm64"}}}, False, "amd64"},
		"nothing":                     {Rule{}, Undetermined, "none"},
	} {
		v := Eval(c.rule, testWorld())
		if v.Value != c.want || len(v.Evidence) != 1 || v.Evidence[0].Value != c.want || c.found != "" && v.Evidence[0].Found != c.found {
			t.Errorf("%s: %+v, want %s, %q", name, v, c.want, c.found)
		}
	}
	for _, r := range []Rule{{OSBuild: &OSBuild{}}, {Architecture: &Architecture{Any: []string{"amd64"}}}} {
		if v := Eval(r, world{blind: true}); v.Value != Undetermined {
			t.Errorf("an unknown system: %+v", v)
		}
	}
}

// TestOperators tries each operator on an older, an equal and a newer version.
func TestOperators(t *testing.T) {
	for op, want := range map[Op][3]Value{
		EQ: {False, True, False}, NE: {True, False, True}, LT: {True, False, False},
		LE: {True, True, False}, GT: {False, False, True}, GE: {False, True, True}, "like": {False, False, False},
	} {
		for i, version := range []string{"3.0.16-1", "3.0.15-1~deb12u1", "3.0.14-1"} { // the fact is older, equal, newer
			if got := Eval(dpkg("amd64", op, version), testWorld()).Value; got != want[i] {
				t.Errorf("3.0.15-1~deb12u1 %s %s: %s, want %s", op, version, got, want[i])
			}
		}
	}
}

func TestOSBuildSchemes(t *testing.T) {
	for _, c := range []struct{ family, have, op, want string }{
		{"darwin", "24G84", "lt", "24G90"}, {"linux", "9.6", "lt", "9.10"}, {"windows", "10.0.9", "lt", "10.0.10"},
	} {
		w := world{os: OSFact{Family: c.family, Build: c.have}}
		if v := Eval(Rule{OSBuild: &OSBuild{Op: Op(c.op), Build: c.want}}, w); v.Value != True {
			t.Errorf("%s %s %s %s: %+v", c.family, c.have, c.op, c.want, v)
		}
	}
}

func TestEvidenceIsWhole(t *testing.T) {
	no := false
	r := Rule{Any: []Rule{dpkg("amd64", GE, "1"), {Not: &Rule{File: &File{Path: "denied"}}}, {Always: &no}}}
	got := Eval(r, testWorld())
	want := Verdict{Value: True, Evidence: []Evidence{
		{Test: "package dpkg openssl:amd64", Want: "ge 1", Found: "3.0.15-1~deb12u1", Value: True},
		{Test: "file denied", Want: "present", Found: "access is denied", Value: Undetermined},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	if got := got.Reason(); got != "package dpkg openssl:amd64: 3.0.15-1~deb12u1 (wanted ge 1)" {
		t.Errorf("reason %q", got)
	}
}

// genRule draws a rule of every shape over testWorld.
func genRule(t *rapid.T, depth int) Rule {
	kinds := 5
	if depth > 0 {
		kinds = 8
	}
	list := func() []Rule {
		var out []Rule
		for range rapid.IntRange(1, 3).Draw(t, "children") {
			out = append(out, genRule(t, depth-1))
		}
		return out
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "shape") {
	case 0:
		b := rapid.Bool().Draw(t, "always")
		return Rule{Always: &b}
	case 1:
		return Rule{File: &File{Path: rapid.SampledFrom([]string{"plain.txt", "other", "denied"}).Draw(t, "path")}}
	case 2:
		return dpkg(rapid.SampledFrom([]string{"", "amd64", "arm64"}).Draw(t, "arch"), rapid.SampledFrom([]Op{"", EQ, LT, GE}).Draw(t, "op"), "3.0.16")
	case 3:
		return value(rapid.SampledFrom([]string{"ubr", "words", "none"}).Draw(t, "value"), "dword", LT, "9000")
	case 4:
		return Rule{Architecture: &Architecture{Any: []string{rapid.SampledFrom([]string{"amd64", "arm64"}).Draw(t, "arch")}}}
	case 5:
		return Rule{All: list()}
	case 6:
		return Rule{Any: list()}
	}
	r := genRule(t, depth-1)
	return Rule{Not: &r}
}

// TestKleene holds the evaluator against the laws of strong three-valued
// logic.
func TestKleene(t *testing.T) {
	not := func(r Rule) Rule { return Rule{Not: &r} }
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genRule(t, 2), genRule(t, 2), genRule(t, 2)
		w := testWorld()
		same := func(law string, x, y Rule) {
			if vx, vy := Eval(x, w).Value, Eval(y, w).Value; vx != vy {
				t.Fatalf("%s: %s and %s differ for %+v, %+v, %+v", law, vx, vy, a, b, c)
			}
		}
		all := func(r ...Rule) Rule { return Rule{All: r} }
		anyOf := func(r ...Rule) Rule { return Rule{Any: r} }
		same("double negation", not(not(a)), a)
		same("De Morgan, all", not(all(a, b)), anyOf(not(a), not(b)))
		same("De Morgan, any", not(anyOf(a, b)), all(not(a), not(b)))
		same("all commutes", all(a, b), all(b, a))
		same("any commutes", anyOf(a, b), anyOf(b, a))
		same("all associates", all(a, all(b, c)), all(a, b, c))
		same("any associates", anyOf(a, anyOf(b, c)), anyOf(a, b, c))
		same("all is idempotent", all(a, a), a)
		same("absorption", all(a, anyOf(a, b)), a)
		same("all distributes", all(a, anyOf(b, c)), anyOf(all(a, b), all(a, c)))
		yes, no := true, false
		same("true is neutral", all(a, Rule{Always: &yes}), a)
		same("false decides", all(a, Rule{Always: &no}), Rule{Always: &no})
		same("true decides", anyOf(a, Rule{Always: &yes}), Rule{Always: &yes})
		if Eval(a, w).Value == Undetermined && Eval(anyOf(a, not(a)), w).Value != Undetermined {
			t.Fatal("the excluded middle does not hold for what is not known")
		}
	})
}

// TestKnowingMoreNeverOverturns: when a fact that was unknown becomes known, a
// verdict that was true or false stays.
func TestKnowingMoreNeverOverturns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRule(t, 3)
		before := Eval(r, testWorld()).Value
		for _, f := range []FileFact{{}, {Exists: true}} {
			if after := Eval(r, open{testWorld(), f}).Value; before != Undetermined && after != before {
				t.Fatalf("%+v was %s and became %s", r, before, after)
			}
		}
	})
}

// open is the world with the wall around "denied" taken down.
type open struct {
	world
	denied FileFact
}

func (o open) File(path string) (FileFact, error) {
	if denied(path) {
		return o.denied, nil
	}
	return o.world.File(path)
}
