package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/pki"
)

// serve runs a real TLS server on loopback that answers with who the peer is.
func serve(t *testing.T, ca *pki.CA, l pki.Listener, hosts ...string) *httptest.Server {
	t.Helper()
	cert, err := ca.IssueServer(hosts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l.Certificate = func() (*tls.Certificate, error) { return &cert, nil }
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := pki.PeerIdentity(*r.TLS)
		if err != nil {
			_, _ = io.WriteString(w, string(fault.CodeOf(err)))
			return
		}
		_, _ = io.WriteString(w, id.String())
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // refusals are expected
	srv.TLS = pki.ServerConfig(l)
	srv.StartTLS()
	// httptest adds a certificate of its own; ours must be the only one.
	srv.TLS.Certificates = nil
	t.Cleanup(srv.Close)
	return srv
}

// get asks the server anew, on a fresh connection.
func get(t *testing.T, cfg *tls.Config, url string) (body string, cs *tls.ConnectionState, err error) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", nil, err
	}
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return "", nil, err
	}
	data, err := io.ReadAll(resp.Body)
	return string(data), resp.TLS, errors.Join(err, resp.Body.Close())
}

func enrol(t *testing.T, ca *pki.CA, id pki.Identity, now time.Time) tls.Certificate {
	t.Helper()
	req, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueAgent(req.CSR, id, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.Pair(cert, req.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Row 5: the enrolment command carries the CA fingerprint.
func TestTrustRow5PinnedEnrolment(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	srv := serve(t, ca, pki.Listener{Clients: pki.NewTrust(ca.Certificate()), Optional: true}, "127.0.0.1", "fettle.example.org")
	for _, host := range []string{"127.0.0.1", "fettle.example.org"} {
		cfg, err := pki.PinnedClientConfig(ca.Fingerprint(), host)
		if err != nil {
			t.Fatal(err)
		}
		body, cs, err := get(t, cfg, srv.URL)
		if err != nil || body != "unauthenticated" || cs.Version != tls.VersionTLS13 {
			t.Fatalf("%q, %v", body, err)
		}
		got, err := pki.PinnedCA(*cs, ca.Fingerprint(), host, time.Now())
		if err != nil || pki.Fingerprint(got) != ca.Fingerprint() {
			t.Errorf("%v, %v", got, err)
		}
	}
	for name, c := range map[string]struct{ fingerprint, host, words string }{
		"wrong CA":   {other.Fingerprint(), "127.0.0.1", "seen " + ca.Fingerprint()},
		"wrong host": {ca.Fingerprint(), "other.example.org", "other.example.org is refused"},
	} {
		cfg, err := pki.PinnedClientConfig(c.fingerprint, c.host)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = get(t, cfg, srv.URL)
		if !fault.Is(err, fault.Untrusted) || !strings.Contains(fault.Public(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "wrong CA" && !strings.Contains(fault.Public(err), "expected a CA with fingerprint "+c.fingerprint) {
			t.Errorf("the message does not say what was expected: %v", err)
		}
	}
	for _, bad := range []string{"", "sha256:12", "md5:" + strings.Repeat("0", 64)} {
		if _, err := pki.PinnedClientConfig(bad, "x"); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A thief shows the right CA certificate, which is public, above a leaf that
// this CA has not signed.
func TestTrustRow5StolenCACertificate(t *testing.T) {
	ca, thief := newCA(t), newCA(t)
	forged, err := thief.IssueServer([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	forged.Certificate = [][]byte{forged.Certificate[0], ca.Certificate().Raw}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{forged}, MinVersion: tls.VersionTLS13}
	srv.StartTLS()
	defer srv.Close()
	cfg, err := pki.PinnedClientConfig(ca.Fingerprint(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := get(t, cfg, srv.URL); !fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("got %v", err)
	}
	// An agent's certificate of the right CA is no server either.
	agent := enrol(t, ca, someone, time.Now())
	agent.Certificate = append(agent.Certificate, ca.Certificate().Raw)
	srv2 := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv2.Config.ErrorLog = srv.Config.ErrorLog
	srv2.TLS = &tls.Config{Certificates: []tls.Certificate{agent}, MinVersion: tls.VersionTLS13}
	srv2.StartTLS()
	defer srv2.Close()
	for _, cfg := range []*tls.Config{cfg, pki.ClientConfig(agent, pki.NewTrust(ca.Certificate()))} {
		if _, _, err := get(t, cfg, srv2.URL); err == nil {
			t.Error("an agent could pose as the server")
		}
	}
}

func TestMutualTLS(t *testing.T) {
	ca, stranger := newCA(t), newCA(t)
	trust := pki.NewTrust(ca.Certificate())
	closed := serve(t, ca, pki.Listener{Clients: trust}, "127.0.0.1")
	open := serve(t, ca, pki.Listener{Clients: trust, Optional: true}, "127.0.0.1")
	good := enrol(t, ca, someone, time.Now())
	server, err := ca.IssueServer([]string{"evil"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	none := pki.ClientConfig(tls.Certificate{}, trust)
	none.Certificates = nil
	for _, c := range []struct {
		name         string
		own          *tls.Config
		closed, open string // "" means refused
	}{
		{"an agent", pki.ClientConfig(good, trust), someone.String(), someone.String()},
		{"nobody", none, "", "unauthenticated"},
		{"another CA's agent", force(enrol(t, stranger, someone, time.Now()), trust), "", ""},
		{"an expired agent", force(enrol(t, ca, someone, time.Now().Add(-pki.AgentLife-time.Hour)), trust), "", ""},
		{"an agent of tomorrow", force(enrol(t, ca, someone, time.Now().Add(25*time.Hour)), trust), "", ""},
		{"a server", force(server, trust), "", ""},
	} {
		for srv, want := range map[*httptest.Server]string{closed: c.closed, open: c.open} {
			body, cs, err := get(t, c.own, srv.URL)
			if body != want || (err == nil) != (want != "") {
				t.Errorf("%s: got %q, %v; want %q", c.name, body, err, want)
			}
			if err == nil && cs.Version != tls.VersionTLS13 {
				t.Errorf("version %x", cs.Version)
			}
		}
	}
	old := pki.ClientConfig(good, trust)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, err := get(t, old, closed.URL); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	// The agent refuses a server of another CA.
	if _, _, err := get(t, pki.ClientConfig(good, pki.NewTrust(stranger.Certificate())), closed.URL); err == nil {
		t.Error("a server of another CA was accepted")
	}
}

// force shows a certificate even when the server says that it is of no use.
func force(own tls.Certificate, trust *pki.Trust) *tls.Config {
	cfg := pki.ClientConfig(tls.Certificate{}, trust)
	cfg.Certificates = nil
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	return cfg
}

// Revocation and CA rotation reach resumed connections too.
func TestResumptionRevocationAndRotation(t *testing.T) {
	first, second := newCA(t), newCA(t)
	trust := pki.NewTrust(first.Certificate())
	var revoked atomic.Bool
	check := func(id pki.Identity, _ *x509.Certificate) error {
		if id != someone {
			t.Errorf("checked %v", id)
		}
		if revoked.Load() {
			return fault.New(fault.Denied, "revoked")
		}
		return nil
	}
	srv := serve(t, first, pki.Listener{Clients: trust, Check: check}, "127.0.0.1")
	agent := pki.ClientConfig(enrol(t, first, someone, time.Now()), trust)
	resumed := func() bool {
		t.Helper()
		_, cs, err := get(t, agent, srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		return cs.DidResume
	}
	if resumed() || !resumed() {
		t.Error("the second connection does not resume the first")
	}
	revoked.Store(true)
	if _, _, err := get(t, agent, srv.URL); err == nil {
		t.Error("a revoked agent resumed its session")
	}
	revoked.Store(false)

	// Overlap: both CAs count, and sessions still resume.
	trust.Set(first.Certificate(), second.Certificate())
	resumed()
	if !resumed() {
		t.Error("no resumption during the overlap")
	}
	renewed := pki.ClientConfig(enrol(t, second, someone, time.Now()), trust)
	if body, _, err := get(t, renewed, srv.URL); err != nil || body != someone.String() {
		t.Errorf("%q, %v", body, err)
	}
	// The old CA goes: its agents are out, with or without a ticket.
	trust.Set(second.Certificate())
	if _, _, err := get(t, agent, srv.URL); err == nil {
		t.Error("an agent of the removed CA got in")
	}
	if body, _, err := get(t, renewed, srv.URL); err != nil || body != someone.String() {
		t.Errorf("%q, %v", body, err)
	}
}
