package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"

	blobfs "github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/server/assess"
	"github.com/fettlehq/fettle/internal/server/audit"
	"github.com/fettlehq/fettle/internal/server/auth"
	"github.com/fettlehq/fettle/internal/server/gateway"
	"github.com/fettlehq/fettle/internal/server/job"
	"github.com/fettlehq/fettle/internal/server/mirror"
	"github.com/fettlehq/fettle/internal/server/orchestrate"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/postgres"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
)

// Clockwork of the server.
const (
	advanceEvery = 5 * time.Second
	wakeSpread   = 2 * time.Minute // over which machines hear of a new catalog
	jobWorkers   = 4
	pruneEvery   = 6 * time.Hour
	stagePause   = 5 * time.Minute // the longest between two attempts to bring payloads in
	keepSections = 24 * time.Hour  // sections that no machine has any more
)

// Kinds of durable jobs.
const (
	jobSync  = "sync"
	jobStage = "stage"
	jobPrune = "prune"
)

// Server is one site's server. Make it with New, start it with Run.
type Server struct {
	cfg       Config
	db        *store.DB
	ca        *pki.CA
	blobs     *blobfs.Store
	mirror    *mirror.Mirror
	index     *assess.Index
	fleet     *fleet
	loop      *orchestrate.Loop
	gateway   *gateway.Gateway
	jobs      *job.Runner
	audit     *audit.Log
	auth      *auth.Service
	admin     http.Handler
	payloads  payloads
	collected collection
	healer    *healer
	root      string // fingerprint of the repository's root keys
	setup     string // the first administrator's link token, "" when there is one
	started   time.Time
	lock      *flock.Flock    // of the data folder
	claim     *postgres.Claim // of the database; nil for SQLite

	certs certificates
	ports listeners
}

// New opens or makes everything below the data folder. It uses no network.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.path(), 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "server: the data folder %s can't be made", cfg.Data).
			WithHint("name a folder that this user may write to with --data")
	}
	lock, err := lockFolder(cfg.path())
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, started: cfg.Now(), lock: lock}
	for _, step := range []func(context.Context) error{
		s.openStore, s.openCA, s.openMirror, s.openIndex, s.openWork, s.openHealer, s.openGateway, s.openAdmin,
	} {
		if err := step(ctx); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) openStore(ctx context.Context) (err error) {
	if s.cfg.Database == "" {
		s.db, err = sqlite.Open(ctx, s.cfg.path("fettle.db"))
	} else {
		err = s.openPostgres(ctx)
	}
	if err != nil {
		return err
	}
	all := s.db.In(estate.Everything())
	if err := all.EnsureTenant(ctx, estate.Tenant{ID: estate.DefaultTenant, Name: "Main", Created: s.cfg.Now().UTC()}); err != nil {
		return err
	}
	sites, err := s.db.In(estate.InTenant(estate.DefaultTenant)).Sites(ctx)
	if err != nil || len(sites) > 0 {
		return err
	}
	return all.PutSite(ctx, estate.Site{Tenant: estate.DefaultTenant, ID: estate.DefaultSite, Name: "Main"})
}

func (s *Server) openPostgres(ctx context.Context) (err error) {
	c := postgres.Config{
		DSN: s.cfg.Database, PasswordFile: s.cfg.DatabasePasswordFile,
		OwnerDSN: s.cfg.DatabaseOwner, OwnerPasswordFile: s.cfg.DatabaseOwnerPasswordFile,
	}
	if s.claim, err = postgres.Take(ctx, c); err != nil {
		return err
	}
	s.db, err = s.claim.Open(ctx)
	return err
}

func (s *Server) openCA(ctx context.Context) (err error) {
	dir := s.cfg.path("ca")
	s.ca, err = pki.LoadCA(dir)
	if fault.Is(err, fault.NotFound) || errors.Is(err, fs.ErrNotExist) {
		s.ca, err = pki.CreateCA(dir, caName, s.cfg.Now())
		if fault.Is(err, fault.Conflict) {
			s.ca, err = s.finishCA(ctx, dir)
		}
	}
	if err != nil {
		return err
	}
	s.certs = certificates{ca: s.ca, names: s.cfg.Names, now: s.cfg.Now}
	_, err = s.certs.get()
	return err
}

