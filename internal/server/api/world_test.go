package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/assess"
	"github.com/fettlehq/fettle/internal/server/audit"
	"github.com/fettlehq/fettle/internal/server/auth"
	"github.com/fettlehq/fettle/internal/server/orchestrate"
	"github.com/fettlehq/fettle/internal/server/report"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// world is a server in one process: the real store, index, loop, auth, audit
// and reports behind a loopback listener. Machines are stood in for by their
// reports, the catalog by a shard made here.
type world struct {
	t     testing.TB
	api   *API
	url   string
	db    *store.DB
	index *assess.Index
	auth  *auth.Service
	audit *audit.Log
	loop  *orchestrate.Loop
	shard *catalog.Shard

	mu      sync.Mutex
	scans   []estate.EndpointID
	synced  int
	syncErr error
	kicks   int

	operator string // an API key that may do everything
}

const (
	openssl = patch.ID("debian-12:amd64:openssl:3.0.17-1~deb12u3")
	bashFix = patch.ID("debian-12:amd64:bash:5.2.15-2+b3")
	nginx   = patch.ID("debian-12:amd64:nginx:1.22.1-9+deb12u9") // a bulletin
	curlFix = patch.ID("debian-12:amd64:curl:7.88.1-10+deb12u14")
)

func debPatch(name, version string, class patch.Classification, s patch.Severity, archive string, cves ...string) patch.Patch {
	p := patch.Patch{
		ID: patch.ID("debian-12:amd64:" + name + ":" + version), Vendor: "debian", Platform: "debian-12-amd64", Product: name, Version: version,
		Classification: class, Severity: s, Archives: []string{archive}, Install: patch.Manifest{Kind: "apt"}, Evidence: patch.Evidence{Verdict: patch.Vouched},
		Items: []patch.Item{{Kind: "dpkg", Name: name, Arch: "amd64", Version: version, Payload: patch.Payload{SHA256: inventory.HashBody([]byte(name + version)), Size: 1000, Name: "pool/" + name + ".deb"}}},
	}
	for _, c := range cves {
		p.CVEs = append(p.CVEs, patch.CVEFix{ID: c, FixedIn: version})
	}
	return p
}

// bulletin takes away what could be installed.
func bulletin(p patch.Patch) patch.Patch {
	p.Items[0].Payload = patch.Payload{}
	p.Evidence = patch.Evidence{Verdict: patch.Unproven, Checks: []string{"nothing is installed from it: its payload was not examined"}}
	return p
}

func testShard(t testing.TB, more ...patch.Patch) *catalog.Shard {
	t.Helper()
	day := time.Now().UTC().Truncate(time.Hour)
	c := catalog.Contents{
		Header: catalog.Header{
			Format: catalog.Format, Platform: "debian-12-amd64", Version: 7, Created: day,
			Archives: []catalog.Archive{
				{ID: "aaaaaaaaaaaaaaaa", Label: "Debian", Origin: "Debian", Suite: "oldstable", Codename: "bookworm", Path: "bookworm", Date: day},
				{ID: "bbbbbbbbbbbbbbbb", Label: "Debian-Security", Origin: "Debian", Suite: "oldstable-security", Codename: "bookworm-security", Path: "bookworm-security", Security: true, Date: day},
			},
		},
		Patches: []patch.Patch{
			debPatch("openssl", "3.0.17-1~deb12u3", patch.Security, patch.Critical, "bbbbbbbbbbbbbbbb", "CVE-2026-0001"),
			debPatch("curl", "7.88.1-10+deb12u14", patch.Security, patch.Moderate, "bbbbbbbbbbbbbbbb", "CVE-2026-0002"),
			debPatch("bash", "5.2.15-2+b3", patch.Update, patch.Unknown, "aaaaaaaaaaaaaaaa"),
		},
		Vulnerabilities: []patch.Vulnerability{
			{ID: "CVE-2026-0001", Severity: patch.Critical, CVSS: 9.8, KEV: &patch.KEV{Added: "2026-11-01"}},
			{ID: "CVE-2026-0002", Severity: patch.Moderate, CVSS: 5.0},
		},
	}
	c.Patches = append(c.Patches, more...)
	var b bytes.Buffer
	if err := catalog.Encode(&b, c); err != nil {
		t.Fatal(err)
	}
	s, err := catalog.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newWorld starts a server with tenants "main" and "other" and no machine.
func newWorld(t testing.TB, more ...patch.Patch) *world {
	t.Helper()
	w := &world{t: t, shard: testShard(t, more...)}
	var err error
	w.db = storetest.Migrated(t, filepath.Join(t.TempDir(), "fettle.db"), sqlite.Open)
	t.Cleanup(func() { must(t, w.db.Close()) })
	everything := w.db.In(estate.Everything())
	for _, id := range []estate.TenantID{"main", "other"} {
		must(t, everything.EnsureTenant(t.Context(), estate.Tenant{ID: id, Name: string(id), Created: time.Now()}))
	}
	log := slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	w.index = assess.New(w)
	must(t, w.index.SetCatalog(t.Context(), map[string]*catalog.Shard{"debian-12-amd64": w.shard}))
	w.audit = audit.New(func(s estate.Scope) audit.Store { return w.db.In(s) }, time.Now)
	w.auth = auth.New(auth.Config{
		People: func(s estate.Scope) auth.People { return w.db.In(s) }, Sessions: w.db, Log: log, Now: time.Now, Guessed: w.audit.Guess, Cheap: true,
	})
	w.loop = orchestrate.New(w.db.Orchestration(), fleet{w}, payloads{}, w, log, time.Now)
	w.api, err = New(Config{
		Data: func(s estate.Scope) Data { return w.db.In(s) }, Index: indexed{w.index}, Catalog: w, Deployments: w, Agents: agents{w},
		Auth: w.auth, Audit: w.audit, Log: log, Now: time.Now, Poll: 5 * time.Millisecond, Heartbeat: 50 * time.Millisecond,
		Reports: report.New(func(s estate.Scope) report.Data { return w.db.In(s) }, w.index, w.patch, time.Now),
		Enrolment: func(secret string) Enrolment {
			return Enrolment{
				Server: "https://fettle.example:8781", CA: "sha256:ca", Root: "sha256:root",
				Command: "fettle-agent enroll --token " + secret, CommandWindows: "msiexec /i fettle-agent.msi /qn TOKEN=" + secret,
			}
		},
		Console: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("console")) }),
	})
	must(t, err)
	srv := httptest.NewServer(w.api.Handler())
	t.Cleanup(srv.Close)
	w.url = srv.URL
	_, w.operator, err = w.auth.CreateKey(t.Context(), estate.Everything(), estate.Key{Name: "root", Grants: []estate.Grant{{Role: estate.Admin}}, Created: time.Now()})
	must(t, err)
	return w
}

