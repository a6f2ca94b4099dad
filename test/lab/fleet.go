package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

const (
	// ServerAddr is the address of the server's namespace as machines see it.
	ServerAddr = "10.77.0.1"
	// subnet is the fleet's network; machines count up from .11.
	subnet = "10.77.0."
	// stateDir holds one folder per fleet. With the name prefix it is the mark
	// by which [Sweep] knows what is ours.
	stateDir = "/run/fettle-lab"
	// namePrefix begins the name of every namespace, container and control
	// group that the lab makes.
	namePrefix = "fl"
)

// Fleet is a set of throw-away machines around one server namespace. Fleets of
// one or several processes do not see each other; all use the same addresses.
type Fleet struct {
	id       string
	base     string
	progress io.Writer
	owner    *os.File

	mu       sync.Mutex
	names    map[string]bool // of machines and cells
	machines map[string]*Machine
	closers  []io.Closer // servers, forwards and cells
	next     int
	closed   bool
}

// NewFleet makes an empty fleet on a root made by [Base]: the server's
// namespace with a bridge at [ServerAddr]. It first removes what crashed runs
// left behind. The caller must Close it.
func NewFleet(ctx context.Context, base string, progress io.Writer) (*Fleet, error) {
	if err := Require(); err != nil {
		return nil, err
	}
	if err := Sweep(ctx); err != nil {
		return nil, err
	}
	id, err := randomID(6)
	if err != nil {
		return nil, err
	}
	f := &Fleet{id: id, base: base, progress: progress, names: map[string]bool{}, machines: map[string]*Machine{}}
	if err := f.claim(ctx); err != nil {
		return nil, err
	}
	srv := f.serverNS()
	for _, argv := range [][]string{
		{"ip", "netns", "add", srv},
		{"ip", "-n", srv, "link", "set", "lo", "up"},
		{"ip", "-n", srv, "link", "add", "br0", "type", "bridge"},
		{"ip", "-n", srv, "addr", "add", ServerAddr + "/24", "dev", "br0"},
		{"ip", "-n", srv, "link", "set", "br0", "up"},
	} {
		if _, err := command(ctx, argv...); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// claim makes the fleet's folder and holds a lock in it for as long as this
// process lives: the sign by which [Sweep] tells the living from the dead.
func (f *Fleet) claim(ctx context.Context) error {
	unlock, err := lockState(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Mkdir(f.dir(), 0o755); err != nil {
		return fmt.Errorf("lab: fleet: %w", err)
	}
	f.owner, err = own(f.dir())
	return err
}

// dir is the fleet's folder; it holds a tmpfs per machine and their logs.
func (f *Fleet) dir() string { return filepath.Join(stateDir, f.id) }

// prefix begins the name of everything that the fleet makes.
func (f *Fleet) prefix() string { return namePrefix + f.id + "-" }

// serverNS is the name of the server's network namespace. A machine cannot be
// called "srv".
func (f *Fleet) serverNS() string { return f.prefix() + "srv" }

// InServerNetns changes a command that has not started so that it runs in the
// server's network namespace, where machines reach it at [ServerAddr]. The
// process keeps its id, files and working directory.
func (f *Fleet) InServerNetns(cmd *exec.Cmd) {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		cmd.Err = err
		return
	}
	cmd.Args = append([]string{"nsenter", "--net=/run/netns/" + f.serverNS(), "--", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = nsenter
}

// Machine returns the machine of that name, or nil.
func (f *Fleet) Machine(name string) *Machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machines[name]
}

// Start makes and boots a machine and waits until its systemd says "running".
// name becomes its host name: lower-case letters, digits and hyphens.
func (f *Fleet) Start(ctx context.Context, name string, opt MachineOptions) (*Machine, error) {
	m, err := f.add(name, opt)
	if err != nil {
		return nil, err
	}
	if err := m.build(ctx); err != nil {
		return nil, err
	}
	if err := m.PowerOn(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(f.progress, "lab: %s is up at %s\n", name, m.Addr)
	return m, nil
}

// add registers a machine and gives it an address.
func (f *Fleet) add(name string, opt MachineOptions) (*Machine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seat, err := f.seat(name)
	if err != nil {
		return nil, err
	}
	m := &Machine{Name: name, Addr: seat.addr, fleet: f, port: seat.port, opt: opt}
	f.machines[name] = m
	return m, nil
}

// seat is a place in the fleet's network.
type seat struct {
	addr string
	port string // the server's end of the network cable
}

// seat reserves a name and an address; the caller holds the lock.
func (f *Fleet) seat(name string) (seat, error) {
	if name == "" || name == "srv" || len(name) > 40 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return seat{}, fmt.Errorf("lab: %q cannot name a machine: use lower-case letters, digits and hyphens", name)
	}
	switch {
	case f.closed:
		return seat{}, errors.New("lab: the fleet is closed")
	case f.names[name]:
		return seat{}, fmt.Errorf("lab: there is a machine %q already", name)
	case f.next >= 240:
		return seat{}, errors.New("lab: a fleet has room for 240 machines")
	}
	// Each systemd needs a handful of inotify instances; the usual limit of 128
	// is used up by about 23 machines.
	if f.next == 12 {
		if err := raiseLimit("/proc/sys/fs/inotify/max_user_instances", 8192); err != nil {
			return seat{}, err
		}
	}
	f.next++
	f.names[name] = true
	return seat{addr: subnet + strconv.Itoa(10+f.next), port: "v" + strconv.Itoa(f.next)}, nil
}

// plugIn makes a network namespace and its cable to the bridge.
func (f *Fleet) plugIn(ctx context.Context, ns string, s seat) error {
	srv := f.serverNS()
	for _, argv := range [][]string{
		{"ip", "netns", "add", ns},
		{"ip", "-n", srv, "link", "add", s.port, "type", "veth", "peer", "name", "eth0", "netns", ns},
		{"ip", "-n", srv, "link", "set", s.port, "master", "br0", "up"},
		{"ip", "-n", ns, "addr", "add", s.addr + "/24", "dev", "eth0"},
		{"ip", "-n", ns, "link", "set", "eth0", "up"},
		{"ip", "-n", ns, "link", "set", "lo", "up"},
	} {
		if _, err := command(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

// raiseLimit raises a kernel limit in /proc/sys to at least want.
func raiseLimit(path string, want int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("lab: read limit: %w", err)
	}
	if have, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && have >= want {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(want)), 0o644); err != nil {
		return fmt.Errorf("lab: raise %s to %d: %w", path, want, err)
	}
	return nil
}

// Close kills every machine and process of the fleet and removes its mounts,
// namespaces and folders. It may be called more than once.
func (f *Fleet) Close() error {
	f.mu.Lock()
	f.closed = true
	machines, closers := f.machines, f.closers
	f.machines, f.closers = map[string]*Machine{}, nil
	f.mu.Unlock()
	for _, c := range closers {
		_ = c.Close()
	}
	for _, m := range machines {
		m.PowerCut()
	}
	if f.owner == nil {
		return nil
	}
	// The fleet's own context may be over already: cleaning up is still due.
	err := destroy(context.Background(), f.id)
	f.owner.Close()
	f.owner = nil
	return err
}
