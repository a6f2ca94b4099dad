package storetest

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fettlehq/fettle/internal/server/store"
)

// Migrated opens a new SQLite database that need not be migrated first: the
// first one of the program is, and later ones are copies of it. open is
// sqlite.Open.
func Migrated(t testing.TB, path string, open func(context.Context, string) (*store.DB, error)) *store.DB {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // what the test cleans up may still ask
	if data := template.take(); data != nil {
		must(t, os.WriteFile(path, data, 0o600))
	} else {
		template.keep(migrate(t, open))
		must(t, os.WriteFile(path, template.take(), 0o600))
	}
	db, err := open(ctx, path)
	must(t, err)
	return db
}

// migrate returns the file of a database that is as empty as it can be.
func migrate(t testing.TB, open func(context.Context, string) (*store.DB, error)) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "migrated.db")
	db, err := open(t.Context(), path)
	must(t, err)
	must(t, db.Close())
	raw, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	_, err = raw.ExecContext(t.Context(), "delete from settings; pragma wal_checkpoint(truncate)") // the key of tokens is each server's own
	must(t, err)
	must(t, raw.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

// kept is a file in memory.
type kept struct {
	mu   sync.Mutex
	data []byte
}

var template = &kept{}

func (k *kept) take() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.data
}

func (k *kept) keep(data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.data = data
}
