package catalog

import (
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestBulletinOfTheSystem: an update of Windows of which only the documents are
// known says which build is there, what it would be, and why nothing comes of
// an approval.
func TestBulletinOfTheSystem(t *testing.T) {
	p := patch.Patch{
		ID: "windows-10-1903:amd64:KB1", Vendor: "microsoft", Platform: "windows-apps-amd64", Product: "KB1", Version: "10.0.18362.500", Title: "2026-05 cumulative update",
		Classification: patch.Security, Severity: patch.Critical, Install: patch.Manifest{Kind: "msu"},
		Applicable: &detect.Rule{OSBuild: &detect.OSBuild{Family: "windows"}},
		Installed:  &detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: detect.GE, Build: "10.0.18362.500"}},
		Evidence:   patch.Evidence{Verdict: patch.Unproven, Checks: []string{"no payload is named: nothing is installed from it"}},
	}
	found, err := Assess([]*Shard{appShard(t, p)}, windowsMachine(), nil)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	f := found[0]
	if !f.Bulletin || f.Installable() || !f.Lacks() || f.Installed != "10.0.18362.1" || f.Available != p.Version || !strings.HasSuffix(f.Reason, "; no payload is named: nothing is installed from it") {
		t.Errorf("%+v", f)
	}
}
