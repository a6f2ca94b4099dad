package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/test/lab"
)

// builtDir holds the programs and the agent's package once they were built.
var builtDir string

// buildHouse builds the programs and the agent's Debian package, once in the
// process: always from the source as it is now.
var buildHouse = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fettle-endpoint-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "../../cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w: %s", err, out)
	}
	cmd = exec.Command("../../packaging/deb/build.sh", filepath.Join(dir, "fettle-agent"), "0.0~test", "amd64", dir)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=0", "DPKG_DEB_COMPRESSOR_LEVEL=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent's package: %w: %s", err, out)
	}
	return dir, os.Chmod(dir, 0o755)
})

// house is the whole product on this host: a vendor, `fettle up` as a process
// of its own, and throw-away machines whose agents are enrolled with it.
type house struct {
	t       *testing.T
	ctx     context.Context
	dir     string
	bin     string
	archive *lab.Archive
	vendor  string // address of the archive on this host's loopback
	fleet   *lab.Fleet
	admin   string
	agents  string
	line    *line // between the machines and the gateway
	opt     houseOptions
	server  *exec.Cmd
	ended   chan struct{}
}

// houseOptions shape a house.
type houseOptions struct {
	// machine publishes this host's own apt sources besides the lab's.
	machine bool
	// expiry are lines of the publisher's configuration.
	expiry string
	// apps are lines of the publisher's configuration that name applications
	// for Windows, in the place of the lab's apt archive.
	apps string
}

// patience is how long a test of a house may take in all.
func (o houseOptions) patience() time.Duration {
	if text := os.Getenv("FETTLE_TEST_PATIENCE"); text != "" {
		if d, err := time.ParseDuration(text); err == nil {
			return d
		}
	}
	return 15 * time.Minute
}

