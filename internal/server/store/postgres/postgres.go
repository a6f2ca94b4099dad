// Package postgres opens the server's store in a PostgreSQL database (pgx), 14
// or newer, for several server processes over one truth.
package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// connections is the size of the pool of one process.
const connections = 20

// Open connects to the database that the connection string names (a
// postgres:// URL or key=value pairs, see libpq's manual) and migrates it.
func Open(ctx context.Context, dsn string) (*store.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fault.New(fault.Invalid, "postgres: the connection string can't be read"). // the cause may hold the password
													WithHint("it looks like postgres://user:password@host/database")
	}
	// Times are integers, so the session's zone does not matter; the name is
	// what an administrator sees in pg_stat_activity.
	cfg.RuntimeParams["application_name"] = "fettle"
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fault.Wrap(err, fault.Unavailable, "postgres: can't reach %s", cfg.Host).
			WithHint("check that the database server runs and lets user %q in", cfg.User), db.Close())
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, errors.Join(fault.Wrap(err, fault.Internal, "postgres: no lock for the migrations"), db.Close())
	}
	return store.New(ctx, store.Engine{
		Goose: []goose.ProviderOption{goose.WithSessionLocker(locker)},
		Name:  "postgres", Dialect: goose.DialectPostgres, Write: db, Read: db,
		// PostgreSQL's manual, appendix A: serialization_failure, deadlock_detected.
		Transient: is("40001", "40P01"),
		Duplicate: is("23505"),
		Dangling:  is("23503"),
		Full:      is("53100"),
	})
}

func is(codes ...string) func(error) bool {
	return func(err error) bool {
		var e *pgconn.PgError
		if !errors.As(err, &e) {
			return false
		}
		return slices.Contains(codes, e.Code)
	}
}
