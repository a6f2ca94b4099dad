package auth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// meanwhile does something once between the reading of a person and what
// follows: checking a password takes long enough for much to happen.
type meanwhile struct {
	People
	do func()
}

func (m *meanwhile) happen() {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
}

func (m *meanwhile) UserByName(ctx context.Context, name string) (estate.User, error) {
	u, err := m.People.UserByName(ctx, name)
	m.happen()
	return u, err
}

func (m *meanwhile) User(ctx context.Context, id estate.UserID) (estate.User, error) {
	u, err := m.People.User(ctx, id)
	m.happen()
	return u, err
}

// TestTrustRow12SignInUndoesNothing: who signs in with the old password while
// it is being replaced, or while the account is being removed, neither gets in
// nor brings back what was.
func TestTrustRow12SignInUndoesNothing(t *testing.T) {
	const better = "another good password"
	all := estate.Everything()
	for name, tc := range map[string]struct {
		change func(*Service, estate.UserID) error
		after  func(t *testing.T, s *Service)
	}{
		"password replaced": {
			func(s *Service, id estate.UserID) error {
				_, err := s.SetPassword(context.Background(), all, id, better)
				return err
			},
			func(t *testing.T, s *Service) {
				_, err := s.SignIn(session(t, s), "10.0.0.2", "ada", better)
				must(t, err)
			},
		},
		"account removed": {
			func(s *Service, id estate.UserID) error { return s.DeleteUser(context.Background(), all, id) },
			func(t *testing.T, s *Service) {
				if list, err := s.Users(t.Context(), all); err != nil || len(list) != 0 {
					t.Errorf("%v are there again: %v", list, err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, _ := open(t)
			u, err := s.CreateUser(t.Context(), all, estate.User{Tenant: "main", Name: "ada", Grants: []estate.Grant{{Role: estate.Viewer, Scope: estate.InTenant("main")}}}, good)
			must(t, err)
			c.pass(time.Second)
			plain := s.People
			between := &meanwhile{People: plain(all), do: func() {
				other := *s
				other.People = plain
				must(t, tc.change(&other, u.ID))
			}}
			s.People = func(estate.Scope) People { return between }
			_, err = s.SignIn(session(t, s), "10.0.0.1", "ada", good)
			wantCode(t, err, fault.Unauthenticated)
			s.People = plain
			_, err = s.SignIn(session(t, s), "10.0.0.3", "ada", good)
			wantCode(t, err, fault.Unauthenticated)
			tc.after(t, s)
		})
	}
}

// TestPasswordResetBringsNobodyBack: an account that is removed while its
// password is being replaced stays removed.
func TestPasswordResetBringsNobodyBack(t *testing.T) {
	s, _, _ := open(t)
	all := estate.Everything()
	u, err := s.CreateUser(t.Context(), all, estate.User{Tenant: "main", Name: "ada"}, good)
	must(t, err)
	plain := s.People
	between := &meanwhile{People: plain(all), do: func() {
		must(t, plain(all).DeleteUser(context.Background(), u.ID, func(estate.User, []estate.User) error { return nil }))
	}}
	s.People = func(estate.Scope) People { return between }
	_, err = s.SetPassword(t.Context(), all, u.ID, "another good password")
	wantCode(t, err, fault.Conflict)
	if list, err := plain(all).Users(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v are there again: %v", list, err)
	}
}

// TestSignOutStaysOut: a request that is under way while its session is ended
// does not bring the session back when it is answered.
func TestSignOutStaysOut(t *testing.T) {
	s, _, _ := open(t)
	_, err := s.CreateUser(t.Context(), estate.Everything(), estate.User{Name: "ada", Grants: []estate.Grant{{Role: estate.Admin}}}, good)
	must(t, err)
	begun, goOn := make(chan struct{}), make(chan struct{})
	h := s.Sessions(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		switch r.URL.Path {
		case "/in":
			_, err = s.SignIn(r.Context(), "10.0.0.1", "ada", good)
		case "/out":
			err = s.SignOut(r.Context())
		case "/slow":
			close(begun)
			<-goOn
			fallthrough
		default:
			_, err = s.Actor(r)
		}
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	ask := func(path string, cookies []*http.Cookie) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	cookies := ask("/in", nil).Cookies()
	if code := ask("/", cookies).StatusCode; code != http.StatusOK {
		t.Fatalf("signed in: %d", code)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ask("/slow", cookies)
	}()
	<-begun
	ask("/out", cookies)
	close(goOn)
	<-done
	if code := ask("/", cookies).StatusCode; code != http.StatusUnauthorized {
		t.Errorf("after the sign-out: %d", code)
	}
}

// Of two administrators who delete each other at once, one stays.
func TestLastAdministratorsDeleteEachOther(t *testing.T) {
	s, _, _ := open(t)
	var last []estate.User
	for round := range 10 {
		for len(last) < 2 {
			u, err := s.CreateUser(t.Context(), estate.Everything(), estate.User{
				Name: "ada" + strconv.Itoa(round) + strconv.Itoa(len(last)), Grants: []estate.Grant{{Role: estate.Admin, Scope: estate.Everything()}},
			}, good)
			must(t, err)
			last = append(last, u)
		}
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, u := range last {
			wg.Go(func() { errs[i] = s.DeleteUser(context.Background(), estate.Everything(), u.ID) })
		}
		wg.Wait()
		switch {
		case errs[0] == nil && fault.Is(errs[1], fault.Conflict):
			last = last[1:]
		case errs[1] == nil && fault.Is(errs[0], fault.Conflict):
			last = last[:1]
		default:
			t.Fatalf("round %d: %v and %v", round, errs[0], errs[1])
		}
	}
}
