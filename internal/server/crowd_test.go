package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/pki"
)

// crowdPatience is for what must come.
const crowdPatience = 5 * time.Minute

// TestTrustRow6PeoplesPort: an address over which nobody proves who he is holds
// as many connections to the port for people as it may, in plain and with TLS.
// People at other addresses come in meanwhile, and whoever has proven who he is
// has more.
func TestTrustRow6PeoplesPort(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			const bound = 6
			p := newPlace(t)
			p.cfg.ConnectionsPerAddress = bound
			if secure {
				p.secure()
			}
			_, down := p.up()
			defer down()
			var held []net.Conn
			for range bound {
				held = append(held, p.dial("127.0.6.1"))
			}
			for i := range 4 * bound {
				if c := p.dial("127.0.6.1"); !ends(c) {
					t.Fatalf("connection %d of one address stays open", bound+i+1)
				}
			}
			for range 3 * bound { // each a connection that stays
				if code := p.me(p.person("127.0.6.2")); code != http.StatusOK {
					t.Fatalf("another address is answered %d", code)
				}
			}
			for _, c := range held {
				_ = c.Close() // the server learns of it
			}
			same := p.person("127.0.6.1")
			for end := time.Now().Add(crowdPatience); p.me(same) != http.StatusOK; {
				if time.Now().After(end) {
					t.Fatal("the same address is not served when it has let go")
				}
			}
		})
	}
}

// secure gives the port for people a certificate.
func (p *place) secure() {
	p.t.Helper()
	dir := p.t.TempDir()
	ca, err := pki.CreateCA(filepath.Join(dir, "ca"), "people", time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := ca.IssueServer([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cfg.AdminCert, p.cfg.AdminKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(
		os.WriteFile(p.cfg.AdminCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(p.cfg.AdminKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	)
	if err != nil {
		p.t.Fatal(err)
	}
}

func from(ip string) *net.Dialer { return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}} }

// dial opens a connection to the port for people and says nothing.
func (p *place) dial(ip string) net.Conn {
	p.t.Helper()
	c, err := from(ip).DialContext(p.t.Context(), "tcp", p.cfg.Admin)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(crowdPatience)); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// ends waits until the server has closed the connection.
func ends(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// person is a client that keeps its connection.
func (p *place) person(ip string) *http.Client {
	tr := &http.Transport{DialContext: from(ip).DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} //nolint:gosec // whose certificate it is does not matter here
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: crowdPatience}
}

// me asks who the local operator is, 0 when the connection is closed.
func (p *place) me(c *http.Client) int {
	p.t.Helper()
	o := p.operator()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, o.Server+"/api/v1/me", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+o.Key)
	resp, err := c.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}
