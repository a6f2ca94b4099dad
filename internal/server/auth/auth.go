// Package auth proves who asks: passwords (argon2id) with sessions of the
// console, API keys, the one-time link for the first administrator, and the
// key of the local operator. What an actor may do is decided by api from the
// actor's grants.
//
// Secrets are kept as hashes and shown once. A person's grants are read at
// each request, so that taking one away counts at once.
package auth

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/fettlehq/fettle/internal/door"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Users keeps people of one scope.
type Users interface {
	PutUser(ctx context.Context, u estate.User) (estate.User, error)
	// ReplaceUser gives Conflict when the password hash is not was any more.
	ReplaceUser(ctx context.Context, u estate.User, was string) error
	User(ctx context.Context, id estate.UserID) (estate.User, error)
	UserByName(ctx context.Context, name string) (estate.User, error)
	Users(ctx context.Context) ([]estate.User, error)
	// DeleteUser asks may within its transaction.
	DeleteUser(ctx context.Context, id estate.UserID, may func(u estate.User, all []estate.User) error) error
}

// Keys keeps API keys of one scope.
type Keys interface {
	PutKey(ctx context.Context, k estate.Key) (estate.Key, error)
	KeyByHash(ctx context.Context, hash string) (estate.Key, error)
	Keys(ctx context.Context) ([]estate.Key, error)
	TouchKey(ctx context.Context, id string, at time.Time) error
	DeleteKey(ctx context.Context, id string) error
}

// Settings keeps the setup link's hash.
type Settings interface {
	PutSetting(ctx context.Context, tenant estate.TenantID, name string, value any) error
	Setting(ctx context.Context, tenant estate.TenantID, name string, into any) error
}

// People is what auth keeps within one scope; store.Scoped is one.
type People interface {
	Users
	Keys
	Settings
}

// Sessions keeps the console's sessions by a hash of their token; store.DB is
// one.
type Sessions = scs.CtxStore

// Config is what the wing's root hands in.
type Config struct {
	People   func(estate.Scope) People
	Sessions Sessions
	Log      *slog.Logger
	Now      func() time.Time
	// TLS says that browsers reach the console over HTTPS: cookies are then
	// sent over nothing else.
	TLS bool
	// Guessed is told of each wrong password, setup token and API key, for the
	// audit log: the action that failed, what was guessed at (an account that
	// there is, or one text for all others) and the address. It returns at
	// once. May be nil.
	Guessed func(action, object, address string)
	// CA is the file of the CA certificate behind the server's own certificate,
	// for the local operator's command line; empty when another CA vouches.
	CA string
	// Cheap spends next to nothing on the hashes of passwords. It is for tests:
	// whoever reads such a hash soon has the password.
	Cheap bool
}

// Service proves who asks. It is safe for concurrent use.
type Service struct {
	Config
	sessions *scs.SessionManager
	hasher   *hasher
	throttle *throttle
	origin   *http.CrossOriginProtection
	first    chan struct{} // one setup at a time
}

// Lifetimes of a session.
const (
	sessionLife = 12 * time.Hour
	sessionIdle = 2 * time.Hour
)

