package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

const platform = "debian-12-amd64"

// place is a signed repository and the configuration of a server beside it.
type place struct {
	t    *testing.T
	repo *publish.Repository
	cfg  Config
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, cfg: Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repository"), Names: []string{"127.0.0.1"},
		Admin: freeAddress(t), Agents: freeAddress(t),
	}}
	p.cfg.RootFile = filepath.Join(p.cfg.Repository, repo.MetadataPath(repo.Root, 1))
	var err error
	if p.repo, err = publish.Init(t.Context(), p.cfg.Repository, filepath.Join(dir, "keys"), time.Now(), publish.Setup{}); err != nil {
		t.Fatal(err)
	}
	p.publish(1)
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		// A port that the kernel gives nobody by itself (ip_local_port_range): it is still free when the server starts, also after a restart.
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
}

// svcPayload is the file of the catalog's one patch.
const svcPayload = "svc 2"

func payload(text string) patch.Payload {
	sum := sha256.Sum256([]byte(text))
	return patch.Payload{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text)), Name: text}
}

// publish signs a catalog of one patch.
func (p *place) publish(version int64) {
	p.t.Helper()
	var shard bytes.Buffer
	err := catalog.Encode(&shard, catalog.Contents{
		Header: catalog.Header{Format: catalog.Format, Platform: platform, Version: version, Created: time.Now().UTC(), Notes: []string{"no tracker"}},
		Patches: []patch.Patch{{
			ID: "debian-12:amd64:svc:2", Platform: platform, Product: "svc", Version: "2", Severity: patch.Low,
			Items: []patch.Item{{Kind: "dpkg", Name: "svc", Arch: "amd64", Version: "2", Payload: payload(svcPayload)}},
		}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	sum := sha256.Sum256(shard.Bytes())
	custom, err := json.Marshal(map[string]any{"platform": platform, "version": version, "sha256": hex.EncodeToString(sum[:]), "size": shard.Len()})
	if err != nil {
		p.t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.repo.Add(p.t.Context(), "catalog/"+platform+".shard.zst", bytes.NewReader(enc.EncodeAll(shard.Bytes(), nil)), custom); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.repo.Publish(p.t.Context(), time.Now()); err != nil {
		p.t.Fatal(err)
	}
}

// up makes and runs a server; down ends it and closes it.
func (p *place) up() (s *Server, down func()) {
	p.t.Helper()
	s, err := New(p.t.Context(), p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := s.Listen(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		p.t.Helper()
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("run: %v", err)
		}
		s.Close()
	}
}

func (p *place) operator() (o struct{ Server, Key string }) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.cfg.Data, "operator.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		p.t.Fatal(err)
	}
	return o
}

// A second server on the same data is the first one again.
func TestRestartKeepsEverything(t *testing.T) {
	p := newPlace(t)
	first, down := p.up()
	if err := first.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	in := first.db.In(estate.InTenant(estate.DefaultTenant))
	if _, err := in.PutApproval(t.Context(), approval.Approval{Tenant: estate.DefaultTenant, Patch: "debian-12:amd64:svc:2", Decision: approval.Approve, By: "ada", At: time.Now().UTC()}); err != nil {
		t.Fatal(err)
	}
	_, token, err := first.OwnEnrolment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	operator, fingerprint, root, link := p.operator(), first.ca.Fingerprint(), first.root, first.SetupLink()
	if link == "" || first.Status().Version != 1 {
		t.Fatalf("setup link %q, catalog %d", link, first.Status().Version)
	}
	down()

	second, down := p.up()
	defer down()
	if second.ca.Fingerprint() != fingerprint || second.root != root {
		t.Error("the CA or the pinned root is another one")
	}
	if got := p.operator(); got != operator {
		t.Error("the local operator's key is another one")
	}
	if got := second.SetupLink(); got == "" || got == link {
		t.Error("a restart gives a new setup link while nobody has an account")
	}
	if got := second.Status(); got.Version != 1 || len(got.Notes) != 1 {
		t.Errorf("catalog %+v: it must be there before any synchronisation", got)
	}
	all, err := second.db.In(estate.InTenant(estate.DefaultTenant)).ActiveApprovals(t.Context(), time.Now())
	if err != nil || len(all) != 1 {
		t.Errorf("approvals %v, %v", all, err)
	}
	if _, err := second.db.Enrol(t.Context(), token, estate.Endpoint{ID: "web1", Enrolled: time.Now()}, time.Now()); err != nil {
		t.Errorf("the token from before the restart: %v", err)
	}
	if !second.Knows(t.Context(), "web1") || second.Knows(t.Context(), "web2") {
		t.Error("the machine that enrolled is not the one that is known")
	}
	if _, _, err := second.Findings(t.Context(), "web1", time.Time{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("findings before the first scan: %v", err)
	}
}

// Once there is an administrator there is no setup link.
func TestSetupLinkEnds(t *testing.T) {
	p := newPlace(t)
	s, down := p.up()
	token := strings.TrimPrefix(s.SetupLink(), s.ConsoleURL()+"setup#token=")
	body := `{"token":"` + token + `","name":"ada","password":"correct horse battery staple"}`
	if got := p.ask("POST", "/api/v1/setup", body); got != http.StatusOK {
		t.Errorf("setup: %d", got)
	}
	if got := p.ask("POST", "/api/v1/setup", body); got != http.StatusConflict {
		t.Errorf("the link works twice: %d", got)
	}
	down()
	again, down := p.up()
	defer down()
	if link := again.SetupLink(); link != "" {
		t.Errorf("there is a link: %s", link)
	}
}

// ask sends a request, waiting for the server to be up.
func (p *place) ask(method, path, body string) int {
	p.t.Helper()
	var last error
	for range 200 {
		req, err := http.NewRequest(method, "http://"+p.cfg.Admin+path, strings.NewReader(body))
		if err != nil {
			p.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			return resp.StatusCode
		}
		last = err
		time.Sleep(10 * time.Millisecond) // the listener is not there yet
	}
	p.t.Fatal(last)
	return 0
}

// What is wrong with a configuration is said before anything is made.
func TestBadConfiguration(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(damaged, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		code   fault.Code
		says   string
	}{
		"no data":           {func(c *Config) { c.Data = "" }, fault.Invalid, "no data folder"},
		"no repository":     {func(c *Config) { c.Repository = "" }, fault.Invalid, "no repository"},
		"no root":           {func(c *Config) { c.RootFile = "" }, fault.Invalid, "no root metadata"},
		"half a key pair":   {func(c *Config) { c.AdminCert = "cert.pem" }, fault.Invalid, "belong together"},
		"root is not there": {func(c *Config) { c.RootFile += "x" }, fault.NotFound, "can't be read"},
		"root is damaged":   {func(c *Config) { c.RootFile = damaged }, fault.Untrusted, "root file is refused"},
		"data is a file":    {func(c *Config) { c.Data = damaged }, fault.Unavailable, "can't be made"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			tc.change(&p.cfg)
			s, err := New(t.Context(), p.cfg)
			if !fault.Is(err, tc.code) || !strings.Contains(fault.Public(err), tc.says) {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}

// An address in use is named, with what to do.
func TestAddressInUse(t *testing.T) {
	for _, which := range []string{"people", "agents"} {
		p := newPlace(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if which == "people" {
			p.cfg.Admin = l.Addr().String()
		} else {
			p.cfg.Agents = l.Addr().String()
		}
		s, err := New(t.Context(), p.cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Run(t.Context())
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Public(err), "can't listen for "+which) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", which, err)
		}
		s.Close()
	}
}

// Trust, row 3: the root is pinned on the first start; a server that is given
// another repository's root on the same data refuses.
func TestTrustRow3RootStaysPinned(t *testing.T) {
	p, other := newPlace(t), newPlace(t)
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	cfg := p.cfg
	cfg.Repository = other.cfg.Repository
	s, err = New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context()); !fault.Is(err, fault.Untrusted) {
		t.Errorf("another repository under the old root: %v", err)
	}
	if got := s.Status().Version; got != 1 {
		t.Errorf("catalog %d is in use", got)
	}
	s.Close()
	cfg.RootFile = other.cfg.RootFile
	swapped, err := New(t.Context(), cfg)
	if err == nil {
		err = swapped.Sync(t.Context())
		swapped.Close()
	}
	if err == nil || !strings.Contains(fault.Public(err), "state of another repository") {
		t.Errorf("another root on the same data: %v", err)
	}
}

// The server's own certificate is kept until its renewal is due, and the next
// one is of the same CA, for the same names.
func TestCertificateIsRenewed(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ca, err := pki.CreateCA(t.TempDir(), "test", now)
	if err != nil {
		t.Fatal(err)
	}
	c := certificates{ca: ca, names: []string{"fettle.example", "127.0.0.1"}, now: func() time.Time { return now }}
	get := func() *tls.Certificate {
		t.Helper()
		cert, err := c.get()
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := get()
	due := pki.RenewAfter(first.Leaf)
	if !due.Before(first.Leaf.NotAfter) || !due.After(now) {
		t.Fatalf("renewal at %v, the end at %v", due, first.Leaf.NotAfter)
	}
	now = due.Add(-time.Second)
	if get() != first {
		t.Error("renewed before it is due")
	}
	now = due
	second := get()
	if second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("not renewed when due")
	}
	// The clock was years ahead for a while: what was made then is not valid now.
	now = now.AddDate(5, 0, 0)
	get()
	now = now.AddDate(-5, 0, 0)
	if leaf := get().Leaf; leaf.NotBefore.After(now) || !leaf.NotAfter.After(now) {
		t.Errorf("at %v the certificate is valid from %v to %v", now, leaf.NotBefore, leaf.NotAfter)
	}
	for _, cert := range []*tls.Certificate{first, second} {
		if err := cert.Leaf.CheckSignatureFrom(ca.Certificate()); err != nil {
			t.Error(err)
		}
		for _, name := range c.names {
			if err := cert.Leaf.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
	}
}

// Plain HTTP is for this machine alone.
func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:8780": true, "127.9.9.9:1": true, "[::1]:8780": true, "localhost:8780": true,
		":8780": false, "0.0.0.0:8780": false, "[::]:8780": false, "10.0.0.7:8780": false, "fettle.example:8780": false,
		"127.evil.example:8780": false, "localhost.example:8780": false, "127.0.0.1": false, "": false,
	} {
		if got := loopback(addr); got != want {
			t.Errorf("%q: %v", addr, got)
		}
		s := &Server{cfg: Config{Admin: addr}}
		if s.adminTLS() == want {
			t.Errorf("%q: TLS %v", addr, s.adminTLS())
		}
	}
	if s := (&Server{cfg: Config{Admin: "127.0.0.1:1", AdminCert: "c", AdminKey: "k"}}); !s.adminTLS() {
		t.Error("a certificate was given and is not used")
	}
}

// enrol brings a machine into the default site.
func enrol(t *testing.T, s *Server, id estate.EndpointID, now time.Time) {
	t.Helper()
	_, secret, err := s.db.In(estate.InTenant(estate.DefaultTenant)).CreateToken(t.Context(), estate.Token{
		Tenant: estate.DefaultTenant, Site: estate.DefaultSite, Uses: 1, Created: now, Expires: now.Add(time.Hour),
	})
	if err == nil {
		_, err = s.db.Enrol(t.Context(), secret, estate.Endpoint{ID: id, Enrolled: now}, now)
	}
	if err != nil {
		t.Fatal(err)
	}
}
