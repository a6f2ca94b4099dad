package agent

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/agent/schedule"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// workLoop does what stands in the journal, one order after the other.
func (a *Agent) workLoop(ctx context.Context) error {
	for {
		for {
			e, ok := a.nextOpen()
			if !ok || ctx.Err() != nil {
				break
			}
			if err := a.do(ctx, e); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.work:
		}
	}
}

func (a *Agent) nextOpen() (journal.Entry, bool) {
	for _, e := range a.journal.Entries() {
		if e.Open() && e.Step != journal.Rebooting {
			return e, true
		}
	}
	return journal.Entry{}, false
}

// do works on one order. The returned error is about the journal alone.
func (a *Agent) do(ctx context.Context, e journal.Entry) error {
	if e.Step == journal.Installing {
		return a.recover(ctx, e)
	}
	switch e.Order.Action {
	case wire.ActPlan:
		return a.plan(ctx, e)
	case wire.ActDownload:
		return a.download(ctx, e)
	case wire.ActInstall:
		return a.install(ctx, e)
	case wire.ActReboot:
		return a.reboot(ctx, e)
	case wire.ActVerify:
		return a.verify(ctx, e)
	}
	return a.fail(e, fault.New(fault.Unsupported, "this agent does not know the action %q", e.Order.Action))
}

// begin records the step before it is done. It reports false, and nothing is to
// be done, when the task was cancelled since the worker picked it up.
func (a *Agent) begin(e *journal.Entry, s journal.Step, state deploy.State) (bool, error) {
	now := time.Now()
	e.Step, e.BootID, e.Since = s, a.bootID, now
	return a.move(journal.Change{Put: []journal.Entry{*e}, Emit: []wire.Event{event(*e, state, "", now)}}, now)
}

// move applies the change of an entry unless the task was cancelled meanwhile:
// the server has been told so, and so it stays.
func (a *Agent) move(c journal.Change, now time.Time) (bool, error) {
	a.turn.Lock()
	defer a.turn.Unlock()
	e := c.Put[0]
	if now, known := a.journal.Entry(e.Task); known && now.Step == journal.Ended && now.Attempt == e.Attempt {
		a.log.Info("task was cancelled", "task", e.Task, "attempt", e.Attempt, "step", e.Step)
		return false, nil
	}
	err := a.journal.Apply(c, now)
	poke(a.post)
	return err == nil, err
}

// finish records the outcome and the event that tells it, as one change.
func (a *Agent) finish(e journal.Entry, s journal.Step, ev wire.Event) error {
	now := time.Now()
	e.Step, e.Since, e.BootID = s, now, a.bootID
	e.Done = maps.Clone(e.Done)
	if e.Done == nil {
		e.Done = map[wire.Action]wire.Event{}
	}
	e.Done[e.Order.Action] = ev
	_, err := a.move(journal.Change{Put: []journal.Entry{e}, Emit: []wire.Event{ev}}, now)
	return err
}

// fail ends the attempt with the true reason. What the agent refuses by itself
// (an untrusted patch, the machine's policy) is marked as such; a payload that
// the server sent damaged is none of it: the server mends its copy, and the next
// attempt may work.
func (a *Agent) fail(e journal.Entry, err error) error {
	ev := event(e, deploy.Failed, reason(err), time.Now())
	ev.Refused = fault.Is(err, fault.Untrusted) || fault.Is(err, fault.Denied)
	if d, ok := errors.AsType[link.Damaged](err); ok {
		ev.Damaged, ev.Refused = d.SHA256, false
	}
	id := EventFailed
	if ev.Refused {
		id = EventRefused
	}
	a.log.Warn("order failed", EventKey, id, "task", e.Task, "attempt", e.Attempt, "action", e.Order.Action, "refused", ev.Refused, "error", err)
	ev.Result = e.Result
	return a.finish(e, journal.Ended, ev)
}

// reason is what people read: message and hint.
func reason(err error) string {
	text := fault.Public(err)
	if fault.CodeOf(err) == fault.Internal {
		text = err.Error() // better too much than "internal error"
	}
	if hint := fault.HintOf(err); hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

// child runs a step that may be stopped: by a cancel order or by the agent's
// own end. stopped is set then, and the entry is left as it is.
func (a *Agent) child(ctx context.Context, e journal.Entry, req stepRequest, state deploy.State) (reply stepReply, stopped bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.running, a.cancel = e.Task, cancel
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.running, a.cancel = "", nil
		a.mu.Unlock()
	}()
	req.Order = &e.Order
	reply, err = a.steps.step(ctx, req, a.progress(e, state))
	return reply, err != nil && ctx.Err() != nil, err
}

func (a *Agent) plan(ctx context.Context, e journal.Entry) error {
	if began, err := a.begin(&e, journal.Planning, deploy.Planning); !began {
		return err
	}
	reply, stopped, err := a.child(ctx, e, stepRequest{Step: stepPlan}, deploy.Planning)
	switch {
	case stopped:
		return nil
	case err != nil:
		return a.fail(e, err)
	case reply.Plan == nil:
		return a.fail(e, fault.New(fault.Internal, "the plan is missing"))
	}
	ev := event(e, deploy.Planned, "", time.Now())
	ev.Plan = reply.Plan
	return a.finish(e, journal.Planned, ev)
}

