package dpkg

import (
	"io"
	"os"
	"syscall"
)

// locked reports whether a dpkg is at work right now: then packages in a state
// in between are no sign of an interruption. Asking takes no lock.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // F_GETLK for a write lock needs no more, but dpkg's file is root's alone
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // nothing was written
	lk := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	return syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lk) == nil && lk.Type != syscall.F_UNLCK
}
