package store

import (
	"context"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// endpointColumns go with scanEndpoint. The last contact stands in a table of
// its own because it changes all the time.
const endpointColumns = `select doc, site, state,
	coalesce((select seen from contacts c where c.endpoint = endpoints.id), 0),
	coalesce((select agent from contacts c where c.endpoint = endpoints.id), ''),
	coalesce((select problem from contacts c where c.endpoint = endpoints.id), '') from endpoints`

func scanEndpoint(scan func(...any) error) (estate.Endpoint, error) {
	var e estate.Endpoint
	var doc, site, state, agent, problem string
	var seen int64
	if err := scan(&doc, &site, &state, &seen, &agent, &problem); err != nil {
		return e, err
	}
	if err := decode(doc, &e); err != nil {
		return e, err
	}
	e.Site, e.State, e.LastSeen, e.Problem = estate.SiteID(site), estate.EndpointState(state), moment(seen), problem
	if agent != "" {
		e.AgentVersion = agent
	}
	return e, nil
}

// Endpoint returns one machine with its groups. Revoked ones are returned too.
func (s Scoped) Endpoint(ctx context.Context, id estate.EndpointID) (estate.Endpoint, error) {
	q := s.from(endpointColumns, siteColumn).add(" and id = ?", string(id))
	e, err := scanEndpoint(q.row(ctx, s.view()).Scan)
	if err == nil {
		err = s.fillGroups(ctx, []*estate.Endpoint{&e})
	}
	return e, s.db.wrap(err, "endpoint "+string(id))
}

// Endpoints returns one page of machines by tenant and id, with their groups,
// and the cursor of the next page ("" at the end).
func (s Scoped) Endpoints(ctx context.Context, f estate.EndpointFilter) ([]estate.Endpoint, string, error) {
	after, err := parseCursor(f.After, 2)
	if err != nil {
		return nil, "", err
	}
	q := s.from(endpointColumns, siteColumn)
	if f.After != "" {
		q.add(" and (tenant > ? or (tenant = ? and id > ?))", after[0], after[0], after[1])
	}
	narrow(q, f)
	limit := pageSize(f.Limit)
	q.add(" order by tenant, id limit ?", limit+1)
	var all []estate.Endpoint
	err = q.each(ctx, s.view(), func(r Row) error {
		e, err := scanEndpoint(r.Scan)
		all = append(all, e)
		return err
	})
	if err != nil {
		return nil, "", s.db.wrap(err, "list endpoints")
	}
	all, next := page(all, limit, func(e estate.Endpoint) string { return cursor(string(e.Tenant), string(e.ID)) })
	refs := make([]*estate.Endpoint, len(all))
	for i := range all {
		refs[i] = &all[i]
	}
	return all, next, s.db.wrap(s.fillGroups(ctx, refs), "list groups of endpoints")
}

func narrow(q *query, f estate.EndpointFilter) {
	if f.Site != "" {
		q.add(" and site = ?", string(f.Site))
	}
	if f.Platform != "" {
		q.add(" and platform = ?", f.Platform)
	}
	if f.State != "" {
		q.add(" and state = ?", string(f.State))
	}
	if f.Hostname != "" { // a prefix as a range, so that LIKE's wildcards mean nothing
		low := strings.ToLower(f.Hostname)
		q.add(" and hostname >= ? and hostname < ?", low, low+"\U0010FFFF")
	}
	if f.Group != "" {
		q.add(" and id in (select endpoint from group_members m where m.tenant = endpoints.tenant and m.group_id = ?)", string(f.Group))
	}
	if !f.SeenBefore.IsZero() {
		q.add(" and not exists (select 1 from contacts c where c.endpoint = endpoints.id and c.seen >= ?)", millis(f.SeenBefore))
	}
}

// EndpointCount returns how many active machines the scope has.
func (s Scoped) EndpointCount(ctx context.Context) (int, error) {
	var n int
	q := s.from("select count(*) from endpoints", siteColumn).add(" and state = ?", string(estate.Active))
	return n, s.db.wrap(q.row(ctx, s.view()).Scan(&n), "count endpoints")
}

// ActiveAmong returns those of the ids that are active machines of the scope.
func (s Scoped) ActiveAmong(ctx context.Context, ids []estate.EndpointID) (map[estate.EndpointID]bool, error) {
	found := map[estate.EndpointID]bool{}
	for part := range chunks(ids) {
		q := s.from("select id from endpoints", siteColumn).add(" and state = ?", string(estate.Active)).in("id", part)
		err := q.each(ctx, s.view(), func(r Row) error {
			var id string
			err := r.Scan(&id)
			found[estate.EndpointID(id)] = true
			return err
		})
		if err != nil {
			return nil, s.db.wrap(err, "look endpoints up")
		}
	}
	return found, nil
}

// Revoke makes the endpoint a tombstone and returns it. Its identity never
// comes back; revoking twice is content.
func (s Scoped) Revoke(ctx context.Context, id estate.EndpointID, at time.Time) (estate.Endpoint, error) {
	e, err := s.Endpoint(ctx, id)
	if err != nil {
		return e, err
	}
	q := (&query{}).add("update endpoints set state = ?, revoked = ? where tenant = ? and id = ? and state <> ?",
		string(estate.Revoked), millis(at), string(e.Tenant), string(id), string(estate.Revoked))
	_, err = s.view().exec(ctx, "revoke endpoint "+string(id), q.text.String(), q.args...)
	e.State = estate.Revoked
	return e, err
}

// Revoked calls each for every endpoint of the scope that was revoked at or
// after since, oldest first.
func (s Scoped) Revoked(ctx context.Context, since time.Time, each func(id estate.EndpointID, at time.Time)) error {
	q := s.from("select id, revoked from endpoints", siteColumn).add(" and revoked > 0 and revoked >= ? order by revoked", millis(since))
	return s.db.wrap(q.each(ctx, s.view(), func(r Row) error {
		var id string
		var at int64
		if err := r.Scan(&id, &at); err != nil {
			return err
		}
		each(estate.EndpointID(id), moment(at))
		return nil
	}), "list revoked endpoints")
}

// Move puts the endpoint into another site of its tenant. Both the place it
// leaves and the place it goes to must lie in the scope.
func (s Scoped) Move(ctx context.Context, id estate.EndpointID, to estate.SiteID) error {
	e, err := s.Endpoint(ctx, id)
	if err != nil {
		return err
	}
	if err := s.covers(estate.Scope{Tenant: e.Tenant, Site: to}); err != nil {
		return err
	}
	n, err := s.view().exec(ctx, "move endpoint "+string(id),
		"update endpoints set site = $1 where tenant = $2 and id = $3 and site = $4", string(to), string(e.Tenant), string(id), string(e.Site))
	if err == nil && n == 0 {
		return fault.New(fault.Conflict, "store: endpoint %s has been moved meanwhile", id)
	}
	return err
}

// insertEndpoint is part of enrolment. An id that was ever given gives a
// duplicate key, revoked or not.
func insertEndpoint(ctx context.Context, tx Tx, e estate.Endpoint) error {
	bare := e
	bare.Groups, bare.LastSeen, bare.Problem = nil, time.Time{}, ""
	doc, err := encode(bare)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into endpoints (id, tenant, site, hostname, platform, state, enrolled, revoked, doc)
		values ($1, $2, $3, $4, $5, $6, $7, 0, $8)`,
		string(e.ID), string(e.Tenant), string(e.Site), strings.ToLower(e.Hostname), e.Platform, string(e.State), millis(e.Enrolled), doc)
	return err
}

// chunks cuts a list into parts that fit one in-list, as plain strings.
func chunks[T ~string](list []T) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for len(list) > 0 {
			n := min(chunk, len(list))
			part := make([]string, n)
			for i, v := range list[:n] {
				part[i] = string(v)
			}
			list = list[n:]
			if !yield(part) {
				return
			}
		}
	}
}
