package storetest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

func testTenants(t *testing.T, db *store.DB) {
	id := NewTenant(t, db, "tenants")
	all := db.In(estate.Everything())
	want := estate.Tenant{ID: id, Name: "tenants", Created: epoch}
	got, err := all.Tenant(t.Context(), id)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantCode(t, all.CreateTenant(t.Context(), want), fault.Conflict)
	must(t, all.EnsureTenant(t.Context(), want))
	wantCode(t, all.CreateTenant(t.Context(), estate.Tenant{ID: "No Spaces"}), fault.Invalid)
	wantCode(t, db.In(estate.InTenant(id)).CreateTenant(t.Context(), estate.Tenant{ID: "other"}), fault.Denied)
	sites, err := db.In(estate.InTenant(id)).Sites(t.Context())
	must(t, err)
	if len(sites) != 2 || sites[0].ID != estate.DefaultSite || sites[1].Name != "North" {
		t.Errorf("sites = %v", sites)
	}
	wantCode(t, all.PutSite(t.Context(), estate.Site{Tenant: "nobody", ID: "x"}), fault.Invalid)
}

func testEndpoints(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "endpoints")
	want := Enrol(t, db, tenant, "north", "ep-a")
	got, err := db.In(estate.InTenant(tenant)).Endpoint(t.Context(), "ep-a")
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	north := db.In(estate.Scope{Tenant: tenant, Site: "north"})
	wantCode(t, north.Move(t.Context(), "ep-a", "main"), fault.Denied)
	must(t, db.In(estate.InTenant(tenant)).Move(t.Context(), "ep-a", "main"))
	_, err = north.Endpoint(t.Context(), "ep-a")
	wantCode(t, err, fault.NotFound)
	wantCode(t, db.In(estate.InTenant(tenant)).Move(t.Context(), "ep-a", "nowhere"), fault.Invalid)
	n, err := db.In(estate.InTenant(tenant)).EndpointCount(t.Context())
	must(t, err)
	if n != 1 {
		t.Errorf("count = %d", n)
	}
}

func testEndpointPages(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "pages")
	in := db.In(estate.InTenant(tenant))
	want := ids("page", 25)
	for _, id := range want {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	var got []estate.EndpointID
	f := estate.EndpointFilter{Limit: 7}
	for pages := 1; ; pages++ {
		list, next, err := in.Endpoints(t.Context(), f)
		must(t, err)
		for _, e := range list {
			got = append(got, e.ID)
		}
		if next == "" {
			if pages != 4 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		f.After = next
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	_, _, err := in.Endpoints(t.Context(), estate.EndpointFilter{After: "!"})
	wantCode(t, err, fault.Invalid)
	for _, c := range []struct {
		f    estate.EndpointFilter
		want int
	}{
		{estate.EndpointFilter{Hostname: "host-page-000"}, 10},
		{estate.EndpointFilter{Hostname: "HOST-page-0001"}, 1},
		{estate.EndpointFilter{Hostname: "%"}, 0},
		{estate.EndpointFilter{Platform: "debian-12-amd64"}, 25},
		{estate.EndpointFilter{Site: "north"}, 0},
		{estate.EndpointFilter{State: estate.Revoked}, 0},
		{estate.EndpointFilter{SeenBefore: epoch}, 25},
		{estate.EndpointFilter{Group: "none"}, 0},
	} {
		list, _, err := in.Endpoints(t.Context(), c.f)
		must(t, err)
		if len(list) != c.want {
			t.Errorf("%+v: %d endpoints, want %d", c.f, len(list), c.want)
		}
	}
}

func testTombstones(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "tombstones")
	in := db.In(estate.InTenant(tenant))
	Enrol(t, db, tenant, estate.DefaultSite, "ep-tomb")
	at := epoch.Add(time.Minute)
	e, err := in.Revoke(t.Context(), "ep-tomb", at)
	must(t, err)
	if e.State != estate.Revoked {
		t.Errorf("state %s", e.State)
	}
	_, err = in.Revoke(t.Context(), "ep-tomb", at.Add(time.Hour))
	must(t, err)
	who, err := in.Identity(t.Context(), "ep-tomb")
	must(t, err)
	if who.State != estate.Revoked {
		t.Errorf("identity state %s", who.State)
	}
	seen := map[estate.EndpointID]time.Time{}
	must(t, in.Revoked(t.Context(), epoch, func(id estate.EndpointID, at time.Time) { seen[id] = at }))
	if diff := cmp.Diff(map[estate.EndpointID]time.Time{"ep-tomb": at}, seen); diff != "" {
		t.Error(diff)
	}
	_, secret, err := in.CreateToken(t.Context(), estate.Token{Tenant: tenant, Site: estate.DefaultSite, Uses: 1, Created: epoch, Expires: epoch.Add(time.Hour)})
	must(t, err)
	_, err = db.Enrol(t.Context(), secret, endpoint("ep-tomb"), epoch)
	wantCode(t, err, fault.Conflict)
	// The failed enrolment has not cost the token its use.
	_, err = db.Enrol(t.Context(), secret, endpoint("ep-tomb-2"), epoch)
	must(t, err)
}

func testGroups(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "groups")
	in := db.In(estate.InTenant(tenant))
	for _, id := range []estate.EndpointID{"grp-1", "grp-2", "grp-3"} {
		Enrol(t, db, tenant, estate.DefaultSite, id)
	}
	other := NewTenant(t, db, "groups-other")
	Enrol(t, db, other, estate.DefaultSite, "grp-foreign")
	g := estate.Group{Tenant: tenant, ID: "test", Name: "Test ring", Members: []estate.EndpointID{"grp-1", "grp-2"}}
	must(t, in.PutGroup(t.Context(), g))
	g.Members = []estate.EndpointID{"grp-2", "grp-3"}
	must(t, in.PutGroup(t.Context(), g))
	got, err := in.Groups(t.Context())
	must(t, err)
	if diff := cmp.Diff([]estate.Group{g}, got); diff != "" {
		t.Error(diff)
	}
	e, err := in.Endpoint(t.Context(), "grp-3")
	must(t, err)
	if !slices.Equal(e.Groups, []estate.GroupID{"test"}) {
		t.Errorf("groups of grp-3: %v", e.Groups)
	}
	g.Members = []estate.EndpointID{"grp-foreign"}
	wantCode(t, in.PutGroup(t.Context(), g), fault.Invalid)
	must(t, in.DeleteGroup(t.Context(), tenant, "test"))
	wantCode(t, in.DeleteGroup(t.Context(), tenant, "test"), fault.NotFound)
}

