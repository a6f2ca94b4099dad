package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pressly/goose/v3"

	"github.com/fettlehq/fettle/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Engine is what a database brings along: its pool and how its errors read.
type Engine struct {
	Dialect goose.Dialect
	// Migrate is the connection that changes the schema; whoever opened the
	// engine closes it. Pool serves.
	Migrate *sql.DB
	Pool    Pool
	// Migrated, if not nil, runs between the migrations and the first query:
	// it refuses a database that must not be served.
	Migrated func(context.Context) error
	// Transient reports that the same transaction may succeed when it is run
	// again: busy, deadlock, serialization failure.
	Transient func(error) bool
	// Duplicate reports a violated unique or primary key.
	Duplicate func(error) bool
	// Dangling reports a violated foreign key.
	Dangling func(error) bool
	// Full reports that disk or quota is used up.
	Full func(error) bool
	// Walled reports a write that the database refuses for its tenant. Nil
	// where it does not know tenants.
	Walled func(error) bool
	// Blocked reports that somebody else holds a lock for longer than it is waited
	// for, and Slow that a statement took too long. Nil where nobody bounds it.
	Blocked, Slow func(error) bool
	// Down reports that the database can't be reached. Nil where it is a file.
	Down func(error) bool
	// Goose are options of the migrations: a lock where several processes
	// may start at once, and migrations of this engine alone.
	Goose []goose.ProviderOption
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	e        Engine
	tokenKey []byte
	contacts *batcher
	packer   *zstd.Encoder
	unpacker *zstd.Decoder
}

// New migrates the engine's database to this build's schema and returns it.
// It closes the pool when that fails.
func New(ctx context.Context, e Engine) (*DB, error) {
	db := &DB{e: e}
	err := db.openZstd()
	if err == nil {
		err = db.migrate(ctx)
	}
	if err == nil && e.Migrated != nil {
		err = db.wrap(e.Migrated(ctx), "look at the database")
	}
	if err == nil {
		db.tokenKey, err = db.loadTokenKey(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.closePool())
	}
	db.contacts = newBatcher(db)
	return db, nil
}

// Close writes what is queued and closes the database.
func (db *DB) Close() error {
	db.contacts.close()
	db.unpacker.Close()
	return db.closePool()
}

func (db *DB) closePool() error { return db.wrap(db.e.Pool.Close(), "close the database") }

func (db *DB) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fault.Wrap(err, fault.Internal, "store: no migrations in this build")
	}
	options := append([]goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler))}, db.e.Goose...)
	p, err := goose.NewProvider(db.e.Dialect, db.e.Migrate, dir, options...)
	if err != nil {
		return db.wrap(err, "read the migrations")
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return db.wrap(err, "read the schema's version")
	}
	if current > target {
		return fault.New(fault.Unsupported, "store: the database has schema version %d, this build knows %d", current, target).
			WithHint("start the newer Fettle that wrote it, or restore a backup from before the upgrade")
	}
	_, err = p.Up(ctx)
	return db.wrap(err, "migrate the database")
}

// attempts bounds how often a transaction is run again after Transient.
const attempts = 12

// again runs a transaction, after a transient failure once more after a pause
// that doubles from 2 ms.
func (db *DB) again(ctx context.Context, what string, transaction func() error) error {
	var err error
	for n := range attempts {
		if err = transaction(); err == nil || !db.e.Transient(err) {
			break
		}
		pause := time.Duration(1+rand.IntN(2<<min(n, 8))) * time.Millisecond
		select {
		case <-ctx.Done():
			return db.wrap(ctx.Err(), what)
		case <-time.After(pause):
		}
	}
	return db.wrap(err, what)
}

// wrap turns a database error into a fault; faults pass as they are.
func (db *DB) wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return err
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fault.Wrap(err, fault.NotFound, "store: %s: not found", what)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, fault.Cancelled, "store: %s: stopped", what)
	case db.e.Duplicate(err):
		return fault.Wrap(err, fault.Conflict, "store: %s: it exists already", what)
	case db.e.Dangling(err):
		return fault.Wrap(err, fault.Invalid, "store: %s: it refers to something that does not exist", what)
	case db.e.Full(err):
		return fault.Wrap(err, fault.Exhausted, "store: %s: no space left for the database", what).
			WithHint("free space on the server's data disk; nothing was lost")
	case db.e.Walled != nil && db.e.Walled(err):
		return fault.Wrap(err, fault.Denied, "store: %s: the database refuses it for this tenant", what)
	case db.e.Down != nil && db.e.Down(err):
		return fault.Wrap(err, fault.Unavailable, "store: can't %s: the database does not answer", what).
			WithHint("check that the database server runs and has connections left; Fettle goes on by itself once it answers")
	case db.e.Blocked != nil && db.e.Blocked(err):
		return fault.Wrap(err, fault.Unavailable, "store: can't %s: somebody else locks what it needs in the database", what).
			WithHint("see who: select pid, pg_blocking_pids(pid), query from pg_stat_activity where wait_event_type = 'Lock'; pg_terminate_backend ends that session")
	case db.e.Slow != nil && db.e.Slow(err):
		return fault.Wrap(err, fault.Unavailable, "store: can't %s: the database took too long, or its administrator cancelled it", what).
			WithHint("the database's log names the statement; is its disk slow, or does autovacuum not run?")
	case db.e.Transient(err):
		return fault.Wrap(err, fault.Unavailable, "store: %s: the database stays busy", what)
	}
	return fault.Wrap(err, fault.Unavailable, "store: can't %s", what)
}
