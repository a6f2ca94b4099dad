package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/door"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/server/api"
	"github.com/fettlehq/fettle/internal/server/assess"
	"github.com/fettlehq/fettle/internal/server/store"
)

// listeners are the open ports of a server.
type listeners struct{ agents, admin net.Listener }

func (l *listeners) close() {
	for _, one := range []net.Listener{l.agents, l.admin} {
		if one != nil {
			_ = one.Close() // nobody was served yet, or the server has closed it
		}
	}
}

// Listen opens the ports. Whoever wants to know that this server, and not
// another program, answers on them calls it before Run, which else does it.
func (s *Server) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	agents, err := lc.Listen(ctx, "tcp", s.cfg.Agents)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "server: can't listen for agents on %s", s.cfg.Agents).WithHint("is another server running? --agents names another address")
	}
	admin, err := lc.Listen(ctx, "tcp", s.cfg.Admin)
	if err != nil {
		return errors.Join(fault.Wrap(err, fault.Unavailable, "server: can't listen for people on %s", s.cfg.Admin).
			WithHint("is another server running? --admin names another address"), agents.Close())
	}
	s.ports = listeners{agents, admin}
	if err := s.settle(ctx); err != nil {
		s.ports.close()
		s.ports = listeners{}
		return err
	}
	return nil
}

// settle puts the ports that the system chose in the place of ports 0: links,
// enrolment commands and the local operator's file name them.
func (s *Server) settle(ctx context.Context) error {
	chosen := false
	for address, l := range map[*string]net.Listener{&s.cfg.Agents: s.ports.agents, &s.cfg.Admin: s.ports.admin} {
		host, port, err := net.SplitHostPort(*address)
		tcp, ok := l.Addr().(*net.TCPAddr)
		if err != nil || port != "0" || !ok {
			continue
		}
		*address, chosen = net.JoinHostPort(host, strconv.Itoa(tcp.Port)), true
	}
	if !chosen {
		return nil
	}
	return s.auth.WriteOperator(ctx, s.cfg.Data, strings.TrimSuffix(s.ConsoleURL(), "/"))
}

// AgentsAddress is where agents dial in, with the real port once it listens.
func (s *Server) AgentsAddress() string { return s.cfg.Agents }

// Run serves until the context ends or a listener fails. Machines may talk to
// the server at once; the index of a large fleet fills meanwhile.
func (s *Server) Run(ctx context.Context) error {
	if s.ports.agents == nil {
		if err := s.Listen(ctx); err != nil {
			return err
		}
	}
	agents, admin := s.ports.agents, s.ports.admin
	defer s.ports.close()
	if err := s.jobs.Release(ctx); err != nil {
		agents.Close()
		admin.Close()
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.gateway.Serve(ctx, agents) })
	g.Go(func() error { return s.serveAdmin(ctx, admin) })
	if s.claim != nil {
		g.Go(func() error { return s.claim.Watch(ctx) })
	}
	g.Go(func() error { s.fill(ctx); return nil })
	g.Go(func() error { s.loop.Run(ctx, advanceEvery); return nil })
	g.Go(func() error { s.jobs.Run(ctx); return nil })
	g.Go(func() error { s.healer.run(ctx); return nil })
	g.Go(func() error { s.audit.Run(ctx, s.cfg.Log); return nil })
	s.cfg.Log.Info("serving", "admin", s.cfg.Admin, "agents", s.cfg.Agents, "catalog", s.mirror.Version())
	return g.Wait()
}

// Bounds of the port for people. A browser has a handful of connections; behind
// a reverse proxy every request that is under way has one.
const (
	strangersOfAddress  = 256 // by default
	strangersOfAll      = 2048
	connectionsOfPerson = 256
)

// serveAdmin serves people. Plain HTTP is for loopback addresses alone.
func (s *Server) serveAdmin(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.admin, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100, SendPingTimeout: 2 * time.Minute, PingTimeout: 20 * time.Second, WriteByteTimeout: readerPatience,
			MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 128 << 10,
		},
	}
	door.Attend(srv, s.cfg.Log)
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			srv.Close()
		}
	}()
	bounds := door.Bounds{OfAddress: cmp.Or(s.cfg.ConnectionsPerAddress, strangersOfAddress), OfAll: strangersOfAll, OfOwner: connectionsOfPerson}
	l = door.New(impatient{l, readerPatience}, bounds, s.cfg.Log, s.cfg.Now)
	var err error
	if s.adminTLS() {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.adminCertificate()}
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fault.Wrap(err, fault.Unavailable, "server: the listener on %s failed", l.Addr())
}

func (s *Server) adminTLS() bool { return s.cfg.AdminCert != "" || !loopback(s.cfg.Admin) }

// ownCA is the file of the CA that vouches for what people talk to, "" when
// that is plain HTTP or has a certificate from elsewhere.
func (s *Server) ownCA() string {
	if !s.adminTLS() || s.cfg.AdminCert != "" {
		return ""
	}
	file, err := filepath.Abs(s.cfg.path("ca", "ca.pem"))
	if err != nil {
		return ""
	}
	return file
}

