package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestBulletins: machines lack them, and it is said; nobody approves them in
// passing, and no deployment takes them.
func TestBulletins(t *testing.T) {
	w := newWorld(t, bulletin(debPatch("nginx", "1.22.1-9+deb12u9", patch.Security, patch.Important, "bbbbbbbbbbbbbbbb")))
	all := old()
	all["nginx"] = "1.22.1-9"
	w.machine("main", "m1", all, "bash")
	w.machine("main", "m2", map[string]string{"nginx": "1.22.1-9", "bash": "5.2.15-2+b3"})

	var hosts Page[Host]
	w.call("GET", "/api/v1/tenants/main/hosts", nil, 200, &hosts)
	if h := hosts.Items[1]; h.Missing != 1 || h.Bulletins != 1 || h.Health != catalog.Vulnerable || !strings.Contains(h.Problem, "1 of 1 missing can't be installed") {
		t.Errorf("%+v", h)
	}
	var rows Page[PatchRow]
	w.call("GET", "/api/v1/tenants/main/patches?needed=true&q=nginx", nil, 200, &rows)
	if len(rows.Items) != 1 || !rows.Items[0].Bulletin || rows.Items[0].NeededBy != 2 {
		t.Errorf("%+v", rows.Items)
	}

	var made Page[Decided]
	w.call("POST", "/api/v1/tenants/main/approvals", Decision{Decision: approval.Approve, Filter: &PatchFilter{AllMissing: true}}, 200, &made)
	var ids []patch.ID
	for _, d := range made.Items {
		ids = append(ids, d.Patch)
		if d.Note != "" {
			t.Errorf("%s: %q", d.Patch, d.Note)
		}
	}
	if d := cmp.Diff([]patch.ID{bashFix, curlFix, openssl}, ids); d != "" {
		t.Error(d)
	}
	w.call("POST", "/api/v1/tenants/main/approvals", Decision{Decision: approval.Approve, Patches: []patch.ID{nginx}}, 200, &made)
	if len(made.Items) != 1 || made.Items[0].Note != "nothing will be installed: nothing is installed from it: its payload was not examined" {
		t.Errorf("%+v", made.Items)
	}

	var d Deployment
	w.call("POST", "/api/v1/tenants/main/deployments", NewDeployment{Filter: &PatchFilter{AllMissing: true}, Targets: Targets{All: true}, DryRun: true}, 201, &d)
	if diff := cmp.Diff([]patch.ID{curlFix, openssl}, d.Patches); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{skipBulletin: 2, skipHeld: 1}, d.LeftOut); diff != "" {
		t.Error(diff)
	}
	p := w.refused("POST", "/api/v1/tenants/main/deployments", NewDeployment{Patches: []patch.ID{nginx}, Targets: Targets{All: true}}, fault.Nothing)
	if !strings.Contains(p.Detail, "2 in bulletins, which nothing can be installed from") {
		t.Errorf("%+v", p)
	}
	var st Status
	w.call("GET", "/api/v1/status", nil, 200, &st)
	if st.Counts["bulletins"] != 2 || st.Counts["missing"] != 5 {
		t.Errorf("%v", st.Counts)
	}
}
