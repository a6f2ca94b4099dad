package server

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// TestOvertakenServerEnds: a server whose database another one has taken over,
// while its sessions were cut, says so and ends with exit code 1.
func TestOvertakenServerEnds(t *testing.T) {
	cluster := storetest.Postgres(t)
	p := newPlace(t)
	p.cfg.Database = cluster.DSN
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()

	// The other one stands in line, so that it is the first.
	other, err := pgx.Connect(t.Context(), cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(t.Context()) }() // nothing is left to lose
	first := make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), "select pg_advisory_lock(hashtextextended('fettle server public', 0))")
		first <- err
	}()
	waits := func() (n int) {
		conn, err := pgx.Connect(t.Context(), cluster.Admin)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }() // nothing is left to lose
		if err := conn.QueryRow(t.Context(), "select count(*) from pg_locks where locktype = 'advisory' and not granted").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for waits() == 0 {
		time.Sleep(10 * time.Millisecond) // another process
	}
	cluster.SQL(t, "fettle", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fettle'")
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	for {
		if err = s.ready(t.Context()); strings.Contains(fault.Public(err), "this server writes no more") {
			break
		}
	}
	err = <-done
	if !fault.Is(err, fault.Conflict) || fault.ExitCode(err) != fault.ExitFailed || !strings.Contains(fault.Public(err), "another server has taken the database fettle over, from ") ||
		!strings.Contains(fault.HintOf(err), "its session: ") {
		t.Errorf("it ends with %v, exit code %d (hint: %s)", err, fault.ExitCode(err), fault.HintOf(err))
	}
}
