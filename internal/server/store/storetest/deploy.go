package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/store"
)

func testApprovals(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "approvals")
	in := db.In(estate.InTenant(tenant))
	a, err := in.PutApproval(t.Context(), approval.Approval{Tenant: tenant, Patch: "p1", Decision: approval.Approve, By: "ann", At: epoch})
	must(t, err)
	b, err := in.PutApproval(t.Context(), approval.Approval{Tenant: tenant, Patch: "p2", Decision: approval.Decline, Reason: "breaks", By: "ann", At: epoch.Add(time.Second), Expires: epoch.Add(time.Hour)})
	must(t, err)
	_, err = in.PutApproval(t.Context(), approval.Approval{Tenant: tenant, Patch: "p2", Decision: approval.Decline, At: epoch})
	wantCode(t, err, fault.Invalid)
	all, next, err := in.Approvals(t.Context(), "", "", 1)
	must(t, err)
	if diff := cmp.Diff([]approval.Approval{b}, all); diff != "" || next == "" {
		t.Error(diff, next)
	}
	all, next, err = in.Approvals(t.Context(), "", next, 1)
	must(t, err)
	if diff := cmp.Diff([]approval.Approval{a}, all); diff != "" || next != "" {
		t.Error(diff, next)
	}
	a.Withdrawn = epoch.Add(time.Minute)
	_, err = in.PutApproval(t.Context(), a)
	must(t, err)
	for at, want := range map[time.Duration]int{0: 2, 2 * time.Minute: 1, 2 * time.Hour: 0} {
		active, err := in.ActiveApprovals(t.Context(), epoch.Add(at))
		must(t, err)
		if len(active) != want {
			t.Errorf("after %v: %d active decisions, want %d", at, len(active), want)
		}
	}
}

func deployOne(t testing.TB, db *store.DB, tenant estate.TenantID, id deploy.ID, endpoints ...estate.EndpointID) (deploy.Deployment, []deploy.Task) {
	t.Helper()
	d := deploy.Deployment{
		ID: id, Tenant: tenant, Name: "monthly", Created: epoch, CreatedBy: "ann", Status: deploy.Running,
		Patches: []patch.ID{"p1"}, Rings: []deploy.Ring{{Name: "all", Endpoints: endpoints}},
	}
	var tasks []deploy.Task
	for _, e := range endpoints {
		tasks = append(tasks, deploy.Task{
			ID: deploy.TaskID(string(id) + "-" + string(e)), Deployment: id, Tenant: tenant, Endpoint: e, State: deploy.Queued,
			Attempt: 1, Created: epoch, Since: epoch, Patches: []deploy.PatchRef{{ID: "p1", Digest: "d"}},
			History: []deploy.Step{{State: deploy.Queued, At: epoch, Reason: "new"}},
		})
	}
	must(t, db.In(estate.InTenant(tenant)).CreateDeployment(t.Context(), d, tasks))
	return d, tasks
}

