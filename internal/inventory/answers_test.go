package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

// live is a machine with files and one answer to each question of WMI; its
// registry says what it likes.
type live struct {
	detect.Facts
	files    map[string]string // version by path
	registry map[string]string
	wmi      bool
}

func (l live) File(path string) (detect.FileFact, error) {
	if strings.HasPrefix(path, "denied") {
		return detect.FileFact{}, detect.Unknown("access is denied")
	}
	v, there := l.files[path]
	return detect.FileFact{Exists: there, Version: v}, nil
}

func (l live) Checksum(string) (string, bool, error) { return "abcd", true, nil }

func (l live) Registry(key, _, name string) (detect.RegistryFact, error) {
	data, there := l.registry[key+`\`+name]
	return detect.RegistryFact{Exists: there, Type: "sz", Data: data}, nil
}

func (l live) Query(string, string) (bool, error) { return l.wmi, nil }

func windowsMachine() Snapshot {
	return Snapshot{OS: OS{Family: "windows", ID: "windows-10", Version: "22h2", Build: "10.0.19045.4046", Edition: "Professional", Arch: "amd64"}}
}

func fileTest(path string) detect.Rule { return detect.Rule{File: &detect.File{Path: path}} }

func editionTest(want string) detect.Rule {
	return detect.Rule{RegistryValue: &detect.RegistryValue{
		Key: `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`, Name: "EditionID", Type: "sz", Op: detect.EQ, Data: want,
	}}
}

// TestBook: what the inventory says itself is not noted, what it says
// otherwise is, and the server then says what the machine said.
func TestBook(t *testing.T) {
	version := detect.Rule{FileVersion: &detect.FileVersion{Path: "app.exe", Op: detect.LT, Version: "2.0"}}
	question := detect.Rule{WMI: &detect.WMI{Namespace: `root\cimv2`, Query: "SELECT * FROM Win32_BIOS"}}
	pro, core := editionTest("Professional"), editionTest("Core")
	packages := detect.Rule{Package: &detect.Package{Kind: "dpkg", Name: "openssl"}}
	s := windowsMachine()
	machine := live{
		Facts: s.Facts(), files: map[string]string{"app.exe": "1.5"}, wmi: true,
		registry: map[string]string{pro.RegistryValue.Key + `\EditionID`: "Core"}, // who is wrong does not matter
	}
	b := s.NewBook(machine)
	for _, test := range []detect.Rule{version, question, pro, core, fileTest("none"), fileTest("denied"), packages} {
		if got, want := b.Ask(test), detect.Eval(test, machine).Value; got != want {
			t.Errorf("%+v: %s, want %s", test, got, want)
		}
	}
	if got := b.Answers().Given; slices.ContainsFunc(got, func(a Answer) bool { return a.Test.File == nil && a.Found != "" }) {
		t.Errorf("more was noted than decides: %+v", got)
	}
	b.Show(version)
	s.Answers = b.Answers()
	want := map[string]detect.Answer{
		version.Key(): {Value: detect.True, Found: "1.5"}, question.Key(): {Value: detect.True},
		pro.Key(): {Value: detect.False}, core.Key(): {Value: detect.True},
		fileTest("none").Key(): {Value: detect.False}, fileTest("denied").Key(): {Value: detect.Undetermined, Found: "access is denied"},
	}
	got := map[string]detect.Answer{}
	for _, a := range s.Answers.Given {
		got[a.Test.Key()] = a.Answer
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("noted (-want +got):\n%s", diff)
	}
	for _, test := range []detect.Rule{version, question, pro, core, fileTest("none"), fileTest("denied"), packages} {
		v := detect.Eval(test, s.Facts())
		if w := detect.Eval(test, machine); v.Value != w.Value || (v.Evidence[0].By == detect.ByMachine) != MayAnswer(test) {
			t.Errorf("%+v: the server says %+v, the machine %s", test, v, w.Value)
		}
	}
	if v := detect.Eval(fileTest("other"), s.Facts()); v.Value != detect.Undetermined || v.Evidence[0].Found != notAsked || v.Evidence[0].By != "" {
		t.Errorf("what was not asked: %+v", v)
	}
}

// TestBookIsBounded: what goes beyond the bounds is left out and counted, and
// the server says so.
func TestBookIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		path       string
		asks, kept int
	}{
		"count": {"%d", MaxAnswers + 7, MaxAnswers},
		"bytes": {"%d" + strings.Repeat("x", 1<<20), 3, 1},
	} {
		s := windowsMachine()
		b := s.NewBook(live{Facts: s.Facts()})
		for i := range c.asks {
			b.Ask(fileTest(fmt.Sprintf(c.path, i)))
			b.Show(fileTest(fmt.Sprintf(c.path, i)))
		}
		s.Answers = b.Answers()
		if len(s.Answers.Given) != c.kept || s.Answers.LeftOut != c.asks-c.kept {
			t.Errorf("%s: %d kept, %d left out", name, len(s.Answers.Given), s.Answers.LeftOut)
		}
		if v := detect.Eval(fileTest("other"), s.Facts()); v.Evidence[0].Found != leftOut {
			t.Errorf("%s: %+v", name, v)
		}
		if _, err := ParseAnswers(answersBody(t, s)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func answersBody(t testing.TB, s Snapshot) []byte {
	t.Helper()
	all, err := Split(s)
	if err != nil {
		t.Fatal(err)
	}
	if last := all[len(all)-1]; last.Name == SectionAnswers {
		return last.Body
	}
	t.Fatal("there is no section answers")
	return nil
}

// TestWithheld: a machine whose policy keeps its answers back says so.
func TestWithheld(t *testing.T) {
	s := windowsMachine()
	s.Answers.Withheld = true
	all, err := Split(s)
	if err != nil {
		t.Fatal(err)
	}
	s, err = Join(all)
	if v := detect.Eval(fileTest("a"), s.Facts()); err != nil || v.Evidence[0].Found != withheld {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestNoAnswersNoSection: machines that were asked nothing send what they have
// always sent.
func TestNoAnswersNoSection(t *testing.T) {
	all, err := Split(windowsMachine())
	if err != nil || len(all) != len(Sections())-1 || !Complete(all) {
		t.Fatalf("%d sections, %v", len(all), err)
	}
	if Complete(all[1:]) || Complete(nil) {
		t.Error("an inventory without its system is called complete")
	}
}

func TestParseAnswersRefuses(t *testing.T) {
	const a, b = `{"t":{"file":{"path":"a"}},"v":"true"}`, `{"t":{"file":{"path":"b"}},"v":"unknown","f":"access is denied"}`
	list := func(all ...string) string { return `{"given":[` + strings.Join(all, ",") + `]}` }
	if got, err := ParseAnswers([]byte(list(a, b))); err != nil || len(got.Given) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	deep := strings.Repeat(`{"not":`, 5000) + `{"file":{"path":"a"}}` + strings.Repeat("}", 5000)
	for name, body := range map[string]string{
		"nothing":              "",
		"null":                 "null",
		"empty":                "{}",
		"no answers":           `{"given":[]}`,
		"trailing":             list(a) + "{}",
		"spaces":               list(" " + a),
		"unknown field":        `{"given":[` + a + `],"x":1}`,
		"unknown field inside": list(`{"t":{"file":{"path":"a","x":1}},"v":"true"}`),
		"twice":                list(a, a),
		"out of order":         list(b, a),
		"no test":              list(`{"t":{},"v":"true"}`),
		"two tests":            list(`{"t":{"file":{"path":"a"},"wmi":{"namespace":"a","query":"b"}},"v":"true"}`),
		"a whole rule":         list(`{"t":{"not":{"file":{"path":"a"}}},"v":"true"}`),
		"a deep rule":          list(`{"t":` + deep + `,"v":"true"}`),
		"a package":            list(`{"t":{"package":{"kind":"dpkg","name":"openssl"}},"v":"true"}`),
		"the system":           list(`{"t":{"os_build":{"family":"windows"}},"v":"true"}`),
		"another value":        list(`{"t":{"file":{"path":"a"}},"v":"maybe"}`),
		"an operator":          list(`{"t":{"file_version":{"path":"a","op":"like","version":"1"}},"v":"true"}`),
		"unprintable":          list(`{"t":{"file":{"path":"a"}},"v":"unknown","f":"\u001b[2J"}`),
		"a long text":          list(`{"t":{"file":{"path":"a"}},"v":"unknown","f":"` + strings.Repeat("x", MaxFound+1) + `"}`),
		"less than none":       `{"left_out":-1}`,
		"withheld and given":   `{"given":[` + a + `],"withheld":true}`,
		"too large":            list(`{"t":{"file":{"path":"` + strings.Repeat("x", MaxAnswersBody) + `"}},"v":"true"}`),
		"another type":         `[]`,
	} {
		if got, err := ParseAnswers([]byte(body)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	var many []string
	for i := range MaxAnswers + 1 {
		many = append(many, fmt.Sprintf(`{"t":{"file":{"path":"%06d"}},"v":"true"}`, i))
	}
	if _, err := ParseAnswers([]byte(list(many...))); !fault.Is(err, fault.Invalid) {
		t.Errorf("too many: %v", err)
	}
}

// FuzzParseAnswers: whatever a machine sends is refused, or is what Split makes
// of it, within the bounds; and nothing of it lets a package look different.
func FuzzParseAnswers(f *testing.F) {
	f.Add([]byte(`{"given":[{"t":{"file":{"path":"a"}},"v":"true"},{"t":{"wmi":{"namespace":"root","query":"x"}},"v":"unknown","f":"denied"}]}`))
	f.Add([]byte(`{"left_out":3}`))
	f.Add([]byte(`{"withheld":true}`))
	f.Add([]byte(`{"given":[{"t":{"registry_value":{"key":"HKLM\\A","name":"B","type":"sz","op":"eq","data":"\u003c"}},"v":"false","f":"something else"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := ParseAnswers(body)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v is not Invalid", err)
			}
			return
		}
		same, err := json.Marshal(a)
		if err != nil || string(same) != string(body) || len(a.Given) > MaxAnswers {
			t.Fatalf("%s became %s, %v", body, same, err)
		}
		s := windowsMachine()
		s.Answers = a
		for _, x := range a.Given {
			if v := detect.Eval(x.Test, s.Facts()); v.Value != x.Value || v.Evidence[0].By != detect.ByMachine {
				t.Fatalf("%+v gives %+v", x, v)
			}
		}
		if v := detect.Eval(detect.Rule{Package: &detect.Package{Kind: "dpkg", Name: "openssl"}}, s.Facts()); v.Value != detect.False {
			t.Fatalf("%s makes a package appear: %+v", body, v)
		}
	})
}

// TestPrintable: what comes from a machine can be shown, and is taken by the
// server.
func TestPrintable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringN(150, 300, 600)).Draw(t, "text")
		got := printable(s)
		if len(got) > MaxFound || printable(got) != got {
			t.Fatalf("%q became %q", s, got)
		}
	})
}
