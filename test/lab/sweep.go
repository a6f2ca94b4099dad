package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockState locks the folder of all fleets, so that no fleet is half made
// while another process sweeps.
func lockState(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return LockFile(ctx, filepath.Join(stateDir, ".lock"))
}

// Sweep removes the fleets whose process has died: their containers, mounts,
// network namespaces, control groups and folders, and the gpg-agents and keys of
// archives. Living fleets and archives, of this or other processes, are left
// alone.
func Sweep(ctx context.Context) error {
	unlock, err := lockState(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return sweep(ctx)
}

// sweep is Sweep for who holds the lock.
func sweep(ctx context.Context) error {
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		return fmt.Errorf("lab: sweep: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && !alive(filepath.Join(stateDir, e.Name())) {
			errs = append(errs, destroy(ctx, e.Name()))
		}
	}
	return errors.Join(append(errs, sweepKeys(ctx))...)
}

// sweepKeys ends the gpg-agents of archives whose process has died, and deletes
// their keys.
func sweepKeys(ctx context.Context) error {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), keyFolder+"*"))
	if err != nil {
		return fmt.Errorf("lab: sweep: %w", err)
	}
	var errs []error
	for _, dir := range left {
		if alive(dir) {
			continue
		}
		_, err := command(ctx, "gpgconf", "--homedir", dir, "--kill", "all")
		errs = append(errs, err, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// own takes the lock in a folder of ours that [alive] looks for. It is held
// until the file is closed, or this process ends.
func own(dir string) (*os.File, error) {
	owner, err := os.Create(filepath.Join(dir, "owner"))
	if err != nil {
		return nil, fmt.Errorf("lab: own: %w", err)
	}
	if err := syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner.Close()
		return nil, fmt.Errorf("lab: own: lock: %w", err)
	}
	fmt.Fprintln(owner, os.Getpid())
	return owner, nil
}

// alive reports whether the process that made a folder of ours still holds its
// lock.
func alive(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "owner"))
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}

// destroy removes everything that carries the mark of the fleet id. What is
// gone already is no error.
func destroy(ctx context.Context, id string) error {
	prefix, dir := namePrefix+id+"-", filepath.Join(stateDir, id)
	killContainers(prefix)
	spaces, _ := filepath.Glob("/run/netns/" + prefix + "*")
	for _, path := range spaces {
		killInNetns(ctx, filepath.Base(path))
	}
	var errs []error
	for _, path := range spaces {
		_, err := command(ctx, "ip", "netns", "del", filepath.Base(path))
		errs = append(errs, err)
	}
	errs = append(errs, unmountBelow(dir), removeControlGroups(ctx, prefix))
	for _, sub := range []string{"propagate", "unix-export"} {
		left, _ := filepath.Glob(filepath.Join("/run/systemd/nspawn", sub, prefix+"*"))
		for _, path := range left {
			_ = unix.Unmount(path, unix.MNT_DETACH)
			_ = os.Remove(path)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // never delete below a folder that may still have mounts
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("lab: remove %s: %w", dir, err)
	}
	return nil
}

// killContainers kills the nspawn processes of machines whose name begins with
// prefix, and their first processes, and waits until they are gone.
func killContainers(prefix string) {
	var pids []int
	for _, pid := range processes() {
		argv, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if strings.HasPrefix(string(argv), "systemd-nspawn\x00") && strings.Contains(string(argv), "\x00--machine="+prefix) {
			if leader, err := leaderOf(pid); err == nil {
				pids = append(pids, leader)
			}
			pids = append(pids, pid)
		}
	}
	killAll(pids)
}

// killInNetns kills every process in a network namespace of ours: servers
// under test and whatever a machine left.
func killInNetns(ctx context.Context, ns string) {
	out, err := command(ctx, "ip", "netns", "pids", ns)
	if err != nil {
		return
	}
	var pids []int
	for word := range strings.FieldsSeq(string(out)) {
		// A test's own process is seen here while it listens from inside.
		if pid, err := strconv.Atoi(word); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	killAll(pids)
}

// killAll sends SIGKILL and waits up to five seconds for the processes to be
// gone or zombies that wait for their parent.
func killAll(pids []int) {
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, pid := range pids {
		for time.Now().Before(deadline) && running(pid) {
			time.Sleep(10 * time.Millisecond) // another program's end, not a clock
		}
	}
}

// running reports whether a process exists and is no zombie.
func running(pid int) bool {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// processes lists the process ids of this host.
func processes() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// unmountBelow unmounts everything at or below dir, last mount first, and
// makes sure that nothing is left.
func unmountBelow(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(points) {
		_ = unix.Unmount(point, unix.MNT_DETACH)
	}
	left, err := mountsBelow(dir)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("lab: still mounted: %s", strings.Join(left, " "))
	}
	return err
}

// mountsBelow lists the mount points at or below dir in the order of mounting.
func mountsBelow(dir string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("lab: mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			points = append(points, f[4])
		}
	}
	return points, nil
}
