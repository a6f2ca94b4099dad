// Package gateway is what agents talk to: enrolment, check-in, inventory,
// events, the wake channel, the signed repository and payloads, over HTTP/2
// and TLS 1.3 with client certificates (package wire says which messages).
//
// An agent is hostile until proven otherwise. Who speaks is what the
// certificate says and nothing in a message; every row that is written is the
// speaker's own. Every message is bounded in size, depth and time, is checked
// against a strict schema, and a peer that can't show a good certificate or
// token is refused in memory. Every route stands in one table with the
// authorisation that it needs; what does not stand there does not exist.
package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/door"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// Roll knows the machines.
type Roll interface {
	// PlausibleToken tells in memory whether this server can have made it.
	PlausibleToken(token string) bool
	Enrol(ctx context.Context, token string, e estate.Endpoint, now time.Time) (estate.Endpoint, error)
	Identity(ctx context.Context, t estate.TenantID, id estate.EndpointID) (site estate.SiteID, state estate.EndpointState, root string, err error)
	Revoke(ctx context.Context, t estate.TenantID, id estate.EndpointID, at time.Time) error
	Revoked(ctx context.Context, since time.Time, each func(estate.EndpointID, time.Time)) error
}

// Ledger keeps what machines say of themselves.
type Ledger interface {
	CheckIn(ctx context.Context, t estate.TenantID, id estate.EndpointID, m wire.CheckIn, at time.Time) error
	LackingSections(ctx context.Context, t estate.TenantID, hashes []string) ([]string, error)
	SectionHashes(ctx context.Context, t estate.TenantID, id estate.EndpointID) ([]inventory.Section, error)
	Section(ctx context.Context, t estate.TenantID, hash string) ([]byte, error)
	PutInventory(ctx context.Context, t estate.TenantID, id estate.EndpointID, sections []inventory.Section,
		scanned, now time.Time, facts func(*estate.Endpoint)) error
}

// Inbox knows which tasks are whose and what was heard already.
type Inbox interface {
	OwnTasks(ctx context.Context, t estate.TenantID, id estate.EndpointID, tasks []deploy.TaskID) (map[deploy.TaskID]bool, error)
	NeedsPayload(ctx context.Context, t estate.TenantID, id estate.EndpointID, sha256 string) (size int64, needed bool, err error)
	EventSeq(ctx context.Context, t estate.TenantID, id estate.EndpointID) (int64, error)
	SetEventSeq(ctx context.Context, t estate.TenantID, id estate.EndpointID, seq int64) error
}

// Store is the part of the store that the gateway uses.
type Store interface {
	Roll
	Ledger
	Inbox
}

// Orders says what endpoints are to do and hears how it went. Hear must bear
// the same events twice.
type Orders interface {
	Orders(ctx context.Context, t estate.TenantID, id estate.EndpointID) ([]wire.Order, error)
	Hear(ctx context.Context, t estate.TenantID, id estate.EndpointID, events []wire.Event) error
}

// Repository is the mirrored copy that agents verify for themselves.
type Repository interface {
	// Version is that of the newest catalog, 0 before the first.
	Version() int64
	// Root returns the pinned root metadata for enrolment.
	Root() ([]byte, error)
	// OpenFile opens a plain file of the repository; it can't leave its folder.
	OpenFile(path string) (*os.File, error)
	// Serves reports whether the catalog itself names the blob: an index or a
	// Release file that every agent may need.
	Serves(sha256 string) bool
}

// Payloads opens verified payloads by hash; fault.NotFound when it is not
// here. It is blob/fs's store.
type Payloads interface {
	Get(key blob.Key) (io.ReadSeekCloser, int64, error)
}

// Witness is told what must not be forgotten. Audited things are those that
// somebody must answer for; changes of inventory feed the assessment.
type Witness interface {
	Audit(ctx context.Context, t estate.TenantID, actor, action, object, detail string)
	// Guess counts a guess that was wrong; it returns at once.
	Guess(action, object, address string)
	InventoryChanged(t estate.TenantID, id estate.EndpointID)
}

// Issuer certifies agents.
type Issuer interface {
	IssueAgent(csr []byte, id pki.Identity, now time.Time) (*x509.Certificate, error)
	Certificate() *x509.Certificate
}

// Config is what a gateway is made of. All but the numbers is needed.
type Config struct {
	Store      Store
	Orders     Orders
	Repository Repository
	Payloads   Payloads
	Witness    Witness
	CA         Issuer
	// Trust are the CAs whose certificates count; Certificate is the server's own.
	Trust       *pki.Trust
	Certificate func() (*tls.Certificate, error)
	Log         *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Interval between check-ins of an agent that holds a wake channel (0: 8 h),
	// and of one that does not (0: 15 min).
	Interval, Unwoken time.Duration
	// Doubt is told of a payload that may be damaged on the server's disk: its
	// size is wrong, or an endpoint that may have it says that its bytes are.
	// It returns at once and bears any number of calls. May be nil.
	Doubt func(sha256 string)
	// Ping is the silence after which the wake channel says something (0: 2 min).
	Ping time.Duration

	// StrangersOfAddress and Strangers bound the connections over which no machine
	// has shown its certificate, as door.Bounds says.
	StrangersOfAddress, Strangers int
}

