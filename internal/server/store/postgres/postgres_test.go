package postgres

import (
	"testing"

	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

func TestSuite(t *testing.T) {
	db, err := Open(t.Context(), Config{DSN: shared.Postgres(t).DSN})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	storetest.Run(t, db)
}

// Nothing waits for a second connection while it holds one: with a pool that is
// used up all would wait for ever.
func TestSuiteOnOneConnection(t *testing.T) {
	db, err := Open(t.Context(), Config{DSN: shared.Postgres(t).DSN + " pool_max_conns=1"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	storetest.Run(t, db)
}

func BenchmarkContact(b *testing.B) {
	db, err := Open(b.Context(), Config{DSN: shared.Postgres(b).DSN})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	storetest.Bench(b, db)
}
