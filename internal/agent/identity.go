package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"time"

	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/wire"
)

// EnrollOptions are what the one-line enrolment command carries.
type EnrollOptions struct {
	State  Dir
	Root   string // the machine's root folder, "/"
	Server string
	Token  string
	CA     string // fingerprint of the server's CA
	Repo   string // fingerprint of the repository's root keys
	Proxy  string
	// Force replaces an identity that is there.
	Force bool
}

// Enroll makes a key, proves the server by the CA's fingerprint before it sends
// the token, has the key certified, and checks the repository's root against
// its fingerprint. Nothing is kept unless all of it holds. Errors: Untrusted
// for a wrong fingerprint, Unauthenticated for a bad token, Conflict when the
// machine is enrolled already.
func Enroll(ctx context.Context, o EnrollOptions) (Settings, error) {
	if _, err := o.State.Settings(); err == nil && !o.Force {
		return Settings{}, fault.New(fault.Conflict, "agent: this machine is enrolled already (%s)", o.State.settings()).
			WithHint("add --force to give it a new identity; the old one stays on the server until it is revoked there")
	}
	snap, _, err := takeInventory(ctx, o.Root)
	if err != nil {
		return Settings{}, err
	}
	if err := o.State.make(); err != nil {
		return Settings{}, err
	}
	if _, err := o.State.Settings(); err == nil {
		unlock, err := o.State.alone(ctx)
		if err != nil {
			return Settings{}, err
		}
		defer unlock()
	}
	req, err := pki.NewIdentity()
	if err != nil {
		return Settings{}, err
	}
	reply, err := askIdentity(ctx, o, req.CSR, snap)
	if err != nil {
		return Settings{}, err
	}
	if err := repo.CheckRoot(reply.Root, o.Repo); err != nil {
		return Settings{}, err
	}
	s := Settings{
		Server: o.Server, Proxy: o.Proxy, CA: o.CA, Root: o.Repo,
		Endpoint: reply.Endpoint, Tenant: reply.Tenant, Site: reply.Site,
	}
	ca, err := x509.ParseCertificate(reply.CA)
	if err != nil || pki.Fingerprint(ca) != canonical(o.CA) {
		return Settings{}, fault.Wrap(err, fault.Untrusted, "agent: the server is refused: the CA that it hands out is not the one of the enrolment command")
	}
	return s, o.State.keep(s, req, reply)
}

// alone keeps the agent from its work while another identity is put in the
// place of its own; Conflict when it is at work.
func (d Dir) alone(ctx context.Context) (unlock func(), err error) {
	brief, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	unlock, err = lock(brief, d.runLock())
	if fault.Is(err, fault.Cancelled) && ctx.Err() == nil {
		err = fault.Wrap(err, fault.Conflict, "agent: it is at work with the identity that is to be replaced").
			WithHint("stop it first (Linux: systemctl stop fettle-agent; Windows: fettle-agent service stop), and start it again afterwards")
	}
	return unlock, err
}

func canonical(fingerprint string) string {
	f, err := pki.ParseFingerprint(fingerprint)
	if err != nil {
		return ""
	}
	return f
}

func askIdentity(ctx context.Context, o EnrollOptions, csr []byte, snap inventory.Snapshot) (wire.EnrollReply, error) {
	u, err := url.Parse(o.Server)
	if err != nil {
		return wire.EnrollReply{}, fault.Wrap(err, fault.Invalid, "agent: %q is no address of a server", o.Server)
	}
	cfg, err := pki.PinnedClientConfig(o.CA, u.Hostname())
	if err != nil {
		return wire.EnrollReply{}, err
	}
	c, err := link.New(link.Options{Server: o.Server, TLS: cfg, Proxy: o.Proxy, UserAgent: buildinfo.UserAgent("fettle-agent")})
	if err != nil {
		return wire.EnrollReply{}, err
	}
	defer c.Close()
	return c.Enroll(ctx, wire.EnrollRequest{
		Protocol: wire.Protocol, Token: o.Token, CSR: csr, Hostname: snap.OS.Hostname,
		Platform: snap.OS.Platform(), OS: snap.OS.Name, AgentVersion: buildinfo.Read().Version,
	})
}

// keep writes the identity; the settings come last and make it count.
func (d Dir) keep(s Settings, req pki.Request, reply wire.EnrollReply) error {
	// The state of another repository or server would be in the way.
	for _, p := range []string{d.settings(), d.repo(), d.path("shards"), d.journal(), d.summary()} {
		if err := atomicfile.RemoveTree(p); err != nil {
			return fault.Wrap(err, fault.Unavailable, "agent: can't remove %s", p).
				WithHint("if the agent is running, stop it first (Linux: systemctl stop fettle-agent; Windows: fettle-agent service stop)")
		}
	}
	if err := d.make(); err != nil {
		return err
	}
	key, err := pki.KeyPEM(req.Key)
	if err != nil {
		return err
	}
	if err := d.keepCertificate(reply.Certificate, reply.CA, key); err != nil {
		return err
	}
	if err := atomicfile.Write(d.root(), reply.Root, 0o600); err != nil {
		return err
	}
	return writeJSON(d.settings(), s)
}

