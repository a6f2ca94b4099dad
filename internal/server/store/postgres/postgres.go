// Package postgres opens the server's store in a PostgreSQL database (pgx), 14
// or newer: for fleets that outgrow one file, and for a database that is backed
// up and kept alive by those who do that anyway. One server works on it at a
// time (claim.go).
//
// Row-level security keeps tenants apart there, whatever the queries say:
// wall.go has the policies, pool.go how a transaction gets its tenant.
package postgres

import (
	"cmp"
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// connections is the size of the pool of one process, unless the connection
// string says pool_max_conns.
const connections = 20

// Open connects to the database, migrates it and makes sure that row-level
// security holds for the role that serves. It returns fault.Invalid for
// settings that can't be right, fault.Unavailable when the database does not
// let it in, and fault.Denied for a role or a schema that would not keep
// tenants apart.
func Open(ctx context.Context, c Config) (*store.DB, error) {
	e, owner, err := engine(ctx, c)
	if err != nil {
		return nil, err
	}
	defer owner.Close() // the owner's part is done when the server serves
	return store.New(ctx, e)
}

// engine connects. The second result is the connection of the tables' owner.
func engine(ctx context.Context, c Config) (store.Engine, *sql.DB, error) {
	serving, owning, err := c.parse()
	if err != nil {
		return store.Engine{}, nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return store.Engine{}, nil, fault.Wrap(err, fault.Internal, "postgres: no lock for the migrations")
	}
	if c.claim == nil { // Take has looked
		if err := ownSession(ctx, serving); err != nil {
			return store.Engine{}, nil, err
		}
	}
	if owning != serving {
		if err := ownSession(ctx, owning); err != nil {
			return store.Engine{}, nil, err
		}
	}
	conns, err := pgxpool.NewWithConfig(ctx, serving)
	if err != nil {
		return store.Engine{}, nil, unreachable(err, serving.ConnConfig)
	}
	migrating := settings(0, cmp.Or(c.lockTime, lockTime))
	owner := stdlib.OpenDB(*owning.ConnConfig, stdlib.OptionBeforeConnect(owning.BeforeConnect),
		stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error { return prepare(ctx, conn, migrating) }))
	w := wall{conns: conns, owner: owner, role: serving.ConnConfig.User, apart: c.OwnerDSN != ""}
	return store.Engine{
		Dialect: goose.DialectPostgres, Migrate: owner, Pool: pool{conns},
		Goose:    []goose.ProviderOption{goose.WithSessionLocker(locker), goose.WithGoMigrations(walls()...)},
		Migrated: w.check,
		// PostgreSQL's manual, appendix A: serialization_failure, deadlock_detected.
		Transient: is("40001", "40P01"),
		Duplicate: is("23505"),
		Dangling:  is("23503"),
		Full:      is("53100"),
		Walled:    is("42501"),
		Blocked:   is("55P03"),
		Slow:      is("57014"),
		Down:      down,
	}, owner, nil
}