// newHouse makes a vendor and an empty fleet, and starts nothing yet.
func newHouse(t *testing.T, opt houseOptions) *house {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), opt.patience())
	t.Cleanup(cancel)
	h := &house{t: t, ctx: ctx, dir: t.TempDir(), opt: opt}
	var err error
	h.bin, err = buildHouse()
	h.must(err)
	root, err := lab.Base(ctx, "", os.Stderr)
	h.must(err)
	h.fleet, err = lab.NewFleet(ctx, root, t.Output())
	h.must(err)
	t.Cleanup(func() {
		if err := h.fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	if opt.apps == "" {
		h.archive, err = lab.NewArchive(ctx, t.TempDir())
		h.must(err)
		t.Cleanup(func() { h.archive.Close() })
		srv := httptest.NewServer(fileServer(h.archive.Dir))
		t.Cleanup(srv.Close)
		h.vendor = srv.URL
	}
	h.admin, h.agents = freeAddr(t), freeAddr(t)
	h.line = newLine(t, h.agents)
	_, port, err := net.SplitHostPort(h.agents)
	h.must(err)
	h.must(h.fleet.Forward(ctx, lab.ServerAddr+":"+port, h.line.addr()))
	return h
}

// fileServer serves a folder.
func fileServer(dir string) http.Handler { return http.FileServer(http.Dir(dir)) }

// freeAddr is a loopback address that nobody listens on at this moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := lab.FreeAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// offer lets the vendor bring out the old and the new versions of the cases.
// Machines settle with the old ones.
func (h *house) offer(cases ...lab.Case) {
	h.t.Helper()
	h.must(errors.Join(lab.AddOld(h.ctx, h.archive, cases), lab.AddNew(h.ctx, h.archive, cases), h.archive.Publish(h.ctx)))
}

// configure writes the publisher's configuration and returns its path.
func (h *house) configure() string {
	h.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\nrepository: %s\nkeys: %s\nmachine: %v\n", filepath.Join(h.dir, "publisher"), h.repository(), filepath.Join(h.dir, "keys"), h.opt.machine)
	b.WriteString(h.opt.expiry + h.opt.apps)
	b.WriteString("feeds: {debian_tracker: \"\", debian_dsa: \"\", kev: \"\", epss: \"\"}\n")
	if h.archive != nil {
		key, err := h.archive.PublicKey(h.ctx)
		h.must(err)
		keyring := filepath.Join(h.dir, "vendor.asc")
		h.must(os.WriteFile(keyring, key, 0o644))
		b.WriteString("archives:\n")
		for _, suite := range []string{lab.MainSuite, lab.SecuritySuite} {
			fmt.Fprintf(&b, "- {name: %s, uri: %q, suite: %s, components: [main], architectures: [amd64, i386], keyring: %s, endpoint_keyring: %s, release: debian-12}\n",
				suite, h.vendor, suite, keyring, lab.KeyPath)
		}
	}
	path := filepath.Join(h.dir, "publisher.yaml")
	h.must(os.WriteFile(path, []byte(b.String()), 0o644))
	return path
}

func (h *house) repository() string { return filepath.Join(h.dir, "repository") }

func (h *house) data() string { return filepath.Join(h.dir, "data") }

// answers waits until the server answers.
func (h *house) answers() {
	h.t.Helper()
	h.until("the server's answer", func() bool {
		_, _, code := h.fettle("status")
		return code == 0
	})
}

// start starts `fettle up`.
func (h *house) start() {
	h.t.Helper()
	out, err := os.OpenFile(filepath.Join(h.dir, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	h.must(err)
	cmd := exec.Command(filepath.Join(h.bin, "fettle"), "up", "--no-agent", "--verbose", "--data", h.data(), "--admin", h.admin,
		"--agents", h.agents, "--name", lab.ServerAddr, "--publisher-config", h.configure())
	cmd.Stdout, cmd.Stderr = out, out
	h.must(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed or stopped by the test
		_ = out.Close()
		close(ended)
	}()
	h.server, h.ended = cmd, ended
}

// down stops the server as an administrator would.
func (h *house) down() {
	if h.t.Failed() {
		h.logs()
	}
	_ = h.server.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-h.ended:
	case <-time.After(2 * time.Minute):
		h.t.Error("the server does not stop")
		h.kill()
	}
}

// kill ends the server as a power cut would.
func (h *house) kill() {
	_ = h.server.Process.Kill()
	<-h.ended
}

// fettle runs the operator's command line.
func (h *house) fettle(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	cmd := exec.CommandContext(h.ctx, filepath.Join(h.bin, "fettle"), args...)
	cmd.Env = append(os.Environ(), "FETTLE_DATA="+h.data(), "HOME="+h.dir, "XDG_CONFIG_HOME="+h.dir)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// ask runs a command that prints JSON and must end with one of the codes (0
// when none is named).
func (h *house) ask(into any, args []string, codes ...int) {
	h.t.Helper()
	out, errOut, code := h.fettle(append(slices.Clone(args), "--json")...)
	if code != 0 && !slices.Contains(codes, code) {
		h.t.Fatalf("fettle %s ended with %d: %s%s", strings.Join(args, " "), code, out, errOut)
	}
	decode(h.t, out, into)
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, text)
	}
}

// do runs a command that must succeed and returns what it printed.
func (h *house) do(args ...string) string {
	h.t.Helper()
	out, errOut, code := h.fettle(args...)
	if code != 0 {
		h.t.Fatalf("fettle %s ended with %d: %s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// host is a line of `fettle hosts --json`.
type host struct {
	ID          estate.EndpointID `json:"id"`
	Hostname    string            `json:"hostname"`
	Health      catalog.Health    `json:"health"`
	Missing     int               `json:"missing"`
	Online      bool              `json:"online"`
	Problem     string            `json:"problem"`
	RebootDue   bool              `json:"reboot_due"`
	RestartsDue []string          `json:"restarts_due"`
}

func (h *house) hosts() map[string]host {
	h.t.Helper()
	var list []host
	h.ask(&list, []string{"hosts"})
	out := map[string]host{}
	for _, x := range list {
		out[x.Hostname] = x
	}
	return out
}

// task is a task as the command line prints it.
type task struct {
	deploy.Task
	Hostname string `json:"hostname"`
}

// deployed is what deploy --watch --json and deployments ID --json print.
type deployed struct {
	Deployment deploy.Deployment `json:"deployment"`
	Tasks      []task            `json:"tasks"`
}

func (d deployed) of(t *testing.T, name string) task {
	t.Helper()
	for _, x := range d.Tasks {
		if x.Hostname == name {
			return x
		}
	}
	t.Fatalf("no task of %s among %+v", name, d.Tasks)
	return task{}
}

// watched deploys and stays to the end; code 1 says that a task failed.
func (h *house) watched(args ...string) deployed {
	h.t.Helper()
	var d deployed
	h.ask(&d, append([]string{"deploy", "--watch"}, args...), 1)
	return d
}

// begin makes a deployment and does not wait for it.
func (h *house) begin(args ...string) deploy.ID {
	h.t.Helper()
	var d deploy.Deployment
	h.ask(&d, append([]string{"deploy"}, args...))
	return d.ID
}

// look is where a deployment stands now.
func (h *house) look(id deploy.ID) deployed {
	h.t.Helper()
	var d deployed
	h.ask(&d, []string{"deployments", string(id)})
	return d
}

// reaches waits until the only task of the deployment is in one of the states.
func (h *house) reaches(id deploy.ID, states ...deploy.State) task {
	h.t.Helper()
	var last task
	h.until(fmt.Sprintf("the task of %s to become one of %v", id, states), func() bool {
		d := h.look(id)
		if len(d.Tasks) != 1 {
			return false
		}
		last = d.Tasks[0]
		if last.State.Ended() && !slices.Contains(states, last.State) {
			h.t.Fatalf("the task of %s is %s: %s", last.Hostname, last.State, last.Reason)
		}
		return slices.Contains(states, last.State)
	})
	return last
}

// until polls a condition of another process.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-h.ctx.Done():
			h.t.Fatalf("waiting for %s: %v", what, h.ctx.Err())
		case <-tick.C:
		}
	}
}

// guest is a machine of the house with an enrolled agent.
type guest struct {
	*lab.Machine
	h *house
	// cases are what it was settled with.
	cases []lab.Case
}

// wish asks for a machine.
type wish struct {
	name  string
	cases []lab.Case
	opt   lab.MachineOptions
}

// invite boots machines, all at once, and settles them; it needs no server.
func (h *house) invite(wishes ...wish) map[string]*guest {
	h.t.Helper()
	guests := map[string]*guest{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(h.ctx)
	for _, w := range wishes {
		g.Go(func() error {
			w.opt.ReadOnly = map[string]string{h.bin: "/mnt/fettle"}
			m, err := h.fleet.Start(ctx, w.name, w.opt)
			if err != nil {
				return err
			}
			if err := lab.Settle(ctx, m, h.archive, h.vendor, w.cases); err != nil {
				return err
			}
			if _, err := m.Run(ctx, "dpkg", "--install", "/mnt/fettle/fettle-agent_0.0~test_amd64.deb"); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			guests[w.name] = &guest{Machine: m, h: h, cases: w.cases}
			return nil
		})
	}
	h.must(g.Wait())
	return guests
}

// enrol admits machines and waits for their first scan.
func (h *house) enrol(guests map[string]*guest) {
	h.t.Helper()
	h.admit(guests)
	h.until("the first scans", func() bool {
		all := h.hosts()
		for name := range guests {
			if x, ok := all[name]; !ok || x.Health == catalog.UnknownHealth {
				return false
			}
		}
		return true
	})
}

// admit enrols machines by the command that the command line prints and starts
// their agents as the package's unit.
func (h *house) admit(guests map[string]*guest) {
	h.t.Helper()
	var token struct{ Command string }
	h.ask(&token, []string{"enroll-token", "--uses", fmt.Sprint(len(guests))})
	g, ctx := errgroup.WithContext(h.ctx)
	for _, m := range guests {
		g.Go(func() error {
			if _, err := m.Run(ctx, "sh", "-c", strings.TrimPrefix(token.Command, "sudo ")); err != nil {
				return err
			}
			_, err := m.Run(ctx, "systemctl", "start", "fettle-agent.service")
			return err
		})
	}
	h.must(g.Wait())
}

// run runs a command that must succeed.
func (g *guest) run(argv ...string) string {
	g.h.t.Helper()
	out, err := g.Run(g.h.ctx, argv...)
	g.h.must(err)
	return out
}

// waitFor waits until the path exists on the machine.
func (g *guest) waitFor(path string) {
	g.h.t.Helper()
	g.h.until(path+" on "+g.Name, func() bool {
		res, err := g.Exec(g.h.ctx, "test", "-e", path)
		return err == nil && res.Code == 0
	})
}

// installed is what dpkg says: "status version" by name:arch.
func (g *guest) installed() map[string]string {
	g.h.t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(g.run("dpkg-query", "-W", "-f", "${Package}:${Architecture}\t${db:Status-Status} ${Version}\n")) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "\t")
		out[k] = v
	}
	return out
}

