package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// EnqueueJob adds a job unless one with the same kind and key is queued or
// running; it reports whether it did. An empty key is never the same.
func (db *DB) EnqueueJob(ctx context.Context, kind, key string, args []byte, due, now time.Time) (bool, error) {
	id := random(12)
	slot := id
	if key != "" {
		slot = kind + "\n" + key
	}
	n, err := db.nobody().exec(ctx, "enqueue a job", `insert into jobs
		(id, kind, key, state, slot, args, due, attempt, worker, lease, created, ended, problem)
		values ($1, $2, $3, 'queued', $4, $5, $6, 0, '', 0, $7, 0, '') on conflict (slot) do nothing`,
		id, kind, key, slot, string(args), millis(due), millis(now))
	return n == 1, err
}

// ClaimJob takes the earliest due job of the kinds for a worker until the
// lease ends and counts the attempt; a running job whose lease has ended may
// be taken too, because its worker is dead. ok is false when nothing is due.
func (db *DB) ClaimJob(ctx context.Context, worker string, kinds []string, now, lease time.Time) (id, kind string, args []byte, attempt int, ok bool, err error) {
	q := (&query{}).add(`update jobs set state = 'running', worker = ?, lease = ?, attempt = attempt + 1
		where id = (select id from jobs where ((state = 'queued' and due <= ?) or (state = 'running' and lease < ?))`,
		worker, millis(lease), millis(now), millis(now)).in("kind", kinds)
	// The outer condition decides between two workers that saw the same row.
	q.add(` order by due, id limit 1) and ((state = 'queued' and due <= ?) or (state = 'running' and lease < ?))
		returning id, kind, args, attempt`, millis(now), millis(now))
	var text string
	err = db.nobody().write(ctx, "claim a job", func(tx Tx) error {
		err := q.row(ctx, tx).Scan(&id, &kind, &text, &attempt)
		ok = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return id, kind, []byte(text), attempt, ok, err
}

// RenewJob extends the worker's lease and reports whether the job is still
// the worker's.
func (db *DB) RenewJob(ctx context.Context, id, worker string, lease time.Time) (bool, error) {
	n, err := db.nobody().exec(ctx, "renew a job", "update jobs set lease = $1 where id = $2 and worker = $3 and state = 'running'", millis(lease), id, worker)
	return n == 1, err
}

// EndJob ends the worker's job as done (problem empty) or failed.
func (db *DB) EndJob(ctx context.Context, id, worker, problem string, now time.Time) error {
	state := "done"
	if problem != "" {
		state = "failed"
	}
	_, err := db.nobody().exec(ctx, "end a job", "update jobs set state = $1, slot = id, ended = $2, problem = $3 where id = $4 and worker = $5 and state = 'running'",
		state, millis(now), problem, id, worker)
	return err
}

// RetryJob puts the worker's job back into the queue until due.
func (db *DB) RetryJob(ctx context.Context, id, worker, problem string, due time.Time) error {
	_, err := db.nobody().exec(ctx, "retry a job", "update jobs set state = 'queued', due = $1, problem = $2, worker = '', lease = 0 where id = $3 and worker = $4 and state = 'running'",
		millis(due), problem, id, worker)
	return err
}

// NextJob returns when the earliest job of the kinds falls due or loses its
// lease; ok is false when there is none.
func (db *DB) NextJob(ctx context.Context, kinds []string) (at time.Time, ok bool, err error) {
	q := (&query{}).add("select coalesce(min(case when state = 'queued' then due else lease end), -1) from jobs where state in ('queued', 'running')").in("kind", kinds)
	var ms int64
	err = q.row(ctx, db.nobody()).Scan(&ms)
	return time.UnixMilli(ms), err == nil && ms >= 0, db.wrap(err, "look for the next job")
}

// ReleaseJobs gives back the running jobs of workers that are known to be
// dead: one server works with a database, so every running job at its start was
// killed. It returns how many.
func (db *DB) ReleaseJobs(ctx context.Context) (int64, error) {
	return db.nobody().exec(ctx, "release jobs of a killed process", "update jobs set state = 'queued', worker = '', lease = 0 where state = 'running'")
}

// PruneJobs deletes jobs that ended before the moment and returns how many.
func (db *DB) PruneJobs(ctx context.Context, before time.Time) (int64, error) {
	return db.nobody().exec(ctx, "prune jobs", "delete from jobs where ended > 0 and ended < $1", millis(before))
}

// HurryJobs makes the queued jobs of a kind due at once and returns how many
// were not.
func (db *DB) HurryJobs(ctx context.Context, kind string, now time.Time) (int64, error) {
	return db.nobody().exec(ctx, "hurry jobs", "update jobs set due = $1 where kind = $2 and state = 'queued' and due > $1", millis(now), kind)
}
