package auth

import (
	"testing"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// TestTrustRow12KeysEndWithTheirOwner: a key, also one that another key made,
// opens nothing once the person behind it is disabled or removed.
func TestTrustRow12KeysEndWithTheirOwner(t *testing.T) {
	s, c, db := open(t)
	all := estate.Everything()
	u, err := s.CreateUser(t.Context(), all, estate.User{Tenant: "main", Name: "ada", Grants: []estate.Grant{{Role: estate.Admin, Scope: estate.InTenant("main")}}}, good)
	must(t, err)
	key := func(owner estate.UserID) (string, estate.Actor) {
		t.Helper()
		_, secret, err := s.CreateKey(t.Context(), all, estate.Key{Tenant: "main", Name: "ci", Owner: owner, Grants: u.Grants, Created: c.now()})
		must(t, err)
		actor, err := s.Actor(request(t, "Bearer "+secret))
		must(t, err)
		return secret, actor
	}
	first, actor := key(u.ID)
	second, _ := key(actor.Owner)
	other, _ := key("")
	works := func(secret string) error {
		_, err := s.Actor(request(t, "Bearer "+secret))
		return err
	}
	u, err = db.In(all).User(t.Context(), u.ID)
	must(t, err)
	u.Disabled = true
	_, err = db.In(all).PutUser(t.Context(), u)
	must(t, err)
	wantCode(t, works(first), fault.Unauthenticated)
	u.Disabled = false
	_, err = db.In(all).PutUser(t.Context(), u)
	must(t, err)
	must(t, works(first))
	must(t, s.DeleteUser(t.Context(), all, u.ID))
	wantCode(t, works(first), fault.Unauthenticated)
	wantCode(t, works(second), fault.Unauthenticated)
	must(t, works(other))
	kept, err := s.Keys(t.Context(), all)
	must(t, err)
	if len(kept) != 1 {
		t.Errorf("keys %+v", kept)
	}
}