// keepCertificate stores a certificate with its key in one file, so that a
// crash can't leave a pair that does not fit.
func (d Dir) keepCertificate(cert, ca, key []byte) error {
	own, err := x509.ParseCertificate(cert)
	if err != nil {
		return fault.Wrap(err, fault.Untrusted, "agent: the certificate from the server is damaged")
	}
	authority, err := x509.ParseCertificate(ca)
	if err != nil {
		return fault.Wrap(err, fault.Untrusted, "agent: the CA certificate from the server is damaged")
	}
	private, err := pki.ParseKey(key)
	if err != nil {
		return err
	}
	if _, err := pki.Pair(own, private); err != nil {
		return err
	}
	if err := atomicfile.Write(d.ca(), pki.EncodeCerts(authority), 0o600); err != nil {
		return err
	}
	return atomicfile.Write(d.key(), append(pki.EncodeCerts(own), key...), 0o600)
}

// identity is what a connection needs.
type identity struct {
	settings Settings
	pair     tls.Certificate
	cas      []*x509.Certificate
}

func (d Dir) identity() (identity, error) {
	s, err := d.Settings()
	if err != nil {
		return identity{}, err
	}
	id := identity{settings: s}
	both, err := os.ReadFile(d.key())
	if err != nil {
		return id, fault.Wrap(err, fault.Unavailable, "agent: can't read its key %s", d.key())
	}
	if id.pair, err = tls.X509KeyPair(both, both); err != nil {
		return id, fault.Wrap(err, fault.Untrusted, "agent: its key and certificate in %s do not fit", d.key()).
			WithHint("enrol the machine again with --force")
	}
	text, err := os.ReadFile(d.ca())
	if err != nil {
		return id, fault.Wrap(err, fault.Unavailable, "agent: can't read the CA %s", d.ca())
	}
	id.cas, err = pki.ParseCAs(text)
	return id, err
}

// connect returns a client with the agent's identity.
func (id identity) connect() (*link.Client, error) {
	return link.New(link.Options{
		Server: id.settings.Server, Proxy: id.settings.Proxy,
		TLS: pki.ClientConfig(id.pair, pki.NewTrust(id.cas...)), UserAgent: buildinfo.UserAgent("fettle-agent"),
	})
}

// renewalDue reports whether two thirds of the certificate's life are over.
func (id identity) renewalDue(now time.Time) bool {
	return id.pair.Leaf != nil && now.After(pki.RenewAfter(id.pair.Leaf))
}

// renew asks for a certificate for a fresh key and stores it. The old pair
// counts until the new one is on the disk.
func (d Dir) renew(ctx context.Context, c *link.Client) error {
	req, err := pki.NewIdentity()
	if err != nil {
		return err
	}
	reply, err := c.Renew(ctx, wire.RenewRequest{CSR: req.CSR})
	if err != nil {
		return err
	}
	id, err := d.identity()
	if err != nil {
		return err
	}
	if err := id.replaceable(reply.Certificate, time.Now()); err != nil {
		return err
	}
	if err := d.sameCA(reply.CA); err != nil {
		return err
	}
	key, err := pki.KeyPEM(req.Key)
	if err != nil {
		return err
	}
	return d.keepCertificate(reply.Certificate, reply.CA, key)
}

// replaceable refuses (Untrusted) a renewed certificate that is for another
// identity, or is not valid now: a server whose clock is wrong for an hour must
// not lock out the machines that it renews in it.
func (id identity) replaceable(der []byte, now time.Time) error {
	fresh, err := x509.ParseCertificate(der)
	if err != nil || id.pair.Leaf == nil || len(fresh.URIs) != 1 || len(id.pair.Leaf.URIs) != 1 || fresh.URIs[0].String() != id.pair.Leaf.URIs[0].String() {
		return fault.Wrap(err, fault.Untrusted, "agent: the renewed certificate is refused: it is for another identity")
	}
	if now.Before(fresh.NotBefore) || now.After(fresh.NotAfter) {
		return fault.New(fault.Untrusted, "agent: the renewed certificate is refused: it is valid from %s to %s, and now it is %s",
			fresh.NotBefore.Format(time.RFC3339), fresh.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			WithHint("compare the clocks of this machine and of the server; the certificate in use counts meanwhile")
	}
	return nil
}

// sameCA refuses (Untrusted) a CA other than the one pinned at enrolment: who
// owns the server for a day must not keep its machines for ever.
func (d Dir) sameCA(der []byte) error {
	pinned, err := d.Settings()
	if err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return fault.Wrap(err, fault.Untrusted, "agent: the renewed certificate is refused: its CA can't be read")
	}
	want, err := pki.ParseFingerprint(pinned.CA)
	if err != nil {
		return err
	}
	if got, err := pki.ParseFingerprint(pki.Fingerprint(ca)); err != nil || got != want {
		return fault.New(fault.Untrusted, "agent: the renewed certificate is refused: its CA is %s, this machine was enrolled with %s", got, pinned.CA).
			WithHint("a server whose CA was really replaced needs its machines enrolled anew")
	}
	return nil
}
