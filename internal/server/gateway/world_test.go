package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/blob"
	blobfs "github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/server/gateway"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
	"github.com/fettlehq/fettle/internal/wire"
)

// world is a gateway on a loopback port over a real store, a real CA and real
// payloads; orders are what the test says.
type world struct {
	t    testing.TB
	db   *store.DB
	ca   *pki.CA
	gw   *gateway.Gateway
	addr string
	repo string
	blob *blobfs.Store

	mu      sync.Mutex
	orders  map[estate.EndpointID][]wire.Order
	heard   []wire.Event
	audit   []string
	guesses []string
	changed []estate.EndpointID
	serves  map[string]bool
	clock   time.Duration // added to now
	// hold, when set, is called before an endpoint gets its orders.
	hold func(context.Context, estate.EndpointID)
}

// newWorld makes one and serves it; changes are made to its configuration before.
func newWorld(t testing.TB, changes ...func(*gateway.Config)) *world {
	t.Helper()
	w := unserved(t, changes...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.serve(l)
	return w
}

// unserved is a world that no listener leads to yet.
func unserved(t testing.TB, changes ...func(*gateway.Config)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, repo: filepath.Join(dir, "repo"), orders: map[estate.EndpointID][]wire.Order{}, serves: map[string]bool{}}
	var err error
	w.db = storetest.Migrated(t, filepath.Join(dir, "fettle.db"), sqlite.Open)
	if w.ca, err = pki.CreateCA(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	if w.blob, err = blobfs.Open(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.repo, "metadata"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []estate.TenantID{"acme", "rival"} {
		if err := w.db.In(estate.Everything()).CreateTenant(t.Context(), estate.Tenant{ID: tenant, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	server, err := w.ca.IssueServer([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.Config{
		Store: w.db.Agents(), Orders: w, Repository: w, Payloads: w.blob, Witness: w, CA: w.ca,
		Trust: pki.NewTrust(w.ca.Certificate()), Certificate: func() (*tls.Certificate, error) { return &server, nil },
		Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return time.Now().Add(w.clock) },
	}
	for _, change := range changes {
		change(&cfg)
	}
	if w.gw, err = gateway.New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve runs the gateway until the test ends.
func (w *world) serve(l net.Listener) {
	w.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.gw.Serve(ctx, l) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("serve: %v", err)
		}
		if err := w.db.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) Orders(ctx context.Context, _ estate.TenantID, id estate.EndpointID) ([]wire.Order, error) {
	if w.hold != nil {
		w.hold(ctx, id)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.orders[id], nil
}

func (w *world) Hear(_ context.Context, _ estate.TenantID, _ estate.EndpointID, events []wire.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, events...)
	return nil
}

func (w *world) Audit(_ context.Context, _ estate.TenantID, actor, action, _, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.audit = append(w.audit, action+" by "+actor)
}

func (w *world) Guess(action, object, address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guesses = append(w.guesses, action+" "+object+" "+address)
}

func (w *world) InventoryChanged(_ estate.TenantID, id estate.EndpointID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = append(w.changed, id)
}

func (w *world) Version() int64        { return 42 }
func (w *world) Root() ([]byte, error) { return []byte(`{"root":1}`), nil }

func (w *world) OpenFile(path string) (*os.File, error) {
	root, err := os.OpenRoot(w.repo)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(path)
}

func (w *world) Serves(sum string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.serves[sum]
}

// agent is an enrolled endpoint with its own connection.
type agent struct {
	w      *world
	id     estate.EndpointID
	tenant estate.TenantID
	cert   tls.Certificate
	http   *http.Client
}

func (w *world) token(tenant estate.TenantID, uses int) string {
	w.t.Helper()
	_, secret, err := w.db.In(estate.InTenant(tenant)).CreateToken(context.Background(),
		estate.Token{Tenant: tenant, Site: estate.DefaultSite, Uses: uses, Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// stranger is a client that knows the CA's fingerprint and has no certificate.
func (w *world) stranger(fingerprint string) *http.Client {
	w.t.Helper()
	cfg, err := pki.PinnedClientConfig(fingerprint, "127.0.0.1")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.client(cfg)
}

func (w *world) client(cfg *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func (w *world) post(c *http.Client, method, path string, body []byte, into any) (int, wire.Refusal) {
	w.t.Helper()
	req, err := http.NewRequest(method, "https://"+w.addr+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, wire.Refusal{Message: err.Error()}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, wire.Refusal{Message: err.Error()}
	}
	var refusal wire.Refusal
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(data, &refusal); err != nil {
			refusal.Message = string(data)
		}
	} else if into != nil {
		if raw, ok := into.(*[]byte); ok {
			*raw = data
		} else if err := json.Unmarshal(data, into); err != nil {
			w.t.Fatalf("%s %s: %v in %q", method, path, err, data)
		}
	}
	return resp.StatusCode, refusal
}

func (w *world) enrolRequest(token string) ([]byte, pki.Request) {
	w.t.Helper()
	key, err := pki.NewIdentity()
	if err != nil {
		w.t.Fatal(err)
	}
	return encode(w.t, wire.EnrollRequest{
		Protocol: wire.Protocol, Token: token, CSR: key.CSR, Hostname: "host", Platform: "debian-12-amd64", OS: "Debian", AgentVersion: "1",
	}), key
}

// enrol makes an agent of the tenant over the wire.
func (w *world) enrol(tenant estate.TenantID) *agent {
	w.t.Helper()
	body, key := w.enrolRequest(w.token(tenant, 1))
	var reply wire.EnrollReply
	if code, no := w.post(w.stranger(w.ca.Fingerprint()), "POST", wire.PathEnroll, body, &reply); code != 200 {
		w.t.Fatalf("enrol: %d %+v", code, no)
	}
	if reply.Tenant != tenant || string(reply.Root) != `{"root":1}` {
		w.t.Fatalf("enrolled as %+v", reply)
	}
	cert, err := x509.ParseCertificate(reply.Certificate)
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := pki.Pair(cert, key.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	a := &agent{w: w, id: reply.Endpoint, tenant: reply.Tenant, cert: pair}
	a.http = w.client(pki.ClientConfig(pair, pki.NewTrust(w.ca.Certificate())))
	return a
}

// admit makes an agent without the wire: enrolment over it is rate limited.
func (w *world) admit(tenant estate.TenantID, id estate.EndpointID, token string) *agent {
	w.t.Helper()
	key, err := pki.NewIdentity()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.db.Enrol(context.Background(), token, estate.Endpoint{ID: id, Enrolled: time.Now()}, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	cert, err := w.ca.IssueAgent(key.CSR, pki.Identity{Tenant: string(tenant), Endpoint: string(id)}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := pki.Pair(cert, key.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &agent{w: w, id: id, tenant: tenant, cert: pair, http: w.client(pki.ClientConfig(pair, pki.NewTrust(w.ca.Certificate())))}
}

func (a *agent) send(method, path string, m, into any) (int, wire.Refusal) {
	a.w.t.Helper()
	body, ok := m.([]byte)
	if !ok && m != nil {
		body = encode(a.w.t, m)
	}
	return a.w.post(a.http, method, path, body, into)
}

func (a *agent) mustSend(method, path string, m, into any) {
	a.w.t.Helper()
	if code, no := a.send(method, path, m, into); code >= 300 || code == 0 {
		a.w.t.Fatalf("%s %s: %d %+v", method, path, code, no)
	}
}

func (a *agent) checkIn(m wire.CheckIn) wire.CheckInReply {
	a.w.t.Helper()
	m.Protocol = wire.Protocol
	if m.Now.IsZero() {
		m.Now = time.Now()
	}
	var reply wire.CheckInReply
	a.mustSend("POST", wire.PathCheckIn, m, &reply)
	return reply
}

// task gives the endpoint a task whose plan needs the payload.
func (w *world) task(a *agent, id deploy.TaskID, payload string) {
	w.t.Helper()
	d := deploy.Deployment{ID: deploy.ID("dep-" + string(id)), Tenant: a.tenant, Status: deploy.Running, Created: time.Now()}
	t := deploy.Task{ID: id, Deployment: d.ID, Tenant: a.tenant, Endpoint: a.id, State: deploy.Downloading, Attempt: 1, Created: time.Now(), Plan: &deploy.Plan{}}
	if payload != "" {
		t.Plan.Payloads = append(t.Plan.Payloads, payloadOf(payload))
	}
	if err := w.db.In(estate.InTenant(a.tenant)).CreateDeployment(context.Background(), d, []deploy.Task{t}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) putBlob(content string) string {
	w.t.Helper()
	p := payloadOf(content)
	if err := w.blob.Put(context.Background(), blob.Key(p.SHA256), p.Size, bytes.NewReader([]byte(content))); err != nil {
		w.t.Fatal(err)
	}
	return p.SHA256
}

func sum(content string) string {
	h := sha256.Sum256([]byte(content))
	return hex.EncodeToString(h[:])
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pack(t testing.TB, b []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(b, nil)
}

func snapshot(packages int, kernel string) inventory.Snapshot {
	s := inventory.Snapshot{
		OS:      inventory.OS{ID: "debian", Version: "12", Arch: "amd64", Name: "Debian GNU/Linux 12 (bookworm)", Hostname: "web-1"},
		State:   inventory.State{RunningKernel: kernel, RebootDue: kernel == "old"},
		Network: inventory.Network{Interfaces: []inventory.Interface{{Name: "lo", Addresses: []string{"127.0.0.1/8"}}, {Name: "eth0", Addresses: []string{"10.0.0.7/24"}}}},
	}
	for i := range packages {
		s.Packages = append(s.Packages, inventory.Package{Kind: "dpkg", Name: fmt.Sprintf("package-%05d", i), Arch: "amd64", Version: "1.2.3-4+deb12u5"})
	}
	return s
}

func split(t testing.TB, s inventory.Snapshot) (all, bare []inventory.Section) {
	t.Helper()
	all, err := inventory.Split(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, sec := range all {
		bare = append(bare, inventory.Section{Name: sec.Name, Hash: sec.Hash})
	}
	return all, bare
}
