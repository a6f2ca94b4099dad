package postgres

import (
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// TestClaim has two servers want one database.
func TestClaim(t *testing.T) {
	cluster := storetest.Postgres(t)
	c := Config{DSN: cluster.DSN}
	take := func() *Claim {
		t.Helper()
		claim, err := Take(t.Context(), c)
		if err != nil {
			t.Fatalf("%v (hint: %s)", err, fault.HintOf(err))
		}
		t.Cleanup(claim.Release)
		return claim
	}
	one := take()
	if err := one.renew(t.Context()); err != nil {
		t.Error(err)
	}
	second, err := Take(t.Context(), c)
	if second != nil || !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "another server works with the database fettle, from ") ||
		!strings.Contains(fault.HintOf(err), "its session: ") || strings.Contains(fault.HintOf(err), "not seen") {
		t.Errorf("a second server: %v (hint: %s)", err, fault.HintOf(err))
	}

	// The database was away, and this server is the first to be back.
	cut := "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
	cluster.SQL(t, "fettle", cut)
	if err := one.renew(t.Context()); err != nil {
		t.Errorf("after the session was cut: %v", err)
	}
	// Another one is.
	cluster.SQL(t, "fettle", cut)
	two := take()
	if err := one.renew(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("another server has taken over: %v", err)
	}
	two.Release()
	if err := one.renew(t.Context()); err != nil {
		t.Error(err)
	}
	one.Release()
	take()
}
