package orchestrate_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/orchestrate"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
	"github.com/fettlehq/fettle/internal/wire"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const openssl patch.ID = "debian-12:amd64:openssl:3.0.17-1~deb12u3"

// world is a loop over a real store; approvals, scans, payloads and wakes are
// what the test says.
type world struct {
	t    *testing.T
	db   *store.DB
	loop *orchestrate.Loop
	log  bytes.Buffer

	mu       sync.Mutex
	now      time.Time
	state    approval.State
	lacks    bool
	has      bool
	staged   bool
	problem  string
	offered  error
	started  int
	catalog  int64
	wakes    []estate.EndpointID
	stages   int
	approved chan estate.EndpointID // when set, hears of wakes
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: noon, state: approval.Approved, lacks: true, catalog: 7}
	w.db = storetest.Migrated(t, filepath.Join(t.TempDir(), "fettle.db"), sqlite.Open)
	t.Cleanup(func() { _ = w.db.Close() })
	for _, tenant := range []estate.TenantID{"acme", "rival"} {
		if err := w.db.In(estate.Everything()).CreateTenant(t.Context(), estate.Tenant{ID: tenant, Created: noon}); err != nil {
			t.Fatal(err)
		}
	}
	for id, tenant := range map[estate.EndpointID]estate.TenantID{"web1": "acme", "web2": "acme", "spy": "rival"} {
		_, secret, err := w.db.In(estate.InTenant(tenant)).CreateToken(t.Context(), estate.Token{
			Tenant: tenant, Site: estate.DefaultSite, Uses: 1, Created: noon, Expires: noon.Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.db.Enrol(t.Context(), secret, estate.Endpoint{ID: id, Enrolled: noon}, noon); err != nil {
			t.Fatal(err)
		}
	}
	w.loop = orchestrate.New(w.db.Orchestration(), w, w, w, slog.New(slog.NewTextHandler(&w.log, nil)), w.clock)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) Lacks(estate.TenantID, estate.EndpointID, patch.ID) bool { return w.lacks }

func (w *world) Has(estate.TenantID, estate.EndpointID, patch.ID) (has, known bool) {
	return w.has, true
}

func (w *world) Approval(estate.TenantID, estate.EndpointID, patch.ID) approval.State { return w.state }

func (w *world) Started(estate.TenantID, time.Time) int { return w.started }

func (w *world) Endpoints(estate.TenantID) int { return 2 }

func (w *world) CatalogVersion() int64 { return w.catalog }

func (w *world) Staged([]patch.Payload) (bool, string) { return w.staged, w.problem }

func (w *world) Stage([]patch.Payload) { w.stages++ }

func (w *world) Offered(context.Context, deploy.Task, *deploy.Plan) error { return w.offered }

func (w *world) Wake(_ estate.TenantID, e estate.EndpointID) {
	w.wakes = append(w.wakes, e)
	if w.approved != nil {
		w.approved <- e
	}
}

// deployment makes one with a task for each endpoint, in the state.
func (w *world) deployment(id deploy.ID, state deploy.State, endpoints ...estate.EndpointID) {
	w.t.Helper()
	d := deploy.Deployment{
		ID: id, Tenant: "acme", Created: w.now, CreatedBy: "ada", Patches: []patch.ID{openssl}, Status: deploy.Running,
		Rings: []deploy.Ring{{Name: "all", Endpoints: endpoints}}, Policy: deploy.DefaultPolicy(),
	}
	var tasks []deploy.Task
	for _, e := range endpoints {
		tasks = append(tasks, deploy.Task{
			ID: deploy.TaskID(string(id) + "-" + string(e)), Deployment: id, Tenant: "acme", Endpoint: e, State: state, Attempt: 1,
			Patches: []deploy.PatchRef{{ID: openssl, Digest: strings.Repeat("a", 64)}}, Created: w.now, Since: w.now, Plan: plan(),
			History: []deploy.Step{{State: state, At: w.now}},
		})
	}
	if err := w.db.In(estate.InTenant("acme")).CreateDeployment(w.t.Context(), d, tasks); err != nil {
		w.t.Fatal(err)
	}
}

func plan() *deploy.Plan {
	return &deploy.Plan{
		Changes:  []deploy.Change{{Package: "libssl3", From: "1", To: "2", Why: "approved"}},
		Payloads: []patch.Payload{{SHA256: strings.Repeat("b", 64), Size: 3, Name: "x"}},
	}
}

func (w *world) once() {
	w.t.Helper()
	if err := w.loop.Once(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) task(id deploy.TaskID) deploy.Task {
	w.t.Helper()
	got, err := w.db.In(estate.InTenant("acme")).Task(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

func (w *world) hear(tenant estate.TenantID, e estate.EndpointID, events ...wire.Event) {
	w.t.Helper()
	if err := w.loop.Hear(w.t.Context(), tenant, e, events); err != nil {
		w.t.Fatal(err)
	}
}

// order is the only order of web1, "" for none.
func (w *world) order() wire.Action {
	w.t.Helper()
	orders, err := w.loop.Orders(w.t.Context(), "acme", "web1")
	if err != nil {
		w.t.Fatal(err)
	}
	switch len(orders) {
	case 0:
		return ""
	case 1:
		return orders[0].Action
	}
	w.t.Fatalf("%d orders: %+v", len(orders), orders)
	return ""
}

// One patch's way: what the loop does, what the endpoint is told, what it says.
func TestLife(t *testing.T) {
	w := newWorld(t)
	w.state = approval.Awaiting
	w.deployment("d", deploy.Queued, "web1")
	says := func(s deploy.State, change func(*wire.Event)) func() {
		return func() {
			e := wire.Event{Task: "d-web1", Attempt: 1, State: s}
			if change != nil {
				change(&e)
			}
			w.hear("acme", "web1", e)
		}
	}
	for _, step := range []struct {
		name  string
		do    func()
		state deploy.State
		order wire.Action
	}{
		{"nobody has approved", func() {}, deploy.AwaitApproval, ""},
		{"approved", func() { w.state = approval.Approved }, deploy.Planning, wire.ActPlan},
		{"planned", says(deploy.Planned, func(e *wire.Event) { e.Plan = plan() }), deploy.Staging, ""},
		{"payloads are not there yet", func() {}, deploy.Staging, ""},
		{"payloads are there", func() { w.staged = true }, deploy.Downloading, wire.ActDownload},
		{"half downloaded", says(deploy.Downloading, func(e *wire.Event) { e.Progress = 50 }), deploy.Downloading, wire.ActDownload},
		{"downloaded", says(deploy.Staged, nil), deploy.Installing, wire.ActInstall},
		{"installed", says(deploy.Verifying, func(e *wire.Event) { e.Result = &deploy.Result{Attempt: 1} }), deploy.Verifying, wire.ActVerify},
		{"found installed", says(deploy.Verifying, func(e *wire.Event) {
			e.Verdicts = []deploy.PatchVerdict{{Patch: openssl, Installed: true}}
		}), deploy.Verified, ""},
	} {
		w.now = w.now.Add(time.Minute)
		step.do()
		w.once()
		if got := w.task("d-web1"); got.State != step.state {
			t.Fatalf("%s: the task is %s (%s), want %s", step.name, got.State, got.Reason, step.state)
		}
		if got := w.order(); got != step.order {
			t.Errorf("%s: the order is %q, want %q", step.name, got, step.order)
		}
	}
	w.once()
	d, err := w.db.In(estate.InTenant("acme")).Deployment(t.Context(), "d")
	if err != nil || d.Status != deploy.Finished || d.Finished.IsZero() {
		t.Errorf("the deployment is %s since %v, %v", d.Status, d.Finished, err)
	}
	if w.stages == 0 || len(w.wakes) < 3 {
		t.Errorf("staged %d times, woken %d times", w.stages, len(w.wakes))
	}
}

// Looking again without anything new changes nothing, in every state.
func TestOnceIsIdempotent(t *testing.T) {
	w := newWorld(t)
	states := []deploy.State{
		deploy.Queued, deploy.AwaitApproval, deploy.Scheduled, deploy.Planning, deploy.Staging, deploy.Downloading, deploy.Staged,
		deploy.WaitingWindow, deploy.Installing, deploy.WaitingReboot, deploy.Rebooting, deploy.Verifying, deploy.RetryPlanned, deploy.Verified, deploy.Failed,
	}
	for _, s := range states {
		w.deployment(deploy.ID(s), s, "web1", "web2")
	}
	all := func() (tasks []deploy.Task) {
		for _, s := range states {
			tasks = append(tasks, w.task(deploy.TaskID(string(s)+"-web1")), w.task(deploy.TaskID(string(s)+"-web2")))
		}
		return tasks
	}
	before := all()
	w.once()
	first, wakes := all(), len(w.wakes)
	if cmp.Equal(before, first) || wakes == 0 {
		t.Fatal("looking once changes nothing: the test proves nothing")
	}
	w.once()
	w.once()
	if diff := cmp.Diff(first, all()); diff != "" {
		t.Errorf("changed by looking again:\n%s", diff)
	}
	if len(w.wakes) != wakes {
		t.Errorf("woken %d times more", len(w.wakes)-wakes)
	}
}

// What the states say is what the endpoint is told.
func TestOrdersFollowStates(t *testing.T) {
	want := map[deploy.State]wire.Action{
		deploy.Planning: wire.ActPlan, deploy.Downloading: wire.ActDownload, deploy.Installing: wire.ActInstall,
		deploy.Rebooting: wire.ActReboot, deploy.Verifying: wire.ActVerify,
	}
	w := newWorld(t)
	for _, s := range []deploy.State{
		deploy.Queued, deploy.AwaitApproval, deploy.Scheduled, deploy.Planning, deploy.Planned, deploy.Staging, deploy.Downloading, deploy.Staged,
		deploy.WaitingWindow, deploy.WaitingUser, deploy.Waking, deploy.Installing, deploy.WaitingReboot, deploy.Rebooting, deploy.Verifying,
		deploy.Verified, deploy.Failed, deploy.RetryPlanned, deploy.NotApplicable, deploy.TaskCancelled, deploy.Expired,
	} {
		w.deployment(deploy.ID(s), s, "web1")
	}
	orders, err := w.loop.Orders(t.Context(), "acme", "web1")
	if err != nil {
		t.Fatal(err)
	}
	got := map[deploy.State]wire.Action{}
	for _, o := range orders {
		got[deploy.State(strings.TrimSuffix(string(o.Task), "-web1"))] = o.Action
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("orders by state (-want +got):\n%s", diff)
	}
	for e, tenant := range map[estate.EndpointID]estate.TenantID{"web2": "acme", "spy": "rival", "web1": "rival"} {
		if others, err := w.loop.Orders(t.Context(), tenant, e); err != nil || len(others) != 0 {
			t.Errorf("%s of %s is told %+v, %v", e, tenant, others, err)
		}
	}
}

func TestOrderCarriesThePolicy(t *testing.T) {
	w := newWorld(t)
	w.deployment("late", deploy.Installing, "web1")
	w.now = noon.Add(-time.Hour)
	w.deployment("early", deploy.Planning, "web1")
	orders, err := w.loop.Orders(t.Context(), "acme", "web1")
	if err != nil {
		t.Fatal(err)
	}
	refs := []deploy.PatchRef{{ID: openssl, Digest: strings.Repeat("a", 64)}}
	want := []wire.Order{
		{Task: "early-web1", Attempt: 1, Action: wire.ActPlan, Patches: refs, Catalog: 7, Conffile: deploy.KeepOld, Timeout: 3600, RestartServices: true},
		{Task: "late-web1", Attempt: 1, Action: wire.ActInstall, Patches: refs, Catalog: 7, Conffile: deploy.KeepOld, Timeout: 3600, RestartServices: true},
	}
	if diff := cmp.Diff(want, orders, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Until" }, cmp.Ignore())); diff != "" {
		t.Errorf("oldest first:\n%s", diff)
	}
}

// An endpoint's word counts for its own open tasks alone.
func TestHearIgnoresForeignTasks(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Installing, "web1", "web2")
	w.deployment("done", deploy.Verified, "web2")
	before := []deploy.Task{w.task("d-web1"), w.task("done-web2")}
	forged := wire.Event{Task: "d-web1", Attempt: 1, State: deploy.Failed, Reason: "forged"}
	w.hear("acme", "web2", forged)
	w.hear("rival", "spy", forged)
	w.hear("rival", "web1", forged)
	w.hear("acme", "web2", wire.Event{Task: "none", Attempt: 1, State: deploy.Failed})
	w.hear("acme", "web2", wire.Event{Task: "done-web2", Attempt: 1, State: deploy.Failed, Reason: "too late"})
	w.hear("acme", "web2")
	if diff := cmp.Diff(before, []deploy.Task{w.task("d-web1"), w.task("done-web2")}); diff != "" {
		t.Errorf("a foreign word counted:\n%s", diff)
	}
	// Beside a foreign one the own event is taken.
	w.hear("acme", "web2", forged, wire.Event{Task: "d-web2", Attempt: 1, State: deploy.Verifying})
	if got := w.task("d-web2").State; got != deploy.Verifying {
		t.Errorf("the own task is %s", got)
	}
	if got := w.task("d-web1").State; got != deploy.Installing {
		t.Errorf("the foreign task is %s", got)
	}
}

// The same word twice, or about an attempt that is over or to come, changes
// nothing more.
func TestHearTwice(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Installing, "web1")
	failed := wire.Event{Task: "d-web1", Attempt: 1, State: deploy.Failed, Reason: "no space"}
	w.hear("acme", "web1", failed, failed)
	once := w.task("d-web1")
	if once.State != deploy.RetryPlanned || !once.NotBefore.Equal(noon.Add(10*time.Minute)) {
		t.Fatalf("%s, not before %v", once.State, once.NotBefore)
	}
	w.now = noon.Add(11 * time.Minute)
	w.once()
	again := w.task("d-web1")
	if again.Attempt != 2 || again.State != deploy.Planning || w.order() != wire.ActPlan {
		t.Fatalf("attempt %d, %s", again.Attempt, again.State)
	}
	w.hear("acme", "web1", failed) // sent again after a lost answer
	w.hear("acme", "web1", wire.Event{Task: "d-web1", Attempt: 3, State: deploy.Failed, Reason: "from the future"})
	if diff := cmp.Diff(again, w.task("d-web1")); diff != "" {
		t.Errorf("an old or early word counted:\n%s", diff)
	}
	if !strings.Contains(w.log.String(), "does not follow its task") {
		t.Error("the word about attempt 3 is not in the log")
	}
}

// A decline that comes when everything is staged still counts.
func TestDeclinedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Staged, "web1")
	w.state = approval.Declined
	w.once()
	if got := w.task("d-web1"); got.State != deploy.TaskCancelled || !strings.Contains(got.Reason, "declined") {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
	if w.order() != "" {
		t.Errorf("the order is %s", w.order())
	}
}

// The breaker looks at the whole tenant.
func TestBlastRadius(t *testing.T) {
	w := newWorld(t)
	w.started = deploy.BlastFloor
	w.deployment("d", deploy.Staged, "web1")
	w.once()
	if got := w.task("d-web1"); got.State != deploy.Staged || !strings.Contains(got.Reason, "blast-radius breaker") {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Staged, "web1")
	halt := func(d deploy.Deployment) (deploy.Deployment, error) {
		d.Status, d.Reason = deploy.Halted, "by ada"
		return d, nil
	}
	if _, err := w.loop.Update(t.Context(), "rival", "d", halt); !fault.Is(err, fault.NotFound) {
		t.Errorf("another tenant halts it: %v", err)
	}
	if _, err := w.loop.Update(t.Context(), "acme", "none", halt); !fault.Is(err, fault.NotFound) {
		t.Errorf("none: %v", err)
	}
	errNo := fault.New(fault.Conflict, "no")
	if _, err := w.loop.Update(t.Context(), "acme", "d", func(d deploy.Deployment) (deploy.Deployment, error) {
		d.Status = deploy.Cancelled
		return d, errNo
	}); !errors.Is(err, errNo) {
		t.Errorf("the change's own error: %v", err)
	}
	if d, err := w.loop.Update(t.Context(), "acme", "d", halt); err != nil || d.Status != deploy.Halted {
		t.Fatalf("%s, %v", d.Status, err)
	}
	w.once()
	if got := w.task("d-web1"); got.State != deploy.Staged || got.Reason != "held: the deployment is halted" {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

// Run looks when kicked, and ends with its context.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.approved = make(chan estate.EndpointID, 10)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { w.loop.Run(ctx, time.Hour) })
	w.deployment("d", deploy.Queued, "web1")
	w.loop.Kick()
	w.loop.Kick() // more kicks mean the same
	select {
	case e := <-w.approved:
		if e != "web1" {
			t.Errorf("%s is woken", e)
		}
	case <-time.After(2 * time.Minute):
		t.Error("nobody is woken after a kick")
	}
	cancel()
	done.Wait()
}

// A store that can't be asked is told, and nothing is ordered on a guess.
func TestStoreGone(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Installing, "web1")
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.loop.Once(t.Context()); err == nil {
		t.Error("Once says nothing")
	}
	if orders, err := w.loop.Orders(t.Context(), "acme", "web1"); err == nil || len(orders) > 0 {
		t.Errorf("orders %+v, %v", orders, err)
	}
	if err := w.loop.Hear(t.Context(), "acme", "web1", []wire.Event{{Task: "d-web1"}}); err == nil {
		t.Error("Hear acknowledges what it can't keep")
	}
}

// A plan is taken only when the catalog bears it out; while that can't be told
// the report is not acknowledged, so that it comes again.
func TestPlansAreHeldAgainstTheCatalog(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Planning, "web1")
	evil := plan()
	evil.Payloads = []patch.Payload{{SHA256: strings.Repeat("e", 64), Size: 3}}
	planned := wire.Event{Seq: 1, Task: "d-web1", Attempt: 1, State: deploy.Planned, Plan: evil}
	w.offered = fault.New(fault.Unavailable, "the store is busy")
	if err := w.loop.Hear(t.Context(), "acme", "web1", []wire.Event{planned}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("can't tell: %v", err)
	}
	w.offered = fault.New(fault.Invalid, "payload bbbb is not what the catalog offers")
	if err := w.loop.Hear(t.Context(), "acme", "web1", []wire.Event{planned}); err != nil {
		t.Fatal(err)
	}
	got, err := w.db.In(estate.InTenant("acme")).Task(t.Context(), "d-web1")
	if err != nil || got.State != deploy.RetryPlanned || !strings.Contains(got.Reason, "not what the catalog offers") {
		t.Errorf("%s: %q, %v", got.State, got.Reason, err)
	}
	if _, needs, err := w.db.Agents().NeedsPayload(t.Context(), "acme", "web1", strings.Repeat("e", 64)); needs || err != nil {
		t.Errorf("a refused plan opens payloads: %v", err)
	}
}
