package deploy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/window"
)

// World is what Advance asks about things outside the deployment. Its methods
// answer from memory: Advance calls them often.
type World interface {
	// Approval is the folded decision on a patch for an endpoint.
	Approval(estate.EndpointID, patch.ID) approval.State
	// Lacks reports whether the endpoint's last scan lacks the patch.
	Lacks(estate.EndpointID, patch.ID) bool
	// Has reports whether the endpoint's last scan shows exactly the patch;
	// known is false when that can't be told at the moment. Advance asks it
	// once for each patch of a rollback: it may take a while.
	Has(estate.EndpointID, patch.ID) (has, known bool)
	// StagedHere reports whether the server holds every payload; problem
	// says why not, when that is known.
	StagedHere([]patch.Payload) (all bool, problem string)
	// Started counts endpoints of the tenant that began to install within
	// the hour before now, over all deployments, and endpoints in all.
	Started(now time.Time) (started, endpoints int)
}

// Action is something that the caller must do after Advance.
type Action struct {
	// Wake asks the endpoint to check in.
	Wake estate.EndpointID
	// Stage asks for payloads to be brought to the server.
	Stage []patch.Payload
}

// Advance moves the deployment and its tasks as far as they can go at the
// moment now. It returns the deployment, the tasks that changed and what is
// to be done outside. Calling it twice with the same input changes nothing
// more: it is safe after a crash.
func Advance(d Deployment, tasks []Task, w World, now time.Time) (Deployment, []Task, []Action) {
	a := advance{d: d, now: now, world: w, policy: d.Policy.Filled()}
	if d.Status == Finished {
		return d, nil, nil
	}
	a.started, a.endpoints = w.Started(now)
	calendar, err := window.NewCalendar(d.Schedule)
	if err != nil && d.Status == Running {
		a.d.Status, a.d.Reason = Halted, "halted by itself: "+err.Error()
	}
	a.calendar = calendar
	work := slices.Clone(tasks)
	a.halt(work)
	for i := range work {
		a.task(&work[i], work)
	}
	a.finish(work)
	return a.d, a.changed, a.actions
}

type advance struct {
	d         Deployment
	policy    Policy
	world     World
	now       time.Time
	started   int
	endpoints int
	calendar  *window.Calendar // nil when the schedule is not valid: the deployment is halted then
	changed   []Task
	actions   []Action
}

// task moves one task through as many states as it can go at once.
func (a *advance) task(t *Task, all []Task) {
	before := *t
	t.History = slices.Clone(t.History)
	for range 16 { // more steps than any path has; a cycle would be a defect
		was := t.State
		a.step(t, all)
		if t.State == was || t.State.Ended() {
			break
		}
	}
	if t.State != before.State || t.Reason != before.Reason || len(t.Patches) != len(before.Patches) {
		a.changed = append(a.changed, *t)
	}
}

func (a *advance) step(t *Task, all []Task) {
	if t.State.Ended() {
		return
	}
	if a.d.Status == Cancelled && !begun(t.State) {
		a.move(t, TaskCancelled, "the deployment was cancelled: "+a.d.Reason)
		return
	}
	if a.now.Sub(t.Created) > a.policy.ExpireAfter.Std() && !begun(t.State) {
		a.move(t, Expired, "not done within "+a.policy.ExpireAfter.String()+"; last state was "+string(t.State))
		return
	}
	switch t.State {
	case Queued, AwaitApproval:
		if t.Operation == Rollback {
			a.choose(t)
			return
		}
		a.approve(t)
	case Scheduled:
		a.release(t, all)
	case Staging:
		a.stage(t)
	case Staged, WaitingWindow:
		a.start(t)
	case WaitingReboot:
		a.reboot(t)
	case RetryPlanned:
		a.retry(t)
	case Planning, Downloading, Installing, Rebooting, Verifying:
		a.listen(t)
	}
}

// begun reports whether something irreversible may have happened on the
// endpoint, so that the task has to be seen to its end.
func begun(s State) bool {
	switch s {
	case Installing, WaitingReboot, Rebooting, Verifying:
		return true
	}
	return false
}

