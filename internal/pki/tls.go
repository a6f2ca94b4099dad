package pki

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Trust is the set of CAs whose certificates count. It can change while
// listeners run: during a rotation it holds the old and the new CA. It is safe
// for concurrent use.
type Trust struct{ now atomic.Pointer[trusted] }

type trusted struct {
	cas  []*x509.Certificate
	pool *x509.CertPool
}

// NewTrust returns a set of CAs.
func NewTrust(cas ...*x509.Certificate) *Trust {
	t := &Trust{}
	t.Set(cas...)
	return t
}

// Set replaces the set. Connections that stand stay; new ones and resumed ones
// are judged by the new set.
func (t *Trust) Set(cas ...*x509.Certificate) {
	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AddCert(ca)
	}
	t.now.Store(&trusted{cas: slices.Clone(cas), pool: pool})
}

// CAs returns the certificates in the set.
func (t *Trust) CAs() []*x509.Certificate { return slices.Clone(t.now.Load().cas) }

// Listener says how a server meets its clients.
type Listener struct {
	// Certificate returns the server's current certificate; it is called for
	// each handshake, so that a renewed one is used at once.
	Certificate func() (*tls.Certificate, error)
	// Clients are the CAs of clients.
	Clients *Trust
	// Optional lets clients without a certificate in, for enrolment. A
	// certificate that is shown must be good in any case.
	Optional bool
	// Check may refuse an identity, for example one that was revoked. It
	// runs on resumed connections too and must be quick. May be nil.
	Check func(Identity, *x509.Certificate) error
}

// ServerConfig returns the TLS configuration of a listener: TLS 1.3 only,
// client certificates required unless optional, HTTP/2 offered.
func ServerConfig(l Listener) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return l.Certificate()
		},
		VerifyConnection: l.verify,
	}
	if l.Optional {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	// The set of CAs is that of the moment. Session ticket keys stay those of
	// cfg, so resumption works across its changes.
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := cfg.Clone()
		now.GetConfigForClient = nil
		now.ClientCAs = l.Clients.now.Load().pool
		return now, nil
	}
	return cfg
}

// verify runs after TLS has verified the chain, or has taken it from a session
// ticket; the latter is verified against today's CAs here.
func (l Listener) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 && l.Optional {
		return nil
	}
	id, err := PeerIdentity(cs)
	if err != nil {
		return err
	}
	cert := cs.VerifiedChains[0][0]
	if cs.DidResume {
		_, err := cert.Verify(x509.VerifyOptions{
			Roots: l.Clients.now.Load().pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return fault.Wrap(err, fault.Unauthenticated, "pki: the resumed connection of %s is refused", id)
		}
	}
	if l.Check == nil {
		return nil
	}
	return l.Check(id, cert)
}

// ClientConfig returns the TLS configuration with which an enrolled agent
// talks to a server: TLS 1.3 only, the server's certificate must come from one
// of the CAs and name the host that is dialled, the agent shows its own.
// Sessions are resumed.
func ClientConfig(own tls.Certificate, trust *Trust) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		RootCAs:            trust.now.Load().pool,
		Certificates:       []tls.Certificate{own},
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
}

// PinnedClientConfig returns the TLS configuration for enrolment, when all that
// is known is the host and the fingerprint of its CA. It accepts only a server
// whose chain leads to the CA with exactly this fingerprint, is valid now, is
// for servers and names the host; the server sends the CA along. Any other
// server gets nothing but a handshake, and the error is fault.Untrusted and
// says what was expected and what was seen. Text that is no fingerprint gives
// fault.Invalid at once.
func PinnedClientConfig(fingerprint, host string) (*tls.Config, error) {
	want, err := ParseFingerprint(fingerprint)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return nil, fault.New(fault.Invalid, "pki: the server's name is missing")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: host,
		// The CA is not known before the handshake, so the verification that
		// this switches off is done in full by VerifyConnection, which
		// crypto/tls documents for the purpose.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := verifyPinned(cs.PeerCertificates, want, host, time.Now())
			return err
		},
	}, nil
}

// PinnedCA returns the CA that a connection made with PinnedClientConfig was
// verified against: what the agent keeps and trusts from now on.
func PinnedCA(cs tls.ConnectionState, fingerprint, host string, now time.Time) (*x509.Certificate, error) {
	want, err := ParseFingerprint(fingerprint)
	if err != nil {
		return nil, err
	}
	return verifyPinned(cs.PeerCertificates, want, host, now)
}

// verifyPinned verifies a server's chain against a CA known by fingerprint.
func verifyPinned(chain []*x509.Certificate, want, host string, now time.Time) (*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, fault.New(fault.Untrusted, "pki: the server %s is refused: it shows no certificate", host)
	}
	at := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return Fingerprint(c) == want })
	if at < 0 {
		top := chain[len(chain)-1]
		return nil, fault.New(fault.Untrusted, "pki: the server %s is refused: expected a CA with fingerprint %s, seen %s (%s)",
			host, want, Fingerprint(top), clip(top.Subject.String())).
			WithHint("Either the enrolment command is for another server, or something on the way poses as this one. Get a fresh command from the server's administrator.")
	}
	ca := chain[at]
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, DNSName: host, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil || !ca.IsCA {
		return nil, fault.Wrap(err, fault.Untrusted, "pki: the server %s is refused: its certificate does not hold under the expected CA", host).
			WithHint("The certificate must name %s and be valid at %s; check this machine's clock.", host, now.UTC().Format(time.RFC3339))
	}
	return ca, nil
}
