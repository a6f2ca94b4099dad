package apt

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// lockHolder reports whether a process holds the POSIX lock on the file, and
// which one. A missing or unreadable file counts as free.
func lockHolder(path string) (pid int, locked bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil || l.Type == syscall.F_UNLCK {
		return 0, false
	}
	return int(l.Pid), true
}

// freeBytes is what a process of root may still write below the folder.
func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// hasEnv reports whether the process was started with the variable, written
// NAME=value.
func hasEnv(pid int, variable string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return string(v) == variable })
}

// askToEnd and kill end a dpkg with its scripts: apt makes it the leader of a
// session of its own.
func askToEnd(pid int) { signalGroup(pid, syscall.SIGTERM) }

func kill(pid int) { signalGroup(pid, syscall.SIGKILL) }

func signalGroup(pid int, sig syscall.Signal) {
	if pid <= 1 {
		return
	}
	if group, err := syscall.Getpgid(pid); err == nil && group == pid {
		_ = syscall.Kill(-pid, sig) // it may have ended by itself
		return
	}
	_ = syscall.Kill(pid, sig)
}
