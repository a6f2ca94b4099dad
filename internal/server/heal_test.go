package server

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/wire"
)

// healing is a server with one machine whose task plans with svcPayload, which
// the server holds and the repository offers.
type healing struct {
	*place
	s     *Server
	agent *http.Client
	x     patch.Payload
	file  string
	seq   int64
}

func newHealing(t *testing.T) (*healing, func()) {
	t.Helper()
	p := newPlace(t)
	x := payload(svcPayload)
	s, down := p.up()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := &healing{place: p, s: s, x: x, file: filepath.Join(p.cfg.Data, "server", "blobs", "blobs", x.SHA256[:2], x.SHA256)}
	if err := s.blobs.Put(t.Context(), blob.Key(x.SHA256), x.Size, strings.NewReader(svcPayload)); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	in := s.db.In(estate.InTenant(estate.DefaultTenant))
	_, secret, err := in.CreateToken(t.Context(), estate.Token{Tenant: estate.DefaultTenant, Site: estate.DefaultSite, Uses: 1, Created: now, Expires: now.Add(time.Hour)})
	if err == nil {
		_, err = s.db.Enrol(t.Context(), secret, estate.Endpoint{ID: "web1", Enrolled: now}, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := deploy.Deployment{
		ID: "d", Tenant: estate.DefaultTenant, Created: now, Status: deploy.Halted, Policy: deploy.DefaultPolicy(),
		Rings: []deploy.Ring{{Endpoints: []estate.EndpointID{"web1"}}},
	}
	task := deploy.Task{
		ID: "t", Deployment: "d", Tenant: d.Tenant, Endpoint: "web1", State: deploy.Downloading, Attempt: 1, Created: now, Since: now,
		Plan: &deploy.Plan{Payloads: []patch.Payload{x}}, History: []deploy.Step{{State: deploy.Downloading, At: now}},
	}
	if err := in.CreateDeployment(t.Context(), d, []deploy.Task{task}); err != nil {
		t.Fatal(err)
	}
	h.agent = agentClient(t, s)
	return h, down
}

// agentClient speaks as the machine web1.
func agentClient(t *testing.T, s *Server) *http.Client {
	t.Helper()
	key, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := s.ca.IssueAgent(key.CSR, pki.Identity{Tenant: string(estate.DefaultTenant), Endpoint: "web1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var pair tls.Certificate
	if pair, err = pki.Pair(cert, key.Key); err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: pki.ClientConfig(pair, pki.NewTrust(s.ca.Certificate())), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// offer puts the payload into the repository.
func (h *healing) offer() {
	h.t.Helper()
	name, err := repo.PayloadPath(h.x.SHA256)
	if err != nil {
		h.t.Fatal(err)
	}
	file := filepath.Join(h.cfg.Repository, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(svcPayload), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *healing) damage(bytes string) {
	h.t.Helper()
	if err := os.Chmod(h.file, 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.file, []byte(bytes), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *healing) get() int {
	h.t.Helper()
	resp, err := h.agent.Get("https://" + h.cfg.Agents + wire.PathBlob + h.x.SHA256)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// complain says as the machine that a payload came damaged.
func (h *healing) complain(sum string) {
	h.t.Helper()
	h.seq++
	body := strings.NewReader(`{"events":[{"seq":` + strconv.FormatInt(h.seq, 10) + `,"task":"t","attempt":1,"at":"2026-01-01T00:00:00Z","state":"failed","reason":"other bytes","damaged":"` + sum + `"}]}`)
	resp, err := h.agent.Post("https://"+h.cfg.Agents+wire.PathEvents, "application/json", body)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		h.t.Fatalf("events: %d", resp.StatusCode)
	}
}

func (h *healing) mended() bool {
	b, err := os.ReadFile(h.file)
	return err == nil && string(b) == svcPayload
}

func (h *healing) until(what string, done func() bool) {
	h.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("in vain waited for: %s", what)
		}
	}
}

// A payload whose bytes the disk changed or cut is set aside once a machine has
// met it, and fetched anew; the task goes on, and people are told.
func TestDamagedPayloadHeals(t *testing.T) {
	for name, tc := range map[string]struct{ bytes string }{"flipped": {"svd 2"}, "cut": {"sv"}, "empty": {""}} {
		t.Run(name, func(t *testing.T) {
			h, down := newHealing(t)
			defer down()
			h.offer()
			h.damage(tc.bytes)
			code := h.get()
			if short := len(tc.bytes) != len(svcPayload); short && code != http.StatusServiceUnavailable {
				t.Errorf("a payload of another size is served: %d", code)
			} else if !short {
				h.complain(h.x.SHA256)
				task, err := h.s.db.In(estate.InTenant(estate.DefaultTenant)).Task(t.Context(), "t")
				if err != nil || task.State != deploy.RetryPlanned {
					t.Errorf("the task is %s, %v", task.State, err)
				}
			}
			h.until("a good copy", h.mended)
			if code := h.get(); code != http.StatusOK {
				t.Errorf("the good copy: %d", code)
			}
			got := h.s.payloadStatus().Damaged
			if len(got) != 1 || got[0].SHA256 != h.x.SHA256 || !got[0].Mended || got[0].At.IsZero() {
				t.Errorf("status %+v", got)
			}
			told := ""
			h.until("the audit log", func() bool {
				err := h.s.audit.Recent(t.Context(), "", 0, "", "", 10, func(doc []byte) error { told += string(doc); return nil })
				return err == nil && strings.Contains(told, `"payload.damaged"`) && strings.Contains(told, "is fetched anew")
			})
		})
	}
}

// What was set aside before a restart, and could not be had then, is fetched
// after it. Until then nobody is given the damaged bytes.
func TestDamagedPayloadHealsAfterRestart(t *testing.T) {
	h, down := newHealing(t)
	h.damage("svd 2")
	h.complain(h.x.SHA256)
	h.until("that it is set aside", func() bool { return len(h.s.payloadStatus().Damaged) == 1 })
	if got := h.s.payloadStatus().Damaged; got[0].Mended || h.get() == http.StatusOK {
		t.Errorf("it is served, status %+v", got)
	}
	down()
	h.offer()
	s, down := h.up()
	defer down()
	h.s = s
	h.until("a good copy", h.mended)
}

// Patrol finds damage that no machine has met, and reads everything once a
// round.
func TestPatrolFindsDamage(t *testing.T) {
	h, down := newHealing(t)
	down()
	h.damage("svd 2")
	s, err := New(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found := 0
	for key, ok := s.healer.nextOfRound(); ok; key, ok = s.healer.nextOfRound() {
		s.healer.look(t.Context(), key)
		found++
	}
	if has, err := s.blobs.Has(blob.Key(h.x.SHA256)); found != 1 || has || err != nil {
		t.Errorf("%d read; still there: %v, %v", found, has, err)
	}
}

// Trust, row 6: an agent that calls good payloads damaged makes the server read
// each at most once an hour, only such as it may have, and has none thrown away.
func TestTrustRow6LiesAboutPayloads(t *testing.T) {
	h, down := newHealing(t)
	h.complain(payload("another machine's").SHA256)
	if h.s.healer.mu.Lock(); len(h.s.healer.asked) != 0 {
		t.Error("a payload is read that the machine may not have")
	}
	h.s.healer.mu.Unlock()
	down() // nobody takes from the queue
	clock := time.Now()
	h.cfg.Now = func() time.Time { return clock }
	s, err := New(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 100 {
		s.healer.doubt(h.x.SHA256)
	}
	if len(s.healer.queue) != 1 {
		t.Fatalf("%d readings are due", len(s.healer.queue))
	}
	s.healer.lookAtDoubted(t.Context())
	if !h.mended() || len(s.payloadStatus().Damaged) != 0 {
		t.Error("a good payload was thrown away")
	}
	clock = clock.Add(59 * time.Minute)
	if s.healer.doubt(h.x.SHA256); len(s.healer.queue) != 0 {
		t.Error("it is read again within the hour")
	}
	clock = clock.Add(2 * time.Minute)
	if s.healer.doubt(h.x.SHA256); len(s.healer.queue) != 1 {
		t.Error("it is never read again")
	}
	for i := range 3 * maxDoubts {
		s.healer.doubt(payload(strconv.Itoa(i)).SHA256)
	}
	if len(s.healer.queue) > maxDoubts {
		t.Errorf("%d readings are due", len(s.healer.queue))
	}
}
