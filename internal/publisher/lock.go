package publisher

import (
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/fettlehq/fettle/internal/fault"
)

// lockFolder keeps a second publisher out of a folder. The kernel releases the
// lock when the process ends, however it ends.
func lockFolder(dir string) (*flock.Flock, error) {
	l := flock.New(filepath.Join(dir, "lock"))
	switch taken, err := l.TryLock(); {
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "publisher: can't lock the folder %s", dir).
			WithHint("nothing was changed; does it belong to this user, and is it on a local disk that is writable and not full?")
	case !taken:
		return nil, fault.New(fault.Conflict, "publisher: another publisher works in %s", dir).
			WithHint("If that is 'fettle up', 'fettle sync' makes it crawl and publish now. Else wait for it or stop it; two publishers need two data folders and two repositories.")
	}
	return l, nil
}
