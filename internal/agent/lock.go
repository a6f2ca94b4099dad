package agent

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// lockPoll is how often a taken lock is tried again: neither flock(2) nor
// LockFileEx can be stopped by a context.
const lockPoll = 200 * time.Millisecond

// lock waits for the exclusive lock on a file and returns its release. The
// kernel lets go of it when the process ends in whatever way.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "agent: can't open %s", path)
	}
	for {
		switch taken, err := tryLock(f); {
		case err != nil:
			return nil, fault.Wrap(errors.Join(err, f.Close()), fault.Unavailable, "agent: can't lock %s", path)
		case !taken:
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(errors.Join(ctx.Err(), f.Close()), fault.Cancelled, "agent: another process holds %s", path)
		case <-time.After(lockPoll):
		}
	}
}
