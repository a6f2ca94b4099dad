package agent

import (
	"context"
	"time"

	"github.com/gofrs/flock"

	"github.com/fettlehq/fettle/internal/fault"
)

// lockPoll is how often a taken lock is tried again: neither flock(2) nor
// LockFileEx can be stopped by a context.
const lockPoll = 200 * time.Millisecond

// lock waits for the exclusive lock on a file and returns its release. The
// kernel lets go of it when the process ends in whatever way.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	l := flock.New(path)
	switch _, err := l.TryLockContext(ctx, lockPoll); {
	case err != nil && ctx.Err() != nil:
		return nil, fault.Wrap(ctx.Err(), fault.Cancelled, "agent: another process holds %s", path)
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "agent: can't lock %s", path)
	}
	return func() { _ = l.Unlock() }, nil // the process's end would do it too
}
