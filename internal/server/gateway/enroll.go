package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/fettlehq/fettle/internal/door"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// enrolLimiter bounds what applicants can make the server do: those with a
// token that may be good all together, and those who fail by address. Addresses share a fixed number of buckets, so
// that many of them cost no memory.
type enrolLimiter struct {
	all   *rate.Limiter
	seed  maphash.Seed
	fails [4096]*rate.Limiter
}

func (l *enrolLimiter) init() {
	l.all = rate.NewLimiter(100, 200)
	l.seed = maphash.MakeSeed()
	for i := range l.fails {
		l.fails[i] = rate.NewLimiter(1, 10)
	}
}

func (l *enrolLimiter) of(r *http.Request) *rate.Limiter {
	return l.fails[maphash.String(l.seed, door.Network(r.RemoteAddr))%uint64(len(l.fails))]
}

// enroll gives an identity for a token. A bad token is refused in memory after
// one HMAC, whatever is wrong with it.
func (g *Gateway) enroll(w http.ResponseWriter, r *http.Request, _ peer) error {
	busy := fault.New(fault.Unavailable, "too many enrolments at the moment").WithHint("try again in ten seconds")
	fails := g.enrols.of(r)
	if fails.Tokens() < 1 {
		w.Header().Set("Retry-After", "10")
		return busy
	}
	req, err := g.applicant(r)
	if err == nil && !g.enrols.all.Allow() {
		w.Header().Set("Retry-After", "10")
		return busy
	}
	var out wire.EnrollReply
	if err == nil {
		out, err = g.admit(r, req)
	}
	if err != nil {
		fails.Allow() // what failed is charged to the address
		if fault.Is(err, fault.Unauthenticated) {
			g.cfg.Witness.Guess("endpoint.enrol.failed", "enrolment token", door.Network(r.RemoteAddr))
		}
		return err
	}
	return reply(w, out)
}

// applicant reads a request and sorts out, in memory, who can't have a token:
// strangers take nothing of what those need who have one.
func (g *Gateway) applicant(r *http.Request) (req wire.EnrollRequest, err error) {
	if err := read(r, &req); err != nil {
		return req, err
	}
	if err := checkEnrol(req); err != nil {
		return req, err
	}
	if !g.cfg.Store.PlausibleToken(req.Token) {
		return req, fault.New(fault.Unauthenticated, "the enrolment token is not valid").
			WithHint("it may be mistyped, used up, expired or revoked; ask for a new one with: fettle enroll-token")
	}
	return req, nil
}

func (g *Gateway) admit(r *http.Request, req wire.EnrollRequest) (wire.EnrollReply, error) {
	now := g.cfg.Now()
	id := estate.EndpointID(newID())
	// The request is tried before the token is spent; this certificate is
	// thrown away because the tenant is not known yet.
	if _, err := g.cfg.CA.IssueAgent(req.CSR, pki.Identity{Tenant: "trial", Endpoint: string(id)}, now); err != nil {
		return wire.EnrollReply{}, err
	}
	root, err := g.cfg.Repository.Root()
	if err != nil {
		return wire.EnrollReply{}, err
	}
	e, err := g.cfg.Store.Enrol(r.Context(), req.Token, estate.Endpoint{
		ID: id, Hostname: req.Hostname, Platform: req.Platform, OS: req.OS, AgentVersion: req.AgentVersion, Enrolled: now,
	}, now)
	if err != nil {
		return wire.EnrollReply{}, err
	}
	cert, err := g.cfg.CA.IssueAgent(req.CSR, pki.Identity{Tenant: string(e.Tenant), Endpoint: string(id)}, now)
	if err != nil {
		return wire.EnrollReply{}, err
	}
	g.cfg.Witness.Audit(r.Context(), e.Tenant, "agent:"+string(id), "endpoint.enrol", string(id), "host "+e.Hostname+" from "+r.RemoteAddr)
	return wire.EnrollReply{
		Endpoint: id, Tenant: e.Tenant, Site: e.Site, Certificate: cert.Raw, CA: g.cfg.CA.Certificate().Raw, Root: root,
	}, nil
}

func checkEnrol(req wire.EnrollRequest) error {
	if err := checkProtocol(req.Protocol); err != nil {
		return err
	}
	for what, s := range map[string]string{
		"host name": req.Hostname, "platform": req.Platform, "operating system's name": req.OS, "agent version": req.AgentVersion,
	} {
		if err := text(what, s); err != nil {
			return err
		}
	}
	if req.Hostname == "" || strings.Trim(req.Platform, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return fault.New(fault.Invalid, "the host name or the platform is not well-formed")
	}
	return nil
}

func checkProtocol(n int) error {
	if n < 1 || n > wire.Protocol {
		return fault.New(fault.Unsupported, "the agent speaks protocol %d, this server up to %d", n, wire.Protocol).
			WithHint("update the server first, then the agents")
	}
	return nil
}

// newID is 128 random bits; it begins with a letter for people's sake.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return "e" + hex.EncodeToString(b)
}

// renew certifies a new key for the same identity.
func (g *Gateway) renew(w http.ResponseWriter, r *http.Request, p peer) error {
	var req wire.RenewRequest
	if err := read(r, &req); err != nil {
		return err
	}
	if _, err := g.standing(r, p); err != nil {
		return err
	}
	// Each renewal stands in the audit log for ever.
	if !g.noted.Within(string(p.endpoint)+"renewal", g.cfg.Now(), time.Minute) {
		return fault.New(fault.Unavailable, "a certificate was asked for less than a minute ago").WithHint("try again in a minute")
	}
	cert, err := g.cfg.CA.IssueAgent(req.CSR, pki.Identity{Tenant: string(p.tenant), Endpoint: string(p.endpoint)}, g.cfg.Now())
	if err != nil {
		return err
	}
	g.cfg.Witness.Audit(r.Context(), p.tenant, "agent:"+string(p.endpoint), "endpoint.renew", string(p.endpoint), "")
	return reply(w, wire.RenewReply{Certificate: cert.Raw, CA: g.cfg.CA.Certificate().Raw})
}

// standing reads the peer's row: it must be active, and it gives the root of
// the inventory that the server has.
func (g *Gateway) standing(r *http.Request, p peer) (root string, err error) {
	_, state, root, err := g.cfg.Store.Identity(r.Context(), p.tenant, p.endpoint)
	switch {
	case fault.Is(err, fault.NotFound):
		return "", fault.Wrap(err, fault.Denied, "this server does not know the endpoint").
			WithHint("enrol the machine again; the server may have been restored from an older backup")
	case err != nil:
		return "", err
	case state != estate.Active:
		g.forget(p.endpoint) // another server revoked it
		return "", errRevoked
	}
	return root, nil
}
