package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rebootRequested is the exit status by which systemd-nspawn says that the
// machine asked for a reboot (systemd-nspawn(1), "Exit status").
const rebootRequested = 133

// MachineOptions shape one machine.
type MachineOptions struct {
	// DiskBytes is the size of the machine's disk, held in memory as far as it
	// is used; 0 means 1 GiB.
	DiskBytes int64
	// ReadOnly maps folders of this host to where the machine sees them.
	ReadOnly map[string]string
	// Prepare changes the machine's root before the first boot.
	Prepare func(root *os.Root) error
}

// Machine is one throw-away Debian machine. Its methods may be called from
// several goroutines.
type Machine struct {
	// Name is the host name.
	Name string
	// Addr is its address in the fleet's network.
	Addr string

	fleet *Fleet
	port  string // the server's end of its network cable
	opt   MachineOptions

	mu     sync.Mutex
	nspawn int           // process id of systemd-nspawn, 0 when off
	off    chan struct{} // closed when the machine has gone off
	cut    bool          // the cord is pulled: do not boot again
}

// ns is the machine's network namespace and container name.
func (m *Machine) ns() string { return m.fleet.prefix() + m.Name }

// disk is the tmpfs with the machine's own files.
func (m *Machine) disk() string { return filepath.Join(m.fleet.dir(), m.Name) }

// Root is the machine's root folder as this host sees it. It lacks what the
// running machine mounts over it (/run, /tmp, /dev).
func (m *Machine) Root() string { return filepath.Join(m.disk(), "m") }

// build makes the machine's disk, identity and network.
func (m *Machine) build(ctx context.Context) error {
	size := m.opt.DiskBytes
	if size == 0 {
		size = 1 << 30
	}
	d := m.disk()
	if err := os.Mkdir(d, 0o755); err != nil {
		return fmt.Errorf("lab: %s: %w", m.Name, err)
	}
	if err := unix.Mount("tmpfs", d, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", size)); err != nil {
		return fmt.Errorf("lab: %s: mount disk: %w", m.Name, err)
	}
	for _, sub := range []string{"u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(d, sub), 0o755); err != nil {
			return fmt.Errorf("lab: %s: %w", m.Name, err)
		}
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s/u,workdir=%s/w", m.fleet.base, d, d)
	if err := unix.Mount("overlay", m.Root(), "overlay", 0, data); err != nil {
		return fmt.Errorf("lab: %s: mount root on %s: %w", m.Name, m.fleet.base, err)
	}
	if err := m.identify(); err != nil {
		return err
	}
	return m.fleet.plugIn(ctx, m.ns(), seat{m.Addr, m.port})
}

// identify gives the machine its own name and machine id, and runs the
// caller's preparation.
func (m *Machine) identify() error {
	root, err := os.OpenRoot(m.Root())
	if err != nil {
		return fmt.Errorf("lab: %s: %w", m.Name, err)
	}
	defer root.Close()
	machineID, err := randomID(32)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"etc/hostname":   m.Name + "\n",
		"etc/machine-id": machineID + "\n",
		"etc/hosts":      "127.0.0.1 localhost\n127.0.1.1 " + m.Name + "\n" + ServerAddr + " server\n",
	} {
		if err := writeIn(root, name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	// With this folder journald keeps its journal across reboots.
	if err := root.MkdirAll("var/log/journal", 0o755); err != nil {
		return fmt.Errorf("lab: %s: %w", m.Name, err)
	}
	if m.opt.Prepare == nil {
		return nil
	}
	if err := m.opt.Prepare(root); err != nil {
		return fmt.Errorf("lab: prepare %s: %w", m.Name, err)
	}
	return nil
}

// PowerOn boots the machine and waits until it runs.
func (m *Machine) PowerOn(ctx context.Context) error {
	m.mu.Lock()
	if m.off != nil {
		m.mu.Unlock()
		return fmt.Errorf("lab: %s is on already", m.Name)
	}
	m.mu.Unlock()
	groups, err := makeControlGroups(m.ns())
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.consoleLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("lab: %s: %w", m.Name, err)
	}
	m.mu.Lock()
	m.off, m.cut = make(chan struct{}), false
	m.mu.Unlock()
	go m.supervise(groups, log)
	return m.WaitRunning(ctx)
}

