package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// pools are the file's one writer and its readers. SQLite knows no roles: a
// sight changes nothing here, and a read is no transaction.
type pools struct {
	write, read *sql.DB

	mu  sync.Mutex
	hot map[string]*sql.Stmt
}

// Ask implements store.Pool.
func (p *pools) Ask(ctx context.Context, _ store.Sight, q store.Query, each func(store.Row) error) error {
	if !q.Hot {
		return ask(ctx, p.read, q, each)
	}
	stmt, err := p.prepared(ctx, q.Text) //nolint:sqlclosecheck // kept; Close closes it
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, q.Args...)
	return walk(rows, err, each)
}

// prepared returns a statement of the readers that is parsed once.
func (p *pools) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.hot[text]; s != nil {
		return s, nil
	}
	s, err := p.read.PrepareContext(context.WithoutCancel(ctx), text) //nolint:sqlclosecheck // kept; Close closes it
	if err != nil {
		return nil, err
	}
	p.hot[text] = s
	return s, nil
}

// Do implements store.Pool.
func (p *pools) Do(ctx context.Context, sight store.Sight, q store.Query) (n int64, err error) {
	err = p.Write(ctx, sight, func(tx store.Tx) error {
		n, err = tx.Exec(ctx, q.Text, q.Args...)
		return err
	})
	return n, err
}

// Write implements store.Pool.
func (p *pools) Write(ctx context.Context, _ store.Sight, fn func(store.Tx) error) error {
	tx, err := p.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing to do after Commit; there is one writer, which a panic must not keep
	if err := fn(transaction{tx}); err != nil {
		return err
	}
	return tx.Commit()
}

// Facts implements store.Pool.
func (p *pools) Facts(ctx context.Context) (string, error) {
	var version string
	err := p.read.QueryRowContext(ctx, "select sqlite_version()").Scan(&version)
	return "SQLite " + version, err
}

// Close implements store.Pool.
func (p *pools) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.hot {
		_ = s.Close() // the pool closes next
	}
	return errors.Join(p.write.Close(), p.read.Close())
}

type transaction struct{ tx *sql.Tx }

// Exec implements store.Tx.
func (t transaction) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	res, err := t.tx.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Ask implements store.Tx.
func (t transaction) Ask(ctx context.Context, q store.Query, each func(store.Row) error) error {
	return ask(ctx, t.tx, q, each)
}

// Narrow implements store.Tx.
func (t transaction) Narrow(context.Context, store.Sight) error { return nil }

func ask(ctx context.Context, on interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, q store.Query, each func(store.Row) error,
) error {
	rows, err := on.QueryContext(ctx, q.Text, q.Args...)
	return walk(rows, err, each)
}

func walk(rows *sql.Rows, err error, each func(store.Row) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func pool(path string, size int, more string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path)+more)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "sqlite: the driver refuses %s", path)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}
