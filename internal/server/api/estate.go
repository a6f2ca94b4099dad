package api

import (
	"context"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/window"
)

func (a *API) groups(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*listed[estate.Group], error) {
	all, err := a.Data(of(ctx).scope).Groups(ctx)
	if err != nil {
		return nil, err
	}
	return cut(all, nil, in.Paging, func(g estate.Group) string { return string(g.ID) })
}

// NewGroup is a group as it is written. The tenant is that of the path.
type NewGroup struct {
	Tenant  estate.TenantID     `json:"tenant,omitempty" doc:"Taken from the path; refused when it differs"`
	ID      estate.GroupID      `json:"id,omitempty" maxLength:"63"`
	Name    string              `json:"name,omitempty" maxLength:"253"`
	Members []estate.EndpointID `json:"members,omitempty" maxItems:"100000"`
}

func (a *API) createGroup(ctx context.Context, in *struct {
	TenantPath
	Body NewGroup
},
) (*answered[estate.Group], error) {
	all, err := a.Data(of(ctx).scope).Groups(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if g.ID == in.Body.ID {
			return nil, fault.New(fault.Conflict, "group %s exists already", g.ID).WithHint("'fettle groups set %s HOST...' changes it", g.ID)
		}
	}
	return a.writeGroup(ctx, in.tenant(), in.Body.ID, in.Body)
}

func (a *API) putGroup(ctx context.Context, in *struct {
	ByID
	Body NewGroup
},
) (*answered[estate.Group], error) {
	if in.Body.ID != "" && string(in.Body.ID) != in.ID {
		return nil, fault.New(fault.Invalid, "the path names group %s, the body %s", in.ID, in.Body.ID)
	}
	return a.writeGroup(ctx, in.tenant(), estate.GroupID(in.ID), in.Body)
}

func (a *API) writeGroup(ctx context.Context, t estate.TenantID, id estate.GroupID, n NewGroup) (*answered[estate.Group], error) {
	if n.Tenant != "" && n.Tenant != t {
		return nil, fault.New(fault.Invalid, "the path names tenant %s, the body %s", t, n.Tenant)
	}
	g := estate.Group{Tenant: t, ID: id, Name: n.Name, Members: n.Members}
	if g.Name == "" {
		g.Name = string(id)
	}
	note(ctx, string(id), "")
	if err := a.Data(of(ctx).scope).PutGroup(ctx, g); err != nil {
		return nil, err
	}
	kept, err := a.group(ctx, id)
	if err != nil {
		return nil, err
	}
	a.Deployments.Kick() // decisions for groups may count for other machines now
	return &answered[estate.Group]{Body: *kept}, nil
}

func (a *API) deleteGroup(ctx context.Context, in *ByID) (*none, error) {
	note(ctx, in.ID, "")
	return nil, a.Data(of(ctx).scope).DeleteGroup(ctx, in.tenant(), estate.GroupID(in.ID))
}

func (a *API) tokens(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*listed[estate.Token], error) {
	all, err := a.Data(of(ctx).scope).Tokens(ctx)
	if err != nil {
		return nil, err
	}
	return cut(all, nil, in.Paging, func(t estate.Token) string { return t.ID })
}

// NewToken asks for an enrolment token.
type NewToken struct {
	Site      estate.SiteID    `json:"site,omitempty" maxLength:"63" doc:"Default: main"`
	Uses      int              `json:"uses,omitempty" minimum:"0" maximum:"100000" doc:"How many machines may use it; default 1"`
	ExpiresIn window.Duration  `json:"expires_in,omitzero" doc:"Such as 24h, the default; at most 90 days"`
	Note      string           `json:"note,omitempty" maxLength:"253"`
	Groups    []estate.GroupID `json:"groups,omitempty" maxItems:"100" doc:"Groups that the machines join"`
}

// Token is a new token with its secret, which is shown this once.
type Token struct {
	estate.Token
	Secret string `json:"secret"`
	Enrolment
}

const longestToken = 90 * 24 * time.Hour

