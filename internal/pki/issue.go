package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// MaxCSR is the largest certificate request that is looked at, in bytes. One
// for P-256 with an empty subject has about 200.
const MaxCSR = 4 << 10

// Request is a key that was made on this machine and the request to certify
// it. The key never leaves the machine.
type Request struct {
	Key *ecdsa.PrivateKey
	CSR []byte // DER, to be sent to the server
}

// NewIdentity makes a key and its certificate request. The request names
// nobody: the server alone decides on the identity.
func NewIdentity() (Request, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Request{}, fault.Wrap(err, fault.Internal, "pki: no key could be generated")
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return Request{}, fault.Wrap(err, fault.Internal, "pki: the certificate request can't be signed")
	}
	return Request{Key: key, CSR: csr}, nil
}

// IssueAgent certifies the public key of a request, in DER, for an identity
// that the server has decided on. Names, usages and extensions that the
// request asks for are ignored. fault.Invalid means that the request is too
// long, damaged, not signed by its own key, or for a kind of key that is not
// accepted (ECDSA on P-256 or P-384, Ed25519).
func (ca *CA) IssueAgent(csr []byte, id Identity, now time.Time) (*x509.Certificate, error) {
	if err := id.Check(); err != nil {
		return nil, err
	}
	public, err := csrKey(csr)
	if err != nil {
		return nil, err
	}
	tmpl := ca.leaf(now, AgentLife)
	tmpl.Subject = pkix.Name{CommonName: id.Endpoint}
	tmpl.URIs = []*url.URL{id.url()}
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return signCert(tmpl, ca.cert, public, ca.key)
}

// IssueServer makes a key and a certificate for a server that is reached under
// the given DNS names and IP addresses. The chain holds the CA too, from which
// an enrolling agent learns it. At least one host is needed.
func (ca *CA) IssueServer(hosts []string, now time.Time) (tls.Certificate, error) {
	if len(hosts) == 0 {
		return tls.Certificate{}, fault.New(fault.Invalid, "pki: a server needs a name or an address")
	}
	tmpl := ca.leaf(now, ServerLife)
	tmpl.Subject = pkix.Name{CommonName: hosts[0]}
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, net.IP(ip.WithZone("").AsSlice()))
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fault.Wrap(err, fault.Internal, "pki: no key could be generated")
	}
	cert, err := signCert(tmpl, ca.cert, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// Pair joins a certificate with its key for use in TLS. A key that does not
// belong to the certificate gives fault.Untrusted.
func Pair(cert *x509.Certificate, key crypto.Signer) (tls.Certificate, error) {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return tls.Certificate{}, fault.New(fault.Untrusted, "pki: the certificate belongs to another key")
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// RenewAfter returns when a certificate is due for renewal: after two thirds
// of its life time.
func RenewAfter(cert *x509.Certificate) time.Time {
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) * 2 / 3)
}

func (ca *CA) leaf(now time.Time, life time.Duration) *x509.Certificate {
	tmpl := template(now, life)
	tmpl.BasicConstraintsValid = true
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	if tmpl.NotAfter.After(ca.cert.NotAfter) {
		tmpl.NotAfter = ca.cert.NotAfter
	}
	return tmpl
}

// csrKey takes the public key out of a request, and nothing else.
func csrKey(csr []byte) (crypto.PublicKey, error) {
	if len(csr) > MaxCSR {
		return nil, fault.New(fault.Invalid, "pki: the certificate request is refused: %d bytes are more than %d", len(csr), MaxCSR)
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "pki: the certificate request is refused: it is damaged")
	}
	switch key := req.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return nil, fault.New(fault.Invalid, "pki: the certificate request is refused: its curve is not accepted")
		}
	case ed25519.PublicKey:
	default:
		return nil, fault.New(fault.Invalid, "pki: the certificate request is refused: %s keys are not accepted", req.PublicKeyAlgorithm)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "pki: the certificate request is refused: it is not signed by its own key")
	}
	return req.PublicKey, nil
}