// approve drops declined patches and those no longer missing, and waits for
// the others to be approved. A dry run needs no approval.
func (a *advance) approve(t *Task) {
	var keep []PatchRef
	var declined, awaiting []string
	for _, p := range t.Patches {
		if !a.world.Lacks(t.Endpoint, p.ID) {
			continue
		}
		switch state := a.world.Approval(t.Endpoint, p.ID); {
		case a.d.DryRun || state == approval.Approved:
			keep = append(keep, p)
		case state == approval.Declined:
			declined = append(declined, string(p.ID))
		default:
			keep = append(keep, p)
			awaiting = append(awaiting, string(p.ID))
		}
	}
	switch {
	case len(keep) == 0 && len(declined) > 0:
		a.move(t, TaskCancelled, "declined: "+list(declined))
	case len(keep) == 0:
		a.move(t, NotApplicable, "the endpoint lacks none of the patches any more")
	case len(awaiting) > 0:
		a.move(t, AwaitApproval, "awaiting approval of "+list(awaiting))
	default:
		t.Patches = keep
		a.move(t, Scheduled, noted("approved", declined))
	}
}

func noted(text string, declined []string) string {
	if len(declined) == 0 {
		return text
	}
	return text + "; left out because declined: " + list(declined)
}

// list shortens a list of names for a sentence.
func list(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, ", ")
}

// release lets a task go when its ring's turn has come. Approvals are looked
// at again: a decline that came meanwhile counts.
func (a *advance) release(t *Task, all []Task) {
	if a.d.Status != Running {
		a.reason(t, "held: the deployment is "+string(a.d.Status))
		return
	}
	if !a.d.DryRun && a.unapproved(t) {
		a.again(t)
		return
	}
	if why := a.gate(t.Ring, all); why != "" {
		a.reason(t, why)
		return
	}
	a.move(t, Planning, "the endpoint computes the exact transaction")
	a.actions = append(a.actions, Action{Wake: t.Endpoint})
}

// again sends a task back to the decisions. What it was to do, if it was
// planned already, is not what it will do.
func (a *advance) again(t *Task) {
	t.Plan = nil
	a.move(t, Queued, "approvals changed")
}

// unapproved reports that a patch of the task may not be installed (any more).
// What is taken back needs no approval of the patch.
func (a *advance) unapproved(t *Task) bool {
	return t.Operation != Rollback && slices.ContainsFunc(t.Patches, func(p PatchRef) bool {
		return a.world.Approval(t.Endpoint, p.ID) != approval.Approved
	})
}

// gate returns why the ring may not start yet, "" when it may.
func (a *advance) gate(ring int, all []Task) string {
	for r := range min(ring, len(a.d.Rings)) {
		gate := a.d.Rings[r].Gate
		total, verified := 0, 0
		var last time.Time
		for _, t := range all {
			if t.Ring != r {
				continue
			}
			if !t.State.Ended() {
				return fmt.Sprintf("waiting for ring %q to end", a.d.Rings[r].Name)
			}
			if t.State == Verified || t.State == Failed || t.State == Expired {
				total++
			}
			if t.State == Verified {
				verified++
			}
			if t.Since.After(last) {
				last = t.Since
			}
		}
		if total > 0 && verified*100 < gate.SuccessPercent*total {
			return fmt.Sprintf("ring %q verified %d of %d, its gate asks for %d %%", a.d.Rings[r].Name, verified, total, gate.SuccessPercent)
		}
		if until := last.Add(gate.Soak.Std()); total > 0 && a.now.Before(until) {
			return fmt.Sprintf("ring %q soaks until %s", a.d.Rings[r].Name, until.UTC().Format(time.RFC3339))
		}
	}
	return ""
}

// stage waits for the server to hold every payload of the plan.
func (a *advance) stage(t *Task) {
	if t.Plan == nil {
		a.move(t, Planning, "the plan is missing; asking again")
		a.actions = append(a.actions, Action{Wake: t.Endpoint})
		return
	}
	all, problem := a.world.StagedHere(t.Plan.Payloads)
	if all {
		a.move(t, Downloading, "payloads are on the server")
		a.actions = append(a.actions, Action{Wake: t.Endpoint})
		return
	}
	if problem != "" {
		a.reason(t, problem)
	}
	a.actions = append(a.actions, Action{Stage: t.Plan.Payloads})
}

// start begins the installation when the window, the freeze calendar and the
// blast-radius breaker allow it.
func (a *advance) start(t *Task) {
	if a.d.Status != Running {
		a.reason(t, "held: the deployment is "+string(a.d.Status))
		return
	}
	if a.unapproved(t) {
		a.again(t)
		return
	}
	if open, _ := a.calendar.Install.Open(a.now); !open && !a.d.Emergency {
		a.move(t, WaitingWindow, "waiting for the maintenance window"+a.nextWindow())
		return
	}
	limit := max(BlastFloor, a.endpoints*a.policy.BlastPercentPerHour/100)
	if a.started >= limit {
		a.reason(t, fmt.Sprintf("held by the blast-radius breaker: %d of %d endpoints began within the hour, %d may", a.started, a.endpoints, limit))
		return
	}
	a.started++
	a.move(t, Installing, "")
	a.actions = append(a.actions, Action{Wake: t.Endpoint})
}

