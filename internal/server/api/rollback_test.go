package api

import (
	"bytes"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

const (
	billing1 = patch.ID("acme:billing:1.0:amd64:exe")
	billing2 = patch.ID("acme:billing:2.0:amd64:exe")
	oneWay   = patch.ID("acme:oneway:2.0:amd64:exe")
	orphan   = patch.ID("acme:orphan:2.0:amd64:exe")
	addon    = patch.ID("acme:addon:1.0:amd64:exe")
	filed    = patch.ID("acme:filed:2.0:amd64:exe")
)

// appShard knows applications: billing 2.0 restores 1.0 and is required by
// addon, oneway has no way back, orphan restores what the catalog does not have,
// filed is told by its files alone.
func appShard(t *testing.T) *catalog.Shard {
	t.Helper()
	app := func(id patch.ID, argv []string, restores patch.ID) patch.Patch {
		part := strings.Split(string(id), ":")
		p := debPatch(part[1], part[2], patch.Update, patch.Low, "aaaaaaaaaaaaaaaa")
		p.ID, p.Vendor = id, "acme"
		p.Install = patch.Manifest{Kind: "exe", Argv: []string{"{payload}", "/S"}, UninstallArgv: argv, Restores: restores}
		return p
	}
	silent := []string{"{uninstall}", "/S"}
	extra := app(addon, silent, "")
	extra.Requires = []patch.ID{billing2}
	files, always := app(filed, silent, ""), true
	files.Items[0].Kind = "file"
	files.Applicable, files.Installed = &detect.Rule{Always: &always}, &detect.Rule{Any: []detect.Rule{{File: &detect.File{Path: "/opt/filed/2.0"}}, {File: &detect.File{Path: "/opt/filed/3.0"}}}}
	var b bytes.Buffer
	must(t, catalog.Encode(&b, catalog.Contents{
		Header: catalog.Header{
			Format: catalog.Format, Platform: "debian-12-amd64", Version: 7, Created: time.Now().UTC().Truncate(time.Hour),
			Archives: []catalog.Archive{{ID: "aaaaaaaaaaaaaaaa", Label: "Acme", Suite: "stable", Path: "stable"}},
		},
		Patches: []patch.Patch{
			app(billing1, silent, ""), app(billing2, silent, billing1), app(oneWay, nil, ""), app(orphan, silent, "acme:orphan:1.0:amd64:exe"), extra, files,
			debPatch("curl", "7.88.1-10+deb12u14", patch.Security, patch.Moderate, "aaaaaaaaaaaaaaaa"),
		},
	}))
	s, err := catalog.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	must(t, err)
	return s
}

func newAppWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.shard = appShard(t)
	must(t, w.index.SetCatalog(t.Context(), map[string]*catalog.Shard{"debian-12-amd64": w.shard}))
	w.machine("main", "e1", map[string]string{"billing": "2.0", "curl": "7.88.1-10+deb12u14"})
	w.machine("main", "e2", map[string]string{"billing": "1.0"})
	w.machine("main", "e3", map[string]string{"billing": "3.0"})
	w.machine("main", "e4", map[string]string{"billing": "2.0", "oneway": "2.0", "orphan": "2.0"})
	w.call("PUT", mainT+"/groups/g", map[string]any{"members": []string{"e4"}}, 200, nil)
	w.call("POST", mainT+"/approvals", map[string]any{"decision": "approve", "patches": []string{string(billing2)}}, 200, nil)
	return w
}

// back asks for a rollback of billing 2.0.
func back(more map[string]any) map[string]any {
	out := map[string]any{"operation": "rollback", "patches": []string{string(billing2)}, "reason": "breaks billing"}
	maps.Copy(out, more)
	return out
}