// twice names what dpkg unpacked more than once, by its own log.
func (g *guest) twice() []string {
	g.h.t.Helper()
	seen, out := map[string]int{}, []string{}
	for line := range strings.Lines(g.run("cat", "/var/log/dpkg.log")) {
		f := strings.Fields(line)
		if len(f) < 6 || f[2] != "upgrade" && f[2] != "install" {
			continue
		}
		what := f[3] + " " + f[5]
		if seen[what]++; seen[what] == 2 {
			out = append(out, what)
		}
	}
	return out
}

// agentPID is the process id of the agent as the machine counts.
func (g *guest) agentPID() int {
	g.h.t.Helper()
	var pid int
	_, err := fmt.Sscan(g.run("systemctl", "show", "--property=MainPID", "--value", "fettle-agent.service"), &pid)
	g.h.must(err)
	return pid
}

// logs prints what server and agents said, for a test that failed.
func (h *house) logs() {
	for _, name := range []string{"up.log"} {
		if text, err := os.ReadFile(filepath.Join(h.dir, name)); err == nil {
			h.t.Logf("%s:\n%s", name, text[max(0, len(text)-20000):])
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h.ctx = ctx // the test's own may be over
	out, errOut, _ := h.fettle("hosts")
	h.t.Logf("hosts:\n%s%s", out, errOut)
	out, _, _ = h.fettle("deployments", "--json")
	var list []deploy.Deployment
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		h.t.Logf("deployments: %v", err)
	}
	for _, d := range list {
		out, errOut, _ := h.fettle("deployments", string(d.ID))
		h.t.Logf("%s%s", out, errOut)
	}
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		m := h.fleet.Machine(name)
		if m == nil || !m.On() {
			continue
		}
		res, err := m.Exec(ctx, "journalctl", "--no-pager", "-u", "fettle-agent", "-n", "60")
		h.t.Logf("agent of %s: %v\n%s", name, err, res.Stdout)
	}
}
