package agent

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// keepIdle is how long files are kept for a task that has ended or for which
// no further order comes: a dry run, a deployment that was cancelled or waits
// for its window. When an order does come later, what it needs is made anew.
const keepIdle = 72 * time.Hour

// idle reports that nothing is under way for the task and nothing was for long.
func idle(e journal.Entry, now time.Time) bool {
	switch e.Step {
	case journal.Ended, journal.Planned, journal.Staged:
		return now.Sub(e.Since) > keepIdle
	}
	return false
}

// forget names what need not be remembered: the oldest ended tasks beyond
// those to keep, and tasks that wait for an order in vain. Those in busy have
// just got one.
func (a *Agent) forget(busy []journal.Entry, now time.Time) []deploy.TaskID {
	var ended, out []deploy.TaskID
	for _, e := range a.journal.Entries() {
		switch {
		case slices.ContainsFunc(busy, func(b journal.Entry) bool { return b.Task == e.Task }):
		case e.Step == journal.Ended:
			ended = append(ended, e.Task)
		case idle(e, now):
			out = append(out, e.Task)
		}
	}
	return append(out, ended[:max(0, len(ended)-keepEnded)]...)
}

// sweep removes work folders that no task needs any more, and payloads when no
// task is left that could.
func (a *Agent) sweep(now time.Time) error {
	needed, rest := map[string]bool{}, true
	for _, e := range a.journal.Entries() {
		if !idle(e, now) {
			needed[safe(string(e.Task))], rest = true, false
		}
	}
	dir := a.cfg.State.path("work")
	found, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the folder %s", dir)
	}
	var errs []error
	for _, f := range found {
		if !needed[f.Name()] {
			errs = append(errs, atomicfile.RemoveTree(a.cfg.State.path("work", f.Name())))
		}
	}
	if rest {
		store, err := link.OpenStore(a.cfg.State.payloads())
		if err == nil {
			err = store.Sweep(nil)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
