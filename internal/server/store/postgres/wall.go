package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"

	"github.com/fettlehq/fettle/internal/fault"
)

// walls are the migrations that PostgreSQL alone has; their numbers are left
// free in store/migrations. A table that holds a tenant's rows and gets no wall
// keeps the server from starting, and a test from passing.
func walls() []*goose.Migration {
	return []*goose.Migration{
		wallMigration(3,
			"tenants", "sites", "endpoints", "contacts", "sections", "endpoint_sections", "inventories", "endpoint_groups", "group_members",
			"tokens", "approvals", "deployments", "tasks", "task_steps", "event_cursors", "users", "api_keys", "audit", "audit_heads",
			"settings", "schedules"),
	}
}

// tenantless are the tables that hold no tenant's rows.
func tenantless() []string { return []string{"sessions", "jobs", "goose_db_version"} }

// appendOnly are the tables whose rows a serving role that is not the owner
// can neither change nor remove.
func appendOnly() []string { return []string{"audit", "task_steps"} }

// policy is the condition on a table's rows: the transaction sees all (*) or
// exactly this tenant (= and its id). A transaction without a sight reads NULL,
// or an empty text if its session had one before, and sees nothing. In brackets
// of its own the setting is read once a query instead of once a row.
func policy(column string) string {
	const sight = "nullif(current_setting('fettle.sight', true), '')"
	return fmt.Sprintf("%s = (select substr(%s, 2)) or (select %s = '*')", column, sight, sight)
}

func wallMigration(version int64, tables ...string) *goose.Migration {
	up := func(ctx context.Context, tx *sql.Tx) error {
		for _, table := range tables {
			name, rows := pgx.Identifier{table}.Sanitize(), policy(columnOf(table))
			for _, text := range []string{
				"alter table " + name + " enable row level security",
				"alter table " + name + " force row level security", // for the owner too
				"create policy tenant on " + name + " using (" + rows + ") with check (" + rows + ")",
			} {
				if _, err := tx.ExecContext(ctx, text); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return goose.NewGoMigration(version, &goose.GoFunc{RunTx: up}, nil)
}

// wall makes sure, before the first query, that row-level security holds.
type wall struct {
	conns *pgxpool.Pool
	owner *sql.DB
	role  string // that serves
	apart bool   // the owner is another role
}

func (w wall) check(ctx context.Context) error {
	var free bool
	var sight string
	row := w.conns.QueryRow(ctx, "select rolsuper or rolbypassrls, coalesce(current_setting('fettle.sight', true), '') from pg_roles where rolname = current_user")
	if err := row.Scan(&free, &sight); err != nil {
		return err
	}
	if sight != "" {
		return fault.New(fault.Denied, "postgres: connections of role %q begin with fettle.sight = %q and would see rows without being asked whose", w.role, sight).
			WithHint("reset it: alter role %s reset fettle.sight; alter database ... reset fettle.sight; behind a pooler, restart that", w.role)
	}
	if free {
		return fault.New(fault.Denied, "postgres: role %q is a superuser or has BYPASSRLS: nothing would keep tenants apart", w.role).
			WithHint("make one that is neither, and let it own the database: create role fettle login; create database fettle owner fettle")
	}
	if w.apart {
		if err := w.grant(ctx); err != nil {
			return err
		}
	}
	gaps, err := holes(ctx, w.conns)
	if err != nil {
		return err
	}
	if len(gaps) > 0 {
		return fault.New(fault.Denied, "postgres: row-level security does not hold: %s", strings.Join(gaps, "; ")).
			WithHint("somebody has changed it by hand: enable and force it again, with the one policy \"tenant\", as docs/server.md shows")
	}
	return nil
}

// grant gives the serving role what it needs of the owner's tables, no more.
func (w wall) grant(ctx context.Context) error {
	rows, err := w.owner.QueryContext(ctx, "select c.relname from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relowner = current_user::regrole")
	if err != nil {
		return err
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return err
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	to := pgx.Identifier{w.role}.Sanitize()
	for _, table := range tables {
		rights := "select, insert, update, delete"
		if slices.Contains(appendOnly(), table) {
			rights = "select, insert"
		} else if table == "goose_db_version" {
			rights = "select"
		}
		if _, err := w.owner.ExecContext(ctx, "grant "+rights+" on "+pgx.Identifier{table}.Sanitize()+" to "+to); err != nil {
			return err
		}
	}
	return nil
}

// holes says what is wrong with the walls of Fettle's tables, nothing when all
// is well. What is not known as tenantless must have one; a table of another
// owner in the same schema is another program's.
func holes(ctx context.Context, conns *pgxpool.Pool) ([]string, error) {
	rows, err := conns.Query(ctx, `select c.relname, c.relrowsecurity and c.relforcerowsecurity,
			(select count(*) from pg_policy p where p.polrelid = c.oid),
			coalesce((select p.polname || ' ' || p.polcmd::text || ' ' || p.polroles::text from pg_policy p where p.polrelid = c.oid limit 1), ''),
			coalesce((select pg_get_expr(p.polqual, c.oid) from pg_policy p where p.polrelid = c.oid limit 1), ''),
			coalesce((select pg_get_expr(p.polwithcheck, c.oid) from pg_policy p where p.polrelid = c.oid limit 1), '')
		from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and c.relname <> all($1)
			and c.relowner = (select t.relowner from pg_class t where t.oid = 'tenants'::regclass)
		order by c.relname`, tenantless())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var gaps []string
	for rows.Next() {
		var table, policy, using, check string
		var on bool
		var policies int
		if err := rows.Scan(&table, &on, &policies, &policy, &using, &check); err != nil {
			return nil, err
		}
		switch {
		case !on:
			gaps = append(gaps, "table "+table+" has none")
		// For all commands (*) and roles ({0}, public), reading and writing
		// alike: a policy without a check of its own checks what it uses.
		case policies != 1 || policy != "tenant * {0}" || check != "" && check != using ||
			!strings.Contains(using, columnOf(table)+" = ") || !strings.Contains(using, "'fettle.sight'"):
			gaps = append(gaps, "table "+table+" has another policy")
		}
	}
	return gaps, rows.Err()
}

// columnOf is the column of a table that says whose a row is.
func columnOf(table string) string {
	if table == "tenants" {
		return "id"
	}
	return "tenant"
}
