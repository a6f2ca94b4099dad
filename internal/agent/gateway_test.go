package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
	"github.com/fettlehq/fettle/internal/wire"
)

// server is a small gateway that speaks wire over real TLS, with a real
// repository behind it. Tests look into it and change what it says.
type server struct {
	t       *testing.T
	ca      *pki.CA
	http    *httptest.Server
	repoDir string
	repo    *publish.Repository
	rootFP  string
	shard   []byte
	version int64

	mu       sync.Mutex
	checkins []wire.CheckIn
	bodies   map[string]json.RawMessage // sections by hash
	events   []wire.Event
	orders   []wire.Order
	blobs    map[string][]byte
	ranges   []string // Range headers of blob requests
	wake     chan wire.Wake
	sizes    []int // of check-in bodies
	loseAck  bool  // the next answer to events is lost
}

func newServer(t *testing.T) *server {
	t.Helper()
	dir := tempDir(t)
	ca, err := pki.CreateCA(filepath.Join(dir, "ca"), "test", time.Now())
	check(t, err)
	pair, err := ca.IssueServer([]string{"127.0.0.1"}, time.Now())
	check(t, err)
	s := &server{
		t: t, ca: ca, repoDir: filepath.Join(dir, "repo"), bodies: map[string]json.RawMessage{}, blobs: map[string][]byte{},
		wake: make(chan wire.Wake, 10),
	}
	s.repo, err = publish.Init(context.Background(), s.repoDir, filepath.Join(dir, "keys"), time.Now(), publish.Setup{})
	check(t, err)
	root, err := s.repo.RootJSON()
	check(t, err)
	s.rootFP, err = repo.RootFingerprint(root)
	check(t, err)
	s.http = httptest.NewUnstartedServer(s.routes())
	s.http.TLS = pki.ServerConfig(pki.Listener{
		Certificate: func() (*tls.Certificate, error) { return &pair, nil },
		Clients:     pki.NewTrust(ca.Certificate()), Optional: true,
	})
	s.http.EnableHTTP2 = true
	s.http.StartTLS()
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnroll, s.enroll)
	mux.HandleFunc("POST "+wire.PathCheckIn, s.guard(s.checkIn))
	mux.HandleFunc("PUT "+wire.PathSection, s.guard(s.sections))
	mux.HandleFunc("POST "+wire.PathEvents, s.guard(s.postEvents))
	mux.HandleFunc("GET "+wire.PathWake, s.guard(s.wakeStream))
	mux.HandleFunc("GET "+wire.PathBlob+"{sum}", s.guard(s.blob))
	mux.Handle("GET "+wire.PathRepo, s.guard(http.StripPrefix(wire.PathRepo, http.FileServer(http.Dir(s.repoDir))).ServeHTTP))
	return mux
}

func (s *server) guard(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := pki.PeerIdentity(*r.TLS); err != nil {
			refuse(w, http.StatusUnauthorized, "unauthenticated", "no certificate")
			return
		}
		h(w, r)
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(wire.Refusal{Code: code, Message: message, Hint: "a hint"}) // the client may be gone
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) } // the client may be gone

func (s *server) enroll(w http.ResponseWriter, r *http.Request) {
	var req wire.EnrollRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Token != "good" {
		refuse(w, http.StatusUnauthorized, "unauthenticated", "the token is not known")
		return
	}
	cert, err := s.ca.IssueAgent(req.CSR, pki.Identity{Tenant: "main", Endpoint: "e1"}, time.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid", "bad request")
		return
	}
	root, err := s.repo.RootJSON()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", "no root")
		return
	}
	answer(w, wire.EnrollReply{Endpoint: "e1", Tenant: "main", Site: "main", Certificate: cert.Raw, CA: s.ca.Certificate().Raw, Root: root})
}

func (s *server) checkIn(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a short body fails below
	var in wire.CheckIn
	if err := json.Unmarshal(body, &in); err != nil {
		refuse(w, http.StatusBadRequest, "invalid", "bad check-in")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkins, s.sizes = append(s.checkins, in), append(s.sizes, len(body))
	reply := wire.CheckInReply{Next: 3600, Orders: s.orders, Catalog: s.version, Now: time.Now()}
	if in.Root != "" && len(in.Sections) == 0 && s.bodies[in.Root] == nil {
		reply.WantHashes = true
	}
	for _, sec := range in.Sections {
		if s.bodies[sec.Hash] == nil {
			reply.Want = append(reply.Want, sec.Name)
		}
	}
	if len(in.Sections) > 0 && len(reply.Want) == 0 {
		s.bodies[in.Root] = json.RawMessage("known")
	}
	answer(w, reply)
}

func (s *server) sections(w http.ResponseWriter, r *http.Request) {
	dec, err := zstd.NewReader(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid", "no zstd")
		return
	}
	defer dec.Close()
	var in wire.Sections
	if err := json.NewDecoder(dec).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "invalid", "bad sections")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sec := range in.Sections {
		if err := sec.Check(); err != nil {
			refuse(w, http.StatusBadRequest, "invalid", err.Error())
			return
		}
		s.bodies[sec.Hash] = sec.Body
	}
	s.bodies[in.Root] = json.RawMessage("known")
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) postEvents(w http.ResponseWriter, r *http.Request) {
	var in wire.Events
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, wire.MaxEvents)).Decode(&in); err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "exhausted", "bad events")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(in.Events, func(e wire.Event) bool { return e.Task == "foreign" }) {
		refuse(w, http.StatusForbidden, "denied", "a task in the batch does not belong to this endpoint")
		return
	}
	var last int64
	if len(s.events) > 0 {
		last = s.events[len(s.events)-1].Seq
	}
	for _, e := range in.Events {
		if e.Seq > last {
			s.events, last = append(s.events, e), e.Seq
		}
	}
	if s.loseAck {
		s.loseAck = false
		refuse(w, http.StatusServiceUnavailable, "unavailable", "lost")
		return
	}
	answer(w, wire.EventsReply{Seq: last})
}