func (a *API) createToken(ctx context.Context, in *struct {
	TenantPath
	Body NewToken
},
) (*answered[Token], error) {
	q, n := of(ctx), in.Body
	life := n.ExpiresIn.Std()
	if life == 0 {
		life = 24 * time.Hour
	}
	if life < time.Minute || life > longestToken {
		return nil, fault.New(fault.Invalid, "a token lives one minute to 90 days, not %s", life)
	}
	for _, g := range n.Groups {
		if _, err := a.group(ctx, g); err != nil {
			return nil, err
		}
	}
	site := n.Site
	if site == "" {
		site = estate.DefaultSite
	}
	if err := a.exists(ctx, q.scope, estate.Scope{Tenant: in.tenant(), Site: site}); err != nil {
		return nil, err
	}
	now := a.Now().UTC()
	t, secret, err := a.Data(q.scope).CreateToken(ctx, estate.Token{
		Tenant: in.tenant(), Site: site, Note: n.Note, Groups: n.Groups, Uses: max(n.Uses, 1),
		By: q.actor.Name, Created: now, Expires: now.Add(life),
	})
	if err != nil {
		return nil, err
	}
	note(ctx, t.ID, strings.TrimSpace("for site "+string(site)+" "+n.Note))
	return &answered[Token]{Body: Token{Token: t, Secret: secret, Enrolment: a.Enrolment(secret)}}, nil
}

func (a *API) deleteToken(ctx context.Context, in *ByID) (*none, error) {
	note(ctx, in.ID, "")
	return nil, a.Data(of(ctx).scope).RevokeToken(ctx, in.ID, a.Now().UTC())
}

func (a *API) tenants(ctx context.Context, in *Paging) (*listed[estate.Tenant], error) {
	all, err := a.Data(of(ctx).scope).Tenants(ctx)
	if err != nil {
		return nil, err
	}
	return cut(all, nil, *in, func(t estate.Tenant) string { return string(t.ID) })
}

// NewTenant asks for a tenant.
type NewTenant struct {
	ID   estate.TenantID `json:"id" maxLength:"63"`
	Name string          `json:"name,omitempty" maxLength:"253"`
}

func (a *API) createTenant(ctx context.Context, in *struct{ Body NewTenant }) (*answered[estate.Tenant], error) {
	t := estate.Tenant{ID: in.Body.ID, Name: in.Body.Name, Created: a.Now().UTC()}
	if t.Name == "" {
		t.Name = string(t.ID)
	}
	note(ctx, string(t.ID), t.Name)
	return &answered[estate.Tenant]{Body: t}, a.Data(of(ctx).scope).CreateTenant(ctx, t)
}

func (a *API) sites(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*listed[estate.Site], error) {
	all, err := a.Data(of(ctx).scope).Sites(ctx)
	if err != nil {
		return nil, err
	}
	return cut(all, nil, in.Paging, func(s estate.Site) string { return string(s.ID) })
}

// NewSite is a site as it is written.
type NewSite struct {
	ID   estate.SiteID `json:"id" maxLength:"63"`
	Name string        `json:"name,omitempty" maxLength:"253"`
	Zone string        `json:"zone,omitempty" maxLength:"63" doc:"IANA time zone"`
}

func (a *API) putSite(ctx context.Context, in *struct {
	TenantPath
	Body NewSite
},
) (*answered[estate.Site], error) {
	s := estate.Site{Tenant: in.tenant(), ID: in.Body.ID, Name: in.Body.Name, Zone: in.Body.Zone}
	if _, err := time.LoadLocation(s.Zone); err != nil {
		return nil, fault.New(fault.Invalid, "%q is no time zone", s.Zone).WithHint("use an IANA name such as Europe/Berlin")
	}
	if s.Name == "" {
		s.Name = string(s.ID)
	}
	note(ctx, string(s.ID), s.Name)
	return &answered[estate.Site]{Body: s}, a.Data(of(ctx).scope).PutSite(ctx, s)
}
