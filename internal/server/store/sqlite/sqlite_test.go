package sqlite_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
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

// Without a database that knows tenants, the scope alone keeps them apart.
func TestTrustRow7ForeignRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fettle.db")
	db := open(t, path)
	defer db.Close()
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var tables string
	if err := raw.QueryRowContext(t.Context(), `select 'tenants ' || group_concat(name, ' ') from sqlite_schema s where type = 'table'
		and exists (select 1 from pragma_table_info(s.name) where name = 'tenant')`).Scan(&tables); err != nil {
		t.Fatal(err)
	}
	victim := storetest.Furnish(t, db)
	me := storetest.NewTenant(t, db, "mine")
	storetest.Enrol(t, db, me, estate.DefaultSite, "mine-ep")
	storetest.Attack(t, db, db.In(estate.InTenant(me)), me, victim, func() string { return storetest.Dump(t, raw, tables, victim.Tenant) })
}

// What was written before a restart is there after it: endpoints, and tokens
// whose secret only the database knows how to judge.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fettle.db")
	db := open(t, path)
	tenant := storetest.NewTenant(t, db, "acme")
	storetest.Enrol(t, db, tenant, estate.DefaultSite, "e1")
	now := time.Now()
	_, secret, err := db.In(estate.InTenant(tenant)).CreateToken(t.Context(),
		estate.Token{Tenant: tenant, Site: estate.DefaultSite, Uses: 1, Created: now, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	defer db.Close()
	if _, err := db.In(estate.InTenant(tenant)).Endpoint(t.Context(), "e1"); err != nil {
		t.Error(err)
	}
	if _, err := db.Enrol(t.Context(), secret, estate.Endpoint{ID: "e2", Enrolled: now}, now); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is open to others: %v, %v", info.Mode(), err)
	}
}

// A database of a newer build is refused before anything is changed.
func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fettle.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.ExecContext(t.Context(), "insert into goose_db_version (version_id, is_applied) values (999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), path); !fault.Is(err, fault.Unsupported) {
		t.Errorf("opened: %v", err)
	}
	if _, err := sqlite.Open(t.Context(), filepath.Join(path, "no", "folder")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a path that can't be: %v", err)
	}
}

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func BenchmarkContact(b *testing.B) {
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "fettle.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	storetest.Bench(b, db)
}
