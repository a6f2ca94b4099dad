package deploy

import (
	"fmt"
	"time"
)

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
	if a.started < 0 {
		a.reason(t, "held by the blast-radius breaker: how many endpoints began within the hour can't be told now")
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
