package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

func TestSuite(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fettle ?#%.db"))
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

func BenchmarkContact(b *testing.B) {
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "fettle.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	storetest.Bench(b, db)
}