// TestRollbackRefused asks for what can't be taken back: nothing is made.
func TestRollbackRefused(t *testing.T) {
	w := newAppWorld(t)
	w.machine("main", "e5", map[string]string{"billing": "2.0", "addon": "1.0"})
	of := func(id patch.ID) map[string]any {
		return back(map[string]any{"patches": []string{string(id)}, "all": true})
	}
	for name, tc := range map[string]struct {
		body map[string]any
		code fault.Code
		says string
	}{
		"no reason":      {back(map[string]any{"all": true, "reason": " "}), fault.Invalid, "needs a reason"},
		"no patches":     {map[string]any{"operation": "rollback", "all_approved": true, "all": true, "reason": "r"}, fault.Invalid, "names its patches"},
		"of apt":         {of(curlFix), fault.Unsupported, "apt packages have no safe way back"},
		"without a way":  {of(oneWay), fault.Unsupported, "no way to uninstall it"},
		"nothing before": {of(orphan), fault.Unsupported, "acme:orphan:1.0:amd64:exe any more"},
		"told by files":  {of(filed), fault.Unsupported, string(filed) + " can't be rolled back: it is recognised by its files alone"},
		"several": {
			back(map[string]any{"patches": []patch.ID{filed, billing2, oneWay, orphan}, "all": true, "dry_run": true}), fault.Unsupported,
			string(filed) + " can't be rolled back: it is recognised by its files alone and not by a product that Windows lists, so that nothing tells which version is taken back; " +
				string(oneWay) + " can't be rolled back: its signed manifest says no way to uninstall it; " + string(orphan) + " can't be rolled back: the catalog has no",
		},
		"unknown":         {of("nobody"), fault.NotFound, "nobody"},
		"older or newer":  {back(map[string]any{"endpoints": []string{"e2", "e3"}}), fault.Nothing, "2 of " + string(billing2) + ", not there in this version"},
		"required":        {back(map[string]any{"endpoints": []string{"e1", "e5"}}), fault.Conflict, "on host-e5: " + string(addon) + " is installed there and requires it"},
		"two versions":    {back(map[string]any{"patches": []patch.ID{billing2, billing1}, "all": true}), fault.Invalid, "are two versions of billing"},
		"keep on install": {map[string]any{"patches": []string{string(billing2)}, "all": true, "keep_approval": true}, fault.Invalid, "belongs to a rollback"},
		"other operation": {back(map[string]any{"operation": "explode", "all": true}), fault.Invalid, ""},
	} {
		p := w.refused("POST", mainT+"/deployments", tc.body, tc.code)
		if !strings.Contains(p.Detail, tc.says) || p.Hint == "" && tc.says != "belongs to a rollback" {
			t.Errorf("%s: %q, hint %q", name, p.Detail, p.Hint)
		}
	}
	for role, want := range map[estate.Role]int{estate.Viewer: 403, estate.Approver: 403, estate.Auditor: 403} {
		if status, out := w.send("POST", mainT+"/deployments", w.key(role, "main"), back(map[string]any{"all": true})); status != want {
			t.Errorf("a %s: %d %s", role, status, out)
		}
	}
	var list Page[Deployment]
	w.call("GET", mainT+"/deployments", nil, 200, &list)
	if len(list.Items) != 0 {
		t.Errorf("made all the same: %+v", list.Items)
	}
}

// TestRollbackNamesTheOthers: who is refused some of several patches is told
// which can be taken back, and whether it is of the machine or of the patch.
func TestRollbackNamesTheOthers(t *testing.T) {
	w := newAppWorld(t)
	p := w.refused("POST", mainT+"/deployments", back(map[string]any{"patches": []patch.ID{filed, billing2}, "all": true, "dry_run": true}), fault.Unsupported)
	if strings.Contains(p.Detail, string(billing2)) || !strings.Contains(p.Hint, "fettle rollback "+string(billing2)+" ...") || strings.Contains(p.Hint, string(filed)) {
		t.Errorf("%q, hint %q", p.Detail, p.Hint)
	}
	for _, dry := range []bool{true, false} {
		var d Deployment
		w.call("POST", mainT+"/deployments", back(map[string]any{"endpoints": []string{"e1", "e2", "e3"}, "dry_run": dry}), 201, &d)
		if diff := cmp.Diff(map[string]int{"of " + string(billing2) + ", not there in this version": 2}, d.LeftOut); diff != "" {
			t.Errorf("dry %t: %s", dry, diff)
		}
	}
	var page struct {
		Rollback WayBack `json:"rollback"`
	}
	w.call("GET", patchAt(filed, ""), nil, 200, &page)
	if page.Rollback.Possible || !strings.Contains(page.Rollback.Reason, "recognised by its files alone") || page.Rollback.Hint == "" {
		t.Errorf("the patch's page: %+v", page.Rollback)
	}
}

