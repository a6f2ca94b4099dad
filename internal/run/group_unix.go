//go:build unix

package run

import (
	"os"
	"os/exec"
	"syscall"
)

// group is the command and all that it starts: a process group of its own.
type group struct{ cmd *exec.Cmd }

// setLine is for Windows: here a program gets its arguments one by one.
func setLine(*exec.Cmd, string) {}

// newGroup makes a group of its own, which also outlives this process.
func newGroup(c *exec.Cmd, _ bool) *group {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &group{c}
}

// started has nothing to do: the group was there before the command ran.
func (g *group) started() error { return nil }

// interrupt asks the group to stop.
func (g *group) interrupt() error { return g.signal(syscall.SIGTERM) }

// kill ends what is left of the group. The command may be reaped by then; the kernel does not hand out its number as
// long as a member of the group lives.
func (g *group) kill() { _ = g.signal(syscall.SIGKILL) }

func (g *group) signal(s syscall.Signal) error {
	if err := syscall.Kill(-g.cmd.Process.Pid, s); err != nil {
		if err == syscall.ESRCH {
			return os.ErrProcessDone
		}
		return err
	}
	return nil
}

func (g *group) release() {}
