package api

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/window"
)

// Me is who the caller is.
type Me struct {
	Kind   string         `json:"kind" enum:"user,key,local"`
	ID     string         `json:"id"`
	Name   string         `json:"name"`
	Grants []estate.Grant `json:"grants" nullable:"false"`
	// Tenants are those that the caller may enter.
	Tenants []estate.Tenant `json:"tenants" nullable:"false"`
	// Permissions by scope, so that a console can hide what is not allowed.
	Permissions map[string][]estate.Permission `json:"permissions"`
}

func (a *API) meOf(ctx context.Context, actor estate.Actor) (*answered[Me], error) {
	me := Me{
		Kind: actor.Kind, ID: actor.ID, Name: actor.Name, Grants: actor.Grants,
		Tenants: []estate.Tenant{}, Permissions: map[string][]estate.Permission{},
	}
	if me.Grants == nil {
		me.Grants = []estate.Grant{}
	}
	seen := map[estate.TenantID]bool{}
	for _, g := range me.Grants {
		where := g.Scope.String()
		me.Permissions[where] = append(me.Permissions[where], estate.Grants(g.Role)...)
		list, err := a.Data(g.Scope).Tenants(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			if !seen[t.ID] {
				seen[t.ID] = true
				me.Tenants = append(me.Tenants, t)
			}
		}
	}
	return &answered[Me]{Body: me}, nil
}

func (a *API) me(ctx context.Context, _ *struct{}) (*answered[Me], error) {
	return a.meOf(ctx, of(ctx).actor)
}

// Credentials are a name and its password.
type Credentials struct {
	Name     string `json:"name" minLength:"1" maxLength:"253"`
	Password string `json:"password" minLength:"1" maxLength:"1024" format:"password"`
}

func (a *API) signIn(ctx context.Context, in *struct{ Body Credentials }) (*answered[Me], error) {
	q := of(ctx)
	note(ctx, in.Body.Name, "from "+q.address)
	q.actor = estate.Actor{Kind: "user", Name: in.Body.Name}
	actor, err := a.Auth.SignIn(ctx, q.address, in.Body.Name, in.Body.Password)
	if err != nil {
		return nil, err
	}
	q.actor = actor
	return a.meOf(ctx, actor)
}

func (a *API) signOut(ctx context.Context, _ *struct{}) (*none, error) {
	note(ctx, of(ctx).actor.Name, "")
	return nil, a.Auth.SignOut(ctx)
}

// Setup makes the first administrator.
type Setup struct {
	Token    string `json:"token" maxLength:"256" doc:"From the one-time link that the server printed"`
	Name     string `json:"name" minLength:"1" maxLength:"253"`
	Password string `json:"password" minLength:"1" maxLength:"1024" format:"password"`
}

func (a *API) setup(ctx context.Context, in *struct{ Body Setup }) (*answered[Me], error) {
	q := of(ctx)
	note(ctx, in.Body.Name, "first administrator, from "+q.address)
	q.actor = estate.Actor{Kind: "user", Name: in.Body.Name}
	actor, err := a.Auth.Setup(ctx, q.address, in.Body.Token, in.Body.Name, in.Body.Password)
	if err != nil {
		return nil, err
	}
	q.actor = actor
	return a.meOf(ctx, actor)
}

func (a *API) users(ctx context.Context, in *Paging) (*listed[estate.User], error) {
	all, err := a.Auth.Users(ctx, of(ctx).scope)
	if err != nil {
		return nil, err
	}
	return cut(all, nil, *in, func(u estate.User) string { return u.Name })
}

// NewUser asks for an account.
type NewUser struct {
	Name     string         `json:"name" minLength:"1" maxLength:"253"`
	Email    string         `json:"email,omitempty" maxLength:"253"`
	Password string         `json:"password" maxLength:"1024" format:"password"`
	Grants   []estate.Grant `json:"grants" minItems:"1" maxItems:"100"`
}

// checkGrants refuses unknown roles, what lies outside the scope of the one who
// grants, and tenants and sites that nobody has made: whoever makes them later
// would not know that somebody holds roles there.
func (a *API) checkGrants(ctx context.Context, scope estate.Scope, grants []estate.Grant) error {
	for _, g := range grants {
		if estate.Grants(g.Role) == nil {
			return fault.New(fault.Invalid, "%q is not a role", g.Role).WithHint("use admin, operator, approver, auditor or viewer")
		}
		if g.Scope.Tenant == "" && g.Scope.Site != "" {
			return fault.New(fault.Invalid, "the site %q stands without its tenant", g.Scope.Site).WithHint("a scope is *, TENANT or TENANT/SITE")
		}
		if _, err := estate.ParseScope(g.Scope.String()); err != nil {
			return err
		}
		if !scope.Covers(g.Scope) {
			return fault.New(fault.Denied, "a role in %s can't be granted by someone of %s", g.Scope, scope)
		}
		if err := a.exists(ctx, scope, g.Scope); err != nil {
			return err
		}
	}
	return nil
}

