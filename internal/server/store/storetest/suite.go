// Package storetest is the specification of the store: one suite that every
// engine passes, and a PostgreSQL server of its own for the test that needs
// one.
package storetest

import (
	"database/sql"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// epoch is the moment at which the suite's worlds begin.
var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Run plays the whole suite on one database; tests keep out of each other's
// way by tenants of their own.
func Run(t *testing.T, db *store.DB) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *store.DB)
	}{
		{"Tenants", testTenants},
		{"Endpoints", testEndpoints},
		{"EndpointPages", testEndpointPages},
		{"Tombstones", testTombstones},
		{"Groups", testGroups},
		{"GroupRace", testGroupRace},
		{"Tokens", testTokens},
		{"TokenRace", testTokenRace},
		{"Contacts", testContacts},
		{"ContactGroups", testContactGroups},
		{"Inventory", testInventory},
		{"InventoryRace", testInventoryRace},
		{"InventoryPages", testInventoryPages},
		{"PruneSections", testPruneSections},
		{"PruneRace", testPruneRace},
		{"Approvals", testApprovals},
		{"Deployments", testDeployments},
		{"TaskConflict", testTaskConflict},
		{"EventSeq", testEventSeq},
		{"People", testPeople},
		{"Keys", testKeys},
		{"Sessions", testSessions},
		{"Audit", testAudit},
		{"AuditRace", testAuditRace},
		{"Settings", testSettings},
		{"Schedules", testSchedules},
		{"Jobs", testJobs},
		{"JobRace", testJobRace},
		{"ForeignScope", testForeignScope},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, db) })
	}
}

// NewTenant adds a tenant with sites "main" and "north" under a name of the
// test's own.
func NewTenant(t testing.TB, db *store.DB, name string) estate.TenantID {
	t.Helper()
	id := estate.TenantID(name)
	all := db.In(estate.Everything())
	must(t, all.CreateTenant(t.Context(), estate.Tenant{ID: id, Name: name, Created: epoch}))
	must(t, all.PutSite(t.Context(), estate.Site{Tenant: id, ID: "north", Name: "North"}))
	return id
}

// Enrol adds an active endpoint to a tenant's site through a token.
func Enrol(t testing.TB, db *store.DB, tenant estate.TenantID, site estate.SiteID, id estate.EndpointID) estate.Endpoint {
	t.Helper()
	_, secret, err := db.In(estate.InTenant(tenant)).CreateToken(t.Context(),
		estate.Token{Tenant: tenant, Site: site, Uses: 1, Created: epoch, Expires: epoch.Add(time.Hour)})
	must(t, err)
	e, err := db.Enrol(t.Context(), secret, endpoint(id), epoch)
	must(t, err)
	return e
}

func endpoint(id estate.EndpointID) estate.Endpoint {
	return estate.Endpoint{ID: id, Hostname: "Host-" + string(id), Platform: "debian-12-amd64", OS: "Debian GNU/Linux 12 (bookworm)", Enrolled: epoch}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v (%s)", err, fault.CodeOf(err))
	}
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("error %v has code %q, want %q", err, fault.CodeOf(err), code)
	}
}

func ids(prefix string, n int) []estate.EndpointID {
	out := make([]estate.EndpointID, n)
	for i := range out {
		out[i] = estate.EndpointID(fmt.Sprintf("%s-%04d", prefix, i))
	}
	return out
}

// Dump returns all rows of a tenant in the tables, whose names are given with
// spaces between them. A table without one fails the test.
func Dump(t testing.TB, db *sql.DB, tables string, tenant estate.TenantID) string {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil) // one connection for all of them
	must(t, err)
	defer func() { _ = tx.Rollback() }() // it has only read
	var out strings.Builder
	for table := range strings.FieldsSeq(tables) {
		if dumpTable(t, tx, &out, table, tenant) == 0 {
			t.Errorf("table %s has no row of %s: the attack proves nothing for it", table, tenant)
		}
	}
	return out.String()
}

func dumpTable(t testing.TB, tx *sql.Tx, out io.Writer, table string, tenant estate.TenantID) (n int) {
	t.Helper()
	column := "tenant"
	if table == "tenants" {
		column = "id"
	}
	rows, err := tx.QueryContext(t.Context(), "select * from "+table+" where "+column+" = $1 order by 1, 2", string(tenant))
	must(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(t, err)
	for ; rows.Next(); n++ {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		must(t, rows.Scan(into...))
		fmt.Fprintln(out, table, values)
	}
	must(t, rows.Err())
	return n
}
