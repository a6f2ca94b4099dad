package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fettlehq/fettle/internal/fault"
)

// Bounds of what a statement may take. Everything that Fettle asks is short or
// in pages; a migration may take what it needs.
const (
	statementTime = 5 * time.Minute
	// lockTime is for a lock that somebody else holds, in psql for example.
	lockTime = 30 * time.Second
	// heldTime bounds how long a transaction waits for this process, which may be
	// stopped in the middle of one.
	heldTime = 5 * time.Minute
)

// settings of a session. Those of the role, the database or the server are an
// administrator's, for everybody: he may want serializable transactions or short
// statements elsewhere. A session's own win (PostgreSQL's manual, 20.1.3).
func settings(statement, lock time.Duration) map[string]string {
	return map[string]string{
		"default_transaction_isolation": "read committed", // what the queries were written for; the rest locks rows
		"default_transaction_read_only": "off",
		"row_security":                  "on",

		"statement_timeout": milliseconds(statement), "lock_timeout": milliseconds(lock),
		"idle_in_transaction_session_timeout": milliseconds(heldTime),
		"transaction_timeout":                 "0", // of PostgreSQL 17
		"idle_session_timeout":                "0", // the claim's says nothing for long

		// What a machine that is lost in silence leaves, its locks above all, goes
		// after half a minute, not after two hours.
		"tcp_keepalives_idle": seconds(probeAfter), "tcp_keepalives_interval": seconds(probeInterval),
		"tcp_keepalives_count": fmt.Sprint(int((silence - probeAfter) / probeInterval)),
	}
}

// settings of the sessions that serve.
func (c Config) settings() map[string]string {
	return settings(statementTime, cmp.Or(c.lockTime, lockTime))
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
func seconds(d time.Duration) string      { return fmt.Sprint(int(d.Seconds())) }

// prepare gives a session what it needs and refuses one that can't be served
// with: Unavailable for a standby, Invalid for a database of another encoding.
//
// It is a statement and not a part of the connection's start, because poolers
// refuse settings there that they do not know (PgBouncer's manual,
// ignore_startup_parameters).
func prepare(ctx context.Context, conn *pgx.Conn, want map[string]string) error {
	var set []string
	for name, value := range want {
		set = append(set, "('"+name+"', '"+value+"')")
	}
	var standby bool
	var encoding string
	_, err := conn.Exec(ctx, "select set_config(own.name, own.value, false) from (values "+strings.Join(set, ", ")+") own (name, value) join pg_settings using (name)",
		pgx.QueryExecModeSimpleProtocol) // names that this version of PostgreSQL does not know are left out
	if err == nil {
		err = conn.QueryRow(ctx, "select pg_is_in_recovery(), current_setting('server_encoding')", pgx.QueryExecModeSimpleProtocol).Scan(&standby, &encoding)
	}
	switch cfg := conn.Config(); {
	case err != nil:
		return err
	case standby:
		return fault.New(fault.Unavailable, "postgres: %s is a standby, which takes no writes", cfg.Host).
			WithHint("name the primary in the connection string, or all of them and target_session_attrs=read-write: host=one,two")
	case encoding != "UTF8":
		return fault.New(fault.Invalid, "postgres: the database %s keeps texts as %s, not as UTF8", cfg.Database, encoding).
			WithHint("make one that does: createdb --encoding=UTF8 --template=template0 --owner=%s NAME", cfg.User)
	}
	return nil
}
