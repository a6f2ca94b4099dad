package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Result is how a command in a machine ended.
type Result struct {
	Stdout, Stderr string
	// Code is the exit status.
	Code int
}

// Command prepares a command to run in the machine as root, outside any unit,
// with a clean environment. It fails when the machine is not far enough in its
// boot. What the command starts ends with the machine at the latest.
func (m *Machine) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	m.mu.Lock()
	pid := m.nspawn
	m.mu.Unlock()
	if pid == 0 {
		return nil, fmt.Errorf("lab: %s is off", m.Name)
	}
	leader, err := leaderOf(pid)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", m.Name, err)
	}
	cmd := enter(ctx, leader, []string{"-C"}, argv...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive",
	}
	return cmd, nil
}

// enter prepares a command in the namespaces of process leader; more are
// further options of nsenter.
func enter(ctx context.Context, leader int, more []string, argv ...string) *exec.Cmd {
	args := append([]string{"-t", strconv.Itoa(leader), "-m", "-u", "-i", "-n", "-p"}, more...)
	cmd := exec.CommandContext(ctx, "nsenter", append(append(args, "--"), argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Exec runs a command in the machine to its end. The error says that it could
// not be run or was cut off; a command that fails is no error but a Code.
func (m *Machine) Exec(ctx context.Context, argv ...string) (Result, error) {
	return m.ExecInput(ctx, nil, argv...)
}

// ExecInput is Exec with standard input.
func (m *Machine) ExecInput(ctx context.Context, stdin io.Reader, argv ...string) (Result, error) {
	cmd, err := m.Command(ctx, argv...)
	if err != nil {
		return Result{Code: -1}, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err = runAwake(cmd)
	res := Result{stdout.String(), stderr.String(), 0}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return res, nil
	case ctx.Err() == nil && errors.As(err, &exit) && exit.ExitCode() >= 0:
		res.Code = exit.ExitCode()
		return res, nil
	}
	res.Code = -1
	return res, fmt.Errorf("lab: %s: %s: %w", m.Name, strings.Join(argv, " "), err)
}

// runAwake is cmd.Run for nsenter. A machine that goes down stops all its
// processes for a moment before it kills them; nsenter sees its child stopped,
// stops itself, and would never reap the child, whose remains keep the machine
// from ending. So it is told to go on again and again; that costs it nothing.
func runAwake(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = cmd.Process.Signal(syscall.SIGCONT) // it may have ended
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	return err
}

// Run is Exec for commands that must succeed; it returns standard output.
func (m *Machine) Run(ctx context.Context, argv ...string) (string, error) {
	res, err := m.Exec(ctx, argv...)
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("lab: %s: %s: exit status %d: %s",
			m.Name, strings.Join(argv, " "), res.Code, tail(res.Stdout+res.Stderr, 2000))
	}
	return res.Stdout, err
}

// CopyIn copies a file or a folder of this host into the running machine. dst
// is the full path of the copy; its parents are made. Modes are kept, the
// owner becomes root.
func (m *Machine) CopyIn(ctx context.Context, src, dst string) error {
	info, err := os.Stat(src)
	if err != nil {
		return fmt.Errorf("lab: copy into %s: %w", m.Name, err)
	}
	if info.IsDir() {
		return m.copyDirIn(ctx, src, dst)
	}
	f, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("lab: copy into %s: %w", m.Name, err)
	}
	defer f.Close()
	return m.WriteFile(ctx, dst, f, info.Mode().Perm())
}

// WriteFile makes or replaces a file in the running machine.
func (m *Machine) WriteFile(ctx context.Context, dst string, content io.Reader, mode os.FileMode) error {
	res, err := m.ExecInput(ctx, content, "install", "-D", "-m", fmt.Sprintf("%o", mode.Perm()), "/dev/stdin", dst)
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("lab: write %s in %s: %s", dst, m.Name, tail(res.Stderr, 500))
	}
	return err
}

// copyDirIn streams a folder through tar.
func (m *Machine) copyDirIn(ctx context.Context, src, dst string) error {
	if _, err := m.Run(ctx, "mkdir", "-p", dst); err != nil {
		return err
	}
	pack := exec.CommandContext(ctx, "tar", "-C", src, "--owner=0", "--group=0", "-cf", "-", ".")
	stream, err := pack.StdoutPipe()
	if err != nil {
		return fmt.Errorf("lab: copy into %s: %w", m.Name, err)
	}
	if err := pack.Start(); err != nil {
		return fmt.Errorf("lab: copy into %s: %w", m.Name, err)
	}
	res, err := m.ExecInput(ctx, stream, "tar", "-C", dst, "-xf", "-")
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("lab: copy into %s: %s", m.Name, tail(res.Stderr, 500))
	}
	return errors.Join(err, pack.Wait())
}

// Kill sends SIGKILL to a process of the machine; pid is as the machine
// counts.
func (m *Machine) Kill(ctx context.Context, pid int) error {
	_, err := m.Run(ctx, "kill", "-KILL", strconv.Itoa(pid))
	return err
}

// killGroup kills the processes that an nsenter has started, which ends the
// nsenter too: it must live to reap its child, since a dead process of the
// machine whose parent is on the host would else be left to the host's init,
// and would hold up the machine's shutdown if that one is careless.
func killGroup(nsenter int) error {
	found := false
	for _, pid := range processes() {
		if group, err := syscall.Getpgid(pid); err == nil && group == nsenter && pid != nsenter {
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
	}
	if !found {
		return syscall.Kill(nsenter, syscall.SIGKILL)
	}
	return nil
}

// leaderOf finds the first process of a container: the child of nspawn that
// is process 1 in a namespace of its own.
func leaderOf(nspawn int) (int, error) {
	if nspawn == 0 {
		return 0, errors.New("not started")
	}
	proc := filepath.Join("/proc", strconv.Itoa(nspawn))
	data, err := os.ReadFile(filepath.Join(proc, "task", strconv.Itoa(nspawn), "children"))
	if err != nil {
		return 0, fmt.Errorf("nspawn is gone: %w", err)
	}
	for child := range strings.FieldsSeq(string(data)) {
		status, err := os.ReadFile(filepath.Join("/proc", child, "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) == 3 && f[0] == "NSpid:" && f[2] == "1" {
				return strconv.Atoi(child)
			}
		}
	}
	return 0, errors.New("the container has no first process yet")
}
