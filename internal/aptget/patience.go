package aptget

import (
	"context"
	"errors"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// After a kill -9 of its parent an apt-get lives on for a moment and holds the private folder's lock. So long is it
// waited for, and so often looked.
const (
	lockWait  = 30 * time.Second
	lockLooks = time.Second
)

// errLocked is the cause of a fault about a lock that another apt holds.
var errLocked = errors.New("the lock is held")

// patient runs one of apt's commands, again while another apt holds the lock, up to lockWait.
func (a *Apt) patient(ctx context.Context, cmd run.Cmd, progress Progress) (run.Result, error) {
	until := time.Now().Add(lockWait)
	for {
		res, err := a.run(ctx, cmd)
		if !errors.Is(err, errLocked) || !time.Now().Before(until) {
			return res, err
		}
		if progress != nil {
			progress(0, "waiting for another apt that works in the same private folder")
		}
		look := time.NewTimer(lockLooks)
		select {
		case <-ctx.Done():
			look.Stop()
			return res, fault.Wrap(ctx.Err(), fault.Cancelled, "aptget: stopped while another apt held the lock")
		case <-look.C:
		}
	}
}