func testDeployments(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "deployments")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "dep-1")
	Enrol(t, db, tenant, "north", "dep-2")
	d, tasks := deployOne(t, db, tenant, "dep", "dep-1", "dep-2")
	got, err := in.Deployment(t.Context(), "dep")
	must(t, err)
	if diff := cmp.Diff(d, got); diff != "" {
		t.Error(diff)
	}
	open, err := in.OpenDeployments(t.Context())
	must(t, err)
	all, err := in.DeploymentTasks(t.Context(), "dep")
	must(t, err)
	if diff := cmp.Diff(tasks, all); diff != "" || len(open) != 1 {
		t.Error(diff, open)
	}
	north := db.In(estate.Scope{Tenant: tenant, Site: "north"})
	all, err = north.DeploymentTasks(t.Context(), "dep")
	must(t, err)
	if diff := cmp.Diff(tasks[1:], all); diff != "" {
		t.Error("a site sees:", diff)
	}
	wantCode(t, north.SaveProgress(t.Context(), d, nil), fault.Denied)
	done := tasks[0]
	done.State = deploy.Installing
	done.History = append(done.History, deploy.Step{State: deploy.Installing, At: epoch.Add(time.Minute), Reason: "go"})
	must(t, in.SaveProgress(t.Context(), d, []deploy.Task{done}))
	started, err := in.StartedSince(t.Context(), epoch.Add(time.Minute))
	must(t, err)
	if started != 1 {
		t.Errorf("%d endpoints started", started)
	}
	done.State = deploy.Verified
	done.History = append(done.History, deploy.Step{State: deploy.Verified, At: epoch.Add(2 * time.Minute)})
	d.Status = deploy.Cancelled
	must(t, in.SaveProgress(t.Context(), d, []deploy.Task{done}))
	one, err := in.Task(t.Context(), done.ID)
	must(t, err)
	if diff := cmp.Diff(done, one); diff != "" {
		t.Error(diff)
	}
	mine, err := in.EndpointTasks(t.Context(), "dep-1")
	must(t, err)
	own, err := in.OwnTasks(t.Context(), "dep-1", []deploy.TaskID{tasks[0].ID, tasks[1].ID, "zzz"})
	must(t, err)
	if len(mine) != 0 || len(own) != 1 || !own[tasks[0].ID] {
		t.Errorf("open %v, own %v", mine, own)
	}
	counts, err := in.TaskCounts(t.Context(), []deploy.ID{"dep"})
	must(t, err)
	if diff := cmp.Diff(map[deploy.State]int{deploy.Verified: 1, deploy.Queued: 1}, counts["dep"]); diff != "" {
		t.Error(diff)
	}
	open, err = in.OpenDeployments(t.Context())
	must(t, err)
	if len(open) != 1 {
		t.Error("a cancelled deployment with an open task is not open")
	}
	page, next, err := in.Tasks(t.Context(), deploy.TaskFilter{Deployment: "dep", States: []deploy.State{deploy.Queued}, Open: true, Limit: 1})
	must(t, err)
	if len(page) != 1 || page[0].ID != tasks[1].ID || next != "" {
		t.Errorf("page %v %q", page, next)
	}
}

// Two writers of one task: the second is told that the task has moved on.
func testTaskConflict(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "task-conflict")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "tc-1")
	d, tasks := deployOne(t, db, tenant, "tc", "tc-1")
	a, b := tasks[0], tasks[0]
	a.State, b.State = deploy.Planning, deploy.TaskCancelled
	a.History = append(a.History[:1:1], deploy.Step{State: deploy.Planning, At: epoch.Add(1 * time.Second)})
	b.History = append(b.History[:1:1], deploy.Step{State: deploy.TaskCancelled, At: epoch.Add(2 * time.Second)})
	must(t, in.SaveProgress(t.Context(), d, []deploy.Task{a}))
	must(t, in.SaveProgress(t.Context(), d, []deploy.Task{a})) // the same again
	wantCode(t, in.SaveProgress(t.Context(), d, []deploy.Task{b}), fault.Conflict)
	wantCode(t, in.SaveProgress(t.Context(), d, []deploy.Task{tasks[0]}), fault.Conflict)
	got, err := in.Task(t.Context(), a.ID)
	must(t, err)
	if got.State != deploy.Planning {
		t.Errorf("state %s", got.State)
	}
	thief := a
	thief.Endpoint = "tc-other"
	wantCode(t, in.SaveProgress(t.Context(), d, []deploy.Task{thief}), fault.Conflict)
}

func testEventSeq(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "event-seq")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "seq-1")
	for _, set := range []int64{5, 9, 7} {
		must(t, in.SetEventSeq(t.Context(), tenant, "seq-1", set))
	}
	n, err := in.EventSeq(t.Context(), "seq-1")
	must(t, err)
	if n != 9 {
		t.Errorf("seq %d", n)
	}
}

func testSchedules(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "schedules")
	in := db.In(estate.InTenant(tenant))
	want := store.Schedule{Tenant: tenant, ID: "s1", Kind: "report", Due: epoch, Doc: json.RawMessage(`{"to":"ann"}`)}
	must(t, in.PutSchedule(t.Context(), want))
	due, err := in.Schedules(t.Context(), epoch)
	must(t, err)
	if diff := cmp.Diff([]store.Schedule{want}, due); diff != "" {
		t.Error(diff)
	}
	next := epoch.Add(time.Hour)
	for i, wantOK := range []bool{true, false} {
		ok, err := in.AdvanceSchedule(t.Context(), tenant, "s1", epoch, next)
		must(t, err)
		if ok != wantOK {
			t.Errorf("advance %d: %v", i, ok)
		}
	}
	must(t, in.DeleteSchedule(t.Context(), tenant, "s1"))
	wantCode(t, in.DeleteSchedule(t.Context(), tenant, "s1"), fault.NotFound)
}
