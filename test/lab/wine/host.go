package wine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fettlehq/fettle/test/lab"
)

// Host is one throw-away Windows machine. Its methods may be called from
// several goroutines.
type Host struct {
	// Name is the computer name, as given; Windows shows it in capitals.
	Name string
	// Addr is its address in the fleet's network.
	Addr string

	cell     *lab.Cell
	progress io.Writer
}

// Start makes a host in a fleet and boots it: when it returns, services that
// start by themselves are running. The host ends with its fleet.
func Start(ctx context.Context, fleet *lab.Fleet, name string, progress io.Writer) (*Host, error) {
	base, err := Base(ctx, progress)
	if err != nil {
		return nil, err
	}
	cell, err := fleet.NewCell(ctx, name, 0, func(dir string) error { return stack(base, dir) })
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, Addr: cell.Addr, cell: cell, progress: progress}
	if err := h.boot(ctx); err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("wine: %s: %w", name, err)
	}
	guid := hex.EncodeToString(id)
	guid = strings.Join([]string{guid[:8], guid[8:12], guid[12:16], guid[16:20], guid[20:]}, "-")
	if err := h.SetRegistry(ctx, `HKLM\Software\Microsoft\Cryptography`, "MachineGuid", guid); err != nil {
		return nil, err
	}
	fmt.Fprintf(progress, "wine: %s is up at %s\n", name, h.Addr)
	return h, nil
}

// stack mounts a host's own prefix over the base.
func stack(base, dir string) error {
	for _, sub := range []string{"u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", filepath.Join(dir, "m"), "overlay", 0,
		fmt.Sprintf("lowerdir=%s,upperdir=%s/u,workdir=%s/w", base, dir, dir))
}

// prefix is WINEPREFIX, the same path for this host and in the cell.
func (h *Host) prefix() string { return filepath.Join(h.cell.Dir(), "m") }

// Drive is the folder of drive C as this machine sees it.
func (h *Host) Drive() string { return filepath.Join(h.prefix(), "drive_c") }

// unixly runs a program of Unix in the host's cell.
func (h *Host) unixly(ctx context.Context, argv ...string) error {
	cmd, err := h.cell.Command(ctx, environment(h.prefix()), argv...)
	if err != nil {
		return err
	}
	_, err = output(cmd)
	return err
}

// boot starts the wine server, which stays until it is told to go, and what
// starts at boot.
func (h *Host) boot(ctx context.Context) error {
	// The server forks once it listens. What it starts must not hold a pipe of
	// this process open, so its output goes nowhere.
	cmd, err := h.cell.Command(ctx, environment(h.prefix()), "wineserver", "--persistent")
	if err != nil {
		return err
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("wine: %s: start the wine server: %w", h.Name, err)
	}
	log, err := os.OpenFile(h.cell.Dir()+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("wine: %s: %w", h.Name, err)
	}
	defer log.Close()
	cmd, err = h.command(ctx, h.Drive(), nil, "wineboot")
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("wine: %s: boot: %w", h.Name, err)
	}
	return nil
}

// Reboot restarts the host: every process ends at once, pending renames of
// files are carried out, services that start by themselves come back.
func (h *Host) Reboot(ctx context.Context) error {
	if err := h.shutDown(ctx); err != nil {
		return err
	}
	if err := h.boot(ctx); err != nil {
		return err
	}
	fmt.Fprintf(h.progress, "wine: %s was restarted\n", h.Name)
	return nil
}

// shutDown ends every process of the host and keeps its registry.
func (h *Host) shutDown(ctx context.Context) error {
	// It answers 1 when there is no server to end, which is as well.
	if err := h.unixly(ctx, "wineserver", "--kill"); err != nil && ctx.Err() != nil {
		return err
	}
	return h.unixly(ctx, "wineserver", "--wait")
}

// Close ends every process of the host. What it leaves on disk goes with the
// fleet.
func (h *Host) Close() error { return h.cell.Close() }

// Logs writes what Wine itself said, which is nothing when all is well.
func (h *Host) Logs(w io.Writer) error {
	data, err := os.ReadFile(h.cell.Dir() + ".log")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	fmt.Fprintf(w, "== wine on %s ==\n%s\n", h.Name, data)
	return err
}

// Processes are the process ids, as this machine counts them, whose program's
// file has that name, such as "fettle-agent.exe".
func (h *Host) Processes(image string) ([]int, error) {
	all, err := h.cell.Processes()
	if err != nil {
		return nil, err
	}
	var found []int
	for _, pid := range all {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		program, _, _ := strings.Cut(string(line), "\x00")
		if at := strings.LastIndexAny(program, `\/`); strings.EqualFold(program[at+1:], image) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// Kill ends every process of that program's file at once, as kill -9 does, and
// returns how many there were.
func (h *Host) Kill(image string) (int, error) {
	pids, err := h.Processes(image)
	if err != nil {
		return 0, err
	}
	h.cell.Kill(pids...)
	return len(pids), nil
}

// until polls a condition in the host: its programs have their own clock.
func (h *Host) until(ctx context.Context, what string, ok func() (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wine: %s: waiting for %s: %w", h.Name, what, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// WaitFor waits until a service is in a state as `sc query` names it, such as
// RUNNING or STOPPED.
func (h *Host) WaitFor(ctx context.Context, service, state string) error {
	return h.until(ctx, "service "+service+" to be "+state, func() (bool, error) {
		res, err := h.Exec(ctx, "sc", "query", service)
		return strings.Contains(res.Stdout, state), err
	})
}

// command prepares a program of Windows.
func (h *Host) command(ctx context.Context, dir string, env []string, argv ...string) (*exec.Cmd, error) {
	return h.cell.Command(ctx, append(environment(h.prefix()), env...), append([]string{"env", "-C", dir, "wine"}, argv...)...)
}