// maxConnections bounds the connections of one endpoint; an agent has one or two,
// and its children as many.
const maxConnections = 16

// Gateway serves agents. Make it with New.
type Gateway struct {
	cfg       Config
	wakes     wakes
	enrols    enrolLimiter
	intake    intake
	shares    shares
	announced announcements
	bodies    budget
	noted     door.Seldom
	twins     twins
	scans     sync.Map // endpoints that were asked for a fresh scan

	mu      sync.RWMutex
	revoked map[estate.EndpointID]bool
	asked   time.Time // up to when the tombstones were read
}

// New returns a gateway that knows today's tombstones.
func New(ctx context.Context, cfg Config) (*Gateway, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, p := range []struct {
		have *time.Duration
		want time.Duration
	}{{&cfg.Interval, 8 * time.Hour}, {&cfg.Unwoken, 15 * time.Minute}, {&cfg.Ping, 2 * time.Minute}} {
		if *p.have <= 0 {
			*p.have = p.want
		}
	}
	if cfg.Doubt == nil {
		cfg.Doubt = func(string) {}
	}
	g := &Gateway{cfg: cfg, revoked: map[estate.EndpointID]bool{}}
	g.wakes.init()
	g.intake.init()
	g.enrols.init()
	g.announced.init()
	return g, g.readTombstones(ctx)
}

// TLS returns the configuration of the listener.
func (g *Gateway) TLS() *tls.Config {
	return pki.ServerConfig(pki.Listener{
		Certificate: g.cfg.Certificate, Clients: g.cfg.Trust, Optional: true,
		Check: func(id pki.Identity, _ *x509.Certificate) error {
			if g.isRevoked(estate.EndpointID(id.Endpoint)) {
				return fault.New(fault.Denied, "gateway: endpoint %s is revoked", id.Endpoint)
			}
			return nil
		},
	})
}

// Serve accepts agents until the context ends, then lets open requests finish
// for up to ten seconds. The listener is a plain one; Serve adds TLS.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: g.Handler(), TLSConfig: g.TLS(),
		// The handshake counts against ReadHeaderTimeout too; bodies have
		// their own deadline by route. All of it is against slow clients.
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 8 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 16, SendPingTimeout: 2 * time.Minute, PingTimeout: 20 * time.Second, WriteByteTimeout: 30 * time.Second,
			MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 128 << 10,
		},
	}
	door.Attend(srv, g.cfg.Log)
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	go g.watchTombstones(watch)
	stopped := make(chan error, 1)
	go func() {
		<-watch.Done()
		g.wakes.closeAll()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		stopped <- srv.Shutdown(end)
	}()
	bounds := door.Bounds{OfAddress: g.cfg.StrangersOfAddress, OfAll: g.cfg.Strangers, OfOwner: maxConnections}
	err := srv.ServeTLS(door.New(l, bounds, g.cfg.Log, g.cfg.Now), "", "")
	stopWatch()
	if down := <-stopped; errors.Is(err, http.ErrServerClosed) {
		err = down
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(err, fault.Unavailable, "gateway: the listener on %s failed", l.Addr())
	}
	return nil
}

// Revoke ends an endpoint for ever: in the store, on this server at once, on
// others within half a minute. Its open wake channel is closed.
func (g *Gateway) Revoke(ctx context.Context, t estate.TenantID, id estate.EndpointID) error {
	if err := g.cfg.Store.Revoke(ctx, t, id, g.cfg.Now()); err != nil {
		return err
	}
	g.forget(id)
	return nil
}

func (g *Gateway) forget(id estate.EndpointID) {
	g.mu.Lock()
	g.revoked[id] = true
	g.mu.Unlock()
	g.wakes.drop(id)
}

func (g *Gateway) isRevoked(id estate.EndpointID) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.revoked[id]
}

// readTombstones adds what was revoked since the last time, with an overlap
// for clocks of other servers.
func (g *Gateway) readTombstones(ctx context.Context) error {
	now := g.cfg.Now()
	var since time.Time
	if !g.asked.IsZero() {
		since = g.asked.Add(-10 * time.Minute)
	}
	err := g.cfg.Store.Revoked(ctx, since, func(id estate.EndpointID, _ time.Time) {
		if !g.isRevoked(id) {
			g.forget(id)
		}
	})
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "gateway: the revoked endpoints can't be read")
	}
	g.asked = now
	return nil
}

func (g *Gateway) watchTombstones(ctx context.Context) {
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := g.readTombstones(ctx); err != nil && ctx.Err() == nil {
			g.cfg.Log.Error("revoked endpoints could not be read", "error", err)
		}
	}
}
