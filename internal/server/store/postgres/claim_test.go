package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// cutClaims ends the sessions that have a database, as when it was away.
const cutClaims = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"

// patient is a number of tries that no slow machine needs.
const patient = 1500

// cutAll ends every session of Fettle.
const cutAll = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fettle'"

func take(t *testing.T, c Config) *Claim {
	t.Helper()
	claim, err := Take(t.Context(), c)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, fault.HintOf(err))
	}
	t.Cleanup(claim.Release)
	return claim
}

func (c *Claim) open(t *testing.T) *store.DB {
	t.Helper()
	db, err := c.Open(t.Context())
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, fault.HintOf(err))
	}
	t.Cleanup(func() { _ = db.Close() }) // what is queued may not arrive any more
	return db
}

// TestClaim has two servers want one database.
func TestClaim(t *testing.T) {
	cluster := shared.Postgres(t)
	c := Config{DSN: cluster.DSN, tries: 1}
	cluster.SQL(t, "postgres", "create database other owner fettle")
	take(t, Config{DSN: strings.Replace(cluster.DSN, "dbname=fettle", "dbname=other", 1)}) // has the same key there
	one := take(t, c)
	if err := one.Hold(t.Context()); err != nil {
		t.Error(err)
	}
	pid, _, _ := strings.Cut(one.session, " ")
	second, err := Take(t.Context(), c)
	if second != nil || !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "another server works with the database fettle, from ") ||
		!strings.Contains(fault.HintOf(err), "its session: "+pid+", since 2") {
		t.Errorf("a second server: %v (hint: %s), the first has session %s", err, fault.HintOf(err), one.session)
	}

	c.tries, one.of.tries = patient, patient // what is cut off takes a moment to end
	cluster.SQL(t, "fettle", cutClaims)
	if err := one.Hold(t.Context()); err != nil {
		t.Errorf("the database was away, and this server is the first to be back: %v", err)
	}
	ghost := one.conn
	one.conn = nil // the network broke, and PostgreSQL has not noticed
	if err := one.Hold(t.Context()); err != nil {
		t.Errorf("its own session from before kept it out: %v (hint: %s)", err, fault.HintOf(err))
	}
	if ghost.Ping(t.Context()) == nil {
		t.Error("the session from before goes on")
	}
	cluster.SQL(t, "fettle", cutClaims)
	two := take(t, c)
	two.Release()
	if err := one.Hold(t.Context()); err != nil {
		t.Errorf("another server looked in: %v", err)
	}
	one.Release()
	take(t, c)
}

// TestOvertaken: a server that was cut off, or whose machine slept, while another
// one took the database over writes nothing any more, and its watch ends.
func TestOvertaken(t *testing.T) {
	cluster := shared.Postgres(t)
	for name, gone := range map[string]bool{"the other one works": false, "the other one has gone again": true} {
		t.Run(name, func(t *testing.T) {
			one := take(t, Config{DSN: cluster.DSN, tries: patient})
			db := one.open(t)
			watched := make(chan error, 1)
			tick := make(chan time.Time)
			go func() { watched <- one.watch(context.WithoutCancel(t.Context()), tick) }() // ends by itself
			tick <- time.Time{}                                                            // all is well
			if _, err := db.Facts(t.Context()); err != nil {
				t.Fatal(err)
			}

			cluster.SQL(t, "fettle", cutAll)
			two := take(t, Config{DSN: cluster.DSN, tries: patient})
			other := two.open(t)
			if gone {
				_ = other.Close() // nothing is queued
				two.Release()
			}
			one.of.tries = 1
			var err error
			for range connections + 1 { // the old ones are used up
				if _, err = db.Facts(t.Context()); strings.Contains(fault.Public(err), "this server writes no more") {
					break
				}
			}
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Public(err), "this server writes no more") {
				t.Errorf("the one that was overtaken is served: %v", err)
			}
			if err := <-watched; !fault.Is(err, fault.Conflict) || fault.HintOf(err) == "" {
				t.Errorf("the watch ends with %v (hint: %s)", err, fault.HintOf(err))
			}
			if !gone {
				if _, err := other.Facts(t.Context()); err != nil {
					t.Errorf("the other one: %v", err)
				}
			}
			two.Release()
		})
	}
}

// TestLostClaimAlone: when the claim's session alone was ended, the connections
// that are open stop too as soon as that is seen.
func TestLostClaimAlone(t *testing.T) {
	cluster := shared.Postgres(t)
	one := take(t, Config{DSN: cluster.DSN, tries: patient})
	db := one.open(t)
	if _, err := db.Facts(t.Context()); err != nil {
		t.Fatal(err)
	}
	cluster.SQL(t, "fettle", cutClaims)
	take(t, Config{DSN: cluster.DSN, tries: patient})
	one.of.tries = 1
	if err := one.Hold(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	if _, err := db.Facts(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Public(err), "has taken the database fettle over, from ") {
		t.Errorf("over a connection of before: %v", err)
	}
}
