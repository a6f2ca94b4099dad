package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
)

// anybody may be deleted.
func anybody(estate.User, []estate.User) error { return nil }

func testPeople(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "people")
	in := db.In(estate.InTenant(tenant))
	u, err := in.PutUser(t.Context(), estate.User{
		Tenant: tenant, Name: "people-ann", Email: "ann@example.org", PasswordHash: "$argon2id$...",
		Grants: []estate.Grant{{Role: estate.Operator, Scope: estate.InTenant(tenant)}}, Created: epoch,
	})
	must(t, err)
	got, err := db.In(estate.Everything()).UserByName(t.Context(), "people-ann")
	must(t, err)
	if diff := cmp.Diff(u, got); diff != "" {
		t.Error(diff)
	}
	_, err = in.PutUser(t.Context(), estate.User{Tenant: tenant, Name: "people-ann"})
	wantCode(t, err, fault.Conflict)
	u.Disabled = true
	_, err = in.PutUser(t.Context(), u)
	must(t, err)
	changed := u
	changed.PasswordHash = "$argon2id$2"
	must(t, in.ReplaceUser(t.Context(), changed, u.PasswordHash))
	wantCode(t, in.ReplaceUser(t.Context(), u, u.PasswordHash), fault.Conflict)
	must(t, in.ReplaceUser(t.Context(), u, changed.PasswordHash))
	wantCode(t, db.In(estate.InTenant("elsewhere")).ReplaceUser(t.Context(), u, u.PasswordHash), fault.Denied)
	stolen := u
	stolen.Tenant = ""
	_, err = db.In(estate.Everything()).PutUser(t.Context(), stolen)
	wantCode(t, err, fault.Conflict)
	_, err = db.In(estate.Scope{Tenant: tenant, Site: estate.DefaultSite}).User(t.Context(), u.ID)
	wantCode(t, err, fault.NotFound)
	list, err := in.Users(t.Context())
	must(t, err)
	if len(list) != 1 || !list[0].Disabled {
		t.Errorf("users %+v", list)
	}
	must(t, in.DeleteUser(t.Context(), u.ID, anybody))
	wantCode(t, in.DeleteUser(t.Context(), u.ID, anybody), fault.NotFound)
	wantCode(t, in.ReplaceUser(t.Context(), u, u.PasswordHash), fault.Conflict)
}

func testKeys(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "keys")
	in := db.In(estate.InTenant(tenant))
	k, err := in.PutKey(t.Context(), estate.Key{Tenant: tenant, Name: "ci", Hash: "abc", Created: epoch})
	must(t, err)
	must(t, in.TouchKey(t.Context(), k.ID, epoch))
	must(t, in.TouchKey(t.Context(), k.ID, epoch.Add(time.Second))) // within the minute: not written
	k.LastUsed = epoch
	got, err := db.In(estate.Everything()).KeyByHash(t.Context(), "abc")
	must(t, err)
	if diff := cmp.Diff(k, got); diff != "" {
		t.Error(diff)
	}
	_, err = db.In(estate.Everything()).KeyByHash(t.Context(), "abd")
	wantCode(t, err, fault.NotFound)
	list, err := in.Keys(t.Context())
	must(t, err)
	if len(list) != 1 {
		t.Errorf("keys %v", list)
	}
	must(t, in.DeleteKey(t.Context(), k.ID))
}

func testSessions(t *testing.T, db *store.DB) {
	ctx := t.Context()
	must(t, db.CommitCtx(ctx, "token", []byte{0, 1, 2, 255}, time.Now().Add(time.Hour)))
	data, found, err := db.FindCtx(ctx, "token")
	must(t, err)
	if !found || string(data) != "\x00\x01\x02\xff" {
		t.Errorf("found %v %v", found, data)
	}
	must(t, db.CommitCtx(ctx, "token", []byte("b"), time.Now().Add(-time.Hour)))
	_, found, err = db.FindCtx(ctx, "token")
	must(t, err)
	if found {
		t.Error("an expired session is found")
	}
	n, err := db.PruneSessions(ctx, time.Now())
	must(t, err)
	if n != 1 {
		t.Errorf("%d pruned", n)
	}
	must(t, db.CommitCtx(ctx, "other", []byte("c"), time.Now().Add(time.Hour)))
	must(t, db.DeleteCtx(ctx, "other"))
	must(t, db.DeleteCtx(ctx, "never"))
	must(t, db.CommitCtx(ctx, "other", []byte("d"), time.Now().Add(2*time.Hour))) // by a request that was under way
	_, found, err = db.FindCtx(ctx, "other")
	must(t, err)
	if found {
		t.Error("a session that was ended is back")
	}
}

