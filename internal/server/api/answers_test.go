package api

import (
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/assess"
	"github.com/fettlehq/fettle/internal/server/store"
)

// TestOwnAnswers: a finding that stands on what the machine itself answered
// says so and when, each machine with its own time though they share the row;
// one that was not asked is unknown and says that.
func TestOwnAnswers(t *testing.T) {
	file := func(path string) *detect.Rule { return &detect.Rule{File: &detect.File{Path: path}} }
	w := newWorld(t, patch.Patch{
		ID: "debian-12:amd64:driver:2", Vendor: "maker", Platform: "debian-12-amd64", Product: "driver", Version: "2", Severity: patch.Critical,
		Classification: patch.Driver, Applicable: file("/opt/old"), Installed: file("/opt/new"), Install: patch.Manifest{Kind: "exe"}, Evidence: patch.Evidence{Verdict: patch.Vouched},
	})
	day := time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)
	for i, id := range []estate.EndpointID{"m1", "m2", "m3"} {
		w.machine("main", id, nil)
		snap := inventory.Snapshot{OS: inventory.OS{Family: "linux", ID: "debian", Version: "12", Arch: "amd64", Hostname: "host-" + string(id)}}
		if id != "m3" {
			snap.Answers.Given = []inventory.Answer{
				{Test: *file("/opt/new"), Answer: detect.Answer{Value: detect.False}}, {Test: *file("/opt/old"), Answer: detect.Answer{Value: detect.True}},
			}
		}
		sections, err := inventory.Split(snap)
		must(t, err)
		at := day.Add(time.Duration(i) * time.Hour)
		must(t, w.db.In(estate.InTenant("main")).PutInventory(t.Context(), store.Report{Endpoint: id, Tenant: "main", Sections: sections, Scanned: at, Now: time.Now()}))
		must(t, w.index.Report(t.Context(), "main", id, assess.ProfileOf(snap.OS, sections)))
	}
	for _, path := range []string{"/api/v1/tenants/main/missing?q=driver", "/api/v1/tenants/main/missing?patch=debian-12:amd64:driver:2"} {
		var page Page[Finding]
		w.call("GET", path, nil, 200, &page)
		if len(page.Items) != 3 {
			t.Fatalf("%s: %+v", path, page.Items)
		}
		for i, f := range page.Items[:2] {
			checkOwn(t, f, day.Add(time.Duration(i)*time.Hour))
		}
		silent := page.Items[2]
		if silent.State != catalog.Unsure || !strings.Contains(silent.Reason, "the machine has not been asked yet") || silent.Evidence[0].By != "" || !silent.Evidence[0].At.IsZero() {
			t.Errorf("who was not asked: %+v", silent)
		}
	}
	var one Page[Finding]
	w.call("GET", "/api/v1/tenants/main/hosts/m2/missing", nil, 200, &one)
	if len(one.Items) != 1 {
		t.Fatalf("%+v", one.Items)
	}
	checkOwn(t, one.Items[0], day.Add(time.Hour))
	shared, err := w.index.Findings("main", "m1")
	if err != nil || !shared[0].Evidence[0].At.IsZero() {
		t.Errorf("the shared row was dated: %+v, %v", shared, err)
	}
}

func checkOwn(t *testing.T, f Finding, at time.Time) {
	t.Helper()
	if f.State != catalog.Missing || len(f.Evidence) != 2 {
		t.Fatalf("%+v", f)
	}
	for _, e := range f.Evidence {
		if e.By != detect.ByMachine || !e.At.Equal(at) {
			t.Errorf("%s: %+v, want it of %v", f.Hostname, e, at)
		}
	}
}