// TestRollbackOfBoth takes back a patch together with the one that requires it.
func TestRollbackOfBoth(t *testing.T) {
	w := newAppWorld(t)
	w.machine("main", "e5", map[string]string{"billing": "2.0", "addon": "1.0"})
	var d Deployment
	w.call("POST", mainT+"/deployments", back(map[string]any{"patches": []patch.ID{addon, billing2}, "endpoints": []string{"e5"}}), 201, &d)
	if diff := cmp.Diff([]patch.ID{billing2, addon}, d.Patches); diff != "" { // agents go through it from its end
		t.Error(diff)
	}
}

// TestRollback plays one from the request to the scan that proves it.
func TestRollback(t *testing.T) {
	w := newAppWorld(t)
	status, out := w.send("POST", mainT+"/deployments", w.key(estate.Operator, "main"), back(map[string]any{"endpoints": []string{"e1", "e3"}}))
	if status != 201 {
		t.Fatalf("%d %s", status, out)
	}
	var list Page[Deployment]
	w.call("GET", mainT+"/deployments", nil, 200, &list)
	d := list.Items[0]
	if d.Operation != deploy.Rollback || d.Cause != "breaks billing" || d.CreatedBy != "operator-main" {
		t.Errorf("made: %+v", d)
	}
	must(t, w.loop.Once(t.Context()))
	orders, err := w.loop.Orders(t.Context(), "main", "e1")
	must(t, err)
	if len(orders) != 1 || orders[0].Operation != deploy.Rollback || orders[0].Action != wire.ActPlan || orders[0].Patches[0].ID != billing2 {
		t.Fatalf("orders: %+v", orders)
	}
	if none, err := w.loop.Orders(t.Context(), "main", "e3"); err != nil || len(none) != 0 {
		t.Errorf("a machine without the patch is to do %+v, %v", none, err)
	}
	said := func(e wire.Event) deploy.State {
		e.Task, e.Attempt, e.At = orders[0].Task, 1, time.Now()
		must(t, w.loop.Hear(t.Context(), "main", "e1", []wire.Event{e}))
		must(t, w.loop.Once(t.Context()))
		var tasks Page[Task]
		w.call("GET", mainT+"/deployments/"+string(d.ID)+"/tasks", nil, 200, &tasks)
		if len(tasks.Items) != 1 {
			t.Fatalf("tasks: %+v", tasks.Items)
		}
		return tasks.Items[0].State
	}
	got := []deploy.State{
		said(wire.Event{State: deploy.Planned, Plan: &deploy.Plan{Changes: []deploy.Change{{Package: "billing", From: "2.0", To: "1.0"}}}}),
		said(wire.Event{State: deploy.Staged}),
		said(wire.Event{State: deploy.Verifying, Result: &deploy.Result{Attempt: 1, Changes: []deploy.Change{{Package: "billing", From: "2.0", To: "1.0"}}}}),
		said(wire.Event{State: deploy.Verifying, Verdicts: []deploy.PatchVerdict{{Patch: billing2}, {Patch: billing1, Installed: true}}}),
	}
	if diff := cmp.Diff([]deploy.State{deploy.Downloading, deploy.Installing, deploy.Verifying, deploy.Verified}, got); diff != "" {
		t.Error(diff)
	}
	w.scanned("main", "e1", map[string]string{"billing": "1.0"})
	var there Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"patches": []string{string(billing2), string(curlFix)}, "endpoints": []string{"e2"}}, 201, &there)
	w.call("GET", mainT+"/deployments/"+string(there.ID), nil, 200, &there)
	if diff := cmp.Diff([]patch.ID{billing2}, there.Reversible); diff != "" {
		t.Errorf("reversible: %s", diff)
	}
	w.machine("main", "e6", map[string]string{"billing": "1.0", "oneway": "1.0"})
	var both Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"patches": []patch.ID{billing2, oneWay}, "endpoints": []string{"e6"}}, 201, &both)
	w.call("GET", mainT+"/deployments/"+string(both.ID), nil, 200, &both)
	want := []OneWay{{oneWay, string(oneWay) + " can't be rolled back: its signed manifest says no way to uninstall it"}}
	if diff := cmp.Diff(want, both.OneWay); diff != "" || len(both.Reversible) != 1 {
		t.Errorf("one way: %s, reversible %v", diff, both.Reversible)
	}
	// It stays away from this machine, and from no other.
	w.refused("POST", mainT+"/deployments", map[string]any{"all_approved": true, "endpoints": []string{"e1"}}, fault.Nothing)
	w.call("POST", mainT+"/deployments", map[string]any{"all_approved": true, "endpoints": []string{"e2"}}, 201, nil)
	_, log := w.send("GET", mainT+"/audit", w.operator, nil)
	if !strings.Contains(string(log), "rollback of "+string(billing2)+" on 1 machines (breaks billing)") {
		t.Errorf("audit: %s", log)
	}
	_, csv := w.send("GET", mainT+"/reports/tasks?format=csv&deployment="+string(d.ID), w.operator, nil)
	for _, want := range []string{"operation", ",rollback\r\n", "rolled back", "billing 2.0 -> 1.0"} {
		if !strings.Contains(string(csv), want) {
			t.Errorf("the report lacks %q: %s", want, csv)
		}
	}
}

