package server

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/server/api"
	"github.com/fettlehq/fettle/internal/server/assess"
	"github.com/fettlehq/fettle/internal/server/auth"
	"github.com/fettlehq/fettle/internal/server/gateway"
	"github.com/fettlehq/fettle/internal/server/orchestrate"
	"github.com/fettlehq/fettle/internal/server/report"
)

// agents is the gateway as the API sees it; a machine that is shut out leaves
// the index too, and its open tasks end.
type agents struct {
	*gateway.Gateway
	index *assess.Index
	loop  *orchestrate.Loop
}

// Revoke implements api.Agents.
func (a agents) Revoke(ctx context.Context, t estate.TenantID, id estate.EndpointID) error {
	if err := a.Gateway.Revoke(ctx, t, id); err != nil {
		return err
	}
	a.index.Remove(t, id)
	return a.loop.Abandon(ctx, t, id)
}

// openAdmin puts the API together and leaves the local operator's key.
func (s *Server) openAdmin(ctx context.Context) error {
	s.auth = auth.New(auth.Config{
		People: func(scope estate.Scope) auth.People { return s.db.In(scope) }, Sessions: s.db,
		Log: s.cfg.Log, Now: s.cfg.Now, TLS: s.adminTLS(), CA: s.ownCA(), Guessed: s.audit.Guess,
	})
	if err := s.auth.WriteOperator(ctx, s.cfg.Data, strings.TrimSuffix(s.ConsoleURL(), "/")); err != nil {
		return err
	}
	if err := s.offerSetup(ctx); err != nil {
		return err
	}
	x := index{s.index}
	a, err := api.New(api.Config{
		Data:  func(scope estate.Scope) api.Data { return s.db.In(scope) },
		Index: x, Catalog: shelf{s.mirror, s.cfg.Now, s.Renew}, Deployments: work{s.loop, s.fleet},
		Agents: agents{s.gateway, s.index, s.loop}, Auth: s.auth, Audit: s.audit,
		Reports:   report.New(func(scope estate.Scope) report.Data { return s.db.In(scope) }, x, s.fleet.find, s.cfg.Now),
		Enrolment: s.enrolment, Payloads: s.payloadStatus, Database: s.db.Facts, Ready: s.ready, Console: s.cfg.Console, Log: s.cfg.Log, Now: s.cfg.Now,
	})
	if err != nil {
		return err
	}
	s.admin = a.Handler()
	return nil
}

// readyTime is how long the database may take to say that it is there.
const readyTime = 3 * time.Second

// ready reports whether the database answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	_, err := s.db.Facts(ctx)
	return err
}

// offerSetup makes the first administrator's link while nobody has an account.
func (s *Server) offerSetup(ctx context.Context) error {
	first, err := s.auth.NeedsSetup(ctx)
	if err != nil || !first {
		return err
	}
	token, err := s.auth.NewSetupToken(ctx)
	if err != nil {
		return err
	}
	s.setup = token.Reveal()
	return nil
}

// enrolment says how a machine enrols with the token: the line for one that
// has the agent, and the one that also installs it on Windows.
func (s *Server) enrolment(secret string) api.Enrolment {
	_, port, err := net.SplitHostPort(s.cfg.Agents)
	if err != nil {
		port = "8781"
	}
	address := net.JoinHostPort(s.cfg.Names[0], port)
	args := slices.Insert(s.enrolArgs(address), 2, "--token", secret)
	windows := "msiexec /i fettle-agent.msi /qn SERVER=https://" + address + " TOKEN=" + secret + " CA=" + s.ca.Fingerprint() + " ROOT=" + s.root
	return api.Enrolment{
		Server: "https://" + address, CA: s.ca.Fingerprint(), Root: s.root,
		Command: "fettle-agent " + strings.Join(args, " "), CommandWindows: windows,
	}
}
