package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/test/lab"
)

// demo is everything that a demonstration consists of.
type demo struct {
	dir     string
	bin     string
	out     io.Writer
	owner   *os.File
	archive *lab.Archive
	cases   []lab.Case
	vendor  *httptest.Server
	fleet   *lab.Fleet
	server  *exec.Cmd
	ended   chan struct{}
	links   []string // where people open the console
	// complaints is what fettle up wrote to standard error; read it after ended.
	complaints bytes.Buffer
}

// dirPrefix begins the name of a demonstration's folder.
const dirPrefix = "fettle-demo-"

// open makes the folder of a demonstration and holds a lock in it for as long
// as this process lives: by it sweep tells the living from the dead.
func open(bin string, out io.Writer) (*demo, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"fettle", "fettle-agent"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return nil, fmt.Errorf("%w; run 'make build' first", err)
		}
	}
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, err
	}
	owner, err := os.Create(filepath.Join(dir, "owner"))
	if err != nil {
		return nil, err
	}
	return &demo{dir: dir, bin: bin, out: out, owner: owner}, syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// sweep removes what demonstrations and fleets left behind whose process died.
func sweep(ctx context.Context) error {
	errs := []error{lab.Sweep(ctx)}
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	errs = append(errs, err)
	for _, dir := range dirs {
		owner, err := os.Open(filepath.Join(dir, "owner"))
		if err != nil {
			continue // not a demonstration's, or just being made
		}
		if syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			errs = append(errs, os.RemoveAll(dir))
		}
		_ = owner.Close()
	}
	return errors.Join(errs...)
}

// close ends and removes everything.
func (d *demo) close() error {
	var errs []error
	if d.server != nil {
		_ = d.server.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-d.ended:
		case <-time.After(20 * time.Second):
			errs = append(errs, d.server.Process.Kill())
			<-d.ended
		}
	}
	if d.fleet != nil {
		errs = append(errs, d.fleet.Close())
	}
	if d.vendor != nil {
		d.vendor.Close()
	}
	if d.archive != nil {
		errs = append(errs, d.archive.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir), d.owner.Close())...)
}

func (d *demo) data() string { return filepath.Join(d.dir, "data") }

func (d *demo) log() string { return filepath.Join(d.data(), "fettle.log") }

// offer makes a vendor's archive with every way in which a patch can go.
func (d *demo) offer(ctx context.Context) (err error) {
	fmt.Fprintln(d.out, "demo: making packages to patch")
	if d.archive, err = lab.NewArchive(ctx, filepath.Join(d.dir, "archive")); err != nil {
		return err
	}
	if d.cases, err = lab.Scenario(ctx); err != nil {
		return err
	}
	d.vendor = httptest.NewServer(http.FileServer(http.Dir(d.archive.Dir)))
	return errors.Join(lab.AddOld(ctx, d.archive, d.cases), lab.AddNew(ctx, d.archive, d.cases), d.archive.Publish(ctx))
}

// configure writes the publisher's configuration: this machine's own apt
// sources, and the archive of the demonstration.
func (d *demo) configure(ctx context.Context) (string, error) {
	key, err := d.archive.PublicKey(ctx)
	if err != nil {
		return "", err
	}
	keyring := filepath.Join(d.dir, "vendor.asc")
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\nrepository: %s\nkeys: %s\nmachine: true\narchives:\n",
		filepath.Join(d.data(), "publisher", "state"), filepath.Join(d.data(), "repository"), filepath.Join(d.data(), "publisher", "keys"))
	for _, suite := range []string{lab.MainSuite, lab.SecuritySuite} {
		fmt.Fprintf(&b, "- {name: %s, uri: %q, suite: %s, components: [main], architectures: [amd64, i386], keyring: %s, endpoint_keyring: %s, release: debian-12}\n",
			suite, d.vendor.URL, suite, keyring, lab.KeyPath)
	}
	path := filepath.Join(d.dir, "publisher.yaml")
	return path, errors.Join(os.WriteFile(keyring, key, 0o644), os.WriteFile(path, []byte(b.String()), 0o644))
}

