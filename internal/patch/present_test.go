package patch

import (
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
)

func TestPresent(t *testing.T) {
	on := func(version string) map[string][]detect.PackageFact {
		return map[string][]detect.PackageFact{"dpkg libssl3": {{Version: version, Arch: "amd64"}}}
	}
	always := true
	ruled := Patch{Installed: &detect.Rule{Always: &always}, Applicable: &detect.Rule{Always: &always}}
	filed, besides := ruled, openssl()
	filed.Items = []Item{{Kind: "file", Name: "setup.exe", Version: "3.0"}}
	besides.Items = append(besides.Items, filed.Items...)
	for name, c := range map[string]struct {
		patch     Patch
		installed map[string][]detect.PackageFact
		want      detect.Value
	}{
		"nothing installed": {openssl(), nil, detect.False},
		"older":             {openssl(), on("3.0.15-1"), detect.False},
		"the very version":  {openssl(), on("3.0.17-1~deb12u3"), detect.True},
		"newer":             {openssl(), on("3.1.0-1"), detect.False},
		"rules alone":       {ruled, nil, detect.True},
		"rules of a file":   {filed, nil, detect.True},
		"a file besides":    {besides, on("3.0.17-1~deb12u3"), detect.True},
		"a file, and older": {besides, on("3.0.15-1"), detect.False},
	} {
		rule := c.patch.Present()
		if err := rule.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := detect.Eval(rule, machine{installed: c.installed}).Value; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if got, want := detect.Eval(c.patch.There(), machine{installed: c.installed}).Value == detect.True, c.installed != nil || !c.patch.Listed(); got != want {
			t.Errorf("%s: some version there: %t", name, got)
		}
	}
	unread := openssl()
	unread.Items[0].Name = "locked"
	if got := detect.Eval(unread.Present(), machine{}).Value; got != detect.Undetermined {
		t.Errorf("unreadable: %s", got)
	}
}
