package deploy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/window"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fleet is a World that a test sets.
type fleet struct {
	approvals map[patch.ID]approval.State
	lacks     map[patch.ID]bool
	has       map[patch.ID]bool
	blind     bool // what machines have can't be told
	staged    bool
	problem   string
	started   int
	endpoints int
}

func (f *fleet) Approval(_ estate.EndpointID, id patch.ID) approval.State { return f.approvals[id] }
func (f *fleet) Lacks(_ estate.EndpointID, id patch.ID) bool              { return f.lacks[id] }
func (f *fleet) Has(_ estate.EndpointID, id patch.ID) (bool, bool) {
	return f.has[id], !f.blind
}
func (f *fleet) StagedHere([]patch.Payload) (bool, string) { return f.staged, f.problem }

func (f *fleet) Started(time.Time) (int, int) { return f.started, f.endpoints }

func ready() *fleet {
	return &fleet{
		approvals: map[patch.ID]approval.State{"p1": approval.Approved, "p2": approval.Approved},
		lacks:     map[patch.ID]bool{"p1": true, "p2": true}, staged: true, endpoints: 100,
	}
}

func oneTask() (Deployment, []Task) {
	d := Deployment{
		ID: "d1", Tenant: "main", Status: Running, Created: start, Patches: []patch.ID{"p1", "p2"},
		Rings: []Ring{{Name: "all", Endpoints: []estate.EndpointID{"e1"}}}, Policy: DefaultPolicy(),
	}
	return d, []Task{{
		ID: "t1", Deployment: "d1", Tenant: "main", Endpoint: "e1", State: Queued, Attempt: 1,
		Created: start, Since: start, Patches: []PatchRef{{ID: "p1"}, {ID: "p2"}},
	}}
}

// turn advances and folds the changes back.
func turn(t rapidT, d Deployment, tasks []Task, w World, now time.Time) (Deployment, []Task, []Action) {
	t.Helper()
	next, changed, actions := Advance(d, tasks, w, now)
	out := append([]Task(nil), tasks...)
	for _, c := range changed {
		for i := range out {
			if out[i].ID == c.ID {
				out[i] = c
			}
		}
	}
	return next, out, actions
}

func hear(t rapidT, task Task, d Deployment, r Report) Task {
	t.Helper()
	r.Attempt = max(r.Attempt, task.Attempt)
	out, err := Hear(task, d.Policy, r)
	if err != nil {
		t.Fatalf("hear: %v", err)
	}
	return out
}

var (
	aPlan    = &Plan{Changes: []Change{{Package: "x", To: "2"}}, Payloads: []patch.Payload{{SHA256: strings.Repeat("a", 64)}}}
	verdicts = []PatchVerdict{{Patch: "p1", Installed: true}, {Patch: "p2", Installed: true}}
)

func TestWholeWayToVerified(t *testing.T) {
	w := ready()
	w.staged = false
	d, tasks := oneTask()
	now := start
	d, tasks, acts := turn(t, d, tasks, w, now)
	if tasks[0].State != Planning || len(acts) != 1 || acts[0].Wake != "e1" {
		t.Fatalf("state %s, actions %v; want planning and a wake", tasks[0].State, acts)
	}
	tasks[0] = hear(t, tasks[0], d, Report{At: now, State: Planned, Plan: aPlan})
	d, tasks, acts = turn(t, d, tasks, w, now)
	if tasks[0].State != Staging || len(acts) != 1 || len(acts[0].Stage) != 1 {
		t.Fatalf("state %s, actions %v; want staging", tasks[0].State, acts)
	}
	w.staged = true
	d, tasks, _ = turn(t, d, tasks, w, now)
	tasks[0] = hear(t, tasks[0], d, Report{At: now, State: Staged})
	d, tasks, _ = turn(t, d, tasks, w, now)
	if tasks[0].State != Installing {
		t.Fatalf("state %s, want installing", tasks[0].State)
	}
	tasks[0] = hear(t, tasks[0], d, Report{At: now, State: Verifying, Result: &Result{Attempt: 1}})
	tasks[0] = hear(t, tasks[0], d, Report{At: now, State: Verifying, Verdicts: verdicts})
	d, tasks, _ = turn(t, d, tasks, w, now)
	if tasks[0].State != Verified || d.Status != Finished {
		t.Fatalf("task %s, deployment %s; want verified and finished", tasks[0].State, d.Status)
	}
	var path []string
	for _, s := range tasks[0].History {
		path = append(path, string(s.State))
	}
	want := "scheduled planning staging downloading staged installing verifying verified"
	if got := strings.Join(path, " "); got != want {
		t.Errorf("history %q, want %q", got, want)
	}
}

