package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// world is a database with two tenants, one of which has rows in every table.
type world struct {
	cluster *storetest.Cluster
	db      *store.DB
	victim  storetest.Victim
	me      estate.TenantID
	admin   *sql.DB // sees everything
	tables  []string
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{cluster: shared.Postgres(t)}
	db, err := Open(t.Context(), Config{DSN: w.cluster.DSN})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w.db, w.victim, w.me = db, storetest.Furnish(t, db), storetest.NewTenant(t, db, "mine")
	storetest.Enrol(t, db, w.me, estate.DefaultSite, "mine-ep")
	if err := db.In(estate.Everything()).PutSetting(t.Context(), "", "servers-own", 1); err != nil {
		t.Fatal(err)
	}
	w.admin = openAs(t, w.cluster.Admin)
	w.tables = w.allTables(t)
	return w
}

// allTables reads pg_catalog, not the list in the code.
func (w world) allTables(t *testing.T) []string {
	t.Helper()
	var all string
	if err := w.admin.QueryRowContext(t.Context(), "select string_agg(relname, ' ' order by relname) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')").Scan(&all); err != nil {
		t.Fatal(err)
	}
	var tables []string
	for table := range strings.FieldsSeq(all) {
		if !slices.Contains(tenantless(), table) {
			tables = append(tables, table)
		}
	}
	if len(tables) < 21 {
		t.Fatalf("only %d tables: the test proves nothing", len(tables))
	}
	return tables
}

func openAs(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*cfg.ConnConfig)
	t.Cleanup(func() { db.Close() })
	return db
}

func (w world) dump(t *testing.T) func() string {
	return func() string { return storetest.Dump(t, w.admin, strings.Join(w.tables, " "), w.victim.Tenant) }
}

// TestTrustRow7RowSecurity attacks one database in turn; the last of them
// changes its schema.
func TestTrustRow7RowSecurity(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		attack func(*testing.T, world)
	}{
		{"methods", methods},
		{"sight alone", sightAlone},
		{"raw SQL", rawSQL},
		{"connections carry nothing", carryNothing},
		{"every table has a wall", everyTable},
	} {
		t.Run(c.name, func(t *testing.T) { c.attack(t, w) })
	}
}

// All methods, with the scope and the database both in place.
func methods(t *testing.T, w world) {
	storetest.Attack(t, w.db, w.db.In(estate.InTenant(w.me)), w.me, w.victim, w.dump(t))
}

// pinned is a pool that has one sight, whatever it is asked for: as if every
// condition of every query had been forgotten.
type pinned struct {
	pool
	sight store.Sight
}

func (p pinned) Ask(ctx context.Context, _ store.Sight, q store.Query, each func(store.Row) error) error {
	return p.pool.Ask(ctx, p.sight, q, each)
}

func (p pinned) Do(ctx context.Context, _ store.Sight, q store.Query) (int64, error) {
	return p.pool.Do(ctx, p.sight, q)
}

func (p pinned) Write(ctx context.Context, _ store.Sight, fn func(store.Tx) error) error {
	return p.pool.Write(ctx, p.sight, func(tx store.Tx) error { return fn(fixed{tx}) })
}

type fixed struct{ store.Tx }

func (fixed) Narrow(context.Context, store.Sight) error { return nil }

