package deploy

import (
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Report is what an endpoint says about a task.
type Report struct {
	Attempt  int
	At       time.Time // by the server's clock
	State    State
	Reason   string
	Plan     *Plan
	Result   *Result
	Progress int
	Refused  bool // the agent refused the order by itself
	Verdicts []PatchVerdict
	// Unoffered says what of the plan the catalog does not offer to the
	// endpoint; empty when it offers all of it.
	Unoffered string
	// Cancelled says that somebody has cancelled the deployment.
	Cancelled bool
	// Withdrawn says that a patch of the task is no longer approved.
	Withdrawn bool
}

// Hear folds an endpoint's report into its task and returns the new task. A
// report about an earlier attempt or an ended task changes nothing (the same
// word may come twice after a lost answer); one that can't follow the task's
// state gives a Conflict fault. What the endpoint can say is narrow: it can
// report plans, progress, results and verdicts; it can't approve, start or
// verify by its word alone.
func Hear(t Task, p Policy, r Report) (Task, error) {
	p = p.Filled()
	if t.State.Ended() || r.Attempt < t.Attempt {
		return t, nil
	}
	if r.Attempt > t.Attempt {
		return t, fault.New(fault.Conflict, "report about attempt %d of task %s, which is at attempt %d", r.Attempt, t.ID, t.Attempt)
	}
	t.History = append([]Step(nil), t.History...)
	t.Heard = r.At
	if r.Result != nil {
		t.Result = r.Result.clipped()
	}
	r.Progress = min(max(r.Progress, 0), 100)
	switch {
	case len(t.History) >= MaxSteps:
		t.move(Failed, "the endpoint reports without end; its word is not taken any more", r.At)
	case r.Refused:
		t.move(Failed, "refused by the endpoint: "+r.Reason, r.At)
	case r.State == Failed:
		t.fail(p, r.Reason, r.At)
	default:
		t.follow(p, r)
	}
	return t, nil
}

// follow takes a report of progress or success; one that does not belong to
// the present state (a repeated word) is left alone.
func (t *Task) follow(p Policy, r Report) {
	switch {
	case r.State == Planned && t.State == Planning && r.Plan != nil:
		t.planned(p, r)
	case r.State == t.State && (t.State == Downloading || t.State == Installing || t.State == Planning || t.State == Rebooting):
		t.Progress = r.Progress
		if r.Reason != "" {
			t.Reason = clip(r.Reason, MaxReason)
		}
	case r.State == Staged && t.State == Downloading:
		t.move(Staged, "all bytes are on the endpoint", r.At)
	case r.State == WaitingReboot && (t.State == Installing || t.State == Verifying):
		t.move(WaitingReboot, r.Reason, r.At)
	case r.State == Verifying && len(r.Verdicts) == 0 && (t.State == Installing || t.State == Rebooting || t.State == WaitingReboot):
		t.move(Verifying, "a fresh scan is under way", r.At)
	case len(r.Verdicts) > 0 && t.State == Verifying:
		t.verify(p, r)
	case r.State == NotApplicable && !begun(t.State):
		t.move(NotApplicable, r.Reason, r.At)
	case r.State == TaskCancelled && r.Cancelled && t.State == Installing:
		t.move(TaskCancelled, "the deployment was cancelled; the endpoint says: "+r.Reason, r.At)
	case r.State == TaskCancelled && r.Withdrawn && t.State == Installing:
		// The endpoint has done with this attempt; what is left is another one.
		t.Attempt, t.Plan = t.Attempt+1, nil
		t.move(Queued, "approvals changed before the endpoint began", r.At)
	}
}

func (t *Task) planned(p Policy, r Report) {
	if err := r.Plan.Check(); err != nil {
		r.Unoffered = fault.Public(err)
	}
	if r.Unoffered != "" {
		t.fail(p, "the endpoint's plan is refused: "+r.Unoffered, r.At)
		return
	}
	t.Plan = r.Plan
	why := "the plan is made"
	if len(r.Plan.Refused) > 0 {
		why += "; left out: " + refusals(r.Plan.Refused)
	}
	switch {
	case t.DryRun:
		t.move(Planned, why, r.At)
	case len(r.Plan.Changes) == 0 && t.Result != nil && len(t.Result.Changes) > 0:
		t.move(Verifying, "an earlier attempt has "+t.words("installed", "taken back")+" everything; a fresh scan is to show it", r.At)
	case len(r.Plan.Changes) == 0 && len(r.Plan.Refused) > 0:
		t.move(Failed, "nothing can be "+t.words("installed", "taken back")+": "+refusals(r.Plan.Refused), r.At)
	case len(r.Plan.Changes) == 0:
		t.move(NotApplicable, "the endpoint has nothing left to "+t.words("install", "take back"), r.At)
	default:
		t.move(Staging, why, r.At)
	}
}

func refusals(all []Refusal) string {
	parts := make([]string, 0, len(all))
	for _, r := range all {
		parts = append(parts, string(r.Patch)+" ("+r.Reason+")")
	}
	return strings.Join(parts, "; ")
}

// verify ends the attempt: verified only when the fresh scan shows every
// patch installed that the plan did not leave out, or for a rollback every one
// gone and what it restores installed.
func (t *Task) verify(p Policy, r Report) {
	t.keepVerdicts(r.Verdicts)
	open := t.unproven(r.Verdicts)
	if len(open) == 0 {
		why := "a fresh scan shows everything " + t.words("installed", "taken back")
		if t.Plan != nil && len(t.Plan.Refused) > 0 {
			why += " but what was left out: " + refusals(t.Plan.Refused)
		}
		t.move(Verified, why, r.At)
		return
	}
	reason := "after the " + t.words("installation", "rollback") + " the scan still finds: " + strings.Join(open, "; ")
	if t.Result != nil && len(t.Result.Failures) > 0 {
		reason = failures(t.Result.Failures)
	}
	t.fail(p, reason, r.At)
}

// maxVerdict bounds the reason of one kept verdict in bytes.
const maxVerdict = 1 << 10

// keepVerdicts keeps what the scan said of the task's own patches and of what
// they restore: a task that fails at one of them has still proven the others.
func (t *Task) keepVerdicts(all []PatchVerdict) {
	mine := map[patch.ID]bool{}
	for _, p := range t.Patches {
		mine[p.ID] = true
	}
	for _, b := range t.Restores {
		mine[b.Patch.ID] = true
	}
	t.Verdicts = nil
	for _, v := range all {
		if mine[v.Patch] {
			mine[v.Patch] = false
			v.Reason = clip(v.Reason, maxVerdict)
			t.Verdicts = append(t.Verdicts, v)
		}
	}
}

// unproven lists what the verdicts do not show to be as it is wanted.
func (t *Task) unproven(verdicts []PatchVerdict) []string {
	by := map[patch.ID]PatchVerdict{}
	for _, v := range verdicts {
		by[v.Patch] = v
	}
	var open []string
	want := func(id patch.ID, installed bool) {
		v, ok := by[id]
		switch {
		case !ok:
			open = append(open, string(id)+": the scan says nothing of it")
		case v.Installed != installed:
			open = append(open, string(id)+": "+v.Reason)
		}
	}
	for _, ref := range t.Patches {
		if !t.Plan.refuses(ref.ID) {
			want(ref.ID, t.Operation != Rollback)
		}
	}
	for _, back := range t.Restores {
		if !t.Plan.refuses(back.For) {
			want(back.Patch.ID, true)
		}
	}
	return open
}

// words picks the word that fits the task's operation.
func (t *Task) words(install, rollback string) string {
	if t.Operation == Rollback {
		return rollback
	}
	return install
}

// refuses reports whether the plan, which may be nil, leaves the patch out.
func (p *Plan) refuses(id patch.ID) bool {
	return p != nil && slices.ContainsFunc(p.Refused, func(r Refusal) bool { return r.Patch == id })
}

func failures(all []ItemError) string {
	parts := make([]string, 0, len(all))
	for _, f := range all {
		parts = append(parts, f.Package+": "+f.Reason)
	}
	return strings.Join(parts, "; ")
}

// maxPause bounds the doubled pause before an attempt.
const maxPause = 366 * 24 * time.Hour

// fail ends the attempt, planning another one while attempts are left. The
// pause doubles with each attempt.
func (t *Task) fail(p Policy, reason string, now time.Time) {
	if t.Attempt >= p.Attempts {
		t.move(Failed, reason, now)
		return
	}
	pause := min(p.RetryAfter.Std(), maxPause)
	for range max(t.Attempt, 1) - 1 {
		pause = min(2*pause, maxPause)
	}
	t.NotBefore = now.Add(pause)
	t.move(RetryPlanned, reason+" (next attempt after "+t.NotBefore.UTC().Format(time.RFC3339)+")", now)
}
