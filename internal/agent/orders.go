package agent

import (
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/wire"
)

// keepEnded is how many tasks that ended are remembered, so that an order that
// comes again is known.
const keepEnded = 64

// What an order may name, and what all of them may together: they are kept on
// this machine's disk and in the agent's memory, whoever owns the server.
const (
	maxTaskID  = 128
	maxPatches = 5000
	maxPatchID = 512
	maxDigest  = 64
	maxOpen    = 256    // tasks that have not ended
	maxRefs    = 50_000 // patches in all of them
	maxWaiting = 10_000 // events that the server has not acknowledged
)

// wellFormed reports whether an order is one that can be kept.
func wellFormed(o wire.Order) bool {
	return o.Task != "" && len(o.Task) <= maxTaskID && o.Attempt >= 1 && len(o.Patches) <= maxPatches &&
		len(o.Action)+len(o.Operation)+len(o.Conffile) <= maxTaskID &&
		!slices.ContainsFunc(o.Patches, func(p deploy.PatchRef) bool { return len(p.ID) > maxPatchID || len(p.Digest) > maxDigest })
}

// room counts what may still be taken.
type room struct{ tasks, refs int }

func (r *room) take(o wire.Order) bool {
	r.tasks--
	r.refs -= len(o.Patches)
	return r.tasks >= 0 && r.refs >= 0
}

func (a *Agent) room() room {
	if len(a.journal.Events(maxWaiting)) == maxWaiting {
		return room{} // it orders and does not listen
	}
	r := room{tasks: maxOpen, refs: maxRefs}
	for _, e := range a.journal.Entries() {
		if e.Step != journal.Ended {
			r.take(e.Order)
		}
	}
	return r
}

// take writes new orders to the journal and wakes the worker. Orders that are
// known are answered from the journal and not done again.
func (a *Agent) take(orders []wire.Order, now time.Time) error {
	a.turn.Lock()
	defer a.turn.Unlock()
	var c journal.Change
	left := a.room()
	for _, o := range orders {
		if !wellFormed(o) {
			a.log.Warn("order refused: it is malformed", "task", o.Task[:min(len(o.Task), maxTaskID)], "attempt", o.Attempt)
			continue
		}
		e, known := a.journal.Entry(o.Task)
		switch {
		case known && o.Attempt < e.Attempt:
		case o.Action == wire.ActCancel && (known || left.take(o)):
			a.cancelOrder(&c, e, known, o, now)
		case known && e.Open(): // at work, on this order or on the one before
		case known && sameWork(e, o) && o.Action != wire.ActVerify && e.Done[o.Action].Task != "":
			a.answerAgain(&c, e, o, now)
		case o.Action == wire.ActCancel:
		case (!known || e.Step == journal.Ended) && !left.take(o):
			a.log.Warn("order left for later: there are too many", "task", o.Task)
		default:
			c.Put = append(c.Put, accept(e, o, a.bootID, now))
		}
	}
	c.Drop = a.forget(c.Put, now)
	if len(c.Put)+len(c.Drop)+len(c.Emit) == 0 {
		return nil
	}
	if err := a.journal.Apply(c, now); err != nil {
		return err
	}
	for _, e := range c.Put {
		if e.Step == journal.Ended { // after the journal says so: the worker must not begin it again
			a.stop(e.Task)
		}
	}
	poke(a.work)
	poke(a.post)
	return nil
}

// sameWork reports whether the order is about what the entry has done steps of.
// When some of its patches were declined meanwhile, the task comes again with
// the others: what was planned and fetched for all of them does not count.
func sameWork(e journal.Entry, o wire.Order) bool {
	return o.Attempt == e.Attempt && o.Operation == e.Order.Operation && slices.Equal(o.Patches, e.Order.Patches)
}

// accept makes the order the entry's. An order of the same attempt to reboot or
// to verify may name other patches than were installed (the server knows more
// by then); what the installation did stays what it did.
func accept(e journal.Entry, o wire.Order, boot string, now time.Time) journal.Entry {
	if !sameWork(e, o) {
		before := e
		e = journal.Entry{Task: o.Task, Attempt: o.Attempt}
		if after := o.Action == wire.ActReboot || o.Action == wire.ActVerify; after && before.Attempt == o.Attempt {
			e.Result = before.Result
			if done, ok := before.Done[wire.ActReboot]; ok { // one restart is enough, whatever it was for
				e.Done = map[wire.Action]wire.Event{wire.ActReboot: done}
			}
		}
	}
	e.Order, e.Step, e.BootID, e.Since = o, journal.Accepted, boot, now
	return e
}

// answerAgain repeats the event that ended an action, unless it still waits to
// be sent.
func (a *Agent) answerAgain(c *journal.Change, e journal.Entry, o wire.Order, now time.Time) {
	done := e.Done[o.Action]
	waiting := slices.ContainsFunc(a.journal.Events(1<<20), func(ev wire.Event) bool {
		return ev.Task == e.Task && ev.Attempt == e.Attempt && ev.State == done.State
	})
	if waiting {
		return
	}
	done.At = now
	c.Emit = append(c.Emit, done)
}

// cancelOrder stops a task as long as nothing irreversible has begun.
func (a *Agent) cancelOrder(c *journal.Change, e journal.Entry, known bool, o wire.Order, now time.Time) {
	if !known {
		e = journal.Entry{Task: o.Task, Attempt: o.Attempt, Order: o}
	}
	switch e.Step {
	case journal.Installing, journal.Installed, journal.Rebooting, journal.Verifying:
		a.log.Info("order to cancel comes too late", "task", o.Task, "step", e.Step)
		return
	case journal.Ended:
		return
	}
	e.Step, e.Since = journal.Ended, now
	c.Put = append(c.Put, e)
	c.Emit = append(c.Emit, event(e, deploy.TaskCancelled, "cancelled before anything was changed", now))
}

// stop ends the step that runs for a task.
func (a *Agent) stop(id deploy.TaskID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == id && a.cancel != nil {
		a.cancel()
	}
}

func event(e journal.Entry, state deploy.State, reason string, now time.Time) wire.Event {
	return wire.Event{Task: e.Task, Attempt: e.Attempt, At: now.UTC(), State: state, Reason: reason}
}
