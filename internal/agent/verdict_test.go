package agent

import (
	"testing"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestVerdictsOfARollback looks at a machine after a rollback: what was taken
// back has to be gone, what was put back has to be seen.
func TestVerdictsOfARollback(t *testing.T) {
	app := func(version string) patch.Patch {
		return patch.Patch{
			ID: patch.ID("app:" + version), Platform: "windows-apps-amd64", Product: "app", Version: version,
			Items: []patch.Item{{Kind: "arp", Name: "App", Version: version}},
		}
	}
	for name, tc := range map[string]struct {
		have      []inventory.Package
		old, back bool // whether 2 counts as installed, and 1
	}{
		"put back":    {[]inventory.Package{{Kind: "arp", Name: "App", Version: "1"}}, false, true},
		"still there": {[]inventory.Package{{Kind: "arp", Name: "App", Version: "2"}}, true, true},
		"gone":        {nil, false, false},
	} {
		snap := inventory.Snapshot{OS: inventory.OS{Family: "windows", Arch: "amd64"}, Packages: tc.have}
		if got := takenBack(app("2"), snap.Facts()); got.Installed != tc.old || got.Reason == "" {
			t.Errorf("%s: taken back %+v", name, got)
		}
		if got := putBack(app("1"), snap.Facts(), &snap); got.Installed != tc.back || got.Reason == "" {
			t.Errorf("%s: put back %+v", name, got)
		}
	}
}
