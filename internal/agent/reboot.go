package agent

import (
	"context"
	"errors"
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/agent/schedule"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
	"github.com/fettlehq/fettle/internal/wire"
)

// rebootGrace is how long the machine may take to go down before the order
// counts as failed, and how long events get to reach the server before.
const (
	rebootGrace = 10 * time.Minute
	flushGrace  = 10 * time.Second
)

// reboot restarts the machine, at most so often a day, whatever the server says.
func (a *Agent) reboot(ctx context.Context, e journal.Entry) error {
	now := time.Now()
	p, err := loadPolicy(a.cfg.PolicyFile)
	if err == nil {
		err = errors.Join(p.mayReboot(), schedule.MayReboot(a.journal.Reboots(), now, p.MaxReboots))
	}
	if err != nil {
		return a.fail(e, unjoin(err))
	}
	e.Step, e.BootID, e.Since = journal.Rebooting, a.bootID, now
	c := journal.Change{
		Put: []journal.Entry{e}, Reboots: []time.Time{now.UTC()},
		Emit: []wire.Event{event(e, deploy.Rebooting, "the machine restarts", now)},
	}
	if going, err := a.move(c, now); !going {
		return err
	}
	a.flush(ctx)
	a.log.Info("restarting the machine", EventKey, EventReboot, "task", e.Task)
	command := a.cfg.Reboot
	if len(p.RebootCommand) > 0 {
		command = p.RebootCommand
	}
	res, err := a.runner.Run(ctx, run.Cmd{Argv: command, Timeout: time.Minute})
	if err == nil {
		err = res.Err()
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the machine goes down, and the agent with it
	}
	if err != nil {
		return a.fail(e, fault.Wrap(err, fault.Unavailable, "the machine could not be restarted: %s", fault.Public(err)))
	}
	if pause(ctx, rebootGrace) {
		return a.fail(e, fault.New(fault.Unavailable, "the machine was told to restart and did not within %s", rebootGrace))
	}
	return nil
}

// flush gives the events a moment to reach the server.
func (a *Agent) flush(ctx context.Context) {
	for end := time.Now().Add(flushGrace); time.Now().Before(end) && len(a.journal.Events(1)) > 0; {
		if !pause(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// resume puts right what stands in the journal from before this start.
func (a *Agent) resume(now time.Time) error {
	for _, e := range a.journal.Entries() {
		rebooted := e.BootID != "" && a.bootID != "" && e.BootID != a.bootID
		waits := e.Step == journal.Rebooting || (e.Step == journal.Installed && e.Result != nil && e.Result.RebootDue && len(e.Result.Failures) == 0)
		switch {
		case waits && rebooted:
			if err := a.finish(e, journal.Installed, event(e, deploy.Verifying, "the machine has restarted", now)); err != nil {
				return err
			}
		case e.Step == journal.Rebooting && now.Sub(e.Since) > rebootGrace:
			if err := a.fail(e, fault.New(fault.Unavailable, "the machine was told to restart and did not")); err != nil {
				return err
			}
		case e.Step == journal.Rebooting: // the order is done again
			e.Step = journal.Accepted
			if err := a.journal.Apply(journal.Change{Put: []journal.Entry{e}}, now); err != nil {
				return err
			}
		}
	}
	poke(a.work)
	poke(a.post)
	return nil
}

// unjoin gives back the first fault of several.
func unjoin(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return err
}
