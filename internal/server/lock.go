package server

import (
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/fettlehq/fettle/internal/fault"
)

// lockFolder keeps a second server out of a data folder: two would share one
// database and one CA, and the later one would put its own address into
// operator.json. The kernel releases the lock when the process ends, however it
// ends.
func lockFolder(dir string) (*flock.Flock, error) {
	// Opened for writing, so that a folder of which nothing can be written is told here.
	l := flock.New(filepath.Join(dir, "lock"), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	switch taken, err := l.TryLock(); {
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "server: the data folder %s can't be written and locked", filepath.Dir(dir)).
			WithHint("nothing was changed; does the folder belong to this user, and is it on a local disk that is writable and not full?")
	case !taken:
		return nil, fault.New(fault.Conflict, "server: another server works with the data folder %s", filepath.Dir(dir)).
			WithHint("nothing was changed; 'fettle status --data %s' asks that one. Stop it first, or name another folder with --data", filepath.Dir(dir))
	}
	return l, nil
}
