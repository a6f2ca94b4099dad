package apt

import (
	"os"
	"strconv"
	"syscall"
)

// lockHolder reports whether a process holds the POSIX lock on the file, and
// which one. A missing or unreadable file counts as free.
func lockHolder(path string) (pid string, locked bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil || l.Type == syscall.F_UNLCK {
		return "", false
	}
	return strconv.Itoa(int(l.Pid)), true
}

// freeBytes is what a process of root may still write below the folder.
func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}
