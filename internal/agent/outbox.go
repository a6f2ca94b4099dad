package agent

import (
	"encoding/json"
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
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
