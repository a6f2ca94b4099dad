package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/client"
	"github.com/fettlehq/fettle/test/endpoint/aptdriver/order"
	"github.com/fettlehq/fettle/test/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range []string{driverDir, builtDir} {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

// driverDir holds the driver once it was built.
var driverDir string

// buildDriver builds the driver for the machines, once in the process.
var buildDriver = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fettle-aptdriver-")
	if err != nil {
		return "", err
	}
	driverDir = dir
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "aptdriver"), "./aptdriver")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the driver: %w: %s", err, out)
	}
	return dir, os.Chmod(dir, 0o755)
})

// world is a vendor, a publisher of its patches and a fleet of machines.
type world struct {
	t       *testing.T
	ctx     context.Context
	archive *lab.Archive
	cases   []lab.Case
	keyring string // the vendor's key, for the publisher
	cfg     publisher.Config
	pub     *publisher.Publisher
	fleet   *lab.Fleet
	shards  []*catalog.Shard
}

// newWorld makes a vendor that offers the old versions of the cases.
func newWorld(t *testing.T, cases ...lab.Case) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, cases: cases}
	var err error
	w.archive, err = lab.NewArchive(ctx, t.TempDir())
	w.must(err)
	t.Cleanup(func() { w.archive.Close() })
	w.must(os.Chmod(w.archive.Dir, 0o755))
	w.must(lab.AddOld(ctx, w.archive, cases))
	w.must(w.archive.Publish(ctx))
	key, err := w.archive.PublicKey(ctx)
	w.must(err)
	w.keyring = filepath.Join(t.TempDir(), "vendor.asc")
	w.must(os.WriteFile(w.keyring, key, 0o644))
	srv := httptest.NewServer(http.FileServer(http.Dir(w.archive.Dir)))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	w.cfg = publisher.Config{Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repo"), Keys: filepath.Join(dir, "keys")}
	for _, suite := range []string{lab.MainSuite, lab.SecuritySuite} {
		w.cfg.Archives = append(w.cfg.Archives, publisher.Archive{
			Name: suite, URI: srv.URL, Suite: suite, Components: []string{"main"}, Architectures: []string{"amd64", "i386"},
			Keyring: w.keyring, EndpointKeyring: lab.KeyPath, Release: "debian-12",
		})
	}
	fetcher, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Proxy: "direct"})
	w.must(err)
	w.openPublisher(publisher.Options{Client: fetcher})
	return w
}

