package deploy

import (
	"fmt"
	"slices"
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
	// the hour before now, over all deployments, and endpoints in all;
	// started is below 0 when it can't be told at the moment.
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
