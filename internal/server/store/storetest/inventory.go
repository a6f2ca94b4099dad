package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/server/store"
)

func testContacts(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "contacts")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "con-1")
	_, err := in.Contact(t.Context(), "con-1")
	wantCode(t, err, fault.NotFound)
	c := store.Contact{Endpoint: "con-1", Tenant: tenant, Seen: epoch, Catalog: 7, Skew: -time.Minute, Agent: "1.0", Boot: "b", Problem: "disk full"}
	must(t, in.CheckIn(t.Context(), c))
	got, err := in.Contact(t.Context(), "con-1")
	must(t, err)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Error(diff)
	}
	c.Scanned = epoch.Add(time.Minute)
	must(t, in.CheckIn(t.Context(), c))
	later := c
	later.Scanned = time.Time{} // says nothing of a scan
	must(t, in.CheckIn(t.Context(), later))
	got, err = in.Contact(t.Context(), "con-1")
	must(t, err)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Error(diff)
	}
	e, err := in.Endpoint(t.Context(), "con-1")
	must(t, err)
	if !e.LastSeen.Equal(epoch) {
		t.Errorf("last seen %v", e.LastSeen)
	}
}

// Many agents at once, some twice: all are kept.
func testContactGroups(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "contact-groups")
	in := db.In(estate.InTenant(tenant))
	for _, id := range ids("cg", 3) {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	var wg sync.WaitGroup
	for n := range 300 {
		wg.Go(func() {
			c := store.Contact{Endpoint: ids("cg", 3)[n%3], Tenant: tenant, Seen: epoch.Add(time.Hour)}
			if err := in.CheckIn(context.Background(), c); err != nil {
				t.Errorf("check in: %v", err)
			}
		})
	}
	wg.Wait()
	list, _, err := in.Endpoints(t.Context(), estate.EndpointFilter{SeenBefore: epoch.Add(time.Hour)})
	must(t, err)
	if len(list) != 0 {
		t.Errorf("not seen: %v", list)
	}
}

func report(tenant estate.TenantID, id estate.EndpointID, kernel string) store.Report {
	sections, err := inventory.Split(inventory.Snapshot{
		OS:       inventory.OS{ID: "debian", Version: "12", Arch: "amd64", Hostname: string(id)},
		Packages: []inventory.Package{{Kind: "dpkg", Name: "bash", Arch: "amd64", Version: "5.2.15-2+b2"}},
		State:    inventory.State{RunningKernel: kernel},
		Answers:  inventory.Answers{Withheld: true},
	})
	if err != nil {
		panic(err)
	}
	return store.Report{
		Endpoint: id, Tenant: tenant, Sections: sections, Scanned: epoch, Now: epoch.Add(time.Second),
		Facts: func(e *estate.Endpoint) { e.Hostname, e.RebootDue = "Renamed", kernel == "old" },
	}
}

func putInventory(t testing.TB, db *store.DB, tenant estate.TenantID, id estate.EndpointID, kernel string) store.Report {
	t.Helper()
	r := report(tenant, id, kernel)
	must(t, db.In(estate.InTenant(tenant)).PutInventory(t.Context(), r))
	return r
}

