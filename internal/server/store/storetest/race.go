package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/server/store"
)

// A machine comes to an old section that nobody has, at the moment at which
// such sections are removed: it has it, or is told to send it again, never
// neither.
func testPruneRace(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "prune-race")
	in := db.In(estate.InTenant(tenant))
	state := slices.Index(inventory.Sections(), inventory.SectionState)
	machines := ids("pr", 8)
	for _, id := range machines {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	for round := range 12 {
		var left []store.Report
		for _, id := range machines {
			left = append(left, putInventory(t, db, tenant, id, fmt.Sprintf("old-%d-%s", round, id)))
			putInventory(t, db, tenant, id, "in use")
		}
		late, answers := epoch.Add(48*time.Hour), make([]error, len(left))
		var wg sync.WaitGroup
		for i, r := range left {
			wg.Go(func() {
				r.Now, r.Sections = late, slices.Clone(r.Sections)
				r.Sections[state].Body = nil
				answers[i] = in.PutInventory(context.Background(), r)
			})
			if i%4 == 2 {
				wg.Go(func() {
					if _, err := db.PruneSections(context.Background(), epoch.Add(24*time.Hour)); err != nil {
						t.Errorf("prune: %v", err)
					}
				})
			}
		}
		wg.Wait()
		for i, err := range answers {
			if err != nil && !fault.Is(err, fault.Conflict) {
				t.Errorf("report of %s: %v", machines[i], err)
			}
			if _, _, err := in.Inventory(t.Context(), machines[i]); err != nil {
				t.Fatalf("round %d: the inventory of %s is torn (its report was answered with %v): %v", round, machines[i], answers[i], err)
			}
		}
	}
}

// A group that is written and removed at the same moment is there with its
// members, or leaves none behind.
func testGroupRace(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "group-race")
	in := db.In(estate.InTenant(tenant))
	machines := ids("gr", 6)
	for _, id := range machines {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	for n := range 12 {
		g := estate.Group{Tenant: tenant, ID: estate.GroupID(fmt.Sprintf("g%d", n)), Name: "G", Members: machines}
		must(t, in.PutGroup(t.Context(), estate.Group{Tenant: tenant, ID: g.ID, Name: "G"}))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := in.PutGroup(context.Background(), g); err != nil {
				t.Errorf("put: %v", err)
			}
		})
		wg.Go(func() {
			if err := in.DeleteGroup(context.Background(), tenant, g.ID); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
		wg.Wait()
		groups, err := in.Groups(t.Context())
		must(t, err)
		there := slices.ContainsFunc(groups, func(x estate.Group) bool { return x.ID == g.ID })
		for _, id := range machines {
			e, err := in.Endpoint(t.Context(), id)
			must(t, err)
			if slices.Contains(e.Groups, g.ID) != there {
				t.Errorf("%s is in group %s: %v; the group is there: %v", id, g.ID, !there, there)
			}
		}
	}
}

// All inventories come once, in pages, and who is told of one may ask the store
// for more, also when the pool has one connection.
func testInventoryPages(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "inventory-pages")
	in := db.In(estate.InTenant(tenant))
	machines := ids("ip", 205)
	for _, id := range machines {
		Enrol(t, db, tenant, estate.DefaultSite, id)
		putInventory(t, db, tenant, id, "same")
	}
	for _, id := range []estate.EndpointID{machines[3], machines[199], machines[204]} {
		_, err := in.Revoke(t.Context(), id, epoch)
		must(t, err)
	}
	want := slices.Concat(machines[:3], machines[4:199], machines[200:204])
	var got []estate.EndpointID
	must(t, in.Inventories(t.Context(), time.Time{}, func(c store.Changed) error {
		got = append(got, c.Endpoint)
		_, err := in.Section(t.Context(), tenant, c.Sections[0].Hash)
		return err
	}))
	if !slices.Equal(got, want) {
		t.Errorf("%d inventories, want %d: %v", len(got), len(want), got)
	}
}
