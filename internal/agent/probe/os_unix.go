//go:build unix

package probe

import "syscall"

// nonblock keeps an open from waiting when a pipe took the file's place.
const nonblock = syscall.O_NONBLOCK

var errNotDir error = syscall.ENOTDIR

// onDrive is Windows' alone.
func onDrive(drive, below string) (string, error) { return drive + below, nil }
