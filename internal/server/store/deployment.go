package store

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
)

// CreateDeployment keeps a deployment together with its tasks, all or none.
// It needs the scope of the tenant.
func (s Scoped) CreateDeployment(ctx context.Context, d deploy.Deployment, tasks []deploy.Task) error {
	if err := s.coversAll(d, tasks); err != nil {
		return err
	}
	doc, err := encode(d)
	if err != nil {
		return err
	}
	return s.view().write(ctx, "create deployment "+string(d.ID), func(tx Tx) error {
		_, err := tx.Exec(ctx, "insert into deployments (id, tenant, status, created, doc) values ($1, $2, $3, $4, $5)",
			string(d.ID), string(d.Tenant), string(d.Status), millis(d.Created), doc)
		if err != nil {
			return err
		}
		return saveTasks(ctx, tx, tasks)
	})
}

// SaveProgress writes the deployment and the tasks in one transaction. Tasks
// carry their whole History: the steps that the store has must be its
// beginning, else another writer was faster and fault.Conflict comes back.
func (s Scoped) SaveProgress(ctx context.Context, d deploy.Deployment, tasks []deploy.Task) error {
	if err := s.coversAll(d, tasks); err != nil {
		return err
	}
	doc, err := encode(d)
	if err != nil {
		return err
	}
	return s.view().write(ctx, "save deployment "+string(d.ID), func(tx Tx) error {
		n, err := tx.Exec(ctx, "update deployments set status = $1, doc = $2 where id = $3 and tenant = $4",
			string(d.Status), doc, string(d.ID), string(d.Tenant))
		if err != nil || n == 0 {
			return notFound(err)
		}
		return saveTasks(ctx, tx, tasks)
	})
}

func (s Scoped) coversAll(d deploy.Deployment, tasks []deploy.Task) error {
	if err := s.covers(estate.InTenant(d.Tenant)); err != nil {
		return err
	}
	for _, t := range tasks {
		if t.Tenant != d.Tenant || t.Deployment != d.ID {
			return errForeignTask(t, d)
		}
	}
	return nil
}

// siteDeployment is how a deployment belongs to a site: by a task there.
const siteDeployment = "id in (select t.deployment from tasks t join endpoints e on e.id = t.endpoint where e.site = ?)"

// Deployment returns one deployment.
func (s Scoped) Deployment(ctx context.Context, id deploy.ID) (deploy.Deployment, error) {
	var d deploy.Deployment
	var doc string
	q := s.from("select doc from deployments", siteDeployment).add(" and id = ?", string(id))
	if err := q.row(ctx, s.view()).Scan(&doc); err != nil {
		return d, s.db.wrap(err, "deployment "+string(id))
	}
	return d, decode(doc, &d)
}

// OpenDeployments returns every deployment of the scope that still moves:
// running, halted, or cancelled with tasks that have not ended; oldest first.
func (s Scoped) OpenDeployments(ctx context.Context) ([]deploy.Deployment, error) {
	var all []deploy.Deployment
	q := s.from("select doc from deployments", siteDeployment).add(` and status <> ? and (status <> ? or exists
		(select 1 from tasks t where t.deployment = deployments.id and t.ended = 0)) order by created, id`,
		string(deploy.Finished), string(deploy.Cancelled))
	return all, s.db.wrap(q.each(ctx, s.view(), scanDoc(&all)), "list open deployments")
}

// Deployments returns one page of deployments, newest first, and the cursor of
// the next page ("" at the end).
func (s Scoped) Deployments(ctx context.Context, after string, limit int) ([]deploy.Deployment, string, error) {
	keys, err := parseCursor(after, 2)
	if err != nil {
		return nil, "", err
	}
	q := s.from("select doc from deployments", siteDeployment)
	if after != "" {
		created, err := parseInt(keys[0])
		if err != nil {
			return nil, "", err
		}
		q.add(" and (created < ? or (created = ? and id < ?))", created, created, keys[1])
	}
	limit = pageSize(limit)
	var all []deploy.Deployment
	if err := q.add(" order by created desc, id desc limit ?", limit+1).each(ctx, s.view(), scanDoc(&all)); err != nil {
		return nil, "", s.db.wrap(err, "list deployments")
	}
	all, next := page(all, limit, func(d deploy.Deployment) string { return cursor(itoa(millis(d.Created)), string(d.ID)) })
	return all, next, nil
}

// TaskCounts returns how many tasks of each deployment are in which state.
func (s Scoped) TaskCounts(ctx context.Context, ids []deploy.ID) (map[deploy.ID]map[deploy.State]int, error) {
	out := map[deploy.ID]map[deploy.State]int{}
	for part := range chunks(slices.Clone(ids)) {
		q := s.from("select deployment, state, count(*) from tasks", siteEndpoint).in("deployment", part).add(" group by deployment, state")
		err := q.each(ctx, s.view(), func(r Row) error {
			var id, state string
			var n int
			if err := r.Scan(&id, &state, &n); err != nil {
				return err
			}
			if out[deploy.ID(id)] == nil {
				out[deploy.ID(id)] = map[deploy.State]int{}
			}
			out[deploy.ID(id)][deploy.State(state)] = n
			return nil
		})
		if err != nil {
			return nil, s.db.wrap(err, "count tasks")
		}
	}
	return out, nil
}