func testTokens(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "tokens")
	in := db.In(estate.InTenant(tenant))
	spec := estate.Token{Tenant: tenant, Site: "north", Uses: 2, Created: epoch, Expires: epoch.Add(time.Hour), Groups: []estate.GroupID{"new"}, Note: "lab"}
	tok, secret, err := in.CreateToken(t.Context(), spec)
	must(t, err)
	if !db.PlausibleToken(secret) {
		t.Error("a good token is not plausible")
	}
	last := secret[:len(secret)-1]
	flipped := last + "x"
	if flipped == secret {
		flipped = last + "y"
	}
	for _, bad := range []string{"", "fe1-", "fe1-aaaa", flipped, last, secret + "a", "FE1" + secret[3:]} {
		if db.PlausibleToken(bad) {
			t.Errorf("%q is plausible", bad)
		}
		_, err := db.Enrol(t.Context(), bad, endpoint("tok-x"), epoch)
		wantCode(t, err, fault.Unauthenticated)
	}
	e, err := db.Enrol(t.Context(), secret, endpoint("tok-1"), epoch)
	must(t, err)
	if e.Tenant != tenant || e.Site != "north" || !slices.Equal(e.Groups, spec.Groups) {
		t.Errorf("enrolled as %+v", e)
	}
	_, err = db.Enrol(t.Context(), secret, endpoint("tok-2"), epoch.Add(time.Hour))
	wantCode(t, err, fault.Unauthenticated) // expired
	_, err = db.Enrol(t.Context(), secret, endpoint("tok-2"), epoch)
	must(t, err)
	_, err = db.Enrol(t.Context(), secret, endpoint("tok-3"), epoch)
	wantCode(t, err, fault.Unauthenticated) // used up
	list, err := in.Tokens(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].Used != 2 || list[0].Note != "lab" {
		t.Errorf("tokens %+v", list)
	}
	_, second, err := in.CreateToken(t.Context(), spec)
	must(t, err)
	must(t, in.RevokeToken(t.Context(), tok.ID, epoch))
	wantCode(t, in.RevokeToken(t.Context(), "nothing", epoch), fault.NotFound)
	if _, err := db.Enrol(t.Context(), second, endpoint("tok-4"), epoch); err != nil {
		t.Errorf("revoking one token has ended another: %v", err)
	}
	spec.Tenant = "nobody"
	_, _, err = db.In(estate.Everything()).CreateToken(t.Context(), spec)
	wantCode(t, err, fault.Invalid)
}

