package store

import (
	"context"

	"github.com/fettlehq/fettle/internal/estate"
)

// CreateTenant adds a tenant together with its first site, named
// estate.DefaultSite. It needs the scope of the whole server; an id that is
// taken gives fault.Conflict.
func (s Scoped) CreateTenant(ctx context.Context, t estate.Tenant) error {
	if err := s.covers(estate.Everything()); err != nil {
		return err
	}
	if err := estate.ValidID("tenant", string(t.ID)); err != nil {
		return err
	}
	doc, err := encode(t)
	if err != nil {
		return err
	}
	site := estate.Site{Tenant: t.ID, ID: estate.DefaultSite, Name: "Main site"}
	siteDoc, err := encode(site)
	if err != nil {
		return err
	}
	return s.view().write(ctx, "create tenant "+string(t.ID), func(tx Tx) error {
		if _, err := tx.Exec(ctx, "insert into tenants (id, created, doc) values ($1, $2, $3)", string(t.ID), millis(t.Created), doc); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "insert into sites (tenant, id, doc) values ($1, $2, $3)", string(t.ID), string(site.ID), siteDoc)
		return err
	})
}

// EnsureTenant is CreateTenant that is content when the tenant exists.
func (s Scoped) EnsureTenant(ctx context.Context, t estate.Tenant) error {
	if _, err := s.Tenant(ctx, t.ID); err == nil {
		return nil
	}
	err := s.CreateTenant(ctx, t)
	if err != nil {
		if _, again := s.Tenant(ctx, t.ID); again == nil {
			return nil // another starter was faster
		}
	}
	return err
}

// Tenant returns one tenant of the scope.
func (s Scoped) Tenant(ctx context.Context, id estate.TenantID) (estate.Tenant, error) {
	var t estate.Tenant
	var doc string
	q := s.tenants().add(" and id = ?", string(id))
	if err := q.row(ctx, s.view()).Scan(&doc); err != nil {
		return t, s.db.wrap(err, "tenant "+string(id))
	}
	return t, decode(doc, &t)
}

// Tenants returns the tenants of the scope by id; a server has few enough.
func (s Scoped) Tenants(ctx context.Context) ([]estate.Tenant, error) {
	var all []estate.Tenant
	err := s.tenants().add(" order by id").each(ctx, s.view(), scanDoc(&all))
	return all, s.db.wrap(err, "list tenants")
}

// tenants selects from the one table whose tenant is its id.
func (s Scoped) tenants() *query {
	q := (&query{}).add("select doc from tenants where 1 = 1")
	if s.scope.Tenant != "" {
		q.add(" and id = ?", string(s.scope.Tenant))
	}
	return q
}

// PutSite adds a site or changes its name and zone. It needs the scope of the
// tenant or of the site itself.
func (s Scoped) PutSite(ctx context.Context, site estate.Site) error {
	if err := s.covers(estate.Scope{Tenant: site.Tenant, Site: site.ID}); err != nil {
		return err
	}
	if err := estate.ValidID("site", string(site.ID)); err != nil {
		return err
	}
	doc, err := encode(site)
	if err != nil {
		return err
	}
	_, err = s.view().exec(ctx, "write site "+string(site.ID),
		"insert into sites (tenant, id, doc) values ($1, $2, $3) on conflict (tenant, id) do update set doc = excluded.doc",
		string(site.Tenant), string(site.ID), doc)
	return err
}

// Sites returns the sites of the scope by tenant and id.
func (s Scoped) Sites(ctx context.Context) ([]estate.Site, error) {
	var all []estate.Site
	err := s.from("select doc from sites", "id = ?").add(" order by tenant, id").each(ctx, s.view(), scanDoc(&all))
	return all, s.db.wrap(err, "list sites")
}

// scanDoc returns a row scanner that decodes one document column into list.
func scanDoc[T any](list *[]T) func(Row) error {
	return func(r Row) error {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return err
		}
		var v T
		if err := decode(doc, &v); err != nil {
			return err
		}
		*list = append(*list, v)
		return nil
	}
}