func (s *Server) openMirror(context.Context) error {
	root, err := os.ReadFile(s.cfg.RootFile)
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "server: the repository's root metadata %s can't be read", s.cfg.RootFile).
			WithHint("copy metadata/1.root.json of the repository here by a way that you trust")
	}
	if s.root, err = repo.RootFingerprint(root); err != nil {
		return err
	}
	if s.blobs, err = blobfs.Open(s.cfg.path("blobs")); err != nil {
		return err
	}
	s.blobs.KeepFree(s.cfg.KeepFree << 20)
	s.mirror, err = mirror.New(mirror.Config{
		Dir: s.cfg.path("mirror"), Source: s.cfg.Repository, Root: root, Blobs: s.blobs, Changed: s.catalogChanged, Log: s.cfg.Log, Now: s.cfg.Now,
	})
	return err
}

func (s *Server) openIndex(ctx context.Context) error {
	s.index = assess.New(snapshots{s.db})
	s.fleet = &fleet{db: s.db, index: s.index, mirror: s.mirror, log: s.cfg.Log, now: s.cfg.Now, decisions: map[estate.TenantID]*decisions{}}
	return s.index.SetCatalog(ctx, s.shards())
}

func (s *Server) shards() map[string]*catalog.Shard {
	out := map[string]*catalog.Shard{}
	for _, p := range s.mirror.Platforms() {
		if shard, ok := s.mirror.Shard(p); ok {
			out[p] = shard
		}
	}
	return out
}

func (s *Server) openWork(context.Context) error {
	s.jobs = job.New(s.db, jobWorkers, s.cfg.Log)
	s.payloads = payloads{db: s.db, mirror: s.mirror, bring: s.cfg.Bring, stage: s.enqueueStage, problems: &problems{}}
	s.loop = orchestrate.New(s.db.Orchestration(), s.fleet, s.payloads, &waker{s}, s.cfg.Log, s.cfg.Now)
	s.jobs.Register(jobSync, func(ctx context.Context, _ json.RawMessage) error { return s.Sync(ctx) })
	s.jobs.Every(s.cfg.SyncEvery, jobSync)
	s.jobs.Register(jobStage, s.runStage)
	s.jobs.Impatient(jobStage, stagePause)
	s.jobs.Register(jobPrune, s.prune)
	s.jobs.Every(pruneEvery, jobPrune)
	s.jobs.Register(jobCollect, s.collect)
	s.jobs.Every(collectEvery, jobCollect)
	return nil
}

// prune removes what machines reported once and none has any more.
func (s *Server) prune(ctx context.Context, _ json.RawMessage) error {
	n, err := s.db.PruneSections(ctx, s.cfg.Now().Add(-keepSections))
	if n > 0 {
		s.cfg.Log.Info("old inventories removed", "sections", n)
	}
	return err
}

// stageArgs is what the stage job brings in.
type stageArgs struct {
	Payloads []patch.Payload `json:"payloads"`
}

// enqueueStage makes a durable job of it; the same list waits once.
func (s *Server) enqueueStage(list []patch.Payload) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := s.jobs.Enqueue(ctx, jobStage, listKey(list), stageArgs{list}, time.Time{}); err != nil {
		s.cfg.Log.Error("staging can't be started", "error", err)
	}
}

func (s *Server) runStage(ctx context.Context, args json.RawMessage) error {
	var a stageArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return fault.Wrap(err, fault.Invalid, "server: the stage job's arguments are damaged")
	}
	if err := s.payloads.run(ctx, a.Payloads); err != nil {
		return err // no kick: the loop would ask for the same again at once, without end
	}
	s.loop.Kick()
	return s.jobs.Hurry(ctx, jobStage) // what kept others waiting may have passed too
}

