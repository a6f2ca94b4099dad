package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v (%s)", err, fault.CodeOf(err))
	}
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("error %v has code %q, want %q", err, fault.CodeOf(err), code)
	}
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// open returns a service over a real store that spends little on hashes.
func open(t testing.TB) (*Service, *clock, *store.DB) {
	t.Helper()
	db := storetest.Migrated(t, filepath.Join(t.TempDir(), "fettle.db"), sqlite.Open)
	t.Cleanup(func() { must(t, db.Close()) })
	for _, id := range []estate.TenantID{"main", "other"} {
		must(t, db.In(estate.Everything()).EnsureTenant(context.Background(), estate.Tenant{ID: id, Name: string(id), Created: time.Now()}))
	}
	c := &clock{at: time.Now()}
	s := New(Config{
		People: func(s estate.Scope) People { return db.In(s) }, Sessions: db, Log: slog.New(slog.DiscardHandler), Now: c.now, Cheap: true,
	})
	return s, c, db
}

const good = "correct horse battery"

func session(t testing.TB, s *Service) context.Context {
	t.Helper()
	ctx, err := s.sessions.Load(context.Background(), "")
	must(t, err)
	return ctx
}

func TestPasswords(t *testing.T) {
	full := New(Config{}).hasher
	dear, err := full.hash(t.Context(), NewSecret(good))
	must(t, err)
	if !strings.HasPrefix(dear, "$argon2id$v=19$m=65536,t=3,p=2$") {
		t.Errorf("encoded as %s", dear)
	}
	h := New(Config{Cheap: true}).hasher
	encoded, err := h.hash(t.Context(), NewSecret(good))
	must(t, err)
	for _, tc := range []struct {
		password, encoded string
		want              bool
	}{
		{good, dear, true},
		{good, encoded, true},
		{good + " ", encoded, false},
		{"", encoded, false},
		{good, "", false},
		{"", "", false},
		{good, strings.Replace(encoded, "argon2id", "argon2i", 1), false},
		{good, strings.Replace(encoded, "m=64", "m=99999999", 1), false}, // would take 95 GiB
		{good, strings.Replace(encoded, "t=1", "t=0", 1), false},
		{good, encoded[:len(encoded)-30], false},
		// Made by the reference implementation (argon2 -id -t 2 -m 16 -p 1 -l 32, salt "somesalt").
		{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", true},
	} {
		got, err := h.matches(t.Context(), NewSecret(tc.password), tc.encoded)
		must(t, err)
		if got != tc.want {
			t.Errorf("%q matches %q: %v", tc.password, tc.encoded, got)
		}
	}
	for range cap(full.slots) {
		full.slots <- struct{}{}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := full.matches(ctx, NewSecret(good), encoded); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a slot: %v", err)
	}
	for _, bad := range []string{"", "short", "ada.lovelace.1815", strings.Repeat("x", 257)} {
		wantCode(t, checkPassword(NewSecret(bad), "Ada.Lovelace.1815"), fault.Invalid)
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=1,p=0$$")
	f.Fuzz(func(t *testing.T, text string) {
		c, salt, key, ok := parseHash(text)
		if ok && (c.time > maxTime || c.memory > maxMemory || c.threads == 0 || len(salt) < 8 || len(key) < 16) {
			t.Errorf("%q is taken as %+v", text, c)
		}
	})
}

// TestTrustRow12SecretsAreNotPrinted tries the usual ways to print a secret by
// mistake.
func TestTrustRow12SecretsAreNotPrinted(t *testing.T) {
	s := NewSecret("hunter2")
	type holder struct {
		Name   string
		Secret Secret
		Ptr    *Secret
		Map    map[Secret]Secret
	}
	h := holder{"x", s, &s, map[Secret]Secret{s: s}}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&b, verb+" "+verb+" "+verb+"\n", s, &s, h)
	}
	j, err := json.Marshal(h)
	must(t, err)
	b.Write(j)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(handler).Info("x", "secret", s, "ptr", &s, "holder", h)
	}
	if text := b.String(); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
		t.Errorf("a secret is printed: %s", text)
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal does not")
	}
}

