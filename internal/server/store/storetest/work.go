package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/store"
)

func testContacts(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "contacts")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "con-1")
	_, err := in.Contact(t.Context(), "con-1")
	wantCode(t, err, fault.NotFound)
	c := store.Contact{Endpoint: "con-1", Tenant: tenant, Seen: epoch, Catalog: 7, Skew: -time.Minute, Agent: "1.0", Boot: "b", Problem: "disk full"}
	must(t, in.CheckIn(t.Context(), c))
	got, err := in.Contact(t.Context(), "con-1")
	must(t, err)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Error(diff)
	}
	e, err := in.Endpoint(t.Context(), "con-1")
	must(t, err)
	if !e.LastSeen.Equal(epoch) {
		t.Errorf("last seen %v", e.LastSeen)
	}
}

// Many agents at once, some twice: all are kept.
func testContactGroups(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "contact-groups")
	in := db.In(estate.InTenant(tenant))
	for _, id := range ids("cg", 3) {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	var wg sync.WaitGroup
	for n := range 300 {
		wg.Go(func() {
			c := store.Contact{Endpoint: ids("cg", 3)[n%3], Tenant: tenant, Seen: epoch.Add(time.Hour)}
			if err := in.CheckIn(context.Background(), c); err != nil {
				t.Errorf("check in: %v", err)
			}
		})
	}
	wg.Wait()
	list, _, err := in.Endpoints(t.Context(), estate.EndpointFilter{SeenBefore: epoch.Add(time.Hour)})
	must(t, err)
	if len(list) != 0 {
		t.Errorf("not seen: %v", list)
	}
}

func report(tenant estate.TenantID, id estate.EndpointID, kernel string) store.Report {
	sections, err := inventory.Split(inventory.Snapshot{
		OS:       inventory.OS{ID: "debian", Version: "12", Arch: "amd64", Hostname: string(id)},
		Packages: []inventory.Package{{Kind: "dpkg", Name: "bash", Arch: "amd64", Version: "5.2.15-2+b2"}},
		State:    inventory.State{RunningKernel: kernel},
		Answers:  inventory.Answers{Withheld: true},
	})
	if err != nil {
		panic(err)
	}
	return store.Report{
		Endpoint: id, Tenant: tenant, Sections: sections, Scanned: epoch, Now: epoch.Add(time.Second),
		Facts: func(e *estate.Endpoint) { e.Hostname, e.RebootDue = "Renamed", kernel == "old" },
	}
}

func putInventory(t testing.TB, db *store.DB, tenant estate.TenantID, id estate.EndpointID, kernel string) store.Report {
	t.Helper()
	r := report(tenant, id, kernel)
	must(t, db.In(estate.InTenant(tenant)).PutInventory(t.Context(), r))
	return r
}