func (s *Server) openGateway(ctx context.Context) (err error) {
	s.audit = audit.New(func(scope estate.Scope) audit.Store { return s.db.In(scope) }, s.cfg.Now)
	s.gateway, err = gateway.New(ctx, gateway.Config{
		Store: s.db.Agents(), Orders: s.loop, Repository: s.mirror, Payloads: s.blobs,
		Witness: &witness{log: s.cfg.Log, audit: s.audit, changed: s.inventoryChanged},
		CA:      s.ca, Trust: pki.NewTrust(s.ca.Certificate()), Certificate: s.certs.get,
		Log: s.cfg.Log, Now: s.cfg.Now, Interval: s.cfg.CheckIn, Doubt: s.healer.doubt,
		StrangersOfAddress: s.cfg.ConnectionsPerAddress,
	})
	return err
}

// catalogChanged is told by the mirror that shards are new.
func (s *Server) catalogChanged([]string) {
	if err := s.index.SetCatalog(context.Background(), s.shards()); err != nil {
		s.cfg.Log.Error("some machines can't be assessed with the new catalog", "error", err)
	}
	if s.gateway != nil {
		s.gateway.WakeAll("", wakeSpread)
	}
	s.loop.Kick()
	if err := s.jobs.Hurry(context.Background(), jobCollect); err != nil { // what is needed has changed
		s.cfg.Log.Error("payloads are not counted before their time", "error", err)
	}
}

// inventoryChanged is told by the gateway that a machine's inventory is new.
func (s *Server) inventoryChanged(t estate.TenantID, id estate.EndpointID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.assess(ctx, t, id); err != nil {
		s.cfg.Log.Error("a machine can't be assessed", "endpoint", id, "error", err)
	}
	s.loop.Kick()
}

func (s *Server) assess(ctx context.Context, t estate.TenantID, id estate.EndpointID) error {
	p, _, err := snapshots{s.db}.Snapshot(ctx, t, id)
	if err != nil {
		return err
	}
	return s.index.Report(ctx, t, id, p)
}

// Sync brings the catalog up to date now. When that works, so does the way to
// the repository: payloads that wait for their next attempt need not wait.
func (s *Server) Sync(ctx context.Context) error {
	if _, err := s.mirror.Sync(ctx, s.cfg.Now()); err != nil {
		return err
	}
	return s.jobs.Hurry(ctx, jobStage)
}

// Renew is Sync for somebody who asks for news: a publisher in the same program
// crawls and publishes first. When that fails, the repository is looked at all
// the same: what is wrong with it comes before what kept the publisher.
func (s *Server) Renew(ctx context.Context) error {
	if s.cfg.Publish == nil {
		return s.Sync(ctx)
	}
	published := s.cfg.Publish(ctx)
	return errors.Join(s.Sync(ctx), published)
}

// Close releases what New has opened. Run must have ended.
func (s *Server) Close() {
	var err error
	s.ports.close()
	if s.mirror != nil {
		err = s.mirror.Close()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	if s.claim != nil {
		s.claim.Release()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Unlock())
	}
	if err != nil {
		s.cfg.Log.Error("closing failed", "error", err)
	}
}

// certificates keeps the server's own certificate fresh.
type certificates struct {
	ca    *pki.CA
	names []string
	now   func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate
}

// get returns the certificate, making a new one when it is past its renewal, or
// was made while the clock was ahead.
func (c *certificates) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.cert != nil && now.Before(pki.RenewAfter(c.cert.Leaf)) && !now.Before(c.cert.Leaf.NotBefore) {
		return c.cert, nil
	}
	cert, err := c.ca.IssueServer(c.names, now)
	if err != nil {
		return nil, err
	}
	c.cert = &cert
	return c.cert, nil
}

// waker wakes through the gateway, which is made after the loop.
type waker struct{ s *Server }

// Wake implements orchestrate.Waker.
func (w *waker) Wake(t estate.TenantID, id estate.EndpointID) {
	if w.s.gateway != nil {
		w.s.gateway.Wake(t, id)
	}
}

// loopback reports whether the address is one that only this machine reaches.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
