package detect

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gotest.tools/v3/golden"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/vercmp"
)

func TestValidate(t *testing.T) {
	yes := true
	ok := Rule{Always: &yes}
	nest := func(n int) Rule {
		r := ok
		for range n {
			inner := r
			r = Rule{Not: &inner}
		}
		return r
	}
	for name, c := range map[string]struct {
		rule Rule
		says string
	}{
		"a constant":               {ok, ""},
		"as deep as allowed":       {nest(MaxDepth), ""},
		"a package without op":     {Rule{Package: &Package{Kind: "dpkg", Name: "bash"}}, ""},
		"nothing":                  {Rule{}, "rule: has 0 tests"},
		"two tests":                {Rule{Always: &yes, File: &File{}}, "rule: has 2 tests"},
		"a leaf and a list":        {Rule{All: []Rule{ok}, Architecture: &Architecture{}}, "rule: has 2 tests"},
		"an empty list":            {Rule{All: []Rule{}}, "rule: has 0 tests"},
		"a bad child":              {Rule{Any: []Rule{ok, {}}}, "rule[1]: has 0 tests"},
		"a bad grandchild":         {Rule{All: []Rule{{Not: &Rule{}}}}, "rule[0].not: has 0 tests"},
		"too deep":                 {nest(MaxDepth + 1), "nested deeper than 32"},
		"an unknown operator":      {Rule{Package: &Package{Op: "like"}}, `unknown operator "like"`},
		"a file version without":   {Rule{FileVersion: &FileVersion{Version: "1"}}, "has no operator"},
		"an unknown scheme":        {Rule{OSBuild: &OSBuild{Op: LT, Build: "1", Scheme: "solaris"}}, `version scheme "solaris"`},
		"text in a registry value": {Rule{RegistryValue: &RegistryValue{Key: `HKLM\A`, Type: "sz", Op: Begins, Data: "x"}}, ""},
		"text in a number":         {Rule{RegistryValue: &RegistryValue{Key: `HKLM\A`, Type: "dword", Op: Contains, Data: "1"}}, `"contains" compares text alone`},
		"text in a version":        {Rule{Package: &Package{Op: Ends, Version: "1"}}, `"ends" compares text alone`},
		"a registry operator":      {Rule{RegistryValue: &RegistryValue{Op: "=="}}, `unknown operator "=="`},
		"a scheme without version": {Rule{Package: &Package{Scheme: vercmp.RPM}}, ""},
	} {
		err := c.rule.Validate()
		if c.says == "" && err != nil || c.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// TestValidScheme checks every scheme that rules may name.
func TestValidScheme(t *testing.T) {
	for _, s := range []vercmp.Scheme{vercmp.DPKG, vercmp.RPM, vercmp.APK, vercmp.SemVer, vercmp.Windows, vercmp.Apple} {
		if err := (Rule{Package: &Package{Op: LT, Version: "1", Scheme: s}}).Validate(); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRule(t, 3)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Rule
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if err := back.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestGolden pins the JSON of every kind of test: it is part of signed
// catalogs.
func TestGolden(t *testing.T) {
	yes := true
	r := Rule{All: []Rule{
		{Any: []Rule{
			{File: &File{Path: `%ProgramFiles%\App\app.exe`}},
			{FileVersion: &FileVersion{Path: `{CSIDL_SYSTEM}\ntoskrnl.exe`, Op: LT, Version: "10.0.17763.8389", Scheme: vercmp.Windows}},
			{FileChecksum: &FileChecksum{Path: "/etc/motd", SHA256: strings.Repeat("0", 64)}},
		}},
		{Not: &Rule{Any: []Rule{
			{RegistryKey: &RegistryKey{Key: `HKLM\SOFTWARE\App`, View: "32"}},
			{RegistryValue: &RegistryValue{Key: `HKLM\SOFTWARE\App`, View: "64", Name: "UBR", Type: "dword", Op: GE, Data: "8389"}},
		}}},
		{Package: &Package{Kind: "dpkg", Name: "openssl", Arch: "amd64", Op: LT, Version: "3.0.17-1~deb12u3"}},
		{OSBuild: &OSBuild{Family: "windows", Product: "Enterprise", Op: GE, Build: "10.0.17763"}},
		{Architecture: &Architecture{Any: []string{"amd64", "arm64"}}},
		{Always: &yes},
	}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	asBefore(t, "rule.json", r)
	asBefore(t, "verdict.json", Eval(r, testWorld()))
}

func asBefore(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Assert(t, string(got)+"\n", name)
}

// FuzzRule reads a rule from outside, and evaluates it when it is valid.
func FuzzRule(f *testing.F) {
	seed, err := os.ReadFile("testdata/rule.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Add(`{"always":true}`)
	f.Add(strings.Repeat(`{"not":`, 40) + `{"always":true}` + strings.Repeat("}", 40))
	f.Add(`{"all":[{"package":{"kind":"dpkg","name":"openssl","op":"lt","version":"3"}}]}`)
	f.Add(`{"registry_value":{"key":"HKLM\\A","name":"ubr","type":"dword","op":"lt","data":"99999999999999999999"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var r Rule
		if json.Unmarshal([]byte(text), &r) != nil || r.Validate() != nil {
			return
		}
		v := Eval(r, testWorld())
		switch v.Value {
		case True, False, Undetermined:
		default:
			t.Fatalf("a verdict of %q", v.Value)
		}
		for _, e := range v.Evidence {
			if e.Test == "empty rule" {
				t.Fatalf("a valid rule has an empty test: %s", text)
			}
		}
	})
}
