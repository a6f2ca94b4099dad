package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// scheme is that of the URI that names an endpoint in its certificate.
const scheme = "fettle"

// maxID bounds the parts of an identity in bytes.
const maxID = 63

// Identity is who an endpoint is: its tenant and its random id.
type Identity struct {
	Tenant   string `json:"tenant"`
	Endpoint string `json:"endpoint"`
}

// String returns the identity as it stands in a certificate:
// fettle://TENANT/ENDPOINT.
func (id Identity) String() string { return scheme + "://" + id.Tenant + "/" + id.Endpoint }

// Check returns fault.Invalid unless both parts have 1 to 63 lower-case
// letters, digits and hyphens and start with none, as Fettle's ids do; such
// text survives a URI as it is.
func (id Identity) Check() error {
	for _, part := range []string{id.Tenant, id.Endpoint} {
		if part == "" || len(part) > maxID || part[0] == '-' || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fault.New(fault.Invalid, "pki: %q is no part of an identity", clip(part))
		}
	}
	return nil
}

// ParseIdentity reads the form of String. It accepts exactly what String gives
// for an identity that passes Check, else it returns fault.Invalid.
func ParseIdentity(uri string) (Identity, error) {
	rest, ok := strings.CutPrefix(uri, scheme+"://")
	tenant, endpoint, ok2 := strings.Cut(rest, "/")
	id := Identity{Tenant: tenant, Endpoint: endpoint}
	if !ok || !ok2 {
		return Identity{}, fault.New(fault.Invalid, "pki: %q is no identity", clip(uri))
	}
	if err := id.Check(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// PeerIdentity returns who the peer of a connection is. It looks at chains
// that TLS has verified only; a peer without one gives fault.Unauthenticated,
// a certificate that names no endpoint fault.Denied.
func PeerIdentity(cs tls.ConnectionState) (Identity, error) {
	if len(cs.VerifiedChains) == 0 || len(cs.VerifiedChains[0]) == 0 {
		return Identity{}, fault.New(fault.Unauthenticated, "pki: the peer has shown no certificate of ours").
			WithHint("Enrol the machine first.")
	}
	return CertIdentity(cs.VerifiedChains[0][0])
}

// CertIdentity returns the identity that a certificate carries. The caller has
// verified the certificate. One that has not exactly one URI and nothing else
// for a name gives fault.Denied.
func CertIdentity(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) > 0 {
		return Identity{}, fault.New(fault.Denied, "pki: the certificate is not that of an endpoint")
	}
	id, err := ParseIdentity(cert.URIs[0].String())
	if err != nil {
		return Identity{}, fault.Wrap(err, fault.Denied, "pki: the certificate is not that of an endpoint")
	}
	return id, nil
}

func (id Identity) url() *url.URL {
	return &url.URL{Scheme: scheme, Host: id.Tenant, Path: "/" + id.Endpoint}
}

// clip shortens text from outside before it goes into a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
