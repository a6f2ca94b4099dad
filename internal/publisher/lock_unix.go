//go:build unix

package publisher

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fettlehq/fettle/internal/fault"
)

// folderLock keeps a second publisher out of a folder. The kernel releases it
// when the process ends, however it ends.
type folderLock struct{ file *os.File }

func lockFolder(dir string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "publisher: can't open the lock file in %s", dir)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = f.Close() // nothing was written
		return nil, fault.New(fault.Conflict, "publisher: another publisher works in %s", dir).
			WithHint("If that is 'fettle up', 'fettle sync' makes it crawl and publish now. Else wait for it or stop it; two publishers need two data folders and two repositories.")
	}
	return &folderLock{f}, nil
}

func (l *folderLock) release() { _ = l.file.Close() } // closing unlocks
