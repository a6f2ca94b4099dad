package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettlehq/fettle/internal/server/store"
)

// pool serves with pgx itself, which sends several statements in one go: the
// sight and the statement that it is for take a single round trip.
//
// set_config with true as its last argument ends with the transaction. What is
// sent up to one Sync message is one transaction (PostgreSQL's manual, 55.2.4,
// Pipelining), so there is no moment at which a connection in the pool has a
// sight.
type pool struct{ conns *pgxpool.Pool }

// setSight is the only statement that gives a transaction a sight.
const setSight = "select set_config('fettle.sight', $1, true)"

// pipeline queues the sight, if there is one, before a statement and sends
// both. The result that comes next is the statement's.
func pipeline(ctx context.Context, conn *pgxpool.Conn, sight store.Sight, q store.Query) (pgx.BatchResults, error) {
	batch := &pgx.Batch{}
	if sight != (store.Sight{}) {
		batch.Queue(setSight, sight.Setting())
	}
	batch.Queue(q.Text, q.Args...)
	results := conn.SendBatch(ctx, batch)
	if batch.Len() > 1 {
		if _, err := results.Exec(); err != nil {
			_ = results.Close() // says the same again
			return nil, err
		}
	}
	return results, nil
}

// Ask implements store.Pool.
func (p pool) Ask(ctx context.Context, sight store.Sight, q store.Query, each func(store.Row) error) (err error) {
	conn, err := p.conns.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	results, err := pipeline(ctx, conn, sight, q)
	if err != nil {
		return err
	}
	defer func() {
		if closing := results.Close(); err == nil {
			err = closing // an error at the end of the transaction
		}
	}()
	rows, err := results.Query()
	return walk(rows, err, each)
}

// Do implements store.Pool.
func (p pool) Do(ctx context.Context, sight store.Sight, q store.Query) (int64, error) {
	conn, err := p.conns.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	results, err := pipeline(ctx, conn, sight, q)
	if err != nil {
		return 0, err
	}
	tag, err := results.Exec()
	if closing := results.Close(); err == nil {
		err = closing // the commit's word
	}
	return tag.RowsAffected(), err
}

// rollbackTime is how long a rollback may take before its connection is given
// up.
const rollbackTime = 5 * time.Second

// Write implements store.Pool.
func (p pool) Write(ctx context.Context, sight store.Sight, fn func(store.Tx) error) error {
	conn, err := p.conns.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release() // throws a connection away that is still in a transaction
	tx, err := begin(ctx, conn, sight)
	if err != nil {
		return err
	}
	defer func() { // after Commit there is nothing to do
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		_ = tx.Rollback(end) // Release deals with what is left of it
	}()
	if err := fn(transaction{tx}); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// begin opens a transaction and gives it its sight, in one round trip.
func begin(ctx context.Context, conn *pgxpool.Conn, sight store.Sight) (pgx.Tx, error) {
	if sight == (store.Sight{}) {
		return conn.Conn().Begin(ctx)
	}
	batch := &pgx.Batch{}
	batch.BeginTx(pgx.TxOptions{})
	batch.Queue(setSight, sight.Setting())
	results := conn.Conn().SendBatch(ctx, batch)
	if err := results.Close(); err != nil {
		return nil, err
	}
	return results.Tx(), nil
}

// Facts implements store.Pool.
func (p pool) Facts(ctx context.Context) (string, error) {
	var version, role string
	err := p.conns.QueryRow(ctx, "select current_setting('server_version'), current_user").Scan(&version, &role)
	return "PostgreSQL " + version + " as " + role + ", tenants apart by row-level security", err
}

// Close implements store.Pool.
func (p pool) Close() error {
	p.conns.Close()
	return nil
}

type transaction struct{ tx pgx.Tx }

// Exec implements store.Tx.
func (t transaction) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, text, args...)
	return tag.RowsAffected(), err
}

// Ask implements store.Tx.
func (t transaction) Ask(ctx context.Context, q store.Query, each func(store.Row) error) error {
	rows, err := t.tx.Query(ctx, q.Text, q.Args...)
	return walk(rows, err, each)
}

// Narrow implements store.Tx.
func (t transaction) Narrow(ctx context.Context, sight store.Sight) error {
	_, err := t.tx.Exec(ctx, setSight, sight.Setting())
	return err
}

func walk(rows pgx.Rows, err error, each func(store.Row) error) error {
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
