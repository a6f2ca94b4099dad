package run

import (
	"os/exec"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// group is the command and all that it starts: a job object.
type group struct {
	cmd *exec.Cmd

	mu      sync.Mutex
	job     windows.Handle // 0 as long as there is none
	stopped bool
}

// setLine gives the program a command line as it is.
func setLine(c *exec.Cmd, line string) {
	if line != "" {
		c.SysProcAttr = &syscall.SysProcAttr{CmdLine: line}
	}
}

// newGroup has the command started without a console window, out of reach of a Ctrl-C that is meant for this process, and
// waiting for started.
func newGroup(c *exec.Cmd, outlives bool) *group {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.CreationFlags |= windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW | windows.CREATE_SUSPENDED
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

// started puts the command into a job before it has run an instruction, so that nothing it starts escapes, and lets it
// run. Where a job is refused, only the command itself can be stopped. An error says that it can't run.
func (g *group) started() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.job = jobOf(g.cmd.Process.Pid)
	if g.stopped {
		return nil // it was ended before it ran
	}
	return resume(uint32(g.cmd.Process.Pid)) //nolint:gosec // numbers of processes have 32 bits
}

// jobOf makes a job of one process; 0 when Windows refuses.
func jobOf(pid int) windows.Handle {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0
	}
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid)) //nolint:gosec // as above
	if err != nil {
		_ = windows.CloseHandle(job)
		return 0
	}
	defer func() { _ = windows.CloseHandle(p) }()
	// Children of installers may want to leave the job on purpose (services, updaters): allow it.
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK}}
	_, _ = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err := windows.AssignProcessToJobObject(job, p); err != nil {
		_ = windows.CloseHandle(job)
		return 0
	}
	return job
}

// resume lets a process run that was started suspended. os/exec has closed the handle of its thread, so the thread is
// found among all of the system (ResumeThread leaves one that runs as it is).
func resume(pid uint32) error {
	all, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(all) }()
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	resumed := false
	for err = windows.Thread32First(all, &entry); err == nil; err = windows.Thread32Next(all, &entry) {
		if entry.OwnerProcessID != pid {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return err
		}
		_, err = windows.ResumeThread(thread)
		_ = windows.CloseHandle(thread)
		if err != nil {
			return err
		}
		resumed = true
	}
	if !resumed {
		return windows.ERROR_NOT_FOUND
	}
	return nil
}

// interrupt ends the group at once: Windows has no request to stop that every program hears.
func (g *group) interrupt() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	if g.job != 0 {
		return windows.TerminateJobObject(g.job, 1)
	}
	return g.cmd.Process.Kill()
}

func (g *group) kill() { _ = g.interrupt() }

func (g *group) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.job != 0 {
		_ = windows.CloseHandle(g.job)
		g.job = 0
	}
}
