package store

import (
	"context"

	"github.com/fettlehq/fettle/internal/estate"
)

// Sight is whose rows a transaction may see and write. The zero Sight is
// nobody's: it reaches only tables that hold no tenant's rows. PostgreSQL's
// row-level security enforces it; on SQLite the conditions of Scoped do.
type Sight struct{ setting string }

// Settings of a sight, as the policies of PostgreSQL read them
// (postgres/wall.go).
const (
	sightAll    = "*"
	sightPrefix = "="
)

// Setting returns the text that stands for the sight: "" for nobody's rows,
// "*" for those of every tenant, "=" and an id for those of one tenant. "="
// alone are the server's own rows, whose tenant is "".
func (s Sight) Setting() string { return s.setting }

// SightOf returns the sight that a scope needs. A site's is that of its
// tenant: sites are told apart by Scoped alone.
func SightOf(scope estate.Scope) Sight {
	if scope.Tenant == "" {
		return Sight{sightAll}
	}
	return Sight{sightPrefix + string(scope.Tenant)}
}

// Query is a statement with its arguments.
type Query struct {
	Text string
	Args []any
	// Hot says that it is asked at each contact of an agent, always with this
	// very text: an engine keeps it parsed.
	Hot bool
}

// Row is one row of an answer.
type Row interface {
	Scan(into ...any) error
}

// Pool is an engine's way to the database. A call that forgets to say what it
// may see does not compile, and nothing of a sight outlives the call: the next
// user of the same connection begins with none.
type Pool interface {
	// Ask runs one query and calls each for every row.
	Ask(ctx context.Context, sight Sight, q Query, each func(Row) error) error
	// Do runs one statement as a transaction of its own and returns the rows
	// that it touched.
	Do(ctx context.Context, sight Sight, q Query) (int64, error)
	// Write runs fn in a transaction that may write. It commits when fn
	// returns nil, else rolls back, also when fn panics.
	Write(ctx context.Context, sight Sight, fn func(Tx) error) error
	// Facts says what the database is: its name and version, for people.
	Facts(ctx context.Context) (string, error)
	Close() error
}

// Tx is a transaction.
type Tx interface {
	Exec(ctx context.Context, text string, args ...any) (int64, error)
	Ask(ctx context.Context, q Query, each func(Row) error) error
	// Narrow gives the rest of the transaction another sight.
	Narrow(ctx context.Context, sight Sight) error
}

// view is a pool with a sight: what the methods of Scoped and DB query
// through.
type view struct {
	db    *DB
	sight Sight
}

// A door is a reason to see the rows of every tenant without a scope that says
// so. There are no others; a test keeps the list of who uses them.
type door string

const (
	doorEnrol    door = "an enrolment token is found by its hash: it says which tenant"
	doorContacts door = "check-ins of all tenants share a transaction; CheckIn has judged each"
	doorPrune    door = "sections that no machine has any more are removed in all tenants"
)

func (db *DB) through(door) view { return view{db, Sight{sightAll}} }

// own reaches the server's own rows, whose tenant is "".
func (db *DB) own() view { return view{db, Sight{sightPrefix}} }

// nobody reaches the tables that hold no tenant's rows: sessions and jobs.
func (db *DB) nobody() view { return view{db, Sight{}} }

// view reaches the rows of the scope's tenant, or of all.
func (s Scoped) view() view { return view{s.db, SightOf(s.scope)} }

// Ask runs a query.
func (v view) Ask(ctx context.Context, q Query, each func(Row) error) error {
	return v.db.e.Pool.Ask(ctx, v.sight, q, each)
}

// exec runs one statement as its own transaction and returns the rows touched.
func (v view) exec(ctx context.Context, what, text string, args ...any) (int64, error) {
	var n int64
	err := v.db.again(ctx, what, func() (err error) {
		n, err = v.db.e.Pool.Do(ctx, v.sight, Query{Text: text, Args: args})
		return err
	})
	return n, err
}

// write runs fn in a transaction and commits. A transient failure runs it
// again, so fn must start from scratch.
func (v view) write(ctx context.Context, what string, fn func(tx Tx) error) error {
	return v.db.again(ctx, what, func() error { return v.db.e.Pool.Write(ctx, v.sight, fn) })
}

// Facts says what the database is, for people.
func (db *DB) Facts(ctx context.Context) (string, error) {
	text, err := db.e.Pool.Facts(ctx)
	return text, db.wrap(err, "ask the database")
}
