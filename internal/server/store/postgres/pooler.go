package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettlehq/fettle/internal/fault"
)

// poolerTime bounds the look for a pooler, which may let connections wait.
const poolerTime = time.Minute

// poolerRounds is how often two connections are compared. A pooler has many
// server connections to choose from; one that rotates them shows in a round or
// two.
const poolerRounds = 5

// ownSession refuses a pooler that gives a connection's transactions to
// whichever server session is free (PgBouncer's manual, pool_mode transaction
// and statement): statements that were prepared in one are missing in the next,
// and the lock of the migrations stays behind in a session that nobody finds
// again.
//
// Rows would be safe even so: a sight ends with the transaction that it is for
// (pool.go). What is refused is a server that fails now and then.
func ownSession(ctx context.Context, cfg *pgxpool.Config) error {
	ctx, cancel := context.WithTimeout(ctx, poolerTime)
	defer cancel()
	one, err := alone(ctx, cfg)
	if err != nil {
		return unreachable(err, cfg.ConnConfig)
	}
	defer func() { _ = one.Close(ctx) }() // nothing is left to lose
	two, err := alone(ctx, cfg)
	if err != nil {
		return unreachable(err, cfg.ConnConfig)
	}
	defer func() { _ = two.Close(ctx) }()
	shared, err := sharing(ctx, one, two)
	switch {
	case shared || codeOf(err) == "08P01":
		// protocol_violation is PgBouncer's answer to begin in statement mode.
		return fault.Wrap(err, fault.Invalid, "postgres: a pooler at %s gives each transaction another session", cfg.ConnConfig.Host).
			WithHint("let the connection string name PostgreSQL itself, or set pool_mode = session for this database in PgBouncer")
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Wrap(err, fault.Unavailable, "postgres: %s lets connections wait", cfg.ConnConfig.Host).
			WithHint("a pooler in between needs a server connection for each of Fettle's: in PgBouncer a default_pool_size above pool_max_conns")
	case err != nil:
		return unreachable(err, cfg.ConnConfig)
	}
	return nil
}

// alone makes a connection that prepares nothing, so that it works through any
// pooler.
func alone(ctx context.Context, cfg *pgxpool.Config) (*pgx.Conn, error) {
	c := cfg.ConnConfig.Copy()
	c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if err := cfg.BeforeConnect(ctx, c); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, c)
}

// sharing reports that the first connection's session changes, or serves a
// transaction of the second one while the first is open.
func sharing(ctx context.Context, one, two *pgx.Conn) (bool, error) {
	own, err := sessionOf(ctx, one)
	if err != nil {
		return false, err
	}
	for range poolerRounds {
		if _, err := two.Exec(ctx, "begin"); err != nil {
			return false, err
		}
		others, err := sessionOf(ctx, two)
		if err != nil {
			return false, err
		}
		now, err := sessionOf(ctx, one)
		if err != nil {
			return false, err
		}
		if now != own || others == own {
			return true, nil
		}
		if _, err := two.Exec(ctx, "rollback"); err != nil {
			return false, err
		}
	}
	return false, nil
}

// sessionOf names a server session. A pid alone may come again, on another server
// behind one address or later.
func sessionOf(ctx context.Context, conn *pgx.Conn) (name string, err error) {
	err = conn.QueryRow(ctx, "select pid || ' ' || extract(epoch from backend_start) from pg_stat_activity where pid = pg_backend_pid()").Scan(&name)
	return name, err
}
