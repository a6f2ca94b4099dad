package agent

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rest makes the waiting agent small: garbage goes back to the system, and so
// do the pages of the program itself that were touched on the way here. Those
// are clean copies of the file; what is needed again is mapped again, from the
// page cache, in microseconds. Each call costs about a millisecond, so it is
// made before a long wait only.
func rest() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return // no procfs: the agent is a little larger
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		if from, size, ok := clean(line, self); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, size, unix.MADV_DONTNEED) // advice may be ignored
		}
	}
}

// clean reads one line of /proc/self/maps and reports whether it is a part of
// the program that nobody can have written to (proc(5)).
func clean(line, self string) (from, size uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || f[5] != self || (f[1] != "r-xp" && f[1] != "r--p") {
		return 0, 0, false
	}
	lo, hi, _ := strings.Cut(f[0], "-")
	a, errA := strconv.ParseUint(lo, 16, 64)
	b, errB := strconv.ParseUint(hi, 16, 64)
	if errA != nil || errB != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b - a), true
}
