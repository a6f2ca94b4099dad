package patch

import (
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
)

// system is a machine that knows its build.
type system struct {
	machine
	os detect.OSFact
}

func (s system) OS() (detect.OSFact, error) { return s.os, nil }

// TestProductRules: an application counts as installed only when it is there,
// and nothing of it is older.
func TestProductRules(t *testing.T) {
	windows := detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: detect.GE, Build: "10.0.17763"}}
	app := Patch{Platform: "windows-apps-amd64", Items: []Item{
		{Kind: "upgrade", Name: "{U}", Arch: "amd64", Version: "2.0"}, {Kind: "arp", Name: "tool", Arch: "amd64", Version: "2.0"},
	}}
	gated := app
	gated.Applicable = &windows
	at := func(kind, name, arch string, versions ...string) map[string][]detect.PackageFact {
		out := map[string][]detect.PackageFact{}
		for _, v := range versions {
			out[kind+" "+name] = append(out[kind+" "+name], detect.PackageFact{Version: v, Arch: arch})
		}
		return out
	}
	for name, c := range map[string]struct {
		patch                 Patch
		have                  map[string][]detect.PackageFact
		os                    detect.OSFact
		applicable, installed detect.Value
	}{
		"nothing":         {app, nil, detect.OSFact{}, detect.False, detect.False},
		"older":           {app, at("upgrade", "{U}", "amd64", "1.9"), detect.OSFact{}, detect.True, detect.False},
		"level":           {app, at("arp", "tool", "amd64", "2.0.0"), detect.OSFact{}, detect.True, detect.True},
		"newer":           {app, at("arp", "tool", "amd64", "3"), detect.OSFact{}, detect.True, detect.True},
		"both":            {app, at("arp", "tool", "amd64", "2.0", "1.0"), detect.OSFact{}, detect.True, detect.False},
		"other arch":      {app, at("arp", "tool", "386", "1.0"), detect.OSFact{}, detect.False, detect.False},
		"system fits":     {gated, at("arp", "tool", "amd64", "1.0"), detect.OSFact{Family: "windows", Build: "10.0.19045.1"}, detect.True, detect.False},
		"system too old":  {gated, at("arp", "tool", "amd64", "1.0"), detect.OSFact{Family: "windows", Build: "10.0.17134.1"}, detect.False, detect.False},
		"no such version": {app, at("arp", "tool", "amd64", "one"), detect.OSFact{}, detect.True, detect.Undetermined},
	} {
		applicable, installed := c.patch.Rules()
		for _, r := range []detect.Rule{applicable, installed} {
			if err := r.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		facts := system{machine{installed: c.have}, c.os}
		if got := detect.Eval(applicable, facts).Value; got != c.applicable {
			t.Errorf("%s: applicable is %s, want %s", name, got, c.applicable)
		}
		if got := detect.Eval(installed, facts).Value; got != c.installed {
			t.Errorf("%s: installed is %s, want %s", name, got, c.installed)
		}
	}
}