func (w *world) openPublisher(opt publisher.Options) {
	w.t.Helper()
	var err error
	w.pub, err = publisher.New(w.ctx, w.cfg, opt)
	w.must(err)
	w.t.Cleanup(w.pub.Close)
	w.must(os.MkdirAll(filepath.Join(w.cfg.Repository, repo.PayloadsDir), 0o755))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// release lets the vendor bring out the new versions of all cases and
// publishes them.
func (w *world) release() {
	w.t.Helper()
	w.must(errors.Join(lab.AddNew(w.ctx, w.archive, w.cases), w.archive.Publish(w.ctx)))
	w.publish()
}

// publish runs the publisher and reads its shards as a customer does.
func (w *world) publish() {
	w.t.Helper()
	report, err := w.pub.Once(w.ctx, nil)
	w.must(err)
	for _, n := range report.Notes {
		w.t.Log("publisher:", n)
	}
	dir, err := client.OpenDir(w.cfg.Repository)
	w.must(err)
	defer dir.Close()
	root, err := os.ReadFile(filepath.Join(w.cfg.Repository, "metadata/1.root.json"))
	w.must(err)
	c, err := client.New(client.Options{Root: root, Dir: w.t.TempDir(), Transport: dir})
	w.must(err)
	_, err = c.Refresh(w.ctx, time.Now())
	w.must(err)
	z, err := zstd.NewReader(nil)
	w.must(err)
	defer z.Close()
	w.shards = nil
	for _, platform := range []string{"debian-12-amd64", "debian-12-i386"} {
		var packed bytes.Buffer
		if err := c.Download(w.ctx, "catalog/"+platform+".shard.zst", &packed); err != nil {
			w.t.Logf("no shard %s: %v", platform, err)
			continue
		}
		raw, err := z.DecodeAll(packed.Bytes(), nil)
		w.must(err)
		s, err := catalog.Open(bytes.NewReader(raw), int64(len(raw)))
		w.must(err)
		w.shards = append(w.shards, s)
	}
}

// archives are what an agent of both architectures is given.
func (w *world) archives() []catalog.Archive {
	var out []catalog.Archive
	for _, s := range w.shards {
		out = append(out, s.Header().Archives...)
	}
	return out
}

// patches are the published patches that bring the version of the package.
func (w *world) patches(name, version string) []patch.Patch {
	w.t.Helper()
	var out []patch.Patch
	for _, s := range w.shards {
		for p, err := range s.Patches() {
			w.must(err)
			if p.Version == version && slices.ContainsFunc(p.Items, func(it patch.Item) bool { return it.Name == name }) {
				out = append(out, p)
			}
		}
	}
	if len(out) == 0 {
		w.t.Fatalf("no patch brings %s %s", name, version)
	}
	return out
}

// newest are the patches to the new versions of the named cases.
func (w *world) newest(names ...string) []patch.Patch {
	w.t.Helper()
	var out []patch.Patch
	for _, n := range names {
		out = append(out, w.patches(n, lab.NewVersion)...)
	}
	return out
}

// missing are the patches that the one matcher of server and agent finds, as
// they are ordered after an approval of everything.
func (w *world) missing(snap *inventory.Snapshot) (patches []patch.Patch, findings []catalog.Finding) {
	w.t.Helper()
	findings, err := catalog.Assess(w.shards, snap, nil)
	w.must(err)
	seen := map[patch.ID]bool{}
	for _, f := range findings {
		if f.State == catalog.Pinned || seen[f.Patch] {
			continue
		}
		seen[f.Patch] = true
		for _, s := range w.shards {
			if p, _, err := s.Patch(f.Patch); err == nil {
				patches = append(patches, p)
			}
		}
	}
	return patches, findings
}

// machine starts a machine, settled with the world's cases.
func (w *world) machine(name string, opt lab.MachineOptions) *machine {
	w.t.Helper()
	driver, err := buildDriver()
	w.must(err)
	if w.fleet == nil {
		root, err := lab.Base(w.ctx, "", os.Stderr)
		w.must(err)
		w.fleet, err = lab.NewFleet(w.ctx, root, w.t.Output())
		w.must(err)
		w.t.Cleanup(func() {
			if err := w.fleet.Close(); err != nil {
				w.t.Error(err)
			}
		})
	}
	opt.ReadOnly = map[string]string{driver: "/mnt/driver", filepath.Join(w.cfg.Repository, repo.PayloadsDir): "/mnt/payloads"}
	if w.archive != nil {
		opt.ReadOnly[w.archive.Dir] = "/mnt/archive"
	}
	lm, err := w.fleet.Start(w.ctx, name, opt)
	w.must(err)
	m := &machine{Machine: lm, w: w}
	if w.archive != nil {
		w.must(lab.Settle(w.ctx, lm, w.archive, "file:/mnt/archive", w.cases))
	}
	return m
}

// machine is a machine of the lab with the driver on it.
type machine struct {
	*lab.Machine
	w *world
}

// run runs a command that must succeed.
func (m *machine) run(argv ...string) string {
	m.w.t.Helper()
	out, err := m.Run(m.w.ctx, argv...)
	m.w.must(err)
	return out
}

// request is a request of the first attempt.
func (m *machine) request(step string, patches []patch.Patch) order.Request {
	return order.Request{
		Step: step, Task: "t1", Attempt: 1, Patches: patches, Archives: m.w.archives(),
		Payloads: "/mnt/payloads", Store: "/var/lib/fettle/payloads", Dir: "/var/lib/fettle/work/t1",
	}
}

// said is what the driver told on the way.
type said []install.Progress

func (s said) text() string {
	var b strings.Builder
	for _, p := range s {
		b.WriteString(p.Line + "\n")
	}
	return b.String()
}

// try runs the driver. The error says that it gave no reply: killed, power cut.
func (m *machine) try(req order.Request) (order.Reply, said, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return order.Reply{}, nil, err
	}
	// As in the agent's unit, files are private unless somebody says otherwise.
	res, err := m.ExecInput(m.w.ctx, bytes.NewReader(body), "sh", "-c", "umask 077; exec /mnt/driver/aptdriver")
	if err != nil {
		return order.Reply{}, nil, err
	}
	var progress said
	for line := range strings.Lines(res.Stdout) {
		var l order.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return order.Reply{}, nil, fmt.Errorf("driver said %q: %w", line, err)
		}
		if l.Reply != nil {
			return *l.Reply, progress, nil
		}
		progress = append(progress, *l.Progress)
	}
	return order.Reply{}, progress, fmt.Errorf("driver ended with %d: %s", res.Code, res.Stderr)
}

func (m *machine) drive(req order.Request) (order.Reply, said) {
	m.w.t.Helper()
	r, p, err := m.try(req)
	m.w.must(err)
	return r, p
}

// good is drive for steps that must not fail.
func (m *machine) good(req order.Request) (order.Reply, said) {
	m.w.t.Helper()
	r, p := m.drive(req)
	if r.Fault != nil {
		m.w.t.Fatalf("%s: %s (%s)\n%s", req.Step, r.Fault.Message, r.Private, p.text())
	}
	return r, p
}

func (m *machine) snapshot() *inventory.Snapshot {
	m.w.t.Helper()
	r, _ := m.good(m.request(order.Look, nil))
	return r.Snapshot
}

// stage makes the publisher bring the patches' payloads.
func (w *world) stage(patches []patch.Patch) {
	w.t.Helper()
	var ids []patch.ID
	for _, p := range patches {
		ids = append(ids, p.ID)
	}
	w.must(w.pub.Stage(w.ctx, ids, nil))
}

// versions is what dpkg says: "name:arch status version" by name:arch.
func (m *machine) versions() map[string]string {
	m.w.t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(m.run("dpkg-query", "-W", "-f", "${Package}:${Architecture}\t${db:Status-Status} ${Version}\n")) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "\t")
		out[k] = v
	}
	return out
}

// waitFor waits until the path exists on the machine.
func (m *machine) waitFor(path string) {
	m.w.t.Helper()
	m.until("waiting for "+path, func() bool {
		res, err := m.Exec(m.w.ctx, "test", "-e", path)
		return err == nil && res.Code == 0
	})
}

// until polls a condition of another process.
func (m *machine) until(what string, ok func() bool) {
	m.w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-m.w.ctx.Done():
			m.w.t.Fatalf("%s: %v", what, m.w.ctx.Err())
		case <-tick.C:
		}
	}
}

// prints is a fingerprint of files and folders of the machine.
func (m *machine) prints(paths ...string) string {
	m.w.t.Helper()
	return m.run(append([]string{"sh", "-c", `find "$@" -type f -exec sha256sum {} + ; find "$@" -printf "%p %m %T@\n"`, "sh"}, paths...)...)
}