// supervise runs systemd-nspawn until the machine is off, once per boot. It
// keeps its thread, so that the kernel kills the machine with this process.
func (m *Machine) supervise(groups []string, log *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer log.Close()
	for {
		cmd := m.nspawnCommand(groups)
		cmd.Stdout, cmd.Stderr = log, log
		err := m.boot(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		fmt.Fprintf(log, "lab: nspawn ended: %v\n", err)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == rebootRequested {
			continue
		}
		m.mu.Lock()
		m.nspawn = 0
		close(m.off)
		m.off = nil
		m.mu.Unlock()
		return
	}
}

// boot starts nspawn unless the cord has been pulled.
func (m *Machine) boot(cmd *exec.Cmd) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut {
		return errors.New("power is cut")
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m.nspawn = cmd.Process.Pid
	return nil
}

// nspawnCommand is the command that boots the machine inside its own control
// groups. Without a system bus on the host nspawn can neither register the
// machine nor ask for a scope; then it stays in the groups made for it.
func (m *Machine) nspawnCommand(groups []string) *exec.Cmd {
	argv := []string{
		"systemd-nspawn", "--boot", "--directory=" + m.Root(), "--machine=" + m.ns(), "--hostname=" + m.Name,
		"--network-namespace-path=/run/netns/" + m.ns(), "--register=no", "--settings=no",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
	}
	if len(groups) > 0 {
		argv = append(argv, "--keep-unit")
	}
	for _, src := range sortedKeys(m.opt.ReadOnly) {
		argv = append(argv, "--bind-ro="+src+":"+m.opt.ReadOnly[src])
	}
	const enter = `while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"`
	argv = append(append(append([]string{"sh", "-c", enter, "sh"}, groups...), "--"), argv...)
	// A machine outlives the context that it was started with.
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// consoleLog is where the machine's console goes; not on its own disk, which
// may be full.
func (m *Machine) consoleLog() string { return m.disk() + ".log" }

// WaitRunning waits until systemd in the machine has finished booting. A
// failed unit is an error that names it.
func (m *Machine) WaitRunning(ctx context.Context) error {
	for {
		res, err := m.Exec(ctx, "systemctl", "is-system-running", "--wait")
		switch state := strings.TrimSpace(res.Stdout); {
		case err == nil && state == "running":
			return nil
		case err == nil && state == "degraded":
			units, _ := m.Exec(ctx, "systemctl", "--failed", "--plain", "--no-legend")
			return fmt.Errorf("lab: %s booted with failed units: %s", m.Name, tail(units.Stdout, 1000))
		}
		if !m.On() {
			return fmt.Errorf("lab: %s went off while booting: %s", m.Name, m.consoleTail())
		}
		if perr := pause(ctx, 50*time.Millisecond); perr != nil {
			return fmt.Errorf("lab: %s does not come up: %w: %s", m.Name, perr, m.consoleTail())
		}
	}
}

// On reports whether the machine is switched on.
func (m *Machine) On() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.off != nil
}

// BootID is the random id that the kernel gave to the present boot.
func (m *Machine) BootID(ctx context.Context) (string, error) {
	out, err := m.Run(ctx, "cat", "/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(out), err
}

// Reboot restarts the machine in order and waits until it runs again.
func (m *Machine) Reboot(ctx context.Context) error {
	before, err := m.BootID(ctx)
	if err != nil {
		return err
	}
	// The command may be cut off by the reboot that it asks for.
	if res, err := m.Exec(ctx, "systemctl", "reboot"); err == nil && res.Code > 0 {
		return fmt.Errorf("lab: reboot %s: %s", m.Name, tail(res.Stderr, 500))
	}
	return m.WaitReboot(ctx, before)
}

// WaitReboot waits until the machine runs with another boot id than before,
// whoever asked for the reboot.
func (m *Machine) WaitReboot(ctx context.Context, before string) error {
	for {
		now, err := m.BootID(ctx)
		if err == nil && now != before {
			return m.WaitRunning(ctx)
		}
		if perr := pause(ctx, 50*time.Millisecond); perr != nil {
			return fmt.Errorf("lab: %s does not reboot: %w", m.Name, perr)
		}
	}
}

// PowerOff shuts the machine down in order and waits until it is off.
func (m *Machine) PowerOff(ctx context.Context) error {
	m.mu.Lock()
	off := m.off
	m.mu.Unlock()
	if off == nil {
		return nil
	}
	if res, err := m.Exec(ctx, "systemctl", "poweroff"); err == nil && res.Code > 0 {
		return fmt.Errorf("lab: power off %s: %s", m.Name, tail(res.Stderr, 500))
	}
	select {
	case <-off:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lab: %s does not go off: %w", m.Name, context.Cause(ctx))
	}
}

// PowerCut stops the machine at once, as if its cord was pulled: no process in
// it gets to do anything more. PowerOn boots it again from the same disk.
func (m *Machine) PowerCut() {
	m.mu.Lock()
	off, pid := m.off, m.nspawn
	m.cut = true
	m.mu.Unlock()
	if off == nil {
		return
	}
	// With its first process the kernel kills all others of the machine; nspawn
	// reaps it and ends. It is killed itself only if it does not.
	if leader, err := leaderOf(pid); err == nil {
		_ = unix.Kill(leader, unix.SIGKILL)
	} else if pid != 0 {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	select {
	case <-off:
		return
	case <-time.After(3 * time.Second):
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	<-off
}

// Logs is everything that the machine has said: its console over all boots
// and, while it is on, its journal.
func (m *Machine) Logs(ctx context.Context, w io.Writer) error {
	console, err := os.ReadFile(m.consoleLog())
	if err != nil {
		return fmt.Errorf("lab: %s: %w", m.Name, err)
	}
	fmt.Fprintf(w, "== console of %s ==\n%s\n", m.Name, console)
	if !m.On() {
		return nil
	}
	journal, err := m.Run(ctx, "journalctl", "--no-pager", "--no-hostname", "-o", "short-precise")
	fmt.Fprintf(w, "== journal of %s ==\n%s\n", m.Name, journal)
	return err
}

// consoleTail is the end of the console log, for error messages.
func (m *Machine) consoleTail() string {
	data, _ := os.ReadFile(m.consoleLog())
	return tail(string(data), 1500)
}
