package gateway_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// Row 5: enrolment tokens are counted, expire, and can't be guessed.
func TestTrustRow5Tokens(t *testing.T) {
	w := newWorld(t)
	token := w.token("acme", 1)
	c := w.stranger(w.ca.Fingerprint())
	good, _ := w.enrolRequest(token)
	if code, no := w.post(c, "POST", wire.PathEnroll, good, nil); code != 200 {
		t.Fatalf("%d %+v", code, no)
	}
	again, _ := w.enrolRequest(token)
	guess, _ := w.enrolRequest("fe1-" + strings.Repeat("a", 56))
	late, _ := w.enrolRequest(w.token("acme", 1))
	var texts []string
	for name, body := range map[string][]byte{"reused": again, "guessed": guess} {
		code, no := w.post(c, "POST", wire.PathEnroll, body, nil)
		if code != 401 {
			t.Errorf("a %s token: %d %+v", name, code, no)
		}
		texts = append(texts, no.Message)
	}
	if texts[0] != texts[1] {
		t.Errorf("the refusals tell tokens apart: %q", texts)
	}
	w.mu.Lock()
	w.clock = 2 * time.Hour
	w.mu.Unlock()
	if code, _ := w.post(c, "POST", wire.PathEnroll, late, nil); code != 401 {
		t.Errorf("an expired token: %d", code)
	}
}

// Row 5: a bad request does not cost the token its use, guessing is slowed.
func TestTrustRow5EnrolmentAbuse(t *testing.T) {
	w := newWorld(t)
	c := w.stranger(w.ca.Fingerprint())
	token := w.token("acme", 1)
	for name, req := range map[string]wire.EnrollRequest{
		"bad CSR":      {Protocol: 1, Token: token, CSR: []byte("x"), Hostname: "h", Platform: "p"},
		"no host name": {Protocol: 1, Token: token, Platform: "p"},
		"control byte": {Protocol: 1, Token: token, Hostname: "a\x00b", Platform: "p"},
		"bad platform": {Protocol: 1, Token: token, Hostname: "h", Platform: "../x"},
		"protocol 99":  {Protocol: 99, Token: token, Hostname: "h", Platform: "p"},
	} {
		if code, no := w.post(c, "POST", wire.PathEnroll, encode(t, req), nil); code != 400 {
			t.Errorf("%s: %d %+v", name, code, no)
		}
	}
	good, _ := w.enrolRequest(token)
	if code, no := w.post(c, "POST", wire.PathEnroll, good, nil); code != 200 {
		t.Fatalf("after bad requests: %d %+v", code, no)
	}
	slowed := false
	for range 30 {
		guess, _ := w.enrolRequest("fe1-guess")
		code, _ := w.post(c, "POST", wire.PathEnroll, guess, nil)
		slowed = slowed || code == 503
	}
	if !slowed {
		t.Error("thirty guesses in a row are not slowed")
	}
}

