package deploy

import (
	"fmt"
	"time"
)

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