func TestSetup(t *testing.T) {
	s, c, _ := open(t)
	ctx := session(t, s)
	first, err := s.NewSetupToken(ctx)
	must(t, err)
	second, err := s.NewSetupToken(ctx)
	must(t, err)
	_, err = s.Setup(ctx, "a", first.Reveal(), "ada", good)
	wantCode(t, err, fault.Unauthenticated) // the newer link replaced it
	_, err = s.Setup(ctx, "a", second.Reveal(), "ada", "short")
	wantCode(t, err, fault.Invalid) // and the link still works
	c.pass(setupLife)
	_, err = s.Setup(ctx, "b", second.Reveal(), "ada", good)
	wantCode(t, err, fault.Unauthenticated) // expired
	third, err := s.NewSetupToken(ctx)
	must(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 4 { // at once: one wins
		own := session(t, s)
		wg.Go(func() {
			if _, err := s.Setup(own, fmt.Sprint("c", i), third.Reveal(), fmt.Sprint("ada", i), good); err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d first administrators were made", made)
	}
	_, err = s.NewSetupToken(ctx)
	wantCode(t, err, fault.Conflict)
	_, err = s.Setup(ctx, "d", "", "eve", good)
	wantCode(t, err, fault.Conflict)
}

func TestThrottle(t *testing.T) {
	s, c, _ := open(t)
	_, err := s.CreateUser(t.Context(), estate.Everything(), estate.User{Name: "ada", Grants: []estate.Grant{{Role: estate.Admin}}}, good)
	must(t, err)
	try := func(address, name, password string) error {
		_, err := s.SignIn(session(t, s), address, name, password)
		return err
	}
	for range freeTries {
		wantCode(t, try("1.1.1.1", "ada", "wrong"), fault.Unauthenticated)
	}
	wantCode(t, try("2.2.2.2", "ada", good), fault.Exhausted) // by name, from anywhere
	c.pass(firstPause)
	must(t, try("2.2.2.2", "Ada", good))
	wantCode(t, try("1.1.1.1", "ada", "wrong"), fault.Unauthenticated) // the right one cleared the name
	n := 0
	for i := range 100 { // by address, whatever the names
		if fault.Is(try("3.3.3.3", fmt.Sprint("name", i), "wrong"), fault.Exhausted) {
			break
		}
		n++
	}
	if n != freeAddress {
		t.Errorf("an address may try %d names", n)
	}
	pauses := 0
	for range 30 { // the pauses grow, up to a bound
		c.pass(longestPause)
		if fault.Is(try("1.1.1.1", "bob", "wrong"), fault.Exhausted) {
			pauses++
		}
	}
	if pauses != 0 {
		t.Errorf("%d pauses are longer than the longest", pauses)
	}
	c.pass(longestPause)
	same := try("4.4.4.4", "nobody", "wrong").Error()
	if other := try("5.5.5.5", "ada", "wrong").Error(); other != same {
		t.Errorf("an unknown name is told from a wrong password: %q, %q", same, other)
	}
}

// TestThrottleNetwork: whoever has one address of IPv6 has very many.
func TestThrottleNetwork(t *testing.T) {
	s, _, _ := open(t)
	for i := range freeAddress {
		_, err := s.SignIn(session(t, s), fmt.Sprintf("2001:db8:0:1::%x", i+1), fmt.Sprint("name", i), "wrong")
		wantCode(t, err, fault.Unauthenticated)
	}
	for address, code := range map[string]fault.Code{
		"2001:db8:0:1:ffff::1": fault.Exhausted, "2001:db8:0:2::1": fault.Unauthenticated, "::ffff:192.0.2.1": fault.Unauthenticated,
	} {
		_, err := s.SignIn(session(t, s), address, "somebody", "wrong")
		wantCode(t, err, code)
	}
}

func TestThrottleForgets(t *testing.T) {
	c := &clock{at: time.Now()}
	th := newThrottle(c.now)
	for i := range 5000 {
		_ = th.begin(fmt.Sprint(i), fmt.Sprint(i))
	}
	c.pass(forgetAfter + time.Second)
	must(t, th.begin("x", "y"))
	if len(th.tries) != 2 {
		t.Errorf("%d tries are remembered", len(th.tries))
	}

	for i := range maxWatched/2 + 1 {
		_ = th.begin(fmt.Sprint(i), fmt.Sprint(i))
	}
	c.pass(time.Second) // nothing is old, and it is too much
	_ = th.begin("x", "y")
	if n := len(th.tries); n > 2 {
		t.Errorf("%d tries are remembered of too many", n)
	}
}

func request(t testing.TB, key string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
	r.Header.Set("Authorization", key)
	return r
}

func TestKeys(t *testing.T) {
	s, c, db := open(t)
	scope := estate.InTenant("main")
	k, secret, err := s.CreateKey(t.Context(), scope, estate.Key{
		Tenant: "main", Name: "ci", Grants: []estate.Grant{{Role: estate.Viewer, Scope: scope}}, Created: c.now(), Expires: c.now().Add(time.Hour),
	})
	must(t, err)
	actor, err := s.Actor(request(t, "Bearer "+secret))
	must(t, err)
	if actor.Kind != "key" || actor.ID != k.ID || !actor.Can(estate.Read, scope) || actor.Can(estate.Read, estate.Everything()) {
		t.Errorf("actor: %+v", actor)
	}
	kept, err := db.In(scope).Keys(t.Context())
	must(t, err)
	if len(kept) != 1 || kept[0].LastUsed.IsZero() || strings.Contains(fmt.Sprintf("%+v", kept), secret) {
		t.Errorf("kept: %+v", kept)
	}
	for _, bad := range []string{"", "Basic x", "Bearer", "Bearer ", "Bearer " + secret[:20], "Bearer " + strings.ToUpper(secret), secret, "Bearer " + k.Hash, "Bearer " + k.ID} {
		r := request(t, bad)
		if bad == "" {
			r = r.WithContext(session(t, s))
			r.Header.Del("Authorization")
		}
		_, err := s.Actor(r)
		wantCode(t, err, fault.Unauthenticated)
	}
	c.pass(2 * time.Hour)
	_, err = s.Actor(request(t, "Bearer "+secret))
	wantCode(t, err, fault.Unauthenticated)
	_, _, err = s.CreateKey(t.Context(), scope, estate.Key{Tenant: "main", Name: "climb", Grants: []estate.Grant{{Role: estate.Admin}}})
	wantCode(t, err, fault.Denied)
	wantCode(t, s.DeleteKey(t.Context(), estate.InTenant("other"), k.ID), fault.NotFound)
	must(t, s.DeleteKey(t.Context(), scope, k.ID))
}

func TestOperator(t *testing.T) {
	s, _, _ := open(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "operator.json")
	read := func() (op operator) {
		t.Helper()
		b, err := os.ReadFile(file)
		must(t, err)
		must(t, json.Unmarshal(b, &op))
		return op
	}
	must(t, s.WriteOperator(t.Context(), dir, "http://127.0.0.1:8780"))
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	first := read()
	actor, err := s.Actor(request(t, "Bearer "+first.Key))
	must(t, err)
	if actor.Kind != "local" || !actor.Can(estate.ManageServer, estate.Everything()) {
		t.Errorf("actor: %+v", actor)
	}
	_, _, err = s.CreateKey(t.Context(), estate.Everything(), estate.Key{Name: "Local Operator ", By: operatorBy}) // nobody passes for the operator
	wantCode(t, err, fault.Invalid)
	must(t, s.WriteOperator(t.Context(), dir, "http://127.0.0.1:9999"))
	if again := read(); again.Key != first.Key || again.Server != "http://127.0.0.1:9999" {
		t.Error("a key that works was not kept")
	}
	must(t, os.WriteFile(file, []byte("damaged"), 0o600))
	must(t, s.WriteOperator(t.Context(), dir, "x"))
	if read().Key == first.Key {
		t.Error("a damaged file got the old key")
	}
	_, err = s.Actor(request(t, "Bearer "+first.Key))
	wantCode(t, err, fault.Unauthenticated) // the lost key is ended
}

func TestLastAdministratorStays(t *testing.T) {
	s, _, _ := open(t)
	add := func(name string, scope estate.Scope) estate.User {
		t.Helper()
		u, err := s.CreateUser(t.Context(), estate.Everything(), estate.User{Name: name, Grants: []estate.Grant{{Role: estate.Admin, Scope: scope}}}, good)
		must(t, err)
		return u
	}
	ada, bob := add("ada", estate.Everything()), add("bob", estate.InTenant("main"))
	wantCode(t, s.DeleteUser(t.Context(), estate.Everything(), ada.ID), fault.Conflict)
	must(t, s.DeleteUser(t.Context(), estate.Everything(), bob.ID))
	eve := add("eve", estate.Everything())
	must(t, s.DeleteUser(t.Context(), estate.Everything(), ada.ID))
	wantCode(t, s.DeleteUser(t.Context(), estate.Everything(), eve.ID), fault.Conflict)
	wantCode(t, s.DeleteUser(t.Context(), estate.InTenant("main"), eve.ID), fault.NotFound)
}

// TestPasswordReset replaces a password: the old one and what began with it
// count no more, and nobody resets a person who may do more than himself.
func TestPasswordReset(t *testing.T) {
	s, c, _ := open(t)
	all, other := estate.Everything(), estate.InTenant("other")
	u, err := s.CreateUser(t.Context(), estate.InTenant("main"), estate.User{Tenant: "main", Name: "ada", Grants: []estate.Grant{{Role: estate.Viewer, Scope: estate.InTenant("main")}}}, good)
	must(t, err)
	boss, err := s.CreateUser(t.Context(), all, estate.User{Tenant: "main", Name: "boss", Grants: []estate.Grant{{Role: estate.Admin}}}, good)
	must(t, err)
	ctx := session(t, s)
	_, err = s.SignIn(ctx, "10.0.0.1", "ada", good)
	must(t, err)
	asks := func() error {
		_, err := s.Actor(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		return err
	}
	must(t, asks())
	c.pass(time.Second)
	_, err = s.SetPassword(t.Context(), other, u.ID, "another good password")
	wantCode(t, err, fault.NotFound)
	_, err = s.SetPassword(t.Context(), estate.InTenant("main"), boss.ID, "another good password")
	wantCode(t, err, fault.Denied)
	wantCode(t, s.DeleteUser(t.Context(), estate.InTenant("main"), boss.ID), fault.Denied)
	_, err = s.SetPassword(t.Context(), all, u.ID, "short")
	wantCode(t, err, fault.Invalid)
	must(t, asks())
	_, err = s.SetPassword(t.Context(), estate.InTenant("main"), u.ID, "another good password")
	must(t, err)
	wantCode(t, asks(), fault.Unauthenticated)
	_, err = s.SignIn(session(t, s), "10.0.0.1", "ada", good)
	wantCode(t, err, fault.Unauthenticated)
	_, err = s.SignIn(ctx, "10.0.0.1", "ada", "another good password")
	must(t, err)
	must(t, asks())
}
