package apt

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/fault"
)

// dpkgLocks are the locks that front ends of dpkg and dpkg itself take.
func dpkgLocks() []string {
	return []string{"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"}
}

// waitForLock waits until no other package manager holds dpkg's locks and says
// meanwhile who does. Between its answer and the start of apt-get another one
// may come: then apt waits by itself (DPkg::Lock::Timeout).
func (w *workspace) waitForLock(ctx context.Context, report func(install.Progress)) error {
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	told := ""
	for {
		holder := lockedBy()
		if holder == "" {
			return nil
		}
		if time.Since(start) > lockTimeout {
			return fault.New(fault.Unavailable, "dpkg is locked by %s for more than %s; nothing was changed", holder, lockTimeout).
				WithHint("see what that process does; the next attempt goes on by itself")
		}
		if told != holder {
			told = holder
			report(install.Progress{Line: "waiting for dpkg's lock, held by " + holder})
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.Cancelled, "dpkg was locked by %s all the time; nothing was changed", holder).
				WithHint("see what that process does; the next attempt goes on by itself")
		case <-tick.C:
		}
	}
}

// lockedBy names the process that holds one of dpkg's locks, or "".
func lockedBy() string {
	pid, path := dpkgHolder()
	if path == "" {
		return ""
	}
	return "process " + strconv.Itoa(pid) + processName(strconv.Itoa(pid))
}

// dpkgHolder finds the process that holds one of dpkg's locks; path is empty
// when nobody does.
func dpkgHolder() (pid int, path string) {
	for _, path := range dpkgLocks() {
		if pid, locked := lockHolder(path); locked {
			return pid, path
		}
	}
	return 0, ""
}

func processName(pid string) string {
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(comm)) + ")"
}
