//go:build unix

package server

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fettlehq/fettle/internal/fault"
)

// lockFolder keeps a second server out of a data folder: two would share one
// database and one CA, and the later one would put its own address into
// operator.json. The kernel releases the lock when the process ends, however it
// ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "server: nothing can be written in the data folder %s", dir).
			WithHint("nothing was changed; does the folder belong to this user, and is the disk writable and not full?")
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		_ = f.Close() // nothing was written
	}
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, fault.New(fault.Unavailable, "server: another server works with the data folder %s", filepath.Dir(dir)).
			WithHint("nothing was changed; 'fettle status --data %s' asks that one. Stop it first, or name another folder with --data", filepath.Dir(dir))
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "server: the data folder %s can't be locked", filepath.Dir(dir)).
			WithHint("put it on a local disk")
	}
	return f, nil
}