// logTo lets the server's log show in the test's.
type logTo struct{ t testing.TB }

func (l logTo) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v (%s)", err, fault.CodeOf(err))
	}
}

// Snapshot is for the index.
func (w *world) Snapshot(ctx context.Context, t estate.TenantID, e estate.EndpointID) (assess.Profile, *inventory.Snapshot, error) {
	sections, _, err := w.db.In(estate.InTenant(t)).Inventory(ctx, e)
	if err != nil {
		return assess.Profile{}, nil, err
	}
	snap, err := inventory.Join(sections)
	return assess.ProfileOf(snap.OS, sections), &snap, err
}

func (w *world) patch(id patch.ID) (patch.Patch, error) {
	p, _, err := w.shard.Patch(id)
	return p, err
}

// The catalog.
func (w *world) Shards() []*catalog.Shard { return []*catalog.Shard{w.shard} }

func (w *world) Status() CatalogStatus {
	return CatalogStatus{Version: 7, Created: w.shard.Header().Created, Expires: time.Now().Add(time.Hour), Source: "file:///repo", Signers: []string{"abc"}}
}
func (w *world) Sync(context.Context) error { w.synced++; return w.syncErr }

// Deployments: the loop, and how often it was kicked.
func (w *world) Update(ctx context.Context, t estate.TenantID, id deploy.ID, change func(deploy.Deployment) (deploy.Deployment, error)) (deploy.Deployment, error) {
	return w.loop.Update(ctx, t, id, change)
}

func (w *world) Kick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kicks++
}

func (w *world) Wake(estate.TenantID, estate.EndpointID) {}

// agents records what machines are asked.
type agents struct{ w *world }

func (a agents) Scan(_ estate.TenantID, e estate.EndpointID) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.scans = append(a.w.scans, e)
}

func (a agents) Revoke(ctx context.Context, t estate.TenantID, e estate.EndpointID) error {
	_, err := a.w.db.In(estate.InTenant(t)).Revoke(ctx, e, time.Now())
	a.w.index.Remove(t, e)
	return err
}

func (a agents) Online(_ estate.TenantID, _ estate.EndpointID, seen time.Time) bool {
	return time.Since(seen) < time.Hour
}
func (a agents) OnlineCount(estate.TenantID) int { return 1 }

// indexed adapts the index as the wing's root does.
type indexed struct{ *assess.Index }

func (i indexed) NeededBy(t estate.TenantID) map[patch.ID]int {
	out := map[patch.ID]int{}
	for _, c := range i.PatchCounts(t) {
		if n := c.Missing + c.Held; n > 0 {
			out[c.Patch] = n
		}
	}
	return out
}

func (i indexed) Totals(t estate.TenantID) Totals {
	s := i.Summary(t)
	out := Totals{Security: s.Insecure, Exploited: s.Exploited, Patches: s.Patches, Bulletins: s.Bulletins, UserOnly: s.UserOnly}
	for _, n := range s.Missing {
		out.Missing += n
	}
	return out
}

// fleet answers the loop.
type fleet struct{ w *world }

func (f fleet) Lacks(t estate.TenantID, e estate.EndpointID, id patch.ID) bool {
	findings, _ := f.w.index.Findings(t, e)
	for _, one := range findings {
		if one.Patch == id && one.Lacks() {
			return true
		}
	}
	return false
}

