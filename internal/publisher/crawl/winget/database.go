package winget

import (
	"archive/zip"
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the index is a SQLite database

	"github.com/fettlehq/fettle/internal/fault"
)

const sqliteMagic = "SQLite format 3\x00"

// fromPackage reads Public/index.db of a source.msix, which is a ZIP file.
func fromPackage(ctx context.Context, r io.ReaderAt, size int64, yield func(Indexed) error) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return notIndex(err, "its package is damaged")
	}
	f, err := z.Open("Public/index.db")
	if err != nil {
		return notIndex(err, "its package holds no Public/index.db")
	}
	defer f.Close()
	return fromDatabase(ctx, f, yield)
}

// fromDatabase reads winget's index. Schema 2 has a table of packages with the
// newest version of each; schema 1 has a table of manifests that refers to
// tables of ids and versions (AppInstallerRepositoryCore/Microsoft/Schema in
// microsoft/winget-cli). The database is opened read-only from a copy.
func fromDatabase(ctx context.Context, r io.Reader, yield func(Indexed) error) error {
	dir, err := os.MkdirTemp("", "fettle-winget-")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winget: no folder for the index can be made")
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "index.db")
	if err := spill(path, r); err != nil {
		return err
	}
	at := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=ro&immutable=1&_pragma=trusted_schema(0)&_pragma=query_only(1)"}
	db, err := sql.Open("sqlite", at.String())
	if err != nil {
		return fault.Wrap(err, fault.Internal, "winget: the index can't be opened")
	}
	defer db.Close()
	var second int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'packages'`).Scan(&second)
	if err != nil {
		return notIndex(err, "its database is damaged")
	}
	query := `SELECT ids.id, versions.version FROM manifest JOIN ids ON ids.rowid = manifest.id JOIN versions ON versions.rowid = manifest.version`
	if second > 0 {
		query = `SELECT id, latest_version FROM packages`
	}
	return rows(ctx, db, query, yield)
}

func rows(ctx context.Context, db *sql.DB, query string, yield func(Indexed) error) error {
	all, err := db.QueryContext(ctx, query)
	if err != nil {
		return notIndex(err, "its database has neither the tables of schema 1 nor of schema 2")
	}
	defer all.Close()
	for all.Next() {
		var x Indexed
		if err := all.Scan(&x.Identifier, &x.Version); err != nil {
			return notIndex(err, "a row of its database is damaged")
		}
		if err := yield(x); err != nil {
			return err
		}
	}
	if err := all.Err(); err != nil {
		return notIndex(err, "its database is damaged")
	}
	return nil
}

// spill writes the unpacked database to disk, bounded.
func spill(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "winget: no copy of the index can be made")
	}
	n, err := io.Copy(f, io.LimitReader(r, maxListing+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return fault.Wrap(err, fault.Invalid, "winget: the index can't be unpacked")
	}
	if n > maxListing {
		return notIndex(nil, "it is longer than %d bytes", maxListing)
	}
	return nil
}
