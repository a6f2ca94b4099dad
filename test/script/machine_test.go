package script

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// machine is a made-up endpoint: its packages are a dpkg status file in the
// session's folder, read by the agent's own collectors; it is enrolled and
// speaks the agent protocol through the agent's own client. "Installing" is
// writing that file.
type machine struct {
	s      *site
	name   string
	root   string
	id     estate.EndpointID
	gate   *link.Client
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	packages map[string]string // name to version
	fails    string            // package whose installation fails
	hurry    chan struct{}
	online   chan struct{}   // closed when the wake channel is open
	seen     map[string]bool // orders that were done
	seq      int64
	problem  error
}

// machineCmd adds a machine with packages beside dpkg itself:
//
//	machine web1 libssl3=3.0.15-1~deb12u1 tzdata=2024b-0+deb12u1
func machineCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: machine NAME [PACKAGE=VERSION...]")
	}
	s := siteOf(ts)
	m := &machine{
		s: s, name: args[0], root: filepath.Join(s.dir, args[0]), packages: map[string]string{"dpkg": "1.21.22"},
		hurry: make(chan struct{}, 1), online: make(chan struct{}), seen: map[string]bool{},
	}
	for _, p := range args[1:] {
		name, version, _ := strings.Cut(p, "=")
		m.packages[name] = version
	}
	ts.Check(m.write())
	ts.Check(m.enrol())
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	ts.Check(m.contact(ctx))
	m.done.Go(func() { m.listen(ctx) })
	select {
	case <-m.online:
	case <-time.After(5 * time.Minute):
		ts.Fatalf("%s has no wake channel", m.name)
	}
	m.done.Go(func() { m.work(ctx) })
	if s.machines == nil {
		s.machines = map[string]*machine{}
	}
	s.machines[m.name] = m
	ts.Setenv(strings.ToUpper(m.name), string(m.id))
}

// failsCmd makes the installation of one package fail on a machine.
func failsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fails MACHINE PACKAGE")
	}
	m := siteOf(ts).machines[args[0]]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = args[1]
}

func (m *machine) leave() {
	m.cancel()
	m.done.Wait()
	m.gate.Close()
	if m.problem != nil {
		m.s.env.T().Log(m.name + ": " + m.problem.Error())
	}
}