// serve starts `fettle up` and waits until it is ready. It ends with this
// process, whatever happens to it.
func (d *demo) serve(ctx context.Context) error {
	config, err := d.configure(ctx)
	if err != nil {
		return err
	}
	admin, agents := free(ctx, "127.0.0.1:8780"), free(ctx, "127.0.0.1:8781")
	fmt.Fprintln(d.out, "demo: publishing a signed catalog of this machine's apt sources and of the demo's packages")
	// close ends it in order; the context alone would kill it.
	d.server = exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(d.bin, "fettle"), "up", "--no-agent", "--data", d.data(), "--admin", admin, "--agents", agents,
		"--name", lab.ServerAddr, "--publisher-config", config)
	d.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	said, err := d.server.StdoutPipe()
	if err != nil {
		return err
	}
	d.server.Stderr = &d.complaints
	ready, started := make(chan struct{}), make(chan error)
	d.ended = make(chan struct{})
	go func() {
		// What ends it with its parent watches the thread that started it, and threads that were in another network
		// namespace end (prctl(2), PR_SET_PDEATHSIG): this one stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := d.server.Start()
		started <- err
		if err == nil {
			d.listen(said, ready)
			_ = d.server.Wait() // it ends when it is told to
		}
		close(d.ended)
	}()
	if err := <-started; err != nil {
		d.server = nil
		return err
	}
	_, port, err := net.SplitHostPort(agents)
	if err != nil {
		return err
	}
	select {
	case <-ready:
	case <-d.ended:
		return d.over()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := d.fleet.Forward(ctx, lab.ServerAddr+":"+port, agents); err != nil {
		return err
	}
	return d.until(ctx, func() bool { return d.ask(ctx, &struct{}{}, "status") == nil })
}

// until polls a condition of fettle up for as long as it runs.
func (d *demo) until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ended:
			return d.over()
		case <-tick.C:
		}
	}
	return nil
}

// over says why fettle up has ended by itself.
func (d *demo) over() error {
	return fmt.Errorf("fettle up has ended: %s", strings.TrimSpace(d.complaints.String()))
}

// free is the address, or one with another port when somebody listens there.
func free(ctx context.Context, addr string) string {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		if l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return addr // fettle says what is wrong with it
		}
	}
	defer l.Close()
	return l.Addr().String()
}

// listen reads what fettle up says to people: the console's addresses, and
// that it is ready, with its last line.
func (d *demo) listen(said io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if _, link, ok := strings.Cut(text, "http"); ok {
			d.links = append(d.links, "http"+link)
		}
		if strings.HasPrefix(text, "Nothing is installed") {
			close(ready)
			break
		}
	}
	_, _ = io.Copy(io.Discard, said)
}

// machines boots, settles and enrols machines; the last one alone has the
// package that fails.
func (d *demo) machines(ctx context.Context, n int) error {
	fmt.Fprintf(d.out, "demo: booting %d machines and enrolling them\n", n)
	var token struct{ Command string }
	if err := d.ask(ctx, &token, "enroll-token", "--uses", fmt.Sprint(max(n, 1)), "--note", "the demo's machines"); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range n {
		group.Go(func() error {
			cases := make([]lab.Case, 0, len(d.cases))
			for _, c := range d.cases {
				if c.Fails == "" || i == n-1 {
					cases = append(cases, c)
				}
			}
			return d.machine(gctx, fmt.Sprintf("demo%d", i+1), cases, token.Command)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return d.scanned(ctx, n)
}

func (d *demo) machine(ctx context.Context, name string, cases []lab.Case, enrol string) error {
	m, err := d.fleet.Start(ctx, name, lab.MachineOptions{})
	if err != nil {
		return err
	}
	if err := lab.Settle(ctx, m, d.archive, d.vendor.URL, cases); err != nil {
		return err
	}
	unit, err := os.Open("packaging/systemd/fettle-agent.service")
	if err != nil {
		return fmt.Errorf("%w; run the demo at the top of the source", err)
	}
	defer unit.Close()
	if err := errors.Join(
		m.CopyIn(ctx, filepath.Join(d.bin, "fettle-agent"), "/usr/bin/fettle-agent"),
		m.WriteFile(ctx, "/lib/systemd/system/fettle-agent.service", unit, 0o644),
	); err != nil {
		return err
	}
	for _, argv := range [][]string{{"sh", "-c", enrol}, {"systemctl", "enable", "--now", "fettle-agent"}} {
		if _, err := m.Run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

// scanned waits for the first scan of every machine, and for its wake channel.
func (d *demo) scanned(ctx context.Context, n int) error {
	return d.until(ctx, func() bool {
		var hosts []struct {
			Health catalog.Health
			Online bool
		}
		if d.ask(ctx, &hosts, "hosts") != nil {
			return false
		}
		seen := 0
		for _, h := range hosts {
			if h.Health != catalog.UnknownHealth && h.Online {
				seen++
			}
		}
		return seen >= n
	})
}

// ask runs the command line for its JSON.
func (d *demo) ask(ctx context.Context, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "fettle"), append(args, "--json", "--data", d.data())...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("fettle %s: %w: %s", args[0], err, said.String())
	}
	return json.Unmarshal(out, into)
}
