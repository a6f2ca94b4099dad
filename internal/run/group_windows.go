package run

import (
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// group is the command and all that it starts: a job object. A process that starts in the instant before the command is
// put into the job escapes it.
type group struct {
	cmd *exec.Cmd
	job windows.Handle
}

// setLine gives the program a command line as it is.
func setLine(c *exec.Cmd, line string) {
	if line != "" {
		c.SysProcAttr = &syscall.SysProcAttr{CmdLine: line}
	}
}

// newGroup starts the command without a console window and out of reach of a Ctrl-C that is meant for this process.
func newGroup(c *exec.Cmd, outlives bool) *group {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.CreationFlags |= windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW
	if outlives && mayBreakAway() {
		c.SysProcAttr.CreationFlags |= windows.CREATE_BREAKAWAY_FROM_JOB
	}
	return &group{cmd: c}
}

// mayBreakAway reports whether this process is in a job (of a task scheduler, a remote shell) that lets children leave:
// asking for it elsewhere makes their start fail.
func mayBreakAway() bool {
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	err := windows.QueryInformationJobObject(0, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)), nil)
	return err == nil && info.BasicLimitInformation.LimitFlags&windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK != 0
}

// started puts the command into a job. Where that is refused, only the command itself can be stopped.
func (g *group) started() {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return
	}
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(g.cmd.Process.Pid))
	if err != nil {
		_ = windows.CloseHandle(job)
		return
	}
	defer func() { _ = windows.CloseHandle(p) }()
	// Children of installers may want to leave the job on purpose (services, updaters): allow it.
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK}}
	_, _ = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err := windows.AssignProcessToJobObject(job, p); err != nil {
		_ = windows.CloseHandle(job)
		return
	}
	g.job = job
}

// interrupt ends the group at once: Windows has no request to stop that every program hears.
func (g *group) interrupt() error {
	if g.job != 0 {
		return windows.TerminateJobObject(g.job, 1)
	}
	return g.cmd.Process.Kill()
}

func (g *group) kill() { _ = g.interrupt() }

func (g *group) release() {
	if g.job != 0 {
		_ = windows.CloseHandle(g.job)
		g.job = 0
	}
}
