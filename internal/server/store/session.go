package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Sessions of the console have the shape of scs.CtxStore
// (github.com/alexedwards/scs/v2): the token is a secret of high entropy, of
// which only the SHA-256 is kept.

// A session that was ended stays as a row without data until it would have
// expired: a request that was under way then keeps the session when it is
// answered, which is not to bring it back.

// FindCtx returns the data of a session that has not expired.
func (db *DB) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	row := sqlRow(ctx, db.nobody(), "select data from sessions where hash = $1 and expires > $2 and length(data) > 0", hashText(token), millis(time.Now()))
	err = row.Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return data, err == nil, db.wrap(err, "find a session")
}

// CommitCtx adds or replaces a session; one that was ended stays so.
func (db *DB) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	_, err := db.nobody().exec(ctx, "keep a session", `insert into sessions (hash, expires, data) values ($1, $2, $3)
		on conflict (hash) do update set expires = excluded.expires, data = excluded.data where length(sessions.data) > 0`, hashText(token), millis(expiry), data)
	return err
}

// DeleteCtx ends a session; one that does not exist is no error.
func (db *DB) DeleteCtx(ctx context.Context, token string) error {
	_, err := db.nobody().exec(ctx, "end a session", "update sessions set data = $1 where hash = $2", []byte{}, hashText(token))
	return err
}

// Find is FindCtx for scs.Store.
func (db *DB) Find(token string) ([]byte, bool, error) {
	return db.FindCtx(context.Background(), token)
}

// Commit is CommitCtx for scs.Store.
func (db *DB) Commit(token string, data []byte, expiry time.Time) error {
	return db.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx for scs.Store.
func (db *DB) Delete(token string) error { return db.DeleteCtx(context.Background(), token) }

// PruneSessions deletes expired sessions and returns how many.
func (db *DB) PruneSessions(ctx context.Context, now time.Time) (int64, error) {
	return db.nobody().exec(ctx, "prune sessions", "delete from sessions where expires <= $1", millis(now))
}