func (f fleet) Has(t estate.TenantID, e estate.EndpointID, id patch.ID) (has, known bool) {
	_, snap, err := f.w.Snapshot(context.Background(), t, e)
	if err != nil {
		return false, false
	}
	p, err := f.w.patch(id)
	return err == nil && detect.Eval(p.Present(), snap.Facts()).Value == detect.True, true
}

func (f fleet) Approval(t estate.TenantID, e estate.EndpointID, id patch.ID) approval.State {
	all, _ := f.w.db.In(estate.InTenant(t)).ActiveApprovals(context.Background(), time.Now())
	s, _ := approval.Decide(all, id, e, nil, time.Now())
	return s
}
func (f fleet) Started(estate.TenantID, time.Time) int { return 0 }
func (f fleet) Endpoints(estate.TenantID) int          { return 10 }
func (f fleet) CatalogVersion() int64                  { return 7 }

type payloads struct{}

func (payloads) Staged([]patch.Payload) (bool, string) { return true, "" }
func (payloads) Stage([]patch.Payload)                 {}

func (payloads) Offered(context.Context, deploy.Task, *deploy.Plan) error { return nil }

// machine enrols a machine with packages of the versions and reports it.
func (w *world) machine(t estate.TenantID, id estate.EndpointID, packages map[string]string, held ...string) {
	w.t.Helper()
	ctx, in, now := w.t.Context(), w.db.In(estate.InTenant(t)), time.Now().UTC()
	_, secret, err := in.CreateToken(ctx, estate.Token{Tenant: t, Site: "main", Uses: 1, Created: now, Expires: now.Add(time.Hour)})
	must(w.t, err)
	_, err = w.db.Enrol(ctx, secret, estate.Endpoint{ID: id, Hostname: "host-" + string(id), Platform: "debian-12-amd64", OS: "Debian 12", Enrolled: now}, now)
	must(w.t, err)
	w.scanned(t, id, packages, held...)
	must(w.t, in.CheckIn(ctx, store.Contact{Endpoint: id, Tenant: t, Seen: now, Agent: "1.0", Problem: ""}))
}

// scanned takes in a fresh scan of a machine.
func (w *world) scanned(t estate.TenantID, id estate.EndpointID, packages map[string]string, held ...string) {
	w.t.Helper()
	snap := inventory.Snapshot{OS: inventory.OS{Family: "linux", ID: "debian", Version: "12", Arch: "amd64", Name: "Debian 12", Hostname: "host-" + string(id)}}
	for name, v := range packages {
		p := inventory.Package{Kind: "dpkg", Name: name, Arch: "amd64", Version: v}
		for _, h := range held {
			p.Hold = p.Hold || h == name
		}
		snap.Packages = append(snap.Packages, p)
	}
	sections, err := inventory.Split(snap)
	must(w.t, err)
	now := time.Now().UTC()
	must(w.t, w.db.In(estate.InTenant(t)).PutInventory(w.t.Context(), store.Report{Endpoint: id, Tenant: t, Sections: sections, Scanned: now, Now: now}))
	must(w.t, w.index.Report(w.t.Context(), t, id, assess.ProfileOf(snap.OS, sections)))
}

func old() map[string]string {
	return map[string]string{"openssl": "3.0.15-1", "curl": "7.88.1-10", "bash": "5.2.15-2"}
}

func fresh() map[string]string {
	return map[string]string{"openssl": "3.0.17-1~deb12u3", "curl": "7.88.1-10+deb12u14", "bash": "5.2.15-2+b3"}
}

// key makes an API key with one role in a tenant.
func (w *world) key(role estate.Role, t estate.TenantID) string {
	w.t.Helper()
	scope := estate.InTenant(t)
	_, secret, err := w.auth.CreateKey(w.t.Context(), scope, estate.Key{
		Tenant: t, Name: string(role) + "-" + string(t), Grants: []estate.Grant{{Role: role, Scope: scope}}, Created: time.Now(),
	})
	must(w.t, err)
	return secret
}

// send makes a request and returns status and body.
func (w *world) send(method, path, key string, body any) (int, []byte) {
	w.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		must(w.t, err)
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, in)
	must(w.t, err)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	must(w.t, err)
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return resp.StatusCode, out
}

// call makes a request as the operator, wants a status and decodes the answer.
func (w *world) call(method, path string, body any, want int, into any) {
	w.t.Helper()
	status, out := w.send(method, path, w.operator, body)
	if status != want {
		w.t.Fatalf("%s %s: status %d, want %d: %s", method, path, status, want, out)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, out)
		}
	}
}

// refused makes a request as the operator that must fail with the code.
func (w *world) refused(method, path string, body any, code fault.Code) Problem {
	w.t.Helper()
	status, out := w.send(method, path, w.operator, body)
	var p Problem
	if err := json.Unmarshal(out, &p); err != nil || p.Code != string(code) || status != statusOf(code) {
		w.t.Fatalf("%s %s: status %d %s, want code %s", method, path, status, out, code)
	}
	return p
}

// statusOf is the status with which a fault of the code is answered.
func statusOf(code fault.Code) int { return fault.Status(code) }