func (s *server) wakeStream(w http.ResponseWriter, r *http.Request) {
	flush := w.(http.Flusher)
	answer(w, wire.Wake{Kind: "hello"})
	flush.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case m := <-s.wake:
			answer(w, m)
			flush.Flush()
		}
	}
}

func (s *server) blob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	data, ok := s.blobs[r.PathValue("sum")]
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "no such payload")
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// thePatch raises svc from 1.0 to 2.0.
func (s *server) thePatch() patch.Patch {
	payload := []byte(strings.Repeat("svc 2.0 ", 5000))
	sum := sha256.Sum256(payload)
	h := hex.EncodeToString(sum[:])
	s.mu.Lock()
	s.blobs[h] = payload
	s.mu.Unlock()
	return patch.Patch{
		ID: "debian-12:amd64:svc:2.0", Vendor: "debian", Platform: platform, Product: "svc", Version: "2.0",
		Classification: patch.Security, Severity: patch.Critical, Archives: []string{"a1"},
		Items:   []patch.Item{{Kind: packageKind, Name: "svc", Arch: "amd64", Version: "2.0", Payload: patch.Payload{SHA256: h, Size: int64(len(payload)), Name: "pool/svc_2.0_amd64.deb"}}},
		Install: patch.Manifest{Kind: "apt"}, Evidence: patch.Evidence{Verdict: patch.Vouched},
	}
}

// publish signs a catalog with these patches and returns the references that
// an order needs.
func (s *server) publish(version int64, patches ...patch.Patch) []deploy.PatchRef {
	s.t.Helper()
	var shard bytes.Buffer
	check(s.t, catalog.Encode(&shard, catalog.Contents{
		Header: catalog.Header{
			Format: catalog.Format, Platform: platform, Version: version, Created: time.Unix(1700000000, 0),
			Archives: []catalog.Archive{{ID: "a1", Label: "Debian-Security", Origin: "Debian", Suite: "s", Codename: "bookworm", Path: "bookworm-security", Security: true, Date: time.Unix(1700000000, 0)}},
		},
		Patches: patches,
	}))
	s.sign(version, shard.Bytes())
	opened, err := catalog.Open(bytes.NewReader(shard.Bytes()), int64(shard.Len()))
	check(s.t, err)
	var refs []deploy.PatchRef
	for _, p := range patches {
		_, digest, err := opened.Patch(p.ID)
		check(s.t, err)
		refs = append(refs, deploy.PatchRef{ID: p.ID, Digest: digest})
	}
	return refs
}

// sign publishes these bytes as the shard, and the delta to them.
func (s *server) sign(version int64, shard []byte) {
	s.t.Helper()
	sum := sha256.Sum256(shard)
	custom, err := json.Marshal(shardInfo{Platform: platform, Version: version, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(shard))})
	check(s.t, err)
	enc, err := zstd.NewWriter(nil)
	check(s.t, err)
	_, err = s.repo.Add(context.Background(), shardTarget(platform), bytes.NewReader(enc.EncodeAll(shard, nil)), custom)
	check(s.t, err)
	_, err = s.repo.Publish(context.Background(), time.Now())
	check(s.t, err)
	s.mu.Lock()
	s.shard, s.version = shard, version
	s.mu.Unlock()
}

func (s *server) order(orders ...wire.Order) {
	s.mu.Lock()
	s.orders = orders
	s.mu.Unlock()
	s.wake <- wire.Wake{Kind: "check"}
}

// until waits for something that the agent does by itself.
func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // other processes work
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Fatalf("never happened: %s\nlast check-in %+v\nevents %s", what, last(s.checkins), states(s.events))
}

func last[T any](all []T) (v T) {
	if len(all) > 0 {
		v = all[len(all)-1]
	}
	return v
}

func states(all []wire.Event) string {
	var b strings.Builder
	for _, e := range all {
		b.WriteString(string(e.State) + " (" + e.Reason + ") ")
	}
	return b.String()
}

func (s *server) event(task deploy.TaskID, match func(wire.Event) bool) wire.Event {
	s.t.Helper()
	var found wire.Event
	s.until("event of "+string(task), func() bool {
		for _, e := range s.events {
			if e.Task == task && match(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func (s *server) section(name inventory.SectionName) (body json.RawMessage) {
	for _, c := range s.checkins {
		for _, sec := range c.Sections {
			if sec.Name == name && s.bodies[sec.Hash] != nil {
				body = s.bodies[sec.Hash]
			}
		}
	}
	return body
}

// enrolled returns the state folder of an enrolled agent.
func (s *server) enrolled(root string) Dir {
	s.t.Helper()
	d := Dir(filepath.Join(tempDir(s.t), "state"))
	_, err := Enroll(context.Background(), s.enrolment(d, root))
	check(s.t, err)
	return d
}

func (s *server) enrolment(d Dir, root string) EnrollOptions {
	return EnrollOptions{State: d, Root: root, Server: s.http.URL, Token: "good", CA: s.ca.Fingerprint(), Repo: s.rootFP}
}

// agent runs one until the test ends, or stop is called.
func (s *server) agent(d Dir, root string) (stop func()) {
	s.t.Helper()
	a, err := New(context.Background(), testConfig(string(d), root))
	check(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.t.Error(err)
			}
			if err := a.Close(); err != nil {
				s.t.Error(err)
			}
		})
	}
	s.t.Cleanup(stop)
	return stop
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return string(data)
}