// write lays the machine's files out.
func (m *machine) write() error {
	var status strings.Builder
	for _, name := range slices.Sorted(keysOf(m.packages)) {
		arch := "amd64"
		if name == "tzdata" {
			arch = "all"
		}
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: %s\nVersion: %s\n\n", name, arch, m.packages[name])
	}
	for name, text := range map[string]string{
		"etc/os-release":      "ID=debian\nVERSION_ID=12\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"etc/hostname":        m.name + "\n",
		"var/lib/dpkg/status": status.String(),
	} {
		path := filepath.Join(m.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func keysOf(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (m *machine) inventory() (inventory.Snapshot, []inventory.Section, error) {
	snap, _, err := agent.Inventory(context.Background(), m.root, true)
	if err != nil {
		return snap, nil, err
	}
	all, err := inventory.Split(snap)
	return snap, all, err
}

// enrol asks the server for a token as the operator, and uses it.
func (m *machine) enrol() error {
	var token struct{ Secret, Command string }
	if err := m.s.post("/api/v1/tenants/main/tokens", map[string]any{"uses": 1}, &token); err != nil {
		return err
	}
	words := strings.Fields(token.Command)
	ca := words[slices.Index(words, "--ca")+1]
	req, err := pki.NewIdentity()
	if err != nil {
		return err
	}
	pinned, err := pki.PinnedClientConfig(ca, "127.0.0.1")
	if err != nil {
		return err
	}
	stranger, err := link.New(link.Options{Server: "https://" + m.s.agents, TLS: pinned})
	if err != nil {
		return err
	}
	defer stranger.Close()
	snap, _, err := m.inventory()
	if err != nil {
		return err
	}
	reply, err := stranger.Enroll(context.Background(), wire.EnrollRequest{
		Protocol: wire.Protocol, Token: token.Secret, CSR: req.CSR, Hostname: m.name, Platform: snap.OS.Platform(), OS: snap.OS.Name, AgentVersion: "1.0",
	})
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(reply.Certificate)
	if err != nil {
		return err
	}
	authority, err := x509.ParseCertificate(reply.CA)
	if err != nil {
		return err
	}
	pair, err := pki.Pair(cert, req.Key)
	if err != nil {
		return err
	}
	m.id = reply.Endpoint
	m.gate, err = link.New(link.Options{Server: "https://" + m.s.agents, TLS: pki.ClientConfig(pair, pki.NewTrust(authority))})
	return err
}

// contact checks in with the whole inventory and does what it is told, until
// there is nothing more to do.
func (m *machine) contact(ctx context.Context) error {
	for range 20 {
		_, all, err := m.inventory()
		if err != nil {
			return err
		}
		bare := slices.Clone(all)
		for i := range bare {
			bare[i].Body = nil
		}
		now := time.Now().UTC()
		reply, err := m.gate.CheckIn(ctx, wire.CheckIn{
			Protocol: wire.Protocol, Root: inventory.Root(all), Sections: bare, Scanned: now, AgentVersion: "1.0", Now: now,
		})
		if err != nil {
			return err
		}
		if len(reply.Want) > 0 {
			wanted := slices.DeleteFunc(slices.Clone(all), func(s inventory.Section) bool { return !slices.Contains(reply.Want, s.Name) })
			if err := m.gate.PutSections(ctx, wire.Sections{Root: inventory.Root(all), Scanned: now, Sections: wanted}); err != nil {
				return err
			}
		}
		did := false
		for _, o := range reply.Orders {
			key := fmt.Sprint(o.Task, o.Attempt, o.Action)
			if m.seen[key] {
				continue
			}
			m.seen[key], did = true, true
			if err := m.obey(ctx, o); err != nil {
				return err
			}
		}
		if !did {
			return nil
		}
	}
	return nil
}

// listen holds the wake channel open, through restarts of the server.
func (m *machine) listen(ctx context.Context) {
	var first sync.Once
	for ctx.Err() == nil {
		_ = m.gate.Wake(ctx, func(wire.Wake) { // it always ends with an error
			first.Do(func() { close(m.online) })
			select {
			case m.hurry <- struct{}{}:
			default:
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (m *machine) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.hurry:
		case <-time.After(time.Second):
		}
		if err := m.contact(ctx); err != nil && ctx.Err() == nil {
			m.problem = err
			if !fault.Is(err, fault.Unavailable) {
				return // revoked, say
			}
		}
	}
}

// obey does one order and reports it.
func (m *machine) obey(ctx context.Context, o wire.Order) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := wire.Event{Task: o.Task, Attempt: o.Attempt, At: time.Now().UTC()}
	switch o.Action {
	case wire.ActPlan:
		e.State, e.Plan = deploy.Planned, m.plan(o)
	case wire.ActDownload:
		if err := m.download(ctx, o); err != nil {
			return err
		}
		e.State = deploy.Staged
	case wire.ActInstall:
		e.State, e.Result = deploy.Verifying, m.install(o)
		if err := m.write(); err != nil {
			return err
		}
	case wire.ActVerify:
		e.State, e.Verdicts = deploy.Verifying, m.verdicts(o)
	default:
		return fmt.Errorf("order %s is not for made-up machines", o.Action)
	}
	m.seq++
	e.Seq = m.seq
	_, err := m.gate.PostEvents(ctx, []wire.Event{e})
	return err
}

// meant are the patches to be installed by an order: its own, or for a
// rollback those that they restore.
func meant(o wire.Order) (all []patch.Patch) {
	known := append(madeUp(1, time.Now()).Patches, madeUp(3, time.Now()).Patches...)
	for _, ref := range o.Patches {
		i := slices.IndexFunc(known, func(p patch.Patch) bool { return p.ID == ref.ID })
		if o.Operation == deploy.Rollback {
			i = slices.IndexFunc(known, func(p patch.Patch) bool { return p.ID == known[i].Install.Restores })
		}
		all = append(all, known[i])
	}
	return all
}

// items are what an order would change on the machine.
func (m *machine) items(o wire.Order) (all []patch.Item) {
	for _, p := range meant(o) {
		for _, it := range p.Items {
			if have := m.packages[it.Name]; have != "" && have != it.Version && !slices.ContainsFunc(all, func(x patch.Item) bool { return x.Name == it.Name }) {
				all = append(all, it)
			}
		}
	}
	return all
}

func (m *machine) plan(o wire.Order) *deploy.Plan {
	p := &deploy.Plan{Payloads: []patch.Payload{}}
	for _, it := range m.items(o) {
		p.Changes = append(p.Changes, deploy.Change{Package: it.Name, Arch: it.Arch, From: m.packages[it.Name], To: it.Version, Why: "approved"})
		p.Payloads = append(p.Payloads, it.Payload)
		p.DownloadBytes += it.Payload.Size
	}
	return p
}

func (m *machine) download(ctx context.Context, o wire.Order) error {
	files := filepath.Join(m.root, "var/cache/fettle")
	if err := os.MkdirAll(files, 0o755); err != nil {
		return err
	}
	store, err := link.OpenStore(files)
	if err != nil {
		return err
	}
	for _, it := range m.items(o) {
		if _, err := store.Fetch(ctx, m.gate, it.Payload.SHA256, it.Payload.Size, func(int64) {}); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) install(o wire.Order) *deploy.Result {
	r := &deploy.Result{Attempt: o.Attempt, Started: time.Now().UTC()}
	for _, it := range m.items(o) {
		if it.Name == m.fails {
			r.ExitCode = 100
			r.Failures = append(r.Failures, deploy.ItemError{Package: it.Name, Version: it.Version, Reason: "its postinst exited with 1: no database"})
			continue
		}
		r.Changes = append(r.Changes, deploy.Change{Package: it.Name, From: m.packages[it.Name], To: it.Version, Why: "approved"})
		m.packages[it.Name] = it.Version
	}
	r.Ended = time.Now().UTC()
	return r
}

func (m *machine) verdicts(o wire.Order) (all []deploy.PatchVerdict) {
	refs := o.Patches
	if o.Operation == deploy.Rollback {
		for _, ref := range o.Patches {
			all = append(all, deploy.PatchVerdict{Patch: ref.ID, Installed: len(m.items(o)) > 0, Reason: "the version that is installed"})
		}
		refs = nil
		for _, p := range meant(o) {
			refs = append(refs, deploy.PatchRef{ID: p.ID})
		}
	}
	for _, ref := range refs {
		lacks := m.items(wire.Order{Patches: []deploy.PatchRef{ref}})
		v := deploy.PatchVerdict{Patch: ref.ID, Installed: len(lacks) == 0, Reason: "the new version is installed"}
		if len(lacks) > 0 {
			v.Reason = lacks[0].Name + " is still " + m.packages[lacks[0].Name]
		}
		all = append(all, v)
	}
	return all
}
