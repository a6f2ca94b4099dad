package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// Claim keeps a second server off a database: both would write the same
// deployments, each from what it has in memory. It is an advisory lock of a
// session of its own (PostgreSQL's manual, 13.3.5), which ends with the session.
//
// A server whose machine was suspended, or cut off from the database, may have
// lost it without knowing. So each new connection of its pool looks after it,
// and so does Watch: what a server that was overtaken still wants to write does
// not arrive.
type Claim struct {
	of  Config
	cfg *pgxpool.Config

	overtaken chan struct{} // closed when another server has the database

	mu      sync.Mutex
	conn    *pgx.Conn
	session string // the lock's, or the one that had it last
	mark    string // what this server left in the database, "" before Open
	err     error  // why it is overtaken
}

// claimWatch is how often a claim is looked after.
const claimWatch = 15 * time.Second

// Take claims the database before Open changes anything there. Errors:
// fault.Conflict when another server has it, and what Open returns.
func Take(ctx context.Context, c Config) (*Claim, error) {
	serving, _, err := c.parse()
	if err != nil {
		return nil, err
	}
	if err := ownSession(ctx, serving); err != nil { // a pooler would keep the lock
		return nil, err
	}
	claim := &Claim{of: c, cfg: serving, overtaken: make(chan struct{})}
	if err := claim.take(ctx); err != nil {
		return nil, err
	}
	return claim, nil
}

// Open opens the database that is claimed. Once another server has it, no
// connection of the pool serves any more. Errors: what the function Open returns.
func (c *Claim) Open(ctx context.Context) (*store.DB, error) {
	of := c.of
	of.claim = c
	db, err := Open(ctx, of)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.hold(ctx); err == nil { // it may have been cut off meanwhile
		err = c.sign(ctx)
	}
	if err != nil {
		_ = db.Close() // nothing was written
		return nil, unreachable(err, c.cfg.ConnConfig)
	}
	return db, nil
}

// Hold asks the claim's session, and makes another in the place of one that is
// gone. fault.Conflict means that another server was faster, or was here in
// between: this one must write no more. Other errors may pass.
func (c *Claim) Hold(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	err := c.hold(ctx)
	if fault.Is(err, fault.Conflict) {
		c.err = err
		close(c.overtaken)
	}
	return err
}

func (c *Claim) hold(ctx context.Context) error {
	if c.conn != nil {
		ask, cancel := context.WithTimeout(ctx, connectTime)
		defer cancel()
		if c.conn.Ping(ask) == nil {
			return nil
		}
		c.drop()
	}
	if err := c.take(ctx); err != nil {
		return err
	}
	return c.sole(ctx)
}

// Watch looks after the claim until the context ends, and takes it anew after
// the database was away. It returns what Hold says of another server.
func (c *Claim) Watch(ctx context.Context) error {
	tick := time.NewTicker(claimWatch)
	defer tick.Stop()
	return c.watch(ctx, tick.C)
}

func (c *Claim) watch(ctx context.Context, tick <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.overtaken:
			return c.Hold(ctx)
		case <-tick:
			_ = c.Hold(ctx) // a database that is away is told by whoever needs it
		}
	}
}

// fence lets a connection of the pool serve while the claim is not known to be
// lost.
func (c *Claim) fence(ctx context.Context, _ *pgx.Conn) (bool, error) {
	select {
	case <-c.overtaken:
		err := c.Hold(ctx) // says why, and asks nobody
		return false, fault.Wrap(err, fault.Unavailable, "postgres: this server writes no more")
	default:
		return true, nil
	}
}

// admit looks after the claim before a new connection serves.
func (c *Claim) admit(ctx context.Context, conn *pgx.Conn) error {
	err := c.Hold(ctx)
	if fault.Is(err, fault.Conflict) {
		_, err = c.fence(ctx, conn)
	}
	return err
}

// Release gives the database free. Watch has ended before.
func (c *Claim) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// drop ends the session. The caller holds the lock.
func (c *Claim) drop() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.conn.Close(ctx) // the session ends with its connection
	c.conn = nil
}
