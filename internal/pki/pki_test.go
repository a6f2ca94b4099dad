package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/pki"
)

var someone = pki.Identity{Tenant: "main", Endpoint: "k3v9-8ax2"}

func newCA(t testing.TB) *pki.CA {
	t.Helper()
	ca, err := pki.CreateCA(filepath.Join(t.TempDir(), "ca"), "test CA", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestCreateAndLoadCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if _, err := pki.LoadCA(dir); !fault.Is(err, fault.NotFound) {
		t.Errorf("an empty folder: %v", err)
	}
	ca, err := pki.CreateCA(dir, "test CA", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.LoadCA(dir)
	if err != nil || again.Fingerprint() != ca.Fingerprint() {
		t.Errorf("loaded %v, %v", again, err)
	}
	if got, err := pki.ParseFingerprint(" " + strings.ToUpper(ca.Fingerprint()) + "\n"); err != nil || got != ca.Fingerprint() {
		t.Errorf("%s, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := pki.CreateCA(dir, "another", time.Now()); !fault.Is(err, fault.Conflict) {
		t.Errorf("replacing a CA: %v", err)
	}
	other := filepath.Join(t.TempDir(), "ca")
	if _, err := pki.CreateCA(other, "other", time.Now()); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(other, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{key, nil, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")} {
		if err := os.WriteFile(filepath.Join(dir, "ca.key"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.LoadCA(dir); !fault.Is(err, fault.Untrusted) {
			t.Errorf("a key of another CA: %v", err)
		}
	}
}

func TestIssueAgent(t *testing.T) {
	ca := newCA(t)
	req, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	cert, err := ca.IssueAgent(req.CSR, someone, now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pki.CertIdentity(cert); err != nil || got != someone {
		t.Errorf("%v, %v", got, err)
	}
	if cert.URIs[0].String() != "fettle://main/k3v9-8ax2" {
		t.Errorf("URI %s", cert.URIs[0])
	}
	if d := cert.NotAfter.Sub(now).Round(time.Minute); d != pki.AgentLife {
		t.Errorf("life %s", d)
	}
	if due := pki.RenewAfter(cert); due.Before(now.Add(pki.AgentLife/2)) || due.After(now.Add(pki.AgentLife*3/4)) {
		t.Errorf("renewal due %s", due)
	}
	if _, err := pki.Pair(cert, req.Key); err != nil {
		t.Error(err)
	}
	stranger, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Pair(cert, stranger.Key); !fault.Is(err, fault.Untrusted) {
		t.Errorf("a foreign key: %v", err)
	}
	again, err := ca.IssueAgent(req.CSR, someone, now)
	if err != nil || again.SerialNumber.Cmp(cert.SerialNumber) == 0 {
		t.Errorf("serial numbers repeat: %v", err)
	}
	late, err := ca.IssueAgent(req.CSR, someone, now.Add(pki.CALife-time.Hour))
	if err != nil || late.NotAfter.After(ca.Certificate().NotAfter) {
		t.Errorf("a certificate outlives its CA: %v", err)
	}
	for _, id := range []pki.Identity{{}, {Tenant: "main"}, {Tenant: "a/b", Endpoint: "c"}, {Tenant: "main", Endpoint: "../x"}, {Tenant: "Main", Endpoint: "x"}} {
		if _, err := ca.IssueAgent(req.CSR, id, now); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", id, err)
		}
	}
}

// request signs a certificate request with any key and wishes.
func request(t testing.TB, key crypto.Signer, wish x509.CertificateRequest) []byte {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &wish, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// wishes asks for everything that an agent must not get.
func wishes() x509.CertificateRequest {
	return x509.CertificateRequest{
		Subject:         pkix.Name{CommonName: "server.example.org", Organization: []string{"root"}},
		DNSNames:        []string{"server.example.org"},
		IPAddresses:     []net.IP{net.IPv4(127, 0, 0, 1)},
		EmailAddresses:  []string{"root@example.org"},
		URIs:            []*url.URL{{Scheme: "fettle", Host: "main", Path: "/victim"}},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}},
	}
}

// plain checks that a certificate says what the server decided, no more.
func plain(t testing.TB, ca *pki.CA, cert *x509.Certificate) {
	t.Helper()
	if id, err := pki.CertIdentity(cert); err != nil || id != someone {
		t.Errorf("identity %v, %v", id, err)
	}
	if cert.IsCA || cert.Subject.String() != "CN="+someone.Endpoint || len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("the request had its way: %s %v %v", cert.Subject, cert.IsCA, cert.ExtKeyUsage)
	}
	if err := cert.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Error(err)
	}
}

// Row 6: an agent is hostile until proven otherwise.
func TestTrustRow6HostileCSR(t *testing.T) {
	ca := newCA(t)
	req, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueAgent(request(t, req.Key, wishes()), someone, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	plain(t, ca, cert)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	huge := wishes()
	for range 1000 {
		huge.DNSNames = append(huge.DNSNames, strings.Repeat("a", 60)+".example.org")
	}
	tampered := bytes.Clone(req.CSR)
	tampered[len(tampered)-1] ^= 1
	for name, c := range map[string]struct {
		csr   []byte
		words string
	}{
		"RSA":      {request(t, rsaKey, x509.CertificateRequest{}), "RSA keys are not accepted"},
		"P-521":    {request(t, p521, x509.CertificateRequest{}), "curve is not accepted"},
		"huge":     {request(t, req.Key, huge), "bytes are more than 4096"},
		"tampered": {tampered, "not signed by its own key"},
		"empty":    {nil, "damaged"},
		"trailing": {append(bytes.Clone(req.CSR), 0), "damaged"},
		"a cert":   {ca.Certificate().Raw, "damaged"},
	} {
		if _, err := ca.IssueAgent(c.csr, someone, time.Now()); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzIssueAgent(f *testing.F) {
	ca := newCA(f)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	req, err := pki.NewIdentity()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(req.CSR)
	f.Add(request(f, req.Key, wishes()))
	f.Add(request(f, ed, x509.CertificateRequest{}))
	f.Add([]byte{0x30, 0x80})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, csr []byte) {
		cert, err := ca.IssueAgent(csr, someone, time.Now())
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("code %s: %v", fault.CodeOf(err), err)
			}
			return
		}
		plain(t, ca, cert)
	})
}

func FuzzParseIdentity(f *testing.F) {
	for _, s := range []string{"fettle://main/a", "fettle://main/a/b", "FETTLE://main/a", "fettle://main/%61", "fettle://u@main/a?b#c", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := pki.ParseIdentity(s)
		if err == nil && (id.String() != s || id.Check() != nil) {
			t.Errorf("%q is read as %+v", s, id)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("code %s", fault.CodeOf(err))
		}
	})
}

func FuzzParseCAs(f *testing.F) {
	good := pki.EncodeCerts(newCA(f).Certificate())
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := pki.ParseCAs(data)
		if err == nil && len(list) == 0 || err != nil && !fault.Is(err, fault.Untrusted) {
			t.Errorf("%d, %v", len(list), err)
		}
	})
}

func TestIdentityRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,62}`)
		id := pki.Identity{Tenant: part.Draw(rt, "tenant"), Endpoint: part.Draw(rt, "endpoint")}
		if got, err := pki.ParseIdentity(id.String()); err != nil || got != id {
			rt.Fatalf("%v, %v", got, err)
		}
	})
}

func TestParseCAs(t *testing.T) {
	a, b := newCA(t), newCA(t)
	list, err := pki.ParseCAs(pki.EncodeCerts(a.Certificate(), b.Certificate()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, pki.Fingerprint(c))
	}
	if d := cmp.Diff([]string{a.Fingerprint(), b.Fingerprint()}, got); d != "" {
		t.Error(d)
	}
	server, err := a.IssueServer([]string{"x"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "no CA": pki.EncodeCerts(server.Leaf),
		"trailing": append(pki.EncodeCerts(a.Certificate()), "rest"...),
	} {
		if _, err := pki.ParseCAs(bad); !fault.Is(err, fault.Untrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