// Row-level security alone keeps tenants apart: the code asks for the rows of
// the whole server, in every method, and the database gives one tenant's.
func sightAlone(t *testing.T, w world) {
	e, owner, err := engine(t.Context(), Config{DSN: w.cluster.DSN})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	whole := e.Pool.(pool)
	e.Migrated = nil
	e.Pool = &switched{Pool: whole}
	db, err := store.New(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	e.Pool.(*switched).Pool = pinned{whole, store.SightOf(estate.InTenant(w.me))}
	before := w.dump(t)()
	storetest.Attack(t, db, db.In(estate.Everything()), w.me, w.victim, w.dump(t))
	if _, err := db.Enrol(t.Context(), w.victim.Secret, estate.Endpoint{ID: "mine-2"}, time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a foreign token: %v", err)
	}
	if _, err := db.PruneSections(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if err := db.Agents().Revoked(t.Context(), time.Time{}, func(id estate.EndpointID, _ time.Time) { t.Errorf("sees %s", id) }); err != nil {
		t.Error(err)
	}
	if list, err := db.Orchestration().OpenDeployments(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("sees %v, %v", list, err)
	}
	if w.dump(t)() != before {
		t.Error("the victim's rows have changed")
	}
}

// switched lets the store begin with a real pool, which makes its token key.
type switched struct{ store.Pool }

// Raw SQL on a connection with a tenant's sight: of another's rows nothing is
// read, changed, removed or added, in no table.
func rawSQL(t *testing.T, w world) {
	conns := connect(t, w.cluster.DSN)
	mine, other := store.SightOf(estate.InTenant(w.me)), string(w.victim.Tenant)
	before := w.dump(t)()
	for _, table := range w.tables {
		column := columnOf(table)
		for name, sight := range map[string]store.Sight{"another's": mine, "no": {}} {
			for _, whose := range []string{other, ""} {
				count := "select count(*) from " + table + " where " + column + " = $1"
				if n := number(t, conns, sight, count, whose); n != 0 {
					t.Errorf("%s: %d rows of %q are read with %s sight", table, n, whose, name)
				}
				for _, text := range []string{
					"delete from " + table + " where " + column + " = $1",
					"update " + table + " set " + column + " = " + column + " where " + column + " = $1",
				} {
					if n, err := conns.Do(t.Context(), sight, store.Query{Text: text, Args: []any{whose}}); err != nil || n != 0 {
						t.Errorf("%s, with %s sight: %d rows, %v", text, name, n, err)
					}
				}
			}
			if err := insertCopy(t, w, conns, table, sight); codeOf(err) != "42501" {
				t.Errorf("%s: a row of another tenant is written with %s sight: %v", table, name, err)
			}
		}
		if n := number(t, conns, store.Sight{}, "select count(*) from "+table); n != 0 {
			t.Errorf("%s: %d rows are read without a sight", table, n)
		}
	}
	text := "update endpoints set tenant = $1 where id = 'mine-ep'"
	if _, err := conns.Do(t.Context(), mine, store.Query{Text: text, Args: []any{other}}); codeOf(err) != "42501" {
		t.Errorf("a machine is moved into another tenant: %v", err)
	}
	if n := number(t, conns, mine, "select count(*) from endpoints"); n != 1 {
		t.Errorf("%d own machines", n)
	}
	if w.dump(t)() != before {
		t.Error("the victim's rows have changed")
	}
}

// insertCopy writes a row of the victim's again. The policy is asked before the
// keys are, so a refusal is its word.
func insertCopy(t *testing.T, w world, conns pool, table string, sight store.Sight) error {
	t.Helper()
	var doc string
	key := columnOf(table)
	if err := w.admin.QueryRowContext(t.Context(), "select row_to_json(x)::text from "+table+" x where "+key+" = $1 limit 1", string(w.victim.Tenant)).Scan(&doc); err != nil {
		t.Fatal(err)
	}
	_, err := conns.Do(t.Context(), sight, store.Query{Text: "insert into " + table + " select * from json_populate_record(null::" + table + ", $1::json)", Args: []any{doc}})
	return err
}

func number(t *testing.T, p pool, sight store.Sight, text string, args ...any) int {
	t.Helper()
	n := -1
	if err := p.Ask(t.Context(), sight, store.Query{Text: text, Args: args}, func(r store.Row) error { return r.Scan(&n) }); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return n
}

// However a use of a connection ends, the next user of it has no sight.
func carryNothing(t *testing.T, w world) {
	cfg, err := pgxpool.ParseConfig(w.cluster.DSN)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	conns, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conns.Close()
	p, sight := pool{conns}, store.SightOf(estate.InTenant(w.victim.Tenant))
	none := func(store.Row) error { return nil }
	some := store.Query{Text: "select id from endpoints"}
	seen := func(tx store.Tx) { // proves that there was a sight to carry over
		t.Helper()
		n := 0
		if err := tx.Ask(t.Context(), some, func(store.Row) error { n++; return nil }); err != nil || n == 0 {
			t.Errorf("the victim sees %d machines: %v", n, err)
		}
	}
	stop := errors.New("stop")
	for name, use := range map[string]func(ctx context.Context, cancel func()) error{
		"query": func(ctx context.Context, _ func()) error { return p.Ask(ctx, sight, some, none) },
		"commit": func(ctx context.Context, _ func()) error {
			return p.Write(ctx, sight, func(tx store.Tx) error { seen(tx); return nil })
		},
		"statement": func(ctx context.Context, _ func()) error {
			_, err := p.Do(ctx, sight, store.Query{Text: "update contacts set seen = seen"})
			return err
		},
		"rollback": func(ctx context.Context, _ func()) error {
			return p.Write(ctx, sight, func(tx store.Tx) error { seen(tx); return stop })
		},
		"narrowed": func(ctx context.Context, _ func()) error {
			return p.Write(ctx, store.SightOf(estate.Everything()), func(tx store.Tx) error { return tx.Narrow(ctx, sight) })
		},
		"error in the statement": func(ctx context.Context, _ func()) error {
			return p.Ask(ctx, sight, store.Query{Text: "select 1 / (select count(*)::int - count(*)::int from endpoints)"}, none)
		},
		"error in the transaction": func(ctx context.Context, _ func()) error {
			return p.Write(ctx, sight, func(tx store.Tx) error { _, err := tx.Exec(ctx, "select 1 / 0"); return err })
		},
		"error that is passed over": func(ctx context.Context, _ func()) error {
			return p.Write(ctx, sight, func(tx store.Tx) error { _, _ = tx.Exec(ctx, "select 1 / 0"); return nil })
		},
		"reader that stops": func(ctx context.Context, _ func()) error {
			return p.Ask(ctx, sight, some, func(store.Row) error { return stop })
		},
		"reader that panics": func(ctx context.Context, _ func()) error {
			return p.Ask(ctx, sight, some, func(store.Row) error { panic(stop) })
		},
		"writer that panics": func(ctx context.Context, _ func()) error {
			return p.Write(ctx, sight, func(tx store.Tx) error { seen(tx); panic(stop) })
		},
		"cancelled while reading": func(ctx context.Context, cancel func()) error {
			return p.Ask(ctx, sight, some, func(store.Row) error { cancel(); return ctx.Err() })
		},
		"cancelled in the statement": func(ctx context.Context, cancel func()) error {
			time.AfterFunc(20*time.Millisecond, cancel)
			return p.Ask(ctx, sight, store.Query{Text: "select pg_sleep(30)"}, none)
		},
		"cancelled in the transaction": func(ctx context.Context, cancel func()) error {
			return p.Write(ctx, sight, func(tx store.Tx) error { seen(tx); cancel(); return ctx.Err() })
		},
		"cancelled before the commit": func(ctx context.Context, cancel func()) error {
			return p.Write(ctx, sight, func(tx store.Tx) error { seen(tx); cancel(); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := survive(func() error { return use(ctx, cancel) })
			if plain := name == "query" || name == "commit" || name == "statement" || name == "narrowed"; plain != (err == nil) {
				t.Errorf("it ended with %v", err)
			}
			var setting string
			q := store.Query{Text: "select coalesce(current_setting('fettle.sight', true), '')"}
			if err := p.Ask(t.Context(), store.Sight{}, q, func(r store.Row) error { return r.Scan(&setting) }); err != nil || setting != "" {
				t.Errorf("the next user has the sight %q, %v", setting, err)
			}
			if n := number(t, p, store.Sight{}, "select count(*) from endpoints"); n != 0 {
				t.Errorf("the next user sees %d machines", n)
			}
			if n := number(t, p, store.SightOf(estate.InTenant(w.me)), "select count(*) from endpoints where tenant <> 'mine'"); n != 0 {
				t.Errorf("the next tenant sees %d machines", n)
			}
		})
	}
}

// survive turns a panic into an error.
func survive(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

// Every table that is not known to hold no tenant's rows has the one policy,
// and a server that finds another schema does not start.
func everyTable(t *testing.T, w world) {
	for _, table := range w.tables {
		var enabled, forced bool
		var policies, using, check string
		err := w.admin.QueryRowContext(t.Context(), `select c.relrowsecurity, c.relforcerowsecurity, string_agg(p.policyname || p.cmd || p.permissive || p.roles::text, ' '),
			min(p.qual), min(p.with_check) from pg_class c join pg_policies p on p.tablename = c.relname
			where c.relname = $1 and c.relnamespace = 'public'::regnamespace group by 1, 2`, table).Scan(&enabled, &forced, &policies, &using, &check)
		if err != nil || !enabled || !forced || policies != "tenantALLPERMISSIVE{public}" || using != check {
			t.Errorf("%s: enabled %v, forced %v, policies %q, using %s, check %s: %v", table, enabled, forced, policies, using, check, err)
		}
	}
	for name, c := range map[string]struct{ harm, mend, says string }{
		"a table that nobody thought of": {"create table notes (tenant text, text text); alter table notes owner to fettle", "drop table notes", "table notes has none"},
		"one without a tenant":           {"create table other (id text); alter table other owner to fettle", "drop table other", "table other has none"},
		"switched off":                   {"alter table tasks disable row level security", "alter table tasks enable row level security", "table tasks has none"},
		"not for the owner":              {"alter table users no force row level security", "alter table users force row level security", "table users has none"},
		"a second policy":                {"create policy more on audit using (true)", "drop policy more on audit", "table audit has another policy"},
		"another for writers":            {"alter policy tenant on sites with check (true)", "drop policy tenant on sites; create policy tenant on sites using (" + policy("tenant") + ")", "table sites has another policy"},
		"another condition":              {"alter policy tenant on sites using (true)", "alter policy tenant on sites using (" + policy("tenant") + ")", "table sites has another policy"},
		"for some roles":                 {"alter policy tenant on sites to postgres", "alter policy tenant on sites to public", "table sites has another policy"},
	} {
		w.cluster.SQL(t, "fettle", c.harm)
		db, err := Open(t.Context(), Config{DSN: w.cluster.DSN})
		if !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			db.Close()
		}
		w.cluster.SQL(t, "fettle", c.mend)
	}
	w.cluster.SQL(t, "fettle", "create table somebody_elses (tenant text)")
	db, err := Open(t.Context(), Config{DSN: w.cluster.DSN})
	if err != nil {
		t.Fatalf("mended, it opens: %v", err)
	}
	db.Close()
}
