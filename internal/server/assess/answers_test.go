package assess

import (
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestAnswersCount: machines that say the same share a profile, one that says
// something else has its own, and so has one of another edition; what a machine
// answers makes its findings certain.
func TestAnswersCount(t *testing.T) {
	there := func(path string) *detect.Rule { return &detect.Rule{File: &detect.File{Path: path}} }
	app := patch.Patch{
		ID: "windows-apps-amd64:app:2", Platform: "windows-apps-amd64", Product: "app", Version: "2", Classification: patch.Security, Severity: patch.Critical,
		Applicable: there("old.dll"), Installed: there("new.dll"), Install: patch.Manifest{Kind: "exe"}, Evidence: patch.Evidence{Verdict: patch.Vouched},
	}
	windows := func(edition string, said ...detect.Value) *inventory.Snapshot {
		s := &inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: "windows-10", Version: "22h2", Edition: edition, Arch: "amd64"}}
		for i, path := range []string{"new.dll", "old.dll"} {
			if i < len(said) {
				s.Answers.Given = append(s.Answers.Given, inventory.Answer{Test: *there(path), Answer: detect.Answer{Value: said[i]}})
			}
		}
		return s
	}
	s := newShelf()
	x := New(s)
	setCatalog(t, x, shard(t, "windows-apps-amd64", 1, app))
	for _, m := range []struct {
		id    estate.EndpointID
		snap  *inventory.Snapshot
		loads int // so many snapshots were looked at by then
		state catalog.FindingState
		by    string
	}{
		{"silent", windows("Pro"), 1, catalog.Unsure, ""},
		{"lacks", windows("Pro", detect.False, detect.True), 2, catalog.Missing, detect.ByMachine},
		{"lacks too", windows("Pro", detect.False, detect.True), 2, catalog.Missing, detect.ByMachine},
		{"has", windows("Pro", detect.True, detect.True), 3, "", ""},
		{"of another edition", windows("Core", detect.True, detect.True), 4, "", ""},
	} {
		report(t, x, s, "main", m.id, m.snap)
		found, err := x.Findings("main", m.id)
		switch {
		case err != nil || s.loads != m.loads:
			t.Errorf("%s: %d snapshots were looked at, want %d, %v", m.id, s.loads, m.loads, err)
		case m.state == "":
			if len(found) != 0 {
				t.Errorf("%s: %+v", m.id, found)
			}
		case len(found) != 1 || found[0].State != m.state || found[0].Evidence[0].By != m.by:
			t.Errorf("%s: %+v", m.id, found)
		}
	}
	sum := x.Summary("main")
	if sum.Unsure != 1 || sum.Missing[patch.Critical] != 2 || sum.Profiles != 4 {
		t.Errorf("summary %+v", sum)
	}
	report(t, x, s, "main", "silent", windows("Pro", detect.True, detect.True)) // it has been asked
	if sum := x.Summary("main"); sum.Unsure != 0 || sum.Profiles != 3 {
		t.Errorf("after its answer: %+v", sum)
	}
}