// TestWhoIsKeptFromWhatWasRolledBack looks at the decisions that a rollback
// leaves.
func TestWhoIsKeptFromWhatWasRolledBack(t *testing.T) {
	for name, tc := range map[string]struct {
		body map[string]any
		want []approval.Approval
	}{
		"machines":      {map[string]any{"endpoints": []string{"e1", "e4"}}, []approval.Approval{{Endpoint: "e1"}, {Endpoint: "e4"}}},
		"a group":       {map[string]any{"groups": []string{"g"}}, []approval.Approval{{Group: "g"}}},
		"all":           {map[string]any{"all": true}, []approval.Approval{{}}},
		"rings":         {map[string]any{"rings": []any{map[string]any{"groups": []string{"g"}}, map[string]any{"endpoints": []string{"e1"}}}}, []approval.Approval{{Endpoint: "e1"}, {Group: "g"}}},
		"nobody":        {map[string]any{"all": true, "keep_approval": true}, nil},
		"nobody by dry": {map[string]any{"all": true, "dry_run": true, "reason": ""}, nil},
	} {
		w := newAppWorld(t)
		w.call("POST", mainT+"/deployments", back(tc.body), 201, nil)
		var list Page[approval.Approval]
		w.call("GET", mainT+"/approvals?patch="+url.QueryEscape(string(billing2)), nil, 200, &list)
		var got []approval.Approval
		for _, a := range list.Items {
			if a.Decision == approval.Decline {
				if a.Reason != "rolled back by root: breaks billing" {
					t.Errorf("%s: %q", name, a.Reason)
				}
				got = append(got, approval.Approval{Group: a.Group, Endpoint: a.Endpoint})
			}
		}
		byName := func(a, b approval.Approval) bool {
			return string(a.Group)+string(a.Endpoint) < string(b.Group)+string(b.Endpoint)
		}
		if diff := cmp.Diff(tc.want, got, cmpopts.SortSlices(byName)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