func testInventory(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "inventory")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "inv-1")
	Enrol(t, db, tenant, estate.DefaultSite, "inv-2")
	first := report(tenant, "inv-1", "old")
	hashes := []string{}
	for _, s := range first.Sections {
		hashes = append(hashes, s.Hash)
	}
	bare := first
	bare.Sections = hashesOnly(first.Sections)
	wantCode(t, in.PutInventory(t.Context(), bare), fault.Conflict)
	must(t, in.PutInventory(t.Context(), first))
	lack, err := in.LackingSections(t.Context(), tenant, hashes)
	must(t, err)
	if len(lack) != 0 {
		t.Errorf("lacking %v", lack)
	}
	got, scanned, err := in.Inventory(t.Context(), "inv-1")
	must(t, err)
	if diff := cmp.Diff(first.Sections, got); diff != "" || !scanned.Equal(epoch) {
		t.Error(diff, scanned)
	}
	// A new state alone: only that section's body is new, the rest comes bare.
	second := report(tenant, "inv-1", "new")
	next := hashesOnly(second.Sections)
	state := slices.Index(inventory.Sections(), inventory.SectionState)
	next[state] = second.Sections[state]
	second.Sections = next
	must(t, in.PutInventory(t.Context(), second))
	who, err := in.Identity(t.Context(), "inv-1")
	must(t, err)
	if who.Root != inventory.Root(second.Sections) || who.Tenant != tenant || who.Site != estate.DefaultSite {
		t.Errorf("identity %+v", who)
	}
	e, err := in.Endpoint(t.Context(), "inv-1")
	must(t, err)
	if e.Hostname != "Renamed" || e.RebootDue {
		t.Errorf("endpoint %+v", e)
	}
	var changed []estate.EndpointID
	must(t, in.Inventories(t.Context(), epoch, func(c store.Changed) error {
		changed = append(changed, c.Endpoint)
		if len(c.Sections) != len(inventory.Sections()) || c.Sections[0].Name != inventory.SectionOS {
			t.Errorf("sections of %s: %v", c.Endpoint, c.Sections)
		}
		body, err := in.Section(t.Context(), c.Tenant, c.Sections[1].Hash)
		if err != nil || inventory.HashBody(body) != c.Sections[1].Hash {
			t.Errorf("section body: %v", err)
		}
		return nil
	}))
	if diff := cmp.Diff([]estate.EndpointID{"inv-1"}, changed); diff != "" {
		t.Error(diff)
	}
	_, err = in.Revoke(t.Context(), "inv-1", epoch)
	must(t, err)
	wantCode(t, in.PutInventory(t.Context(), second), fault.NotFound)
}

func hashesOnly(sections []inventory.Section) []inventory.Section {
	out := make([]inventory.Section, len(sections))
	for i, s := range sections {
		out[i] = inventory.Section{Name: s.Name, Hash: s.Hash}
	}
	return out
}

// Machines that resemble each other report at the same moment: the shared
// dictionary neither deadlocks nor loses a report.
func testInventoryRace(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "inventory-race")
	in := db.In(estate.InTenant(tenant))
	machines := ids("ir", 16)
	for _, id := range machines {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	for round := range 4 {
		var wg sync.WaitGroup
		for i, id := range machines {
			wg.Go(func() {
				r := report(tenant, id, fmt.Sprintf("kernel-%d-%d", round, i%3))
				if err := in.PutInventory(context.Background(), r); err != nil {
					t.Errorf("report of %s: %v", id, err)
				}
			})
		}
		wg.Wait()
	}
	n := 0
	must(t, in.Inventories(t.Context(), time.Time{}, func(store.Changed) error { n++; return nil }))
	if n != len(machines) {
		t.Errorf("%d inventories", n)
	}
}

func testPruneSections(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "prune")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "prune-1")
	old := putInventory(t, db, tenant, "prune-1", "old")
	putInventory(t, db, tenant, "prune-1", "new")
	n, err := db.PruneSections(t.Context(), epoch)
	must(t, err)
	if n != 0 {
		t.Errorf("%d young sections pruned", n)
	}
	_, err = db.PruneSections(t.Context(), epoch.Add(time.Hour))
	must(t, err)
	state := old.Sections[slices.Index(inventory.Sections(), inventory.SectionState)].Hash
	lack, err := in.LackingSections(t.Context(), tenant, []string{state, old.Sections[0].Hash})
	must(t, err)
	if diff := cmp.Diff([]string{state}, lack); diff != "" {
		t.Error(diff)
	}
}

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