func (s *Server) adminCertificate() func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if s.cfg.AdminCert == "" {
			return s.certs.get()
		}
		cert, err := tls.LoadX509KeyPair(s.cfg.AdminCert, s.cfg.AdminKey)
		return &cert, err
	}
}

// fill builds the index from the store. Machines with the same packages and
// policy share one look at the catalog.
func (s *Server) fill(ctx context.Context) {
	start := s.cfg.Now()
	n := 0
	err := s.db.In(estate.Everything()).Inventories(ctx, time.Time{}, func(c store.Changed) error {
		n++
		p, err := s.profile(ctx, c)
		if err == nil {
			err = s.index.Report(ctx, c.Tenant, c.Endpoint, p)
		}
		if err != nil {
			s.cfg.Log.Error("a machine can't be assessed", "endpoint", c.Endpoint, "error", err)
		}
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("the index can't be filled", "error", err)
	}
	if n > 0 {
		s.cfg.Log.Info("index filled", "machines", n, "took", s.cfg.Now().Sub(start))
	}
	s.loop.Kick()
}

func (s *Server) profile(ctx context.Context, c store.Changed) (assess.Profile, error) {
	for _, sec := range c.Sections {
		if sec.Name != inventory.SectionOS {
			continue
		}
		body, err := s.db.In(estate.InTenant(c.Tenant)).Section(ctx, c.Tenant, sec.Hash)
		if err != nil {
			return assess.Profile{}, err
		}
		os, err := inventory.ParseOS(body)
		if err != nil {
			return assess.Profile{}, err
		}
		return assess.ProfileOf(os, c.Sections), nil
	}
	return assess.Profile{}, fault.New(fault.Internal, "server: the inventory of %s has no section os", c.Endpoint)
}

// Findings returns what a machine of the default tenant lacks, and when the scan
// was that told it; NotFound until there was one since then.
func (s *Server) Findings(ctx context.Context, id estate.EndpointID, since time.Time) ([]catalog.Finding, time.Time, error) {
	scans, err := s.db.In(estate.InTenant(estate.DefaultTenant)).Scanned(ctx, []estate.EndpointID{id})
	if err != nil {
		return nil, time.Time{}, err
	}
	at, ok := scans[id]
	if !ok || at.Before(since) {
		return nil, time.Time{}, fault.New(fault.NotFound, "server: %s was not scanned yet", id)
	}
	if err := s.assess(ctx, estate.DefaultTenant, id); err != nil { // the index may not be as far yet
		return nil, time.Time{}, err
	}
	found, err := s.index.Findings(estate.DefaultTenant, id)
	return found, at, err
}

// Scan asks a machine of the default tenant for a fresh scan with its next
// contact.
func (s *Server) Scan(id estate.EndpointID) { s.gateway.Scan(estate.DefaultTenant, id) }

// Status says where the catalog stands.
func (s *Server) Status() api.CatalogStatus { return shelf{s.mirror, s.cfg.Now, s.Renew}.Status() }

// ConsoleURL is where people open the console.
func (s *Server) ConsoleURL() string {
	scheme, at := "http://", s.cfg.Admin
	if s.adminTLS() {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(at)
	if ip, bad := netip.ParseAddr(host); err == nil && (host == "" || bad == nil && ip.IsUnspecified()) {
		at = net.JoinHostPort(s.cfg.Names[0], port) // it listens on every address
	}
	return scheme + at + "/"
}

// SetupLink is the first administrator's one-time link, "" when there is one.
func (s *Server) SetupLink() string {
	if s.setup == "" {
		return ""
	}
	return s.ConsoleURL() + "setup#token=" + s.setup
}

// Knows reports whether the machine is enrolled in the default tenant.
func (s *Server) Knows(ctx context.Context, id estate.EndpointID) bool {
	e, err := s.db.In(estate.InTenant(estate.DefaultTenant)).Endpoint(ctx, id)
	return err == nil && e.State == estate.Active
}

// OwnEnrolment makes a token for one machine and returns it with the arguments
// with which fettle-agent enrols at this server over loopback. The token goes
// through the environment (FETTLE_TOKEN).
func (s *Server) OwnEnrolment(ctx context.Context) (args []string, token string, err error) {
	now := s.cfg.Now().UTC()
	_, secret, err := s.db.In(estate.InTenant(estate.DefaultTenant)).CreateToken(ctx, estate.Token{
		Tenant: estate.DefaultTenant, Site: estate.DefaultSite, Uses: 1, Note: "this machine, by fettle up",
		By: "local", Created: now, Expires: now.Add(10 * time.Minute),
	})
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(s.cfg.Agents)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.Invalid, "server: %q is not an address", s.cfg.Agents)
	}
	return s.enrolArgs("127.0.0.1:" + port), secret, nil
}

func (s *Server) enrolArgs(address string) []string {
	return []string{"enroll", "https://" + address, "--ca", s.ca.Fingerprint(), "--root", s.root}
}
