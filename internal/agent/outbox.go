package agent

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/agent/schedule"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// unwanted reports that the server will not take the event however often it is
// sent: it does not understand it, or does not know the task any more (it was
// restored from a backup). Such an event must not hold up those behind it.
func unwanted(err error) bool { return fault.Is(err, fault.Invalid) || fault.Is(err, fault.Denied) }

// shorten replaces an event that is larger than any message may be by the word
// that it was, and reports whether it did. A task whose plan can't be told
// fails with that reason instead of standing still.
func (a *Agent) shorten(e wire.Event, now time.Time) (bool, error) {
	if eventSize(e) < wire.MaxEvents/4 {
		return false, nil
	}
	body, err := json.Marshal(wire.Events{Events: []wire.Event{e}})
	if err == nil && len(body) <= wire.MaxEvents {
		return false, nil
	}
	err = fault.New(fault.Exhausted, "the report of the step %s has %d bytes, a message may have %d", e.State, len(body), wire.MaxEvents).
		WithHint("deploy fewer patches at a time")
	short := event(journal.Entry{Task: e.Task, Attempt: e.Attempt}, deploy.Failed, reason(err), now)
	return true, a.journal.Apply(journal.Change{Ack: e.Seq, Emit: []wire.Event{short}}, now)
}

// The bounds of one batch of events.
const (
	batchEvents = 50
	batchBytes  = wire.MaxEvents * 3 / 4
)

// send brings events to the server until all are acknowledged.
func (a *Agent) send(ctx context.Context) error {
	var back schedule.Backoff
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.post:
		}
		for batchSize := batchEvents; ctx.Err() == nil; {
			events := fit(a.journal.Events(batchSize))
			if len(events) == 0 {
				break
			}
			if done, err := a.shorten(events[0], time.Now()); err != nil {
				return err
			} else if done {
				continue
			}
			err := a.sendBatch(ctx, events)
			switch {
			case err == nil:
				back.Reset()
				batchSize = batchEvents
			case unwanted(err) && len(events) > 1:
				batchSize = 1 // find the one that the server can't take
			case unwanted(err):
				a.log.Error("event dropped: the server does not take it", "task", events[0].Task, "state", events[0].State, "error", err)
				if err := a.journal.Apply(journal.Change{Ack: events[0].Seq}, time.Now()); err != nil {
					return err
				}
			default:
				a.log.Warn("events not sent", "error", err)
				if !pause(ctx, back.Next()) {
					return nil
				}
			}
		}
	}
}

func (a *Agent) sendBatch(ctx context.Context, events []wire.Event) error {
	seq, err := a.server().PostEvents(ctx, events)
	if err != nil {
		return err
	}
	last := events[len(events)-1].Seq
	if seq < events[0].Seq {
		return fault.New(fault.Unavailable, "agent: the server acknowledged none of the events")
	}
	return a.journal.Apply(journal.Change{Ack: min(seq, last)}, time.Now())
}

// fit cuts a batch to the bytes that a message may have; the first event goes
// in any case.
func fit(events []wire.Event) []wire.Event {
	total := 0
	for i, e := range events {
		total += eventSize(e)
		if i > 0 && total > batchBytes {
			return events[:i]
		}
	}
	return events
}

// eventSize estimates the JSON of an event from its large parts.
func eventSize(e wire.Event) int {
	n := 1024 + len(e.Reason)
	if e.Plan != nil {
		n += 160*len(e.Plan.Changes) + 400*len(e.Plan.Payloads) + 200*len(e.Plan.Refused)
	}
	if e.Result != nil {
		n += 2*len(e.Result.Output) + 160*len(e.Result.Changes) + 400*len(e.Result.Failures)
	}
	for _, v := range e.Verdicts {
		n += 100 + len(v.Patch) + len(v.Reason)
	}
	return n
}