func testJobs(t *testing.T, db *store.DB) {
	ctx, kinds := t.Context(), []string{"test.a", "test.b"}
	added, err := db.EnqueueJob(ctx, "test.a", "one", []byte(`{"n":1}`), epoch, epoch)
	must(t, err)
	again, err := db.EnqueueJob(ctx, "test.a", "one", []byte(`{"n":2}`), epoch, epoch)
	must(t, err)
	if !added || again {
		t.Errorf("added %v, again %v", added, again)
	}
	_, _, _, _, ok, err := db.ClaimJob(ctx, "w1", kinds, epoch.Add(-time.Second), epoch)
	must(t, err)
	if ok {
		t.Error("claimed before it was due")
	}
	id, kind, args, attempt, ok, err := db.ClaimJob(ctx, "w1", kinds, epoch, epoch.Add(time.Minute))
	must(t, err)
	if !ok || kind != "test.a" || string(args) != `{"n":1}` || attempt != 1 {
		t.Errorf("claimed %v %s %s %d", ok, kind, args, attempt)
	}
	_, _, _, _, ok, err = db.ClaimJob(ctx, "w2", kinds, epoch.Add(time.Second), epoch.Add(time.Minute))
	must(t, err)
	if ok {
		t.Error("two workers have one job")
	}
	at, ok, err := db.NextJob(ctx, kinds)
	must(t, err)
	if !ok || !at.Equal(epoch.Add(time.Minute)) {
		t.Errorf("next %v %v", at, ok)
	}
	// The worker dies; its lease ends; another takes over.
	late := epoch.Add(2 * time.Minute)
	id2, _, _, attempt, ok, err := db.ClaimJob(ctx, "w2", kinds, late, late.Add(time.Minute))
	must(t, err)
	if !ok || id2 != id || attempt != 2 {
		t.Errorf("rescued %v %s attempt %d", ok, id2, attempt)
	}
	mine, err := db.RenewJob(ctx, id, "w1", late.Add(time.Hour))
	must(t, err)
	if mine {
		t.Error("a dead worker renews")
	}
	must(t, db.EndJob(ctx, id, "w1", "", late)) // not its own: nothing happens
	must(t, db.RetryJob(ctx, id, "w2", "network", late.Add(time.Hour)))
	_, _, _, _, ok, err = db.ClaimJob(ctx, "w2", kinds, late, late)
	must(t, err)
	if ok {
		t.Error("claimed before the retry is due")
	}
	_, _, _, _, ok, err = db.ClaimJob(ctx, "w2", kinds, late.Add(time.Hour), late.Add(2*time.Hour))
	must(t, err)
	must(t, db.EndJob(ctx, id, "w2", "", late.Add(time.Hour)))
	added, err = db.EnqueueJob(ctx, "test.a", "one", nil, late, late)
	must(t, err)
	if !ok || !added {
		t.Errorf("after the end: claimed %v, added %v", ok, added)
	}
	n, err := db.PruneJobs(ctx, late.Add(2*time.Hour))
	must(t, err)
	if n != 1 {
		t.Errorf("%d jobs pruned", n)
	}
	_, err = db.EnqueueJob(ctx, "test.b", "waits", nil, late.Add(time.Hour), late)
	must(t, err)
	for _, want := range []int64{1, 0} {
		if n, err := db.HurryJobs(ctx, "test.b", late); err != nil || n != want {
			t.Errorf("%d jobs are hurried: %v", n, err)
		}
	}
	if at, ok, err := db.NextJob(ctx, []string{"test.b"}); err != nil || !ok || !at.Equal(late) {
		t.Errorf("the hurried one is due at %v, %v", at, err)
	}
}

// Many workers, many jobs: each job is worked on once.
func testJobRace(t *testing.T, db *store.DB) {
	const jobs = 60
	for i := range jobs {
		_, err := db.EnqueueJob(t.Context(), "race.job", fmt.Sprint(i), nil, epoch, epoch)
		must(t, err)
	}
	var mu sync.Mutex
	taken := map[string]int{}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for misses := 0; misses < 20; {
				id, _, _, _, ok, err := db.ClaimJob(context.Background(), fmt.Sprint(w), []string{"race.job"}, epoch, epoch.Add(time.Hour))
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				if !ok { // another worker took the same row
					misses++
					continue
				}
				mu.Lock()
				taken[id]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range taken {
		if n != 1 {
			t.Errorf("job %s taken %d times", id, n)
		}
	}
	if len(taken) != jobs {
		t.Errorf("%d of %d jobs taken", len(taken), jobs)
	}
}
