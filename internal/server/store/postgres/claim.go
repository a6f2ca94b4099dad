package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettlehq/fettle/internal/fault"
)

const (
	// claimPatience is how long a claim waits for the one before to end: a server
	// that was killed leaves its session for a moment.
	claimPatience = 3 * time.Second
	claimPoll     = 200 * time.Millisecond
	// claimWatch is how often a claim is looked after.
	claimWatch = 15 * time.Second
)

// Claim keeps a second server off a database: both would write the same
// deployments, each from what it has in memory. It is an advisory lock of a
// session of its own (PostgreSQL's manual, 13.3.5), which ends with the session.
type Claim struct {
	cfg  *pgxpool.Config
	conn *pgx.Conn
}

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
	claim := &Claim{cfg: serving}
	if err := claim.take(ctx); err != nil {
		return nil, err
	}
	return claim, nil
}

// take makes the session and waits a little for the lock.
func (c *Claim) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime+claimPatience)
	defer cancel()
	conn, err := alone(ctx, c.cfg)
	if err != nil {
		return unreachable(err, c.cfg.ConnConfig)
	}
	var key int64
	taken := false
	if err = c.cfg.AfterConnect(ctx, conn); err == nil {
		key, taken, err = tryLock(ctx, conn)
	}
	switch {
	case err == nil && taken:
		c.conn = conn
		return nil
	case err == nil:
		err = c.held(ctx, conn, key)
	default:
		err = unreachable(err, c.cfg.ConnConfig)
	}
	_ = conn.Close(ctx) // nothing is left to lose
	return err
}

// tryLock tries for the lock, again and again for a while.
func tryLock(ctx context.Context, conn *pgx.Conn) (key int64, taken bool, err error) {
	poll := time.NewTicker(claimPoll)
	defer poll.Stop()
	for tries := claimPatience / claimPoll; tries > 0; tries-- {
		err = conn.QueryRow(ctx, `with own as (select hashtextextended('fettle server ' || current_schema(), 0) as key)
			select key, pg_try_advisory_lock(key) from own`).Scan(&key, &taken)
		if err != nil || taken {
			break
		}
		<-poll.C
	}
	return key, taken, err
}

// held says who has the database.
func (c *Claim) held(ctx context.Context, conn *pgx.Conn, key int64) error {
	where, session := "", ""
	err := conn.QueryRow(ctx, `select coalesce(host(client_addr), 'the machine that it is on'), pid || ', since ' || backend_start from pg_locks join pg_stat_activity using (pid)
		where locktype = 'advisory' and granted and classid::bigint << 32 | objid::bigint = $1`, key).Scan(&where, &session)
	if err != nil {
		where, session = "a machine that PostgreSQL does not name", "not seen"
	}
	return fault.Wrap(err, fault.Conflict, "postgres: another server works with the database %s, from %s", c.cfg.ConnConfig.Database, where).
		WithHint("nothing was changed; stop that server (its session: %s), or give this one a database of its own", session)
}

// Watch looks after the claim until the context ends, and takes it anew after
// the database was away. fault.Conflict means that another server was faster:
// this one must write no more.
func (c *Claim) Watch(ctx context.Context) error {
	tick := time.NewTicker(claimWatch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := c.renew(ctx); fault.Is(err, fault.Conflict) {
			return err
		}
	}
}

// renew asks the session and makes another in the place of one that is gone.
func (c *Claim) renew(ctx context.Context) error {
	if c.conn != nil {
		ask, cancel := context.WithTimeout(ctx, connectTime)
		defer cancel()
		if c.conn.Ping(ask) == nil || ctx.Err() != nil {
			return nil
		}
		c.Release()
	}
	return c.take(ctx)
}

// Release gives the database free. Watch has ended before.
func (c *Claim) Release() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.conn.Close(ctx) // the session ends with its connection
	c.conn = nil
}