// exists refuses (NotFound) a tenant or a site that is not there, naming those
// that the caller's scope has.
func (a *API) exists(ctx context.Context, caller, where estate.Scope) error {
	if where.Tenant == "" {
		return nil
	}
	tenants, err := a.Data(caller).Tenants(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, t := range tenants {
		ids = append(ids, string(t.ID))
	}
	if !slices.Contains(ids, string(where.Tenant)) {
		return fault.New(fault.NotFound, "there is no tenant %q", where.Tenant).
			WithHint("there are: %s; 'fettle tenants add %s' makes this one", nameList(ids, ", "), where.Tenant)
	}
	if where.Site == "" {
		return nil
	}
	sites, err := a.Data(estate.InTenant(where.Tenant)).Sites(ctx)
	if err != nil {
		return err
	}
	ids = nil
	for _, s := range sites {
		ids = append(ids, string(s.ID))
	}
	if !slices.Contains(ids, string(where.Site)) {
		return fault.New(fault.NotFound, "the tenant %s has no site %q", where.Tenant, where.Site).
			WithHint("there are: %s; 'fettle sites set %s --tenant %s' makes this one", nameList(ids, ", "), where.Site, where.Tenant)
	}
	return nil
}

func (a *API) createUser(ctx context.Context, in *struct{ Body NewUser }) (*answered[estate.User], error) {
	scope, n := of(ctx).scope, in.Body
	note(ctx, n.Name, grantsText(n.Grants))
	if err := a.checkGrants(ctx, scope, n.Grants); err != nil {
		return nil, err
	}
	u, err := a.Auth.CreateUser(ctx, scope, estate.User{Tenant: scope.Tenant, Name: n.Name, Email: n.Email, Grants: n.Grants}, n.Password)
	return &answered[estate.User]{Body: u}, err
}

func grantsText(grants []estate.Grant) string {
	words := []string{"grants"}
	for _, g := range grants {
		words = append(words, string(g.Role)+"@"+g.Scope.String())
	}
	return strings.Join(words, " ")
}

type idIn struct {
	ID string `path:"id" maxLength:"64"`
}

// NewPassword replaces a password.
type NewPassword struct {
	Password string `json:"password" minLength:"1" maxLength:"1024" format:"password"`
}

func (a *API) setPassword(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"64"`
	Body NewPassword
},
) (*answered[estate.User], error) {
	note(ctx, in.ID, "")
	u, err := a.Auth.SetPassword(ctx, of(ctx).scope, estate.UserID(in.ID), in.Body.Password)
	if err == nil {
		note(ctx, in.ID, u.Name)
	}
	return &answered[estate.User]{Body: u}, err
}

func (a *API) deleteUser(ctx context.Context, in *idIn) (*none, error) {
	note(ctx, in.ID, "")
	return nil, a.Auth.DeleteUser(ctx, of(ctx).scope, estate.UserID(in.ID))
}

func (a *API) keys(ctx context.Context, in *Paging) (*listed[estate.Key], error) {
	all, err := a.Auth.Keys(ctx, of(ctx).scope)
	if err != nil {
		return nil, err
	}
	return cut(all, nil, *in, func(k estate.Key) string { return string(k.Tenant) + "\x00" + k.ID })
}

// NewKey asks for an API key.
type NewKey struct {
	Name      string          `json:"name" minLength:"1" maxLength:"253"`
	Grants    []estate.Grant  `json:"grants" minItems:"1" maxItems:"100"`
	ExpiresIn window.Duration `json:"expires_in,omitzero" doc:"Such as 720h; left out: never"`
}

// Key is a new API key with its secret, which is shown this once.
type Key struct {
	estate.Key
	Secret string `json:"secret"`
}

func (a *API) createKey(ctx context.Context, in *struct{ Body NewKey }) (*answered[Key], error) {
	q, n := of(ctx), in.Body
	note(ctx, n.Name, grantsText(n.Grants))
	if err := a.checkGrants(ctx, q.scope, n.Grants); err != nil {
		return nil, err
	}
	if n.ExpiresIn < 0 {
		return nil, fault.New(fault.Invalid, "the key would expire before it is made")
	}
	now := a.Now().UTC()
	k := estate.Key{Tenant: q.scope.Tenant, Name: n.Name, Grants: n.Grants, By: q.actor.Name, Owner: q.actor.Owner, Created: now}
	if n.ExpiresIn > 0 {
		k.Expires = now.Add(min(n.ExpiresIn.Std(), 10*366*24*time.Hour))
	}
	made, secret, err := a.Auth.CreateKey(ctx, q.scope, k)
	return &answered[Key]{Body: Key{Key: made, Secret: secret}}, err
}

func (a *API) deleteKey(ctx context.Context, in *idIn) (*none, error) {
	note(ctx, in.ID, "")
	return nil, a.Auth.DeleteKey(ctx, of(ctx).scope, in.ID)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return string(sum[:])
}
