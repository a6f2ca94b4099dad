package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// PutGroup adds or replaces a group and its members. Groups span sites, so it
// needs the scope of the tenant; a member that is no machine of the tenant is
// refused (Invalid).
func (s Scoped) PutGroup(ctx context.Context, g estate.Group) error {
	if err := s.covers(estate.InTenant(g.Tenant)); err != nil {
		return err
	}
	if err := estate.ValidID("group", string(g.ID)); err != nil {
		return err
	}
	members := slices.Clone(g.Members)
	slices.Sort(members)
	members = slices.Compact(members)
	known, err := s.db.In(estate.InTenant(g.Tenant)).ActiveAmong(ctx, members)
	if err != nil {
		return err
	}
	for _, m := range members {
		if !known[m] {
			return fault.New(fault.Invalid, "store: %s is no active machine of tenant %s", m, g.Tenant)
		}
	}
	bare := g
	bare.Members = nil
	doc, err := encode(bare)
	if err != nil {
		return err
	}
	return s.view().write(ctx, "write group "+string(g.ID), func(tx Tx) error {
		if _, err := tx.Exec(ctx, `insert into endpoint_groups (tenant, id, doc) values ($1, $2, $3)
			on conflict (tenant, id) do update set doc = excluded.doc`, string(g.Tenant), string(g.ID), doc); err != nil {
			return err
		}
		return setMembers(ctx, tx, g.Tenant, g.ID, members)
	})
}

// setMembers writes only what differs from what is stored.
func setMembers(ctx context.Context, tx Tx, t estate.TenantID, id estate.GroupID, members []estate.EndpointID) error {
	have := map[estate.EndpointID]bool{}
	q := (&query{}).add("select endpoint from group_members where tenant = ? and group_id = ?", string(t), string(id))
	err := q.each(ctx, tx, func(r Row) error {
		var e string
		err := r.Scan(&e)
		have[estate.EndpointID(e)] = true
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range members {
		if have[m] {
			delete(have, m)
			continue
		}
		if err := addMember(ctx, tx, t, id, m); err != nil {
			return err
		}
	}
	for _, gone := range sortedKeys(have) {
		if _, err := tx.Exec(ctx, "delete from group_members where tenant = $1 and group_id = $2 and endpoint = $3",
			string(t), string(id), string(gone)); err != nil {
			return err
		}
	}
	return nil
}

func addMember(ctx context.Context, tx Tx, t estate.TenantID, id estate.GroupID, e estate.EndpointID) error {
	_, err := tx.Exec(ctx, `insert into group_members (tenant, group_id, endpoint) values ($1, $2, $3)
		on conflict (tenant, group_id, endpoint) do nothing`, string(t), string(id), string(e))
	return err
}

// DeleteGroup removes a group; its machines stay.
func (s Scoped) DeleteGroup(ctx context.Context, t estate.TenantID, id estate.GroupID) error {
	if err := s.covers(estate.InTenant(t)); err != nil {
		return err
	}
	return s.view().write(ctx, "delete group "+string(id), func(tx Tx) error {
		// The group first: a writer of the same group then waits, or has written
		// all its members.
		n, err := tx.Exec(ctx, "delete from endpoint_groups where tenant = $1 and id = $2", string(t), string(id))
		if err != nil || n == 0 {
			return notFound(err)
		}
		_, err = tx.Exec(ctx, "delete from group_members where tenant = $1 and group_id = $2", string(t), string(id))
		return err
	})
}

// notFound is err, or sql.ErrNoRows when there is none.
func notFound(err error) error {
	if err != nil {
		return err
	}
	return sql.ErrNoRows
}

// Groups returns the groups of the scope by tenant and id with those members
// that the scope covers.
func (s Scoped) Groups(ctx context.Context) ([]estate.Group, error) {
	var all []estate.Group
	if err := s.from("select doc from endpoint_groups", siteAll).add(" order by tenant, id").each(ctx, s.view(), scanDoc(&all)); err != nil {
		return nil, s.db.wrap(err, "list groups")
	}
	at := map[[2]string]*estate.Group{}
	for i := range all {
		at[[2]string{string(all[i].Tenant), string(all[i].ID)}] = &all[i]
	}
	q := s.from("select tenant, group_id, endpoint from group_members", siteEndpoint).add(" order by tenant, group_id, endpoint")
	err := q.each(ctx, s.view(), func(r Row) error {
		var t, g, e string
		if err := r.Scan(&t, &g, &e); err != nil {
			return err
		}
		if to := at[[2]string{t, g}]; to != nil {
			to.Members = append(to.Members, estate.EndpointID(e))
		}
		return nil
	})
	return all, s.db.wrap(err, "list members of groups")
}

// fillGroups sets Groups of the endpoints, sorted.
func (s Scoped) fillGroups(ctx context.Context, list []*estate.Endpoint) error {
	at := make(map[estate.EndpointID]*estate.Endpoint, len(list))
	ids := make([]estate.EndpointID, len(list))
	for i, e := range list {
		at[e.ID], ids[i], e.Groups = e, e.ID, nil
	}
	for part := range chunks(ids) {
		q := s.from("select endpoint, group_id from group_members", siteAll).in("endpoint", part).add(" order by endpoint, group_id")
		err := q.each(ctx, s.view(), func(r Row) error {
			var e, g string
			if err := r.Scan(&e, &g); err != nil {
				return err
			}
			if to := at[estate.EndpointID(e)]; to != nil {
				to.Groups = append(to.Groups, estate.GroupID(g))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