func seal(text string) func(int64, string) ([]byte, string, error) {
	return func(seq int64, prev string) ([]byte, string, error) {
		return []byte(text), fmt.Sprintf("%s>%d", prev, seq), nil
	}
}

func testAudit(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "audit")
	in := db.In(estate.InTenant(tenant))
	for i := range 3 {
		must(t, in.AppendAudit(t.Context(), tenant, epoch, "ann", "patch.approve", "p1", seal(fmt.Sprintf(`{"n":%d}`, i))))
	}
	must(t, in.AppendAudit(t.Context(), tenant, epoch, "bob", "host.revoke", "h1", seal(`{}`)))
	wantCode(t, in.AppendAudit(t.Context(), tenant, epoch, "x", "y", "z", func(int64, string) ([]byte, string, error) {
		return nil, "", fault.New(fault.Internal, "no")
	}), fault.Internal)
	seq, hash, err := in.AuditHead(t.Context(), tenant)
	must(t, err)
	if seq != 4 || hash != ">1>2>3>4" {
		t.Errorf("head %d %q", seq, hash)
	}
	var got []string
	collect := func(seq int64, hash string, doc []byte) error {
		got = append(got, fmt.Sprintf("%d %s %s", seq, hash, doc))
		return nil
	}
	must(t, in.AuditForward(t.Context(), tenant, 1, 2, collect))
	must(t, in.AuditBackward(t.Context(), tenant, 0, "", "patch.", 1, collect))
	must(t, in.AuditBackward(t.Context(), tenant, 4, "bob", "", 10, collect))
	must(t, db.In(estate.Scope{Tenant: tenant, Site: estate.DefaultSite}).AuditForward(t.Context(), tenant, 0, 10, collect))
	if diff := cmp.Diff([]string{`2 >1>2 {"n":1}`, `3 >1>2>3 {"n":2}`, `3 >1>2>3 {"n":2}`}, got); diff != "" {
		t.Error(diff)
	}
}

// Many appenders: the chain has no gap and no fork.
func testAuditRace(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "audit-race")
	in := db.In(estate.InTenant(tenant))
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if err := in.AppendAudit(context.Background(), tenant, epoch, "a", "b", "c", seal("{}")); err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
	wg.Wait()
	want, prev := int64(0), ""
	must(t, in.AuditForward(t.Context(), tenant, 0, 100, func(seq int64, hash string, _ []byte) error {
		want++
		if prev = fmt.Sprintf("%s>%d", prev, want); seq != want || hash != prev {
			t.Errorf("record %d has hash %q", seq, hash)
		}
		return nil
	}))
	if want != 40 {
		t.Errorf("%d records", want)
	}
}

func testSettings(t *testing.T, db *store.DB) {
	tenant := NewTenant(t, db, "settings")
	in, all := db.In(estate.InTenant(tenant)), db.In(estate.Everything())
	var got map[string]int
	wantCode(t, in.Setting(t.Context(), tenant, "x", &got), fault.NotFound)
	must(t, in.PutSetting(t.Context(), tenant, "x", map[string]int{"a": 1}))
	must(t, in.PutSetting(t.Context(), tenant, "x", map[string]int{"a": 2}))
	must(t, in.Setting(t.Context(), tenant, "x", &got))
	if got["a"] != 2 {
		t.Errorf("got %v", got)
	}
	must(t, all.PutSetting(t.Context(), "", "server-x", "v"))
	var text string
	must(t, all.Setting(t.Context(), "", "server-x", &text))
	wantCode(t, in.Setting(t.Context(), "", "server-x", &text), fault.NotFound)
	wantCode(t, all.PutSetting(t.Context(), "", "_token_key", "v"), fault.Invalid)
	wantCode(t, all.Setting(t.Context(), "", "_token_key", &text), fault.NotFound)
}
