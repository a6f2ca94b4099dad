package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pressly/goose/v3"

	"github.com/fettlehq/fettle/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Engine is what a database brings along: its pools and how its errors read.
type Engine struct {
	// Name is "sqlite" or "postgres".
	Name    string
	Dialect goose.Dialect
	// Write and Read are the pools; they may be the same. SQLite's write
	// pool has one connection.
	Write, Read *sql.DB
	// Transient reports that the same transaction may succeed when it is run
	// again: busy, deadlock, serialization failure.
	Transient func(error) bool
	// Duplicate reports a violated unique or primary key.
	Duplicate func(error) bool
	// Dangling reports a violated foreign key.
	Dangling func(error) bool
	// Full reports that disk or quota is used up.
	Full func(error) bool
	// Goose are options of the migrations: a lock where several processes
	// may start at once.
	Goose []goose.ProviderOption
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	e        Engine
	tokenKey []byte
	contacts *batcher
	packer   *zstd.Encoder
	unpacker *zstd.Decoder

	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// New migrates the engine's database to this build's schema and returns it.
// It closes the pools when that fails.
func New(ctx context.Context, e Engine) (*DB, error) {
	db := &DB{e: e, stmts: map[string]*sql.Stmt{}}
	err := db.openZstd()
	if err == nil {
		err = db.migrate(ctx)
	}
	if err == nil {
		db.tokenKey, err = db.loadTokenKey(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.closePools())
	}
	db.contacts = newBatcher(db)
	return db, nil
}

// Close writes what is queued and closes the database.
func (db *DB) Close() error {
	db.contacts.close()
	db.unpacker.Close()
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, s := range db.stmts {
		_ = s.Close() // the pool closes next
	}
	return db.closePools()
}

func (db *DB) closePools() error {
	err := db.e.Write.Close()
	if db.e.Read != db.e.Write {
		err = errors.Join(err, db.e.Read.Close())
	}
	return db.wrap(err, "close the database")
}

func (db *DB) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fault.Wrap(err, fault.Internal, "store: no migrations in this build")
	}
	options := append([]goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler))}, db.e.Goose...)
	p, err := goose.NewProvider(db.e.Dialect, db.e.Write, dir, options...)
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

// write runs fn in a transaction and commits. A transient failure runs it
// again after a pause that doubles from 2 ms, so fn must start from scratch.
func (db *DB) write(ctx context.Context, what string, fn func(tx *sql.Tx) error) error {
	var err error
	for n := range attempts {
		if err = db.once(ctx, fn); err == nil || !db.e.Transient(err) {
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

func (db *DB) once(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := db.e.Write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback() // the first error is the one that counts
		return err
	}
	return tx.Commit()
}

// exec runs one statement as its own transaction and returns the rows touched.
func (db *DB) exec(ctx context.Context, what, query string, args ...any) (int64, error) {
	var n int64
	err := db.write(ctx, what, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// prepared returns a statement of the read pool that is parsed once.
func (db *DB) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if s := db.stmts[query]; s != nil {
		return s, nil
	}
	s, err := db.e.Read.PrepareContext(context.WithoutCancel(ctx), query) //nolint:sqlclosecheck // kept; Close closes it
	if err != nil {
		return nil, err
	}
	db.stmts[query] = s
	return s, nil
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
	case db.e.Transient(err):
		return fault.Wrap(err, fault.Unavailable, "store: %s: the database stays busy", what)
	}
	return fault.Wrap(err, fault.Unavailable, "store: can't %s", what)
}
