package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/door"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// authority is what a route asks of its caller.
type authority string

const (
	// byToken: the handler checks an enrolment token; no certificate.
	byToken authority = "enrolment token"
	// byCertificate: a good certificate of an endpoint that is not revoked.
	byCertificate authority = "client certificate"
)

// peer is who speaks: what the certificate says, never the message.
type peer struct {
	tenant   estate.TenantID
	endpoint estate.EndpointID
}

// route is one line of the table.
type route struct {
	method, path string
	needs        authority
	// body is the most that is read of a request, in bytes; within, the time
	// in which it must have come.
	body   int64
	within time.Duration
	serve  func(w http.ResponseWriter, r *http.Request, p peer) error
}

// routes is everything that a peer can ask for.
func (g *Gateway) routes() []route {
	const short = 15 * time.Second
	return []route{
		{"POST", wire.PathEnroll, byToken, wire.MaxEnroll, short, g.enroll},
		{"POST", wire.PathRenew, byCertificate, wire.MaxEnroll, short, g.renew},
		{"POST", wire.PathCheckIn, byCertificate, wire.MaxCheckIn, short, g.checkIn},
		{"PUT", wire.PathSection, byCertificate, wire.MaxSections, 5 * time.Minute, g.sections},
		{"POST", wire.PathEvents, byCertificate, wire.MaxEvents, time.Minute, g.events},
		{"GET", wire.PathWake, byCertificate, 0, short, g.wake},
		{"GET", wire.PathRepo + "{path...}", byCertificate, 0, short, g.repo},
		{"GET", wire.PathBlob + "{sha256}", byCertificate, 0, short, g.blob},
	}
}

// Handler serves the table; anything else is answered 404 or 405 by the mux.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range g.routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) { g.dispatch(rt, w, r) })
	}
	return mux
}

func (g *Gateway) dispatch(rt route, w http.ResponseWriter, r *http.Request) {
	if rt.body > 0 {
		// Not every writer has deadlines (tests); the server's have.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(rt.within))
		r.Body = http.MaxBytesReader(w, r.Body, rt.body)
	}
	p, err := g.authenticate(rt, r)
	if err == nil {
		err = g.answer(rt, w, r, p)
	}
	if err != nil {
		g.refuse(w, r, p, err)
	}
}

// answer serves a peer that may ask, within its share.
func (g *Gateway) answer(rt route, w http.ResponseWriter, r *http.Request, p peer) error {
	if rt.needs == byCertificate {
		door.Belongs(r.Context(), string(p.endpoint))
		leave, err := g.shares.enter(p.endpoint)
		if err != nil {
			return err
		}
		defer leave()
	}
	return rt.serve(w, r, p)
}

func (g *Gateway) authenticate(rt route, r *http.Request) (peer, error) {
	if rt.needs == byToken {
		return peer{}, nil
	}
	if r.TLS == nil {
		return peer{}, fault.New(fault.Unauthenticated, "a client certificate is needed")
	}
	id, err := pki.PeerIdentity(*r.TLS)
	if err != nil {
		return peer{}, fault.Wrap(err, fault.CodeOf(err), "a client certificate is needed")
	}
	p := peer{tenant: estate.TenantID(id.Tenant), endpoint: estate.EndpointID(id.Endpoint)}
	if g.isRevoked(p.endpoint) {
		return p, errRevoked
	}
	return p, nil
}

var errRevoked = fault.New(fault.Denied, "this endpoint is revoked").
	WithHint("enrol the machine again with a new token if that was a mistake")

// refuse answers with a wire.Refusal and logs what is not the peer's fault.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, p peer, err error) {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		err = fault.Wrap(err, fault.Exhausted, "the message is larger than %d bytes", tooLarge.Limit)
	}
	code := fault.CodeOf(err)
	level := g.cfg.Log.Info
	switch {
	case code == fault.Internal || code == fault.Unavailable:
		level = g.cfg.Log.Error
	case code == fault.NotFound && strings.HasPrefix(r.URL.Path, wire.PathRepo):
		level = g.cfg.Log.Debug // asking for the next root is how a client learns that there is none
	}
	if g.noted.Within(string(p.endpoint)+r.URL.Path+string(code), g.cfg.Now(), time.Minute) {
		level("an agent's request was refused", "endpoint", p.endpoint, "tenant", p.tenant, "from", r.RemoteAddr, "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status(code))
	// An answer that can't be written concerns the peer alone.
	_ = json.NewEncoder(w).Encode(wire.Refusal{Code: string(code), Message: fault.Public(err), Hint: fault.HintOf(err)})
}

// status is fault.Status, but that what an agent sends wrong is its own mistake
// and nothing of a gateway behind us.
func status(code fault.Code) int {
	switch code {
	case fault.Invalid, fault.Untrusted, fault.Unsupported:
		return http.StatusBadRequest
	case fault.Exhausted:
		return http.StatusRequestEntityTooLarge
	}
	return fault.Status(code)
}

// reply writes a message as compact JSON.
func reply(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "gateway: the answer can't be encoded")
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a peer that left learns nothing
	return nil
}

// Line is one line of the table of routes, for audits and tests.
type Line struct{ Method, Path, Needs string }

// Table lists every route with the authorisation that it needs.
func (g *Gateway) Table() []Line {
	var all []Line
	for _, rt := range g.routes() {
		all = append(all, Line{rt.method, rt.path, string(rt.needs)})
	}
	return all
}