func testInventory(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "inventory")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "inv-1")
	Enrol(t, db, tenant, estate.DefaultSite, "inv-2")
	first := report(tenant, "inv-1", "old")
	hashes := []string{}
	for _, s := range first.Sections {
		hashes = append(hashes, s.Hash)
	}
	bare := first
	bare.Sections = hashesOnly(first.Sections)
	wantCode(t, in.PutInventory(t.Context(), bare), fault.Conflict)
	must(t, in.PutInventory(t.Context(), first))
	lack, err := in.LackingSections(t.Context(), tenant, hashes)
	must(t, err)
	if len(lack) != 0 {
		t.Errorf("lacking %v", lack)
	}
	got, scanned, err := in.Inventory(t.Context(), "inv-1")
	must(t, err)
	if diff := cmp.Diff(first.Sections, got); diff != "" || !scanned.Equal(epoch) {
		t.Error(diff, scanned)
	}
	at, err := in.Scanned(t.Context(), []estate.EndpointID{"inv-1", "inv-2", "nobody"})
	must(t, err)
	if len(at) != 1 || !at["inv-1"].Equal(epoch) {
		t.Errorf("scanned at %v", at)
	}
	// A scan that found the same.
	must(t, in.CheckIn(t.Context(), store.Contact{Endpoint: "inv-1", Tenant: tenant, Seen: epoch.Add(2 * time.Hour), Scanned: epoch.Add(time.Hour)}))
	_, scanned, err = in.Inventory(t.Context(), "inv-1")
	must(t, err)
	at, err = in.Scanned(t.Context(), []estate.EndpointID{"inv-1"})
	must(t, err)
	if again := epoch.Add(time.Hour); !scanned.Equal(again) || !at["inv-1"].Equal(again) {
		t.Errorf("scanned again at %v, %v", scanned, at)
	}
	// A new state alone: only that section's body is new, the rest comes bare.
	second := report(tenant, "inv-1", "new")
	next := hashesOnly(second.Sections)
	state := slices.Index(inventory.Sections(), inventory.SectionState)
	next[state] = second.Sections[state]
	second.Sections = next
	must(t, in.PutInventory(t.Context(), second))
	who, err := in.Identity(t.Context(), "inv-1")
	must(t, err)
	if who.Root != inventory.Root(second.Sections) || who.Tenant != tenant || who.Site != estate.DefaultSite {
		t.Errorf("identity %+v", who)
	}
	e, err := in.Endpoint(t.Context(), "inv-1")
	must(t, err)
	if e.Hostname != "Renamed" || e.RebootDue {
		t.Errorf("endpoint %+v", e)
	}
	var changed []estate.EndpointID
	must(t, in.Inventories(t.Context(), epoch, func(c store.Changed) error {
		changed = append(changed, c.Endpoint)
		if len(c.Sections) != len(inventory.Sections()) || c.Sections[0].Name != inventory.SectionOS {
			t.Errorf("sections of %s: %v", c.Endpoint, c.Sections)
		}
		body, err := in.Section(t.Context(), c.Tenant, c.Sections[1].Hash)
		if err != nil || inventory.HashBody(body) != c.Sections[1].Hash {
			t.Errorf("section body: %v", err)
		}
		return nil
	}))
	if diff := cmp.Diff([]estate.EndpointID{"inv-1"}, changed); diff != "" {
		t.Error(diff)
	}
	_, err = in.Revoke(t.Context(), "inv-1", epoch)
	must(t, err)
	wantCode(t, in.PutInventory(t.Context(), second), fault.NotFound)
}

func hashesOnly(sections []inventory.Section) []inventory.Section {
	out := make([]inventory.Section, len(sections))
	for i, s := range sections {
		out[i] = inventory.Section{Name: s.Name, Hash: s.Hash}
	}
	return out
}

// Machines that resemble each other report at the same moment: the shared
// dictionary neither deadlocks nor loses a report.
func testInventoryRace(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "inventory-race")
	in := db.In(estate.InTenant(tenant))
	machines := ids("ir", 16)
	for _, id := range machines {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	for round := range 4 {
		var wg sync.WaitGroup
		for i, id := range machines {
			wg.Go(func() {
				r := report(tenant, id, fmt.Sprintf("kernel-%d-%d", round, i%3))
				if err := in.PutInventory(context.Background(), r); err != nil {
					t.Errorf("report of %s: %v", id, err)
				}
			})
		}
		wg.Wait()
	}
	n := 0
	must(t, in.Inventories(t.Context(), time.Time{}, func(store.Changed) error { n++; return nil }))
	if n != len(machines) {
		t.Errorf("%d inventories", n)
	}
}

func testPruneSections(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "prune")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "prune-1")
	old := putInventory(t, db, tenant, "prune-1", "old")
	putInventory(t, db, tenant, "prune-1", "new")
	n, err := db.PruneSections(t.Context(), epoch)
	must(t, err)
	if n != 0 {
		t.Errorf("%d young sections pruned", n)
	}
	_, err = db.PruneSections(t.Context(), epoch.Add(time.Hour))
	must(t, err)
	state := old.Sections[slices.Index(inventory.Sections(), inventory.SectionState)].Hash
	lack, err := in.LackingSections(t.Context(), tenant, []string{state, old.Sections[0].Hash})
	must(t, err)
	if diff := cmp.Diff([]string{state}, lack); diff != "" {
		t.Error(diff)
	}
}
