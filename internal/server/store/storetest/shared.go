package storetest

import (
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Shared is one PostgreSQL server for the tests of a package, one after the
// other: to make one takes longer than most tests. The zero value is ready;
// TestMain closes it.
type Shared struct {
	mu  sync.Mutex
	one *Cluster
}

// Postgres gives the server, as empty as a new one, to the test alone until it
// ends. A test that configures its server makes one of its own instead.
func (s *Shared) Postgres(t testing.TB) *Cluster {
	t.Helper()
	s.mu.Lock()
	t.Cleanup(s.mu.Unlock)
	if s.one == nil {
		s.one = &Cluster{}
		s.one.create(t)
		return s.one
	}
	if s.one.server == nil { // a test has failed while it was stopped
		s.one.Start(t)
	}
	s.one.empty(t)
	s.one.populate(t)
	return s.one
}

// Close ends the server.
func (s *Shared) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.one != nil {
		s.one.remove()
	}
}

// empty removes all databases and roles that a new server does not have.
func (c *Cluster) empty(t testing.TB) {
	t.Helper()
	for _, what := range []struct{ list, drop, rest string }{
		{"select datname from pg_database where not datistemplate and datname <> 'postgres'", "drop database ", " with (force)"},
		{"select rolname from pg_roles where rolname <> 'postgres' and rolname not like 'pg\\_%'", "drop role ", ""},
	} {
		for _, name := range c.names(t, what.list) {
			c.SQL(t, "postgres", what.drop+pgx.Identifier{name}.Sanitize()+what.rest)
		}
	}
}

// names asks the database postgres for a list.
func (c *Cluster) names(t testing.TB, query string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), "host="+c.dir+" user=postgres dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }() // nothing is left to lose
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}
