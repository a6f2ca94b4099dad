package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fettlehq/fettle/internal/fault"
)

// claimTries and claimPoll are how long a claim waits for the one before to end:
// a server that was killed leaves its session for a moment.
const (
	claimTries = 15
	claimPoll  = 200 * time.Millisecond
)

// take makes the session and waits a little for the lock.
func (c *Claim) take(ctx context.Context) error {
	tries := cmp.Or(c.of.tries, claimTries)
	ctx, cancel := context.WithTimeout(ctx, connectTime+time.Duration(tries)*claimPoll)
	defer cancel()
	conn, err := alone(ctx, c.cfg)
	if err != nil {
		return unreachable(err, c.cfg.ConnConfig)
	}
	session := ""
	if err = prepare(ctx, conn, c.of.settings()); err == nil {
		if session, err = sessionOf(ctx, conn); err == nil {
			err = c.lock(ctx, conn, tries)
		}
	}
	if err != nil {
		_ = conn.Close(ctx) // nothing is left to lose
		return unreachable(err, c.cfg.ConnConfig)
	}
	c.conn, c.session = conn, session
	return nil
}

// lock tries for the lock, again and again for a while.
func (c *Claim) lock(ctx context.Context, conn *pgx.Conn, tries int) error {
	poll := time.NewTicker(claimPoll)
	defer poll.Stop()
	for try := 1; ; try++ {
		var key int64
		taken := false
		err := conn.QueryRow(ctx, `with own as (select hashtextextended('fettle server ' || coalesce(current_schema(), ''), 0) as key)
			select key, pg_try_advisory_lock(key) from own`).Scan(&key, &taken)
		if err != nil || taken {
			return err
		}
		has, err := holderOf(ctx, conn, key)
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows): // it may have ended meanwhile
			return err
		case err == nil && c.session != "" && has.session == c.session:
			// What PostgreSQL has not noticed yet is this server's own, from before the network broke.
			if _, err := conn.Exec(ctx, "select pg_terminate_backend($1)", has.pid); err != nil {
				return err
			}
			if try >= tries {
				return fault.New(fault.Unavailable, "postgres: a session of this server does not end").WithHint("PostgreSQL has it as %s", has.name)
			}
		case try >= tries:
			return c.taken(has)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

// taken says who has the database.
func (c *Claim) taken(has holder) error {
	database := c.cfg.ConnConfig.Database
	if c.session == "" {
		return fault.New(fault.Conflict, "postgres: another server works with the database %s, from %s", database, has.where).
			WithHint("nothing was changed; stop that server (its session: %s), or give this one a database of its own", has.name)
	}
	return fault.New(fault.Conflict, "postgres: another server has taken the database %s over, from %s", database, has.where).
		WithHint("this one writes no more; stop the other one (its session: %s) before you start this one again", has.name)
}

// holder is who has the lock.
type holder struct {
	pid         int
	session     string // as sessionOf has it
	where, name string // for people
}

// holderOf finds the holder. Locks of other databases may have the same key.
func holderOf(ctx context.Context, conn *pgx.Conn, key int64) (h holder, err error) {
	h = holder{where: "a machine that PostgreSQL does not name", name: "not seen"}
	err = conn.QueryRow(ctx, `select pid, coalesce(pid || ' ' || extract(epoch from backend_start), ''),
		case when backend_start is null then $2 else coalesce(host(client_addr), 'the machine that it is on') end, pid || coalesce(', since ' || backend_start, '')
		from pg_locks join pg_stat_activity using (pid) where locktype = 'advisory' and granted and objsubid = 1
		and database = (select oid from pg_database where datname = current_database()) and classid::bigint << 32 | objid::bigint = $1`, key, h.where).
		Scan(&h.pid, &h.session, &h.where, &h.name)
	return h, err
}

// A mark in the database says which server was the last to have it: one that
// finds another's after it had lost its claim has an old memory.
const (
	marked = "select doc from settings where tenant = '' and name = '_claim'"
	mark   = `insert into settings (tenant, name, doc) values ('', '_claim', $1) on conflict (tenant, name) do update set doc = excluded.doc`
)

// sign leaves a new mark. The caller holds the lock of c.
func (c *Claim) sign(ctx context.Context) error {
	text := `"` + rand.Text() + `"`
	err := c.own(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, mark, text)
		return err
	})
	if err == nil {
		c.mark = text
	}
	return err
}

// sole makes sure that the mark is still this server's.
func (c *Claim) sole(ctx context.Context) error {
	if c.mark == "" {
		return nil
	}
	found := ""
	err := c.own(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, marked).Scan(&found) })
	switch {
	case err != nil:
		c.drop() // asked again with the next
		return unreachable(err, c.cfg.ConnConfig)
	case found != c.mark:
		c.drop()
		return fault.New(fault.Conflict, "postgres: another server has worked with the database %s while this one had lost it", c.cfg.ConnConfig.Database).
			WithHint("start this one again if it is to go on: it reads everything anew then")
	}
	return nil
}

// own runs fn in a transaction of the claim's session that sees the server's own rows.
func (c *Claim) own(ctx context.Context, fn func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, c.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setSight, "="); err != nil {
			return err
		}
		return fn(tx)
	})
}
