package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cell is a place in the fleet's network for programs of this host that play a
// machine of another kind: own host name, network, processes and mounts, and
// the file system of this host, with an empty /tmp. Nothing in it reaches
// anybody but the fleet's server and the fleet's machines.
type Cell struct {
	// Name is the host name.
	Name string
	// Addr is its address in the fleet's network.
	Addr string

	ns    string
	dir   string
	first *exec.Cmd // unshare, whose child is process 1 of the cell
	ended chan struct{}
	close sync.Once
}

// NewCell makes a cell with a disk of diskBytes (0 means 2 GiB), held in memory
// as far as it is used. prepare, if given, mounts and fills what the cell shall
// find in its folder. The cell ends with [Cell.Close] or with its fleet.
func (f *Fleet) NewCell(ctx context.Context, name string, diskBytes int64, prepare func(dir string) error) (*Cell, error) {
	if diskBytes == 0 {
		diskBytes = 2 << 30
	}
	f.mu.Lock()
	seat, err := f.seat(name)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c := &Cell{Name: name, Addr: seat.addr, ns: f.prefix() + name, dir: filepath.Join(f.dir(), name), ended: make(chan struct{})}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("lab: %s: %w", name, err)
	}
	if err := unix.Mount("tmpfs", c.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", diskBytes)); err != nil {
		return nil, fmt.Errorf("lab: %s: mount disk: %w", name, err)
	}
	if prepare != nil {
		if err := prepare(c.dir); err != nil {
			return nil, fmt.Errorf("lab: prepare %s: %w", name, err)
		}
	}
	if err := f.plugIn(ctx, c.ns, seat); err != nil {
		return nil, err
	}
	if err := c.occupy(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.closers = append(f.closers, c)
	f.mu.Unlock()
	return c, nil
}

// Dir is the cell's folder on its disk, under the same path inside and outside.
func (c *Cell) Dir() string { return c.dir }

// occupy starts process 1 of the cell, which sleeps, and waits for it. With it
// all other processes of the cell end; itself ends with this process.
func (c *Cell) occupy(ctx context.Context) error {
	// An ignored SIGCHLD lets the kernel reap the orphans that fall to process 1.
	const first = `hostname "$1" && mount -t tmpfs -o mode=1777 tmpfs /tmp && echo ready && exec env --ignore-signal=CHLD sleep infinity`
	// It outlives the context that it was made with.
	c.first = exec.CommandContext(context.WithoutCancel(ctx), "nsenter", "--net=/run/netns/"+c.ns, "--",
		"unshare", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", first, c.ns, c.Name)
	c.first.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	c.first.Dir = "/"
	var said bytes.Buffer
	c.first.Stderr = &said
	ready, tell, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("lab: %s: %w", c.Name, err)
	}
	defer ready.Close()
	c.first.Stdout = tell
	started := make(chan error)
	go func() {
		// The kernel's death signal comes when the thread that forked ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(c.ended)
		err := c.first.Start()
		tell.Close()
		started <- err
		if err == nil {
			_ = c.first.Wait() // it is always killed
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("lab: %s: %w", c.Name, err)
	}
	line := make([]byte, 8)
	if n, _ := ready.Read(line); string(line[:n]) != "ready\n" {
		_ = c.Close()
		return fmt.Errorf("lab: %s has no first process: %s", c.Name, tail(said.String(), 1000))
	}
	return nil
}

// Command prepares a command in the cell, in its root folder and with an
// environment that is its own and nothing else.
func (c *Cell) Command(ctx context.Context, env []string, argv ...string) (*exec.Cmd, error) {
	leader, err := leaderOf(c.first.Process.Pid)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", c.Name, err)
	}
	cmd := enter(ctx, leader, nil, argv...)
	cmd.Env = env
	return cmd, nil
}

// Processes lists the processes of the cell but its first, as this host counts
// them.
func (c *Cell) Processes() ([]int, error) {
	leader, err := leaderOf(c.first.Process.Pid)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", c.Name, err)
	}
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", leader))
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", c.Name, err)
	}
	var pids []int
	for _, pid := range processes() {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && ns == space && pid != leader {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Kill sends SIGKILL to processes of the cell, as this host counts them, and
// waits until they are gone.
func (c *Cell) Kill(pids ...int) { killAll(pids) }

// Close ends all processes of the cell. Its disk and network go with the fleet.
func (c *Cell) Close() error {
	c.close.Do(func() {
		if leader, err := leaderOf(c.first.Process.Pid); err == nil {
			_ = unix.Kill(leader, unix.SIGKILL)
		}
		select {
		case <-c.ended:
		case <-time.After(3 * time.Second):
			_ = c.first.Process.Kill()
			<-c.ended
		}
	})
	return nil
}