// New returns the service.
func New(c Config) *Service {
	spend := defaultCost()
	if c.Cheap {
		spend = cost{time: 1, memory: 64, threads: 1}
	}
	m := scs.New()
	m.Store = c.Sessions
	m.Lifetime, m.IdleTimeout = sessionLife, sessionIdle
	m.Cookie.Name = "fettle_session"
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteStrictMode
	m.Cookie.Secure = c.TLS
	m.Cookie.Path = "/"
	m.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		c.Log.Error("a session could not be read or kept", "path", r.URL.Path, "error", err)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"title":"Service Unavailable","status":503,"code":"unavailable","detail":"sessions can't be read now","hint":"try again in a moment"}` + "\n"))
	}
	return &Service{
		Config: c, sessions: m, hasher: newHasher(spend, 2), throttle: newThrottle(c.Now),
		origin: http.NewCrossOriginProtection(), first: make(chan struct{}, 1),
	}
}

// Sessions wraps the API and carries the console's session.
func (s *Service) Sessions(next http.Handler) http.Handler { return s.sessions.LoadAndSave(next) }

// all is the handle that authentication itself needs: who asks is not known
// yet, so no narrower scope is.
func (s *Service) all() People { return s.People(estate.Everything()) }

// What a session holds: who it is, and which password it began with.
const (
	sessionUser     = "user"
	sessionPassword = "password"
)

// passwordMark tells one password of a person from the next.
func passwordMark(u estate.User) int64 {
	if u.PasswordSet.IsZero() {
		return 0
	}
	return u.PasswordSet.UnixNano()
}

// Actor returns who sent the request: by API key, else by session. Errors:
// Unauthenticated; Denied for a page of another site that uses a person's
// session.
func (s *Service) Actor(r *http.Request) (estate.Actor, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		secret, ok := strings.CutPrefix(header, "Bearer ")
		if !ok {
			return estate.Actor{}, fault.New(fault.Unauthenticated, "only API keys are taken in the Authorization header").WithHint("send 'Authorization: Bearer KEY'")
		}
		actor, err := s.byKey(r.Context(), NewSecret(strings.TrimSpace(secret)))
		if fault.Is(err, fault.Unauthenticated) {
			err = s.guess(err, "key.use.failed", "API key", door.Network(r.RemoteAddr))
		}
		return actor, err
	}
	id := s.sessions.GetString(r.Context(), sessionUser)
	if id == "" {
		return estate.Actor{}, fault.New(fault.Unauthenticated, "nobody is signed in").WithHint("sign in, or send an API key in $FETTLE_API_KEY")
	}
	if err := s.origin.Check(r); err != nil {
		return estate.Actor{}, fault.Wrap(err, fault.Denied, "the request came from a page of another site")
	}
	u, err := s.all().User(r.Context(), estate.UserID(id))
	if fault.Is(err, fault.NotFound) || err == nil && u.Disabled {
		return estate.Actor{}, fault.New(fault.Unauthenticated, "the account does not exist any more")
	}
	if err == nil && s.sessions.GetInt64(r.Context(), sessionPassword) != passwordMark(u) {
		return estate.Actor{}, fault.New(fault.Unauthenticated, "the password was replaced").WithHint("sign in with the new one")
	}
	return userActor(u), err
}

// Still is Actor for a request that is being served for long: what the request
// began with is read anew. Unauthenticated also when its session was ended.
func (s *Service) Still(r *http.Request) (estate.Actor, error) {
	if r.Header.Get("Authorization") == "" {
		_, found, err := s.Config.Sessions.FindCtx(r.Context(), s.sessions.Token(r.Context()))
		if err != nil {
			return estate.Actor{}, err
		}
		if !found {
			return estate.Actor{}, fault.New(fault.Unauthenticated, "the session has ended").WithHint("sign in again")
		}
	}
	return s.Actor(r)
}

func userActor(u estate.User) estate.Actor {
	return estate.Actor{Kind: "user", ID: string(u.ID), Name: u.Name, Grants: u.Grants, Owner: u.ID}
}

// SignIn checks a password and begins a session in the request's context. One
// text answers for unknown names and wrong passwords, after the same time.
// Errors: Unauthenticated, Exhausted when guessing is being slowed down.
func (s *Service) SignIn(ctx context.Context, address, name, password string) (estate.Actor, error) {
	name, address = fold(name), door.Network(address)
	if err := s.throttle.begin(address, name); err != nil {
		return estate.Actor{}, err
	}
	wrong := fault.New(fault.Unauthenticated, "the name or the password is wrong")
	u, err := s.all().UserByName(ctx, name)
	if err == nil || fault.Is(err, fault.NotFound) {
		var ok bool
		ok, err = s.hasher.matches(ctx, NewSecret(password), u.PasswordHash)
		if err == nil && (!ok || u.Disabled) {
			err = wrong
		}
	}
	if err != nil {
		return estate.Actor{}, s.guess(err, "session.create.failed", cmp.Or(u.Name, "unknown name"), address)
	}
	err = s.begin(ctx, u)
	if fault.Is(err, fault.Conflict) { // replaced or removed while it was being checked
		return estate.Actor{}, s.guess(wrong, "session.create.failed", u.Name, address)
	}
	if err != nil {
		return estate.Actor{}, err
	}
	s.throttle.right(address, name)
	return userActor(u), nil
}

// begin gives the person a session with a token of its own. Conflict when the
// password counts no more, or the account is gone.
func (s *Service) begin(ctx context.Context, u estate.User) error {
	u.LastSignIn = s.Now().UTC()
	if err := s.all().ReplaceUser(ctx, u, u.PasswordHash); err != nil {
		return err
	}
	if err := s.sessions.RenewToken(ctx); err != nil {
		return fault.Wrap(err, fault.Unavailable, "auth: the session can't be kept")
	}
	s.sessions.Put(ctx, sessionUser, string(u.ID))
	s.sessions.Put(ctx, sessionPassword, passwordMark(u))
	return nil
}

// SignOut ends the session of the request's context.
func (s *Service) SignOut(ctx context.Context) error {
	if err := s.sessions.Destroy(ctx); err != nil {
		return fault.Wrap(err, fault.Unavailable, "auth: the session can't be ended")
	}
	return nil
}

// fold makes names that look the same the same.
func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }
