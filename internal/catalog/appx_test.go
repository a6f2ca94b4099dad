package catalog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestPackagedApps: an AppX or MSIX package is found by its family name, and a
// patch that nothing can be installed from is named as a bulletin.
func TestPackagedApps(t *testing.T) {
	bulletin := app("msix:2", "2.0.0.0", "amd64", "msix", "appx Lab.Notes_8WEKYB3D8BBWE")
	bulletin.Evidence = patch.Evidence{Verdict: patch.Unproven, Checks: []string{"nothing is installed from it: MSIX packages are not installed yet"}}
	shard := appShard(t, bulletin, app("exe:9", "9.0", "amd64", "exe", "arp Lab.Notes_8wekyb3d8bbwe"))
	for name, c := range map[string]struct {
		row  inventory.Package
		want []string
		says string
	}{
		"older":      {inventory.Package{Version: "1.9.0.0", Arch: "amd64"}, []string{"msix:2 missing"}, "2.0.0.0 is in the catalog, but nothing is installed from it"},
		"any":        {inventory.Package{Version: "1.9.0.0"}, []string{"msix:2 missing"}, ""},
		"level":      {inventory.Package{Version: "2.0.0.0", Arch: "amd64"}, nil, ""},
		"newer":      {inventory.Package{Version: "2000.1.0.0", Arch: "amd64"}, nil, ""},
		"other arch": {inventory.Package{Version: "1.9.0.0", Arch: "386"}, nil, ""},
		"one user's": {inventory.Package{Version: "1.9.0.0", Arch: "amd64", Scope: "user:ann"}, []string{"msix:2 user_only"}, "only user ann has Notes 1.9.0.0"},
	} {
		c.row.Kind, c.row.Name, c.row.Title = inventory.KindPackaged, "Lab.Notes_8wekyb3d8bbwe", "Notes"
		snap := windowsMachine()
		snap.Packages = []inventory.Package{c.row}
		found, err := Assess([]*Shard{shard}, snap, snap.Facts())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range found {
			got = append(got, string(f.Patch)+" "+string(f.State))
			if !f.Bulletin || f.Name() != "Maker.Tool" || !strings.Contains(f.Reason, c.says) {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
