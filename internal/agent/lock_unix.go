//go:build unix

package agent

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks a file at once, or reports that another process has it.
func tryLock(f *os.File) (taken bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
