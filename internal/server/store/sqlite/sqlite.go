// Package sqlite opens the server's store in one file (modernc.org/sqlite, no
// cgo). It is the default and carries a single server process.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// readers is the size of the read pool. WAL readers do not wait for the writer.
const readers = 8

// Open opens or creates the database file, in WAL mode with
// synchronous=NORMAL: a crash of the program loses nothing, a power cut may
// lose the last moments but never damages the file.
func Open(ctx context.Context, path string) (*store.DB, error) {
	// Created here so that nobody else on the machine can read it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "sqlite: can't open %s", path).
			WithHint("check that %s exists and is writable by this user", filepath.Dir(path))
	}
	if err := f.Close(); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "sqlite: can't open %s", path)
	}
	write, err := pool(path, 1, "&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	read, err := pool(path, readers, "&_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return store.New(ctx, store.Engine{
		Dialect: goose.DialectSQLite3, Migrate: write, Pool: &pools{write: write, read: read, hot: map[string]*sql.Stmt{}},
		Transient: is(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
		Duplicate: exactly(sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY),
		Dangling:  exactly(sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY),
		Full:      is(sqlite3.SQLITE_FULL),
	})
}

func dsn(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=synchronous(NORMAL)" +
		"&_pragma=cache_size(-16384)&_pragma=journal_size_limit(67108864)"
}

// is matches primary result codes, whose low byte all extended ones share.
func is(codes ...int) func(error) bool {
	return match(func(code int) int { return code & 0xff }, codes)
}

// exactly matches extended result codes.
func exactly(codes ...int) func(error) bool {
	return match(func(code int) int { return code }, codes)
}

func match(reduce func(int) int, codes []int) func(error) bool {
	return func(err error) bool {
		var e *sqlite.Error
		if !errors.As(err, &e) {
			return false
		}
		for _, c := range codes {
			if reduce(e.Code()) == c {
				return true
			}
		}
		return false
	}
}