func (a *advance) nextWindow() string {
	from, _, ok := a.calendar.Install.Next(a.now)
	if !ok {
		return "; none is to come"
	}
	return ", which opens " + from.UTC().Format(time.RFC3339)
}

// reboot asks for the reboot when the policy and the reboot window allow it,
// and otherwise says who has to act.
func (a *advance) reboot(t *Task) {
	if a.policy.Reboot != RebootIfDue {
		a.reason(t, "a reboot is due; this deployment leaves it to the administrator")
		return
	}
	if a.calendar == nil {
		return
	}
	if open, _ := a.calendar.Reboot.Open(a.now); !open && !a.d.Emergency {
		a.reason(t, "a reboot is due; waiting for the reboot window")
		return
	}
	a.move(t, Rebooting, "rebooting")
	a.actions = append(a.actions, Action{Wake: t.Endpoint})
}

func (a *advance) retry(t *Task) {
	if a.now.Before(t.NotBefore) || a.d.Status == Halted {
		return
	}
	t.Attempt++
	t.Plan = nil
	a.move(t, Planning, fmt.Sprintf("attempt %d of %d", t.Attempt, a.policy.Attempts))
	a.actions = append(a.actions, Action{Wake: t.Endpoint})
}

// listen notes a silence of the endpoint; the endpoint's word ends it.
func (a *advance) listen(t *Task) {
	heard := t.Heard
	if heard.Before(t.Since) {
		heard = t.Since
	}
	silent := a.now.Sub(heard)
	if silent < a.policy.OfflineAfter.Std() {
		return
	}
	a.reason(t, fmt.Sprintf("no word from the endpoint since %s; it goes on when the endpoint is back", heard.UTC().Format(time.RFC3339)))
	if a.now.Sub(t.Created) > a.policy.ExpireAfter.Std() {
		a.move(t, Failed, "no word from the endpoint since "+heard.UTC().Format(time.RFC3339)+"; whether the patches are installed is not known")
	}
}

// halt stops the deployment when too many of its tasks failed or fell silent
// in the middle of an installation. What went wrong before somebody resumed it
// was seen by that person and does not count again.
func (a *advance) halt(tasks []Task) {
	if a.d.Status != Running {
		return
	}
	bad, ended := 0, 0
	for _, t := range tasks {
		if !a.d.Resumed.IsZero() && !t.Since.After(a.d.Resumed) {
			continue
		}
		lost := begun(t.State) && t.State != WaitingReboot && a.now.Sub(later(t.Heard, t.Since)) > a.policy.OfflineAfter.Std()+a.policy.TaskTimeout.Std()
		if t.State == Failed || lost || (t.State == RetryPlanned && t.Attempt > 1) {
			bad++
			ended++
		} else if t.State == Verified {
			ended++
		}
	}
	if bad >= 2 && bad*100 > a.policy.MaxFailedPercent*ended {
		a.d.Status = Halted
		a.d.Reason = fmt.Sprintf("halted by itself: %d of %d endpoints failed or fell silent, the limit is %d %%", bad, ended, a.policy.MaxFailedPercent)
	}
}

func later(x, y time.Time) time.Time {
	if x.After(y) {
		return x
	}
	return y
}

// finish ends the deployment when all its tasks have ended.
func (a *advance) finish(tasks []Task) {
	if len(tasks) == 0 && len(a.d.Rings) > 0 && a.d.Status == Running {
		for _, r := range a.d.Rings {
			if len(r.Endpoints) > 0 {
				return // tasks are not made yet
			}
		}
	}
	for _, t := range tasks {
		if !t.State.Ended() {
			return
		}
	}
	if a.d.Status != Cancelled {
		a.d.Status = Finished
	}
	if a.d.Finished.IsZero() {
		a.d.Finished = a.now
	}
}

// move changes the state and keeps history.
func (a *advance) move(t *Task, s State, reason string) { t.move(s, reason, a.now) }

func (t *Task) move(s State, reason string, now time.Time) {
	reason = clip(reason, MaxReason)
	if t.State == s {
		t.Reason = reason
		return
	}
	t.State, t.Reason, t.Since, t.Progress = s, reason, now, 0
	t.History = append(t.History, Step{State: s, At: now, Reason: reason})
}

// reason changes the words alone; history keeps changes of state.
func (a *advance) reason(t *Task, text string) { t.Reason = text }
