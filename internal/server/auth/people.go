package auth

import (
	"context"
	"crypto/subtle"
	"regexp"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Users lists the people of a scope, without what must not leave.
func (s *Service) Users(ctx context.Context, scope estate.Scope) ([]estate.User, error) {
	return s.People(scope).Users(ctx)
}

// userName is what a person may be called: it stands in logs and tables.
var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@+-]{0,127}$`)

// CreateUser adds a person to the scope. Errors: Invalid for a bad name or
// password, Conflict for a taken name, Denied for grants outside the scope.
func (s *Service) CreateUser(ctx context.Context, scope estate.Scope, u estate.User, password string) (estate.User, error) {
	u.Name = fold(u.Name)
	if !userName.MatchString(u.Name) {
		return u, fault.New(fault.Invalid, "%q is no name to sign in with", u.Name).WithHint("use letters, digits and . _ @ + -")
	}
	secret := NewSecret(password)
	if err := checkPassword(secret, u.Name); err != nil {
		return u, err
	}
	hash, err := s.hasher.hash(ctx, secret)
	if err != nil {
		return u, err
	}
	u.ID, u.PasswordHash, u.Created = "", hash, s.Now().UTC()
	return s.People(scope).PutUser(ctx, u)
}

// SetPassword replaces the password of a person of the scope; their sessions
// end with the next request. Errors: NotFound, Invalid for a bad password,
// Denied for a person whose roles reach beyond the scope, Conflict when the
// account was changed or removed meanwhile.
func (s *Service) SetPassword(ctx context.Context, scope estate.Scope, id estate.UserID, password string) (estate.User, error) {
	u, err := s.People(scope).User(ctx, id)
	if err != nil {
		return u, err
	}
	secret := NewSecret(password)
	if err := checkPassword(secret, u.Name); err != nil {
		return u, err
	}
	was := u.PasswordHash
	if u.PasswordHash, err = s.hasher.hash(ctx, secret); err != nil {
		return u, err
	}
	u.PasswordSet = s.Now().UTC()
	return u, s.People(scope).ReplaceUser(ctx, u, was)
}

// DeleteUser removes a person of the scope and the API keys that the person
// owns; their sessions end with the next request, the keys at once. The last administrator of the whole server stays (Conflict), and so
// does a person whose roles reach beyond the scope (Denied).
func (s *Service) DeleteUser(ctx context.Context, scope estate.Scope, id estate.UserID) error {
	err := s.People(scope).DeleteUser(ctx, id, func(u estate.User, all []estate.User) error { return mayGo(scope, u, all) })
	if err != nil {
		return err
	}
	// They open nothing any more in any case; this takes them from the lists.
	keys, err := s.all().Keys(ctx)
	if err != nil {
		s.Log.Warn("the keys of a removed person stay in the lists", "user", id, "error", err)
	}
	for _, k := range keys {
		if k.Owner != id {
			continue
		}
		if err := s.all().DeleteKey(ctx, k.ID); err != nil && !fault.Is(err, fault.NotFound) {
			s.Log.Warn("the key of a removed person stays in the lists", "user", id, "key", k.ID, "error", err)
		}
	}
	return nil
}

// mayGo says whether the person may be removed by one who manages the scope,
// whose people all are.
func mayGo(scope estate.Scope, u estate.User, all []estate.User) error {
	for _, g := range u.Grants {
		if !scope.Covers(g.Scope) {
			return fault.New(fault.Denied, "%s has a role in %s, which lies outside of %s", u.Name, g.Scope, scope)
		}
	}
	// Who rules the server is within no scope but the server's: all is everybody.
	if rules(u) && !slices.ContainsFunc(all, func(other estate.User) bool { return other.ID != u.ID && rules(other) }) {
		return fault.New(fault.Conflict, "%s is the last administrator of the server", u.Name).WithHint("make another one first")
	}
	return nil
}

// rules reports whether a person can manage people of the whole server.
func rules(u estate.User) bool {
	return !u.Disabled && userActor(u).Can(estate.ManagePeople, estate.Everything())
}

// keyPrefix begins every API key.
const keyPrefix = "fk1_"

// Keys lists the API keys of a scope, without their secrets.
func (s *Service) Keys(ctx context.Context, scope estate.Scope) ([]estate.Key, error) {
	return s.People(scope).Keys(ctx)
}

// CreateKey makes an API key and returns its secret, which is kept nowhere.
// Invalid for the name of the local operator's key: the audit log is to say who
// it was.
func (s *Service) CreateKey(ctx context.Context, scope estate.Scope, k estate.Key) (estate.Key, string, error) {
	if fold(k.Name) == operatorName {
		return k, "", fault.New(fault.Invalid, "%q is the name of the server's own key", operatorName).WithHint("name the key after the program that is to use it")
	}
	return s.createKey(ctx, scope, k)
}

func (s *Service) createKey(ctx context.Context, scope estate.Scope, k estate.Key) (estate.Key, string, error) {
	secret := generate(keyPrefix)
	k.ID, k.Hash = "", secret.hash()
	k, err := s.People(scope).PutKey(ctx, k)
	return k, secret.Reveal(), err
}

// DeleteKey ends an API key of the scope.
func (s *Service) DeleteKey(ctx context.Context, scope estate.Scope, id string) error {
	return s.People(scope).DeleteKey(ctx, id)
}

// byKey finds the owner of an API key. The look-up is by hash, so its time
// says nothing of how much of a guess was right; a text that can't be a key
// costs no look-up.
func (s *Service) byKey(ctx context.Context, secret Secret) (estate.Actor, error) {
	wrong := fault.New(fault.Unauthenticated, "the API key is not valid").WithHint("it may be mistyped, expired or deleted; 'fettle --help' says where a key is looked for")
	if len(secret.text) != len(keyPrefix)+64 || secret.text[:len(keyPrefix)] != keyPrefix {
		return estate.Actor{}, wrong
	}
	k, err := s.all().KeyByHash(ctx, secret.hash())
	if fault.Is(err, fault.NotFound) {
		return estate.Actor{}, wrong
	}
	if err != nil {
		return estate.Actor{}, err
	}
	now := s.Now().UTC()
	if subtle.ConstantTimeCompare([]byte(k.Hash), []byte(secret.hash())) != 1 || !k.Active(now) {
		return estate.Actor{}, wrong
	}
	if k.Owner != "" {
		owner, err := s.all().User(ctx, k.Owner)
		if fault.Is(err, fault.NotFound) || err == nil && owner.Disabled {
			return estate.Actor{}, wrong
		}
		if err != nil {
			return estate.Actor{}, err
		}
	}
	if now.Sub(k.LastUsed) > time.Minute {
		if err := s.all().TouchKey(ctx, k.ID, now); err != nil {
			s.Log.Warn("the last use of an API key could not be kept", "key", k.ID, "error", err)
		}
	}
	kind := "key"
	if k.Name == operatorName && k.By == operatorBy {
		kind = "local"
	}
	return estate.Actor{Kind: kind, ID: k.ID, Name: k.Name, Grants: k.Grants, Owner: k.Owner}, nil
}