func TestWhatHoldsATask(t *testing.T) {
	tests := []struct {
		name   string
		setup  func(*Deployment, *Task, *fleet)
		state  State
		reason string
	}{
		{"not approved", func(_ *Deployment, _ *Task, w *fleet) { w.approvals["p2"] = approval.Awaiting }, AwaitApproval, "awaiting approval of p2"},
		{"one declined", func(_ *Deployment, _ *Task, w *fleet) { w.approvals["p2"] = approval.Declined }, Planning, ""},
		{"all declined", func(_ *Deployment, _ *Task, w *fleet) {
			w.approvals["p1"], w.approvals["p2"] = approval.Declined, approval.Declined
		}, TaskCancelled, "declined: p1, p2"},
		{"nothing missing", func(_ *Deployment, _ *Task, w *fleet) { w.lacks = nil }, NotApplicable, "lacks none"},
		{"halted", func(d *Deployment, _ *Task, _ *fleet) { d.Status = Halted }, Scheduled, "halted"},
		{"cancelled", func(d *Deployment, _ *Task, _ *fleet) { d.Status, d.Reason = Cancelled, "no" }, TaskCancelled, "no"},
		{"breaker", func(_ *Deployment, x *Task, w *fleet) { x.State, w.started = Staged, 25 }, Staged, "blast-radius"},
		{"breaker that can't count", func(_ *Deployment, x *Task, w *fleet) { x.State, w.started = Staged, -1 }, Staged, "can't be told"},
		{"small fleets are not held", func(_ *Deployment, x *Task, w *fleet) { x.State, w.endpoints, w.started = Staged, 3, 2 }, Installing, ""},
		{"window closed", func(d *Deployment, x *Task, _ *fleet) {
			x.State = Staged
			d.Schedule.Freezes = []window.Freeze{{From: start.Add(-time.Hour), Until: start.Add(time.Hour), Reason: "year end"}}
		}, WaitingWindow, "waiting for the maintenance window"},
		{"approval withdrawn while staged", func(_ *Deployment, x *Task, w *fleet) {
			x.State, w.approvals["p1"], w.approvals["p2"] = Staged, approval.Declined, approval.Declined
		}, TaskCancelled, "declined"},
		{"reboot left to the administrator", func(_ *Deployment, x *Task, _ *fleet) { x.State = WaitingReboot }, WaitingReboot, "administrator"},
		{"reboot when due", func(d *Deployment, x *Task, _ *fleet) { x.State, d.Policy.Reboot = WaitingReboot, RebootIfDue }, Rebooting, "rebooting"},
		{"expired", func(_ *Deployment, x *Task, _ *fleet) { x.Created = start.Add(-15 * 24 * time.Hour) }, Expired, "not done within"},
		{"silence", func(_ *Deployment, x *Task, _ *fleet) { x.State, x.Since = Installing, start.Add(-time.Hour) }, Installing, "no word"},
		{"cancel does not stop what has begun", func(d *Deployment, x *Task, _ *fleet) { x.State, d.Status = Installing, Cancelled }, Installing, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ready()
			d, tasks := oneTask()
			tt.setup(&d, &tasks[0], w)
			_, tasks, _ = turn(t, d, tasks, w, start)
			if tasks[0].State != tt.state || !strings.Contains(tasks[0].Reason, tt.reason) {
				t.Errorf("state %s (%s), want %s (%s)", tasks[0].State, tasks[0].Reason, tt.state, tt.reason)
			}
		})
	}
}

func TestRetryDoublesItsPauseAndEndsInTheTrueReason(t *testing.T) {
	d, tasks := oneTask()
	w := ready()
	x := tasks[0]
	now := start
	for attempt := 1; attempt <= 3; attempt++ {
		x.State, x.Attempt = Installing, attempt
		x = hear(t, x, d, Report{At: now, State: Failed, Reason: "postinst of x failed"})
		if attempt == 3 {
			break
		}
		if want := now.Add(10 * time.Minute << (attempt - 1)); x.State != RetryPlanned || !x.NotBefore.Equal(want) {
			t.Fatalf("attempt %d: %s until %s, want retry until %s", attempt, x.State, x.NotBefore, want)
		}
		now = x.NotBefore
		_, all, _ := turn(t, d, []Task{x}, w, now)
		x = all[0]
		if x.State != Planning || x.Attempt != attempt+1 {
			t.Fatalf("after the pause: %s attempt %d", x.State, x.Attempt)
		}
	}
	if x.State != Failed || x.Reason != "postinst of x failed" {
		t.Errorf("ended %s: %s", x.State, x.Reason)
	}
}

func TestVerifiedOnlyByAFreshScan(t *testing.T) {
	d, tasks := oneTask()
	x := tasks[0]
	x.State, x.Attempt = Verifying, 3
	x.Result = &Result{Failures: []ItemError{{Package: "x", Reason: "postinst returned 1"}}}
	got := hear(t, x, d, Report{At: start, State: Verifying, Verdicts: []PatchVerdict{{Patch: "p1", Installed: true}, {Patch: "p2", Reason: "x is half-configured"}}})
	if got.State != Failed || got.Reason != "x: postinst returned 1" {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
	if len(got.Verdicts) != 2 || !got.Verdicts[0].Installed || got.Verdicts[1].Reason != "x is half-configured" {
		t.Errorf("what the scan said is lost: %+v", got.Verdicts)
	}
	got = hear(t, x, d, Report{At: start, State: Verifying, Verdicts: []PatchVerdict{
		{Patch: "p1", Reason: strings.Repeat("y", 1<<20)}, {Patch: "p1", Installed: true}, {Patch: "another's", Installed: true},
	}})
	if len(got.Verdicts) != 1 || len(got.Verdicts[0].Reason) > 1<<10 {
		t.Errorf("%d verdicts are kept", len(got.Verdicts))
	}
	got = hear(t, x, d, Report{At: start, State: Verifying, Verdicts: verdicts[:1]})
	if got.State != Failed {
		t.Errorf("a verdict is missing, yet the task is %s", got.State)
	}
	x.State = Installing
	got = hear(t, x, d, Report{At: start, State: Verified, Verdicts: verdicts})
	if got.State != Installing {
		t.Errorf("an endpoint's word made an installing task %s", got.State)
	}
}

// A task whose approvals change is planned anew; meanwhile it shows no plan
// with what it will not do any more.
func TestOldPlanIsNotShown(t *testing.T) {
	for _, state := range []State{Scheduled, Staged} {
		w := ready()
		d, tasks := oneTask()
		tasks[0].State, tasks[0].Plan = state, aPlan
		w.approvals["p1"] = approval.Declined
		w.approvals["p2"] = approval.Awaiting
		_, tasks, _ = turn(t, d, tasks, w, start)
		if got := tasks[0]; got.State != AwaitApproval || got.Plan != nil {
			t.Errorf("%s became %s, plan %+v", state, got.State, got.Plan)
		}
	}
}

func TestTrustRow1_RefusedOrderFailsForGood(t *testing.T) {
	d, tasks := oneTask()
	x := tasks[0]
	x.State = Planning
	got := hear(t, x, d, Report{At: start, Refused: true, Reason: "p1 is not in the signed catalog"})
	if got.State != Failed || !strings.Contains(got.Reason, "refused by the endpoint") {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

func TestHaltsByItself(t *testing.T) {
	d, _ := oneTask()
	var tasks []Task
	for i, s := range []State{Failed, Failed, Verified, Queued} {
		tasks = append(tasks, Task{ID: TaskID(rune('a' + i)), Endpoint: "e", State: s, Created: start, Since: start, Patches: []PatchRef{{ID: "p1"}}})
	}
	d, tasks, _ = turn(t, d, tasks, ready(), start)
	if d.Status != Halted || tasks[3].State != Scheduled {
		t.Errorf("deployment %s, last task %s; want halted and not begun", d.Status, tasks[3].State)
	}
}

func TestRingsWaitForTheirGate(t *testing.T) {
	d, _ := oneTask()
	d.Rings = []Ring{{Name: "pilot", Gate: Gate{SuccessPercent: 100, Soak: window.Duration(time.Hour)}}, {Name: "all"}}
	pilot := Task{ID: "a", Ring: 0, State: Verified, Since: start, Created: start}
	next := Task{ID: "b", Ring: 1, State: Queued, Since: start, Created: start, Patches: []PatchRef{{ID: "p1"}}}
	_, tasks, _ := turn(t, d, []Task{pilot, next}, ready(), start.Add(time.Minute))
	if tasks[1].State != Scheduled || !strings.Contains(tasks[1].Reason, "soaks") {
		t.Errorf("within the soak: %s %s", tasks[1].State, tasks[1].Reason)
	}
	_, tasks, _ = turn(t, d, tasks, ready(), start.Add(2*time.Hour))
	if tasks[1].State != Planning {
		t.Errorf("after the soak: %s %s", tasks[1].State, tasks[1].Reason)
	}
	pilot.State = Failed
	_, tasks, _ = turn(t, d, []Task{pilot, next}, ready(), start.Add(2*time.Hour))
	if tasks[1].State != Scheduled || !strings.Contains(tasks[1].Reason, "gate") {
		t.Errorf("pilot failed: %s %s", tasks[1].State, tasks[1].Reason)
	}
}

// TestAdvanceProperties plays random worlds and reports: nothing installs
// without approval, nothing is verified without verdicts, an ended task never
// moves, and advancing twice at the same moment changes nothing more.
func TestAdvanceProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d, tasks := oneTask()
		d.Policy.Reboot = rapid.SampledFrom([]RebootPolicy{RebootNever, RebootIfDue}).Draw(rt, "reboot")
		w := ready()
		now := start
		states := []State{Planned, Staged, Verifying, Failed, WaitingReboot, Installing, Verified, NotApplicable}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3600*5).Draw(rt, "dt")) * time.Second)
			w.approvals["p1"] = rapid.SampledFrom([]approval.State{approval.Approved, approval.Approved, approval.Awaiting, approval.Declined}).Draw(rt, "approval")
			w.staged = rapid.Bool().Draw(rt, "staged")
			before := tasks[0]
			d, tasks, _ = turn(rt, d, tasks, w, now)
			check(rt, before, tasks[0], w)
			again, same, _ := turn(rt, d, tasks, w, now)
			if diff := cmp.Diff(tasks, same) + cmp.Diff(d, again); diff != "" {
				rt.Fatalf("advancing twice at one moment: %s", diff)
			}
			r := Report{Attempt: tasks[0].Attempt, At: now, State: rapid.SampledFrom(states).Draw(rt, "report")}
			if r.State == Planned {
				r.Plan = aPlan
			}
			if rapid.Bool().Draw(rt, "verdicts") {
				r.Verdicts = verdicts
			}
			before = tasks[0]
			tasks[0] = hear(rt, tasks[0], d, r)
			check(rt, before, tasks[0], w)
			if tasks[0].State == Verified && before.State != Verified && (before.State != Verifying || len(r.Verdicts) == 0) {
				rt.Fatalf("verified from %s with %d verdicts", before.State, len(r.Verdicts))
			}
		}
	})
}

func check(t rapidT, before, after Task, w *fleet) {
	t.Helper()
	if before.State.Ended() && after.State != before.State {
		t.Fatalf("ended task moved from %s to %s", before.State, after.State)
	}
	if after.State == Installing && before.State != Installing {
		for _, p := range after.Patches {
			if w.approvals[p.ID] != approval.Approved {
				t.Fatalf("installs %s, which is %s", p.ID, w.approvals[p.ID])
			}
		}
	}
}

type rapidT interface {
	Helper()
	Fatalf(format string, args ...any)
}