// Row 5: the enrolment command's fingerprint is checked by the client; a
// server under another CA gets no request.
func TestTrustRow5WrongFingerprint(t *testing.T) {
	w := newWorld(t)
	other, err := pki.CreateCA(t.TempDir(), "other", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := w.enrolRequest(w.token("acme", 1))
	code, no := w.post(w.stranger(other.Fingerprint()), "POST", wire.PathEnroll, body, nil)
	if code != 0 || !strings.Contains(no.Message, "expected a CA with fingerprint") {
		t.Errorf("%d %+v", code, no)
	}
}

// Row 5: a revoked certificate is refused on a new connection and on one that
// stands; so are strangers' certificates.
func TestTrustRow5Revoked(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	a.checkIn(wire.CheckIn{})
	if err := w.gw.Revoke(t.Context(), "acme", a.id); err != nil {
		t.Fatal(err)
	}
	if code, _ := a.send("POST", wire.PathCheckIn, wire.CheckIn{Protocol: 1}, nil); code != 403 {
		t.Errorf("on the standing connection: %d", code)
	}
	a.http = w.client(pki.ClientConfig(a.cert, pki.NewTrust(w.ca.Certificate())))
	if code, no := a.send("POST", wire.PathCheckIn, wire.CheckIn{Protocol: 1}, nil); code != 0 {
		t.Errorf("on a new connection: %d %+v", code, no)
	}
	foreign, err := pki.CreateCA(t.TempDir(), "foreign", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := foreign.IssueAgent(key.CSR, pki.Identity{Tenant: "acme", Endpoint: string(a.id)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.Pair(cert, key.Key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := pki.ClientConfig(pair, pki.NewTrust(w.ca.Certificate()))
	// Shown although the server names other CAs.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	a.http = w.client(cfg)
	if code, no := a.send("POST", wire.PathCheckIn, wire.CheckIn{Protocol: 1}, nil); code != 0 {
		t.Errorf("a foreign CA's certificate: %d %+v", code, no)
	}
	// Revoked on another server: this one notices at the next contact.
	b := w.enrol("acme")
	if _, err := w.db.In(estate.InTenant("acme")).Revoke(t.Context(), b.id, time.Now()); err != nil {
		t.Fatal(err)
	}
	if code, _ := b.send("POST", wire.PathCheckIn, wire.CheckIn{Protocol: 1}, nil); code != 403 {
		t.Errorf("revoked elsewhere: %d", code)
	}
}

// Row 6: an agent writes about itself only.
func TestTrustRow6ForeignTask(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrol("acme"), w.enrol("acme")
	w.task(a, "task-a", "")
	w.task(b, "task-b", "payload of b")
	w.putBlob("payload of b")
	events := wire.Events{Events: []wire.Event{{Seq: 1, Task: "task-a", Attempt: 1}, {Seq: 2, Task: "task-b", Attempt: 1}}}
	code, no := a.send("POST", wire.PathEvents, events, nil)
	if code != 403 {
		t.Errorf("%d %+v", code, no)
	}
	if len(w.heard) != 0 {
		t.Errorf("a part of the batch was heard: %v", w.heard)
	}
	if got := w.audit[len(w.audit)-1]; got != "endpoint.foreign_task by agent:"+string(a.id) {
		t.Errorf("audited: %q", got)
	}
	if code, _ := a.send("GET", wire.PathBlob+sum("payload of b"), nil, nil); code != 404 {
		t.Errorf("another's payload: %d", code)
	}
}

// Row 7: a certificate of one tenant reaches nothing of another, whatever the
// message says.
func TestTrustRow7ForeignTenant(t *testing.T) {
	w := newWorld(t)
	a, r := w.enrol("acme"), w.enrol("rival")
	w.task(a, "task-a", "acme's payload")
	w.putBlob("acme's payload")
	all, bare := split(t, snapshot(5, "secret-kernel"))
	root := inventory.Root(all)
	a.checkIn(wire.CheckIn{Root: root, Sections: bare})
	a.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: root, Sections: all})), nil)
	if want := r.checkIn(wire.CheckIn{Root: root, Sections: bare}).Want; len(want) != len(bare) {
		t.Errorf("the dictionary answers for another tenant: wanted only %v", want)
	}
	if code, _ := r.send("POST", wire.PathEvents, wire.Events{Events: []wire.Event{{Seq: 1, Task: "task-a"}}}, nil); code != 403 {
		t.Errorf("a foreign task: %d", code)
	}
	if code, _ := r.send("GET", wire.PathBlob+sum("acme's payload"), nil, nil); code != 404 {
		t.Errorf("a foreign payload: %d", code)
	}
	// A genuine certificate for an endpoint of acme that claims to be rival's.
	key, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := w.ca.IssueAgent(key.CSR, pki.Identity{Tenant: "rival", Endpoint: string(a.id)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.Pair(cert, key.Key)
	if err != nil {
		t.Fatal(err)
	}
	mixed := &agent{w: w, http: w.client(pki.ClientConfig(pair, pki.NewTrust(w.ca.Certificate())))}
	if code, _ := mixed.send("POST", wire.PathCheckIn, wire.CheckIn{Protocol: 1}, nil); code != 403 {
		t.Errorf("tenant and endpoint that do not belong together: %d", code)
	}
}

// Row 6: every message has a strict schema, size and depth.
func TestTrustRow6Malformed(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	deep := strings.Repeat("[", 100000) + strings.Repeat("]", 100000)
	for name, c := range map[string]struct {
		path, body string
		want       int
	}{
		"not JSON":        {wire.PathCheckIn, `hello`, 400},
		"nothing":         {wire.PathCheckIn, ``, 400},
		"unknown field":   {wire.PathCheckIn, `{"protocol":1,"tenant":"rival"}`, 400},
		"two values":      {wire.PathCheckIn, `{"protocol":1}{"protocol":1}`, 400},
		"deep nesting":    {wire.PathCheckIn, `{"sections":` + strings.Repeat("[", 1000), 400},
		"deeper, events":  {wire.PathEvents, `{"events":` + deep + `}`, 400},
		"bad root":        {wire.PathCheckIn, `{"protocol":1,"root":"xyz"}`, 400},
		"foreign section": {wire.PathCheckIn, `{"protocol":1,"sections":[{"name":"passwords","hash":"` + strings.Repeat("0", 64) + `"}]}`, 400},
		"old protocol":    {wire.PathCheckIn, `{"protocol":0}`, 400},
		"future protocol": {wire.PathCheckIn, `{"protocol":999}`, 400},
		"too large":       {wire.PathCheckIn, `{"problem":"` + strings.Repeat("x", wire.MaxCheckIn) + `"}`, 413},
		"no task":         {wire.PathEvents, `{"events":[{"seq":1}]}`, 400},
		"seq 0":           {wire.PathEvents, `{"events":[{"seq":0,"task":"t"}]}`, 400},
	} {
		if code, no := a.send("POST", c.path, []byte(c.body), nil); code != c.want {
			t.Errorf("%s: %d %+v, want %d", name, code, no, c.want)
		}
	}
	var flood wire.Events
	for i := range wire.MaxBatch + 1 {
		flood.Events = append(flood.Events, wire.Event{Seq: int64(i + 1), Task: "t"})
	}
	if code, no := a.send("POST", wire.PathEvents, flood, nil); code != 400 {
		t.Errorf("too many events: %d %+v", code, no)
	}
	// A wrong root and a body that is not what its hash says.
	all, bare := split(t, snapshot(1, "k"))
	if code, _ := a.send("POST", wire.PathCheckIn, wire.CheckIn{Protocol: 1, Root: strings.Repeat("0", 64), Sections: bare}, nil); code != 400 {
		t.Errorf("a root that does not follow: %d", code)
	}
	all[0].Body = []byte(`{"id":"forged"}`)
	if code, _ := a.send("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all})), nil); code != 400 {
		t.Errorf("a body with another hash: %d", code)
	}
}

// Row 8: every route demands what its line says; nothing else exists.
func TestTrustRow8EveryRouteIsGuarded(t *testing.T) {
	w := newWorld(t)
	c := w.stranger(w.ca.Fingerprint())
	routes := w.gw.Table()
	known := map[string]bool{}
	for _, rt := range routes {
		known[strings.SplitN(rt.Path, "{", 2)[0]] = true
		path := strings.NewReplacer("{path...}", "metadata/timestamp.json", "{sha256}", sum("x")).Replace(rt.Path)
		code, no := w.post(c, rt.Method, path, nil, nil)
		switch {
		case rt.Needs == "client certificate" && code != 401:
			t.Errorf("%s %s without a certificate: %d %+v", rt.Method, rt.Path, code, no)
		case rt.Needs == "enrolment token" && rt.Path != wire.PathEnroll:
			t.Errorf("%s %s needs no certificate", rt.Method, rt.Path)
		case rt.Needs == "":
			t.Errorf("%s %s declares no authorisation", rt.Method, rt.Path)
		}
	}
	for _, p := range []string{wire.PathEnroll, wire.PathRenew, wire.PathCheckIn, wire.PathSection, wire.PathEvents, wire.PathWake, wire.PathRepo, wire.PathBlob} {
		if !known[p] {
			t.Errorf("%s of package wire is not served", p)
		}
	}
	for _, p := range []string{"/", "/api/v1/hosts", "/debug/pprof/", "/metrics", "/agent/v1/", "/agent/v1/checkin/x"} {
		if code, _ := w.post(c, "GET", p, nil, nil); code != 404 {
			t.Errorf("GET %s: %d", p, code)
		}
	}
}

// Row 6: a client that dawdles over its handshake or headers is cut off, and
// does not keep others waiting.
func TestTrustRow6SlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the server's ten seconds")
	}
	w := newWorld(t)
	a := w.enrol("acme")
	var wg sync.WaitGroup
	slow := func(name string, begin func(net.Conn) net.Conn) {
		wg.Go(func() {
			raw, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer raw.Close()
			c := begin(raw)
			if err := c.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
				t.Error(err)
			}
			for err == nil {
				_, err = c.Read(make([]byte, 512))
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: kept for minutes", name)
			}
		})
	}
	slow("no handshake", func(c net.Conn) net.Conn { return c })
	slow("half a header", func(c net.Conn) net.Conn {
		cfg := pki.ClientConfig(a.cert, pki.NewTrust(w.ca.Certificate()))
		cfg.ServerName, cfg.NextProtos = "127.0.0.1", []string{"http/1.1"}
		tc := tls.Client(c, cfg)
		fmt.Fprintf(tc, "POST %s HTTP/1.1\r\nHost: x\r\nX: ", wire.PathCheckIn)
		return tc
	})
	slow("half a body", func(c net.Conn) net.Conn {
		cfg := pki.ClientConfig(a.cert, pki.NewTrust(w.ca.Certificate()))
		cfg.ServerName, cfg.NextProtos = "127.0.0.1", []string{"http/1.1"}
		tc := tls.Client(c, cfg)
		fmt.Fprintf(tc, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", wire.PathCheckIn)
		return tc
	})
	a.checkIn(wire.CheckIn{})
	wg.Wait()
}