// Many machines that use one token at the same time: never more than allowed.
func testTokenRace(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "token-race")
	_, secret, err := db.In(estate.InTenant(tenant)).CreateToken(t.Context(),
		estate.Token{Tenant: tenant, Site: estate.DefaultSite, Uses: 5, Created: epoch, Expires: epoch.Add(time.Hour)})
	must(t, err)
	var good atomic.Int64
	var wg sync.WaitGroup
	for _, id := range ids("race", 20) {
		wg.Go(func() {
			_, err := db.Enrol(context.Background(), secret, endpoint(id), epoch)
			if err == nil {
				good.Add(1)
			} else if !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("enrol: %v", err)
			}
		})
	}
	wg.Wait()
	if good.Load() != 5 {
		t.Errorf("%d machines enrolled with a token for 5", good.Load())
	}
}

// Every read of another tenant's row by id says NotFound, every write is
// refused, whatever the noun.
func testForeignScope(t *testing.T, db *store.DB) {
	mine, other := NewTenant(t, db, "mine"), NewTenant(t, db, "other")
	Enrol(t, db, other, estate.DefaultSite, "foreign-ep")
	putInventory(t, db, other, "foreign-ep", "x")
	deployOne(t, db, other, "foreign-dep", "foreign-ep")
	ctx, in := t.Context(), db.In(estate.InTenant(mine))
	checks := map[string]error{}
	_, checks["Tenant"] = in.Tenant(ctx, other)
	_, checks["Endpoint"] = in.Endpoint(ctx, "foreign-ep")
	_, checks["Identity"] = in.Identity(ctx, "foreign-ep")
	_, checks["Contact"] = in.Contact(ctx, "foreign-ep")
	_, checks["Revoke"] = in.Revoke(ctx, "foreign-ep", epoch)
	checks["Move"] = in.Move(ctx, "foreign-ep", estate.DefaultSite)
	_, _, checks["Inventory"] = in.Inventory(ctx, "foreign-ep")
	_, checks["LackingSections"] = in.LackingSections(ctx, other, []string{"x"})
	_, checks["Section"] = in.Section(ctx, other, "x")
	checks["PutInventory"] = in.PutInventory(ctx, report(mine, "foreign-ep", "y"))
	_, checks["Deployment"] = in.Deployment(ctx, "foreign-dep")
	_, checks["Task"] = in.Task(ctx, "foreign-dep-foreign-ep")
	checks["SetEventSeq"] = in.SetEventSeq(ctx, other, "foreign-ep", 9)
	for name, err := range checks {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s of a foreign row: %v", name, err)
		}
	}
	writes := map[string]error{
		"PutSite":    in.PutSite(ctx, estate.Site{Tenant: other, ID: "z"}),
		"PutGroup":   in.PutGroup(ctx, estate.Group{Tenant: other, ID: "z"}),
		"CheckIn":    in.CheckIn(ctx, store.Contact{Tenant: other, Endpoint: "foreign-ep"}),
		"PutSetting": in.PutSetting(ctx, other, "z", 1),
		"AppendAudit": in.AppendAudit(ctx, other, epoch, "a", "b", "c", func(int64, string) ([]byte, string, error) {
			return []byte("{}"), "h", nil
		}),
	}
	_, _, writes["CreateToken"] = in.CreateToken(ctx, estate.Token{Tenant: other, Site: estate.DefaultSite, Uses: 1, Created: epoch, Expires: epoch.Add(1)})
	_, writes["PutUser grant"] = in.PutUser(ctx, estate.User{Tenant: mine, Name: "eve", Grants: []estate.Grant{{Role: estate.Admin, Scope: estate.InTenant(other)}}})
	_, writes["PutUser server grant"] = in.PutUser(ctx, estate.User{Tenant: mine, Name: "eve", Grants: []estate.Grant{{Role: estate.Admin}}})
	_, writes["PutUser"] = in.PutUser(ctx, estate.User{Tenant: other, Name: "eve"})
	for name, err := range writes {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s into a foreign tenant: %v", name, err)
		}
	}
	list, _, err := in.Endpoints(ctx, estate.EndpointFilter{})
	must(t, err)
	tasks, err := in.OwnTasks(ctx, "foreign-ep", nil)
	must(t, err)
	if len(list) != 0 || len(tasks) != 0 {
		t.Errorf("foreign rows in lists: %v %v", list, tasks)
	}
}
