package auth

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// TestGuessesAreTold: each wrong password, setup token and key is told with the
// account that there is, names that somebody made up as one; what is right, too
// early, or the password of an account that was made is not.
func TestGuessesAreTold(t *testing.T) {
	s, _, _ := open(t)
	var told []string
	s.Guessed = func(action, object, address string) {
		told = append(told, fmt.Sprintf("%s %s %s", action, object, address))
	}
	counted := func(err error, code fault.Code) {
		t.Helper()
		wantCode(t, err, code)
		if guess := (Guess{}); !errors.As(err, &guess) || !guess.Counted() || fault.Public(err) == "" {
			t.Errorf("%v is not counted", err)
		}
	}
	_, err := s.Setup(session(t, s), "10.0.0.1", "wrong", "ada", good)
	counted(err, fault.Unauthenticated)
	_, err = s.CreateUser(t.Context(), estate.Everything(), estate.User{Name: "ada", Grants: []estate.Grant{{Role: estate.Admin, Scope: estate.Everything()}}}, good)
	must(t, err)
	_, err = s.Setup(session(t, s), "2001:db8::7", "wrong", "ada", good)
	counted(err, fault.Conflict)
	_, err = s.SignIn(session(t, s), "10.0.0.2", "ADA", "wrong")
	counted(err, fault.Unauthenticated)
	for i := range 30 {
		name := fmt.Sprint("made-up", i)
		_, err = s.SignIn(session(t, s), fmt.Sprint("10.0.1.", i), name, "wrong")
		counted(err, fault.Unauthenticated)
	}
	_, err = s.SignIn(session(t, s), "10.0.0.2", "ada", good)
	must(t, err)
	for range freeAddress {
		_, err = s.SignIn(session(t, s), "10.0.0.4", "eve", "wrong")
	}
	wantCode(t, err, fault.Exhausted)
	if guess := (Guess{}); errors.As(err, &guess) {
		t.Error("what is refused unread is counted as a guess")
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.5:1234"
	for _, key := range []string{"fk1_", generate(keyPrefix).Reveal()} {
		r.Header.Set("Authorization", "Bearer "+key)
		_, err = s.Actor(r)
		counted(err, fault.Unauthenticated)
	}
	_, secret, err := s.CreateKey(t.Context(), estate.Everything(), estate.Key{Name: "ci", By: "ada"})
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+secret)
	_, err = s.Actor(r)
	must(t, err)

	want := []string{"setup.run.failed setup link 10.0.0.1", "setup.run.failed setup link 2001:db8::/64", "session.create.failed ada 10.0.0.2"}
	for i := range 30 {
		want = append(want, fmt.Sprint("session.create.failed unknown name 10.0.1.", i))
	}
	for range freeTries {
		want = append(want, "session.create.failed unknown name 10.0.0.4")
	}
	want = append(want, "key.use.failed API key 10.0.0.5", "key.use.failed API key 10.0.0.5")
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}
