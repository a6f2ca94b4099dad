package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// TestSettingsForEverybody: what an administrator set for the role or the whole
// server changes nothing for Fettle, from the first migration on.
func TestSettingsForEverybody(t *testing.T) {
	cluster := shared.Postgres(t)
	for name, value := range map[string]string{
		"default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "statement_timeout": "1min", "lock_timeout": "1min",
		"idle_in_transaction_session_timeout": "1min", "idle_session_timeout": "1min", "row_security": "off", "client_encoding": "LATIN1", "standard_conforming_strings": "off",
	} {
		cluster.SQL(t, "fettle", "alter role fettle set "+name+" = '"+value+"'")
		cluster.SQL(t, "fettle", "alter role fettle in database fettle set "+name+" = '"+value+"'")
	}
	db := open(t, Config{DSN: cluster.DSN})
	in := db.In(estate.InTenant(storetest.NewTenant(t, db, "everybody")))
	if err := in.PutSite(t.Context(), estate.Site{Tenant: "everybody", ID: "north", Name: `Größe \'`}); err != nil {
		t.Error(err)
	}
	if got, err := in.Sites(t.Context()); err != nil || len(got) != 2 || got[1].Name != `Größe \'` {
		t.Errorf("%v, %v", got, err)
	}
	serving, _, err := Config{DSN: cluster.DSN}.parse()
	if err != nil {
		t.Fatal(err)
	}
	conns, err := pgxpool.NewWithConfig(t.Context(), serving)
	if err != nil {
		t.Fatal(err)
	}
	defer conns.Close()
	want := settings(statementTime, lockTime)
	want["transaction_isolation"], want["transaction_read_only"] = "read committed", "off"
	for name, value := range want {
		var got string
		err := conns.QueryRow(t.Context(), "select setting from pg_settings where name = $1", name).Scan(&got)
		if strings.HasPrefix(name, "tcp_") || name == "transaction_timeout" && got == "" { // a Unix socket has none, nor has PostgreSQL 15
			continue
		}
		if err != nil || got != value {
			t.Errorf("%s is %q in a session of the pool, want %q (%v)", name, got, value, err)
		}
	}
}

// TestDatabasesThatCannotServe: they are refused before anything is changed.
func TestDatabasesThatCannotServe(t *testing.T) {
	cluster := storetest.Postgres(t)
	cluster.SQL(t, "postgres", "create database old owner fettle encoding 'LATIN1' template template0")
	old := Config{DSN: strings.Replace(cluster.DSN, "dbname=fettle", "dbname=old", 1)}
	if says := refused(t, old, fault.Invalid); !strings.Contains(says, "keeps texts as LATIN1") || !strings.Contains(says, "createdb --encoding=UTF8") {
		t.Error(says)
	}
	if claim, err := Take(t.Context(), old); claim != nil || !fault.Is(err, fault.Invalid) {
		t.Errorf("a claim on it: %v", err)
	}
	db := open(t, Config{DSN: cluster.DSN})
	cluster.Stop()
	cluster.Put(t, "data/standby.signal", nil)
	cluster.Start(t)
	if says := refused(t, Config{DSN: cluster.DSN}, fault.Unavailable); !strings.Contains(says, "is a standby") || !strings.Contains(says, "target_session_attrs=read-write") {
		t.Error(says)
	}
	var err error
	for range connections + 1 { // those of before are used up
		if _, err = db.Facts(t.Context()); strings.Contains(fault.Public(err), "is a standby") {
			break
		}
	}
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Public(err), "is a standby") {
		t.Errorf("the server that serves: %v", err)
	}
}

// TestLockHeldByOthers: a lock that somebody holds in psql ends a statement after
// a while and says so; nothing hangs, and afterwards all goes on.
func TestLockHeldByOthers(t *testing.T) {
	cluster := shared.Postgres(t)
	db := open(t, Config{DSN: cluster.DSN, lockTime: time.Millisecond})
	tenant := storetest.NewTenant(t, db, "locked")
	in := db.In(estate.InTenant(tenant))
	psql, err := pgx.Connect(t.Context(), cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = psql.Close(context.WithoutCancel(t.Context())) }()
	tx, err := psql.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table sites, settings in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a list":          second(in.Sites(t.Context())),
		"a statement":     in.PutSite(t.Context(), estate.Site{Tenant: tenant, ID: "south"}),
		"the next server": second(Open(t.Context(), Config{DSN: cluster.DSN, lockTime: time.Millisecond})),
	} {
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "somebody else locks") || !strings.Contains(fault.HintOf(err), "pg_blocking_pids") {
			t.Errorf("%s: %v (hint: %s)", what, err, fault.HintOf(err))
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := in.PutSite(t.Context(), estate.Site{Tenant: tenant, ID: "south"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