func (a *Agent) download(ctx context.Context, e journal.Entry) error {
	if began, err := a.begin(&e, journal.Downloading, deploy.Downloading); !began {
		return err
	}
	_, stopped, err := a.child(ctx, e, stepRequest{Step: stepDownload}, deploy.Downloading)
	switch {
	case stopped:
		return nil
	case err != nil:
		return a.fail(e, err)
	}
	return a.finish(e, journal.Staged, event(e, deploy.Staged, "", time.Now()))
}

// install changes the machine. Its child is not stopped with the agent: it
// goes on alone, and the agent that comes next takes up its result.
func (a *Agent) install(ctx context.Context, e journal.Entry) error {
	if err := schedule.WindowOpen(e.Order.Until, time.Now()); err != nil {
		return a.fail(e, err)
	}
	if began, err := a.begin(&e, journal.Installing, deploy.Installing); !began {
		return err
	}
	return a.change(ctx, e, stepInstall)
}

// change runs install or recover to its end, unless the agent ends first.
func (a *Agent) change(ctx context.Context, e journal.Entry, s stepName) error {
	type outcome struct {
		reply stepReply
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		reply, err := a.steps.step(context.WithoutCancel(ctx), stepRequest{Step: s, Order: &e.Order}, a.progress(e, deploy.Installing))
		done <- outcome{reply, err}
	}()
	select {
	case <-ctx.Done():
		return nil // the entry says "installing": the next agent looks at the machine first
	case o := <-done:
		switch {
		case o.err != nil && o.reply.Fault == nil && s == stepInstall:
			a.log.Warn("the installing process died", "task", e.Task, "error", o.err)
			return a.recover(ctx, e) // killed, or out of memory: what it did is to be seen on the machine
		case o.err != nil:
			return a.fail(e, o.err)
		case s == stepRecover && !o.reply.Done:
			return a.again(ctx, e)
		case o.reply.Result == nil:
			return a.fail(e, fault.New(fault.Internal, "the installation gave no result"))
		}
		return a.installed(e, *o.reply.Result)
	}
}

// recover looks at what an installation that was cut off has done.
func (a *Agent) recover(ctx context.Context, e journal.Entry) error {
	a.log.Info("an installation was cut off: looking at the machine", "task", e.Task, "attempt", e.Attempt, "since", e.Since)
	return a.change(ctx, e, stepRecover)
}

// maxResumed is how often an installation that had changed nothing when it was
// cut off is begun again within one attempt.
const maxResumed = 3

// again begins an installation of which recovery says that it changed nothing.
func (a *Agent) again(ctx context.Context, e journal.Entry) error {
	if e.Resumed++; e.Resumed > maxResumed {
		return a.fail(e, fault.New(fault.Unavailable, "the installation was cut off %d times before it changed anything", e.Resumed))
	}
	return a.install(ctx, e)
}

// installed tells the result. Whether it counts is for a fresh scan to say.
func (a *Agent) installed(e journal.Entry, r deploy.Result) error {
	a.mu.Lock()
	a.rescan = true
	a.mu.Unlock()
	e.Result = &r
	a.tellResult(e, r)
	ev := event(e, deploy.Verifying, "", time.Now())
	if r.RebootDue && len(r.Failures) == 0 { // a failure is told at once, not after a reboot
		ev.State, ev.Reason = deploy.WaitingReboot, "installed; a reboot is due"
	}
	ev.Result = &r
	poke(a.hurry) // what the machine has now is news, also when a reboot is still to come
	return a.finish(e, journal.Installed, ev)
}

// tellResult writes the outcome of an installation to the log.
func (a *Agent) tellResult(e journal.Entry, r deploy.Result) {
	about := []any{"task", e.Task, "attempt", e.Attempt, "operation", cmp.Or(string(e.Order.Operation), "install"), "changes", len(r.Changes), "reboot_due", r.RebootDue}
	if len(r.Failures) == 0 {
		a.log.Info("patches worked on", append(about, EventKey, EventInstalled)...)
		return
	}
	f := r.Failures[0]
	a.log.Warn("patches failed", append(about, EventKey, EventIncomplete, "failures", len(r.Failures), "first", f.Package+": "+f.Reason)...)
}

func (a *Agent) verify(ctx context.Context, e journal.Entry) error {
	if began, err := a.begin(&e, journal.Verifying, deploy.Verifying); !began {
		return err
	}
	reply, stopped, err := a.child(ctx, e, stepRequest{Step: stepVerify}, deploy.Verifying)
	switch {
	case stopped:
		return nil
	case err != nil:
		return a.fail(e, err)
	}
	if reply.Summary != nil {
		a.mu.Lock()
		a.summary = *reply.Summary
		a.mu.Unlock()
	}
	if e.Result == nil || len(e.Result.Failures) == 0 { // else another attempt may follow, and sweep clears after it
		if err := a.tidy(e.Task); err != nil {
			a.log.Warn("work files stay", "task", e.Task, "error", err)
		}
	}
	poke(a.hurry) // the new inventory is news
	ev := event(e, deploy.Verifying, "", time.Now())
	ev.Verdicts = reply.Verdicts
	return a.finish(e, journal.Ended, ev)
}

// tidy removes what a task has left on the disk. Payloads stay while another
// task may need them.
func (a *Agent) tidy(id deploy.TaskID) error {
	err := a.cfg.State.removeWork(id)
	for _, e := range a.journal.Entries() {
		if e.Task != id && e.Step != journal.Ended {
			return err
		}
	}
	store, errStore := link.OpenStore(a.cfg.State.payloads())
	if errStore == nil {
		errStore = store.Sweep(nil)
	}
	return errors.Join(err, errStore)
}
