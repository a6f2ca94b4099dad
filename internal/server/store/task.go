package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

func errForeignTask(t deploy.Task, d deploy.Deployment) error {
	return fault.New(fault.Invalid, "store: task %s does not belong to deployment %s", t.ID, d.ID)
}

// saveTasks inserts or replaces tasks in the order of their ids and appends
// their new steps.
func saveTasks(ctx context.Context, tx Tx, tasks []deploy.Task) error {
	tasks = slices.Clone(tasks)
	slices.SortFunc(tasks, func(a, b deploy.Task) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, t := range tasks {
		if err := saveTask(ctx, tx, t); err != nil {
			return err
		}
	}
	return nil
}

func saveTask(ctx context.Context, tx Tx, t deploy.Task) error {
	bare := t
	bare.History = nil
	doc, err := encode(bare)
	if err != nil {
		return err
	}
	// Endpoint, deployment and tenant of a task never change: a conflicting
	// id of another owner updates no row.
	n, err := tx.Exec(ctx, `insert into tasks (id, tenant, deployment, endpoint, ring, state, ended, since, doc)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		on conflict (id) do update set state = excluded.state, ended = excluded.ended, since = excluded.since, doc = excluded.doc
		where tasks.tenant = excluded.tenant and tasks.deployment = excluded.deployment and tasks.endpoint = excluded.endpoint`,
		string(t.ID), string(t.Tenant), string(t.Deployment), string(t.Endpoint), t.Ring, string(t.State), flag(t.State.Ended()), millis(t.Since), doc)
	if err != nil || n == 0 {
		return errOr(err, fault.New(fault.Conflict, "store: task id %s is taken", t.ID))
	}
	return saveSteps(ctx, tx, t)
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// saveSteps appends what the task's history has beyond the stored one. The
// last stored step must be in its place: that notices a second writer.
func saveSteps(ctx context.Context, tx Tx, t deploy.Task) error {
	var n, at int64
	var state string
	err := sqlRow(ctx, tx, "select n, at, state from task_steps where task = $1 order by n desc limit 1", string(t.ID)).Scan(&n, &at, &state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		n = -1
	case err != nil:
		return err
	case int(n) >= len(t.History) || millis(t.History[n].At) != at || string(t.History[n].State) != state:
		return fault.New(fault.Conflict, "store: task %s has moved on meanwhile", t.ID)
	}
	for i := int(n) + 1; i < len(t.History); i++ {
		step := t.History[i]
		if _, err := tx.Exec(ctx, "insert into task_steps (task, n, tenant, at, state, reason) values ($1, $2, $3, $4, $5, $6)",
			string(t.ID), i, string(t.Tenant), millis(step.At), string(step.State), step.Reason); err != nil {
			return err
		}
	}
	return nil
}

// Task returns one task with its history.
func (s Scoped) Task(ctx context.Context, id deploy.TaskID) (deploy.Task, error) {
	var t deploy.Task
	var doc string
	q := s.from("select doc from tasks", siteEndpoint).add(" and id = ?", string(id))
	if err := q.row(ctx, s.view()).Scan(&doc); err != nil {
		return t, s.db.wrap(err, "task "+string(id))
	}
	if err := decode(doc, &t); err != nil {
		return t, err
	}
	one := []deploy.Task{t}
	err := s.fillHistory(ctx, one)
	return one[0], err
}

// Tasks returns one page of tasks by id and the cursor of the next page ("" at
// the end).
func (s Scoped) Tasks(ctx context.Context, f deploy.TaskFilter) ([]deploy.Task, string, error) {
	after, err := parseCursor(f.After, 1)
	if err != nil {
		return nil, "", err
	}
	q := s.from("select doc from tasks", siteEndpoint)
	if f.Deployment != "" {
		q.add(" and deployment = ?", string(f.Deployment))
	}
	if f.Endpoint != "" {
		q.add(" and endpoint = ?", string(f.Endpoint))
	}
	if f.Open {
		q.add(" and ended = 0")
	}
	if len(f.States) > 0 {
		states := make([]string, len(f.States))
		for i, st := range f.States {
			states[i] = string(st)
		}
		q.in("state", states)
	}
	if f.After != "" {
		q.add(" and id > ?", after[0])
	}
	limit := pageSize(f.Limit)
	var all []deploy.Task
	if err := q.add(" order by id limit ?", limit+1).each(ctx, s.view(), scanDoc(&all)); err != nil {
		return nil, "", s.db.wrap(err, "list tasks")
	}
	all, next := page(all, limit, func(t deploy.Task) string { return cursor(string(t.ID)) })
	if f.History {
		err = s.fillHistory(ctx, all)
	}
	return all, next, err
}

// DeploymentTasks returns every task of a deployment with its history, by
// ring and id.
func (s Scoped) DeploymentTasks(ctx context.Context, id deploy.ID) ([]deploy.Task, error) {
	q := s.from("select doc from tasks", siteEndpoint).add(" and deployment = ? order by ring, id", string(id))
	return s.wholeTasks(ctx, q)
}

// EndpointTasks returns the tasks of an endpoint that have not ended, with
// their history, oldest first.
func (s Scoped) EndpointTasks(ctx context.Context, id estate.EndpointID) ([]deploy.Task, error) {
	all, err := s.openTasks(ctx, id)
	if err != nil {
		return nil, err
	}
	return all, s.fillHistory(ctx, all)
}

// openTasks is EndpointTasks without the history; it is asked at each contact.
func (s Scoped) openTasks(ctx context.Context, id estate.EndpointID) ([]deploy.Task, error) {
	var all []deploy.Task
	q := s.from("select doc from tasks", siteEndpoint).add(" and endpoint = ? and ended = 0 order by id", string(id))
	if err := q.each(ctx, s.view(), scanDoc(&all)); err != nil {
		return nil, s.db.wrap(err, "open tasks of "+string(id))
	}
	slices.SortStableFunc(all, func(a, b deploy.Task) int { return a.Created.Compare(b.Created) })
	return all, nil
}

// PlannedPayloads calls each with the plan of every task that has not ended.
func (s Scoped) PlannedPayloads(ctx context.Context, each func(*deploy.Plan)) error {
	q := s.from("select doc from tasks", siteEndpoint).add(" and ended = 0")
	return s.db.wrap(q.each(ctx, s.view(), func(r Row) error {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return err
		}
		var t deploy.Task
		if err := decode(doc, &t); err != nil {
			return err
		}
		if t.Plan != nil {
			each(t.Plan)
		}
		return nil
	}), "list planned payloads")
}

func (s Scoped) wholeTasks(ctx context.Context, q *query) ([]deploy.Task, error) {
	var all []deploy.Task
	if err := q.each(ctx, s.view(), scanDoc(&all)); err != nil {
		return nil, s.db.wrap(err, "list tasks")
	}
	return all, s.fillHistory(ctx, all)
}

func (s Scoped) fillHistory(ctx context.Context, tasks []deploy.Task) error {
	at := make(map[deploy.TaskID]*deploy.Task, len(tasks))
	ids := make([]deploy.TaskID, len(tasks))
	for i := range tasks {
		at[tasks[i].ID], ids[i] = &tasks[i], tasks[i].ID
	}
	for part := range chunks(ids) {
		q := (&query{}).add("select task, at, state, reason from task_steps where 1 = 1").in("task", part).add(" order by task, n")
		err := q.each(ctx, s.view(), func(r Row) error {
			var id, state, reason string
			var when int64
			if err := r.Scan(&id, &when, &state, &reason); err != nil {
				return err
			}
			t := at[deploy.TaskID(id)]
			t.History = append(t.History, deploy.Step{State: deploy.State(state), At: moment(when), Reason: reason})
			return nil
		})
		if err != nil {
			return s.db.wrap(err, "read the history of tasks")
		}
	}
	return nil
}

// OwnTasks returns those of the ids that are tasks of the endpoint, ended or
// not.
func (s Scoped) OwnTasks(ctx context.Context, id estate.EndpointID, tasks []deploy.TaskID) (map[deploy.TaskID]bool, error) {
	own := map[deploy.TaskID]bool{}
	for part := range chunks(tasks) {
		q := s.from("select id from tasks", siteEndpoint).add(" and endpoint = ?", string(id)).in("id", part)
		err := q.each(ctx, s.view(), func(r Row) error {
			var t string
			err := r.Scan(&t)
			own[deploy.TaskID(t)] = true
			return err
		})
		if err != nil {
			return nil, s.db.wrap(err, "look tasks up")
		}
	}
	return own, nil
}

// StartedSince counts the endpoints of the scope with a task that began to
// install at or after the moment: what the blast-radius breaker looks at.
func (s Scoped) StartedSince(ctx context.Context, since time.Time) (int, error) {
	var n int
	q := s.from("select count(distinct endpoint) from tasks", siteEndpoint).
		add(" and id in (select task from task_steps where state = ? and at >= ?)", string(deploy.Installing), millis(since))
	return n, s.db.wrap(q.row(ctx, s.view()).Scan(&n), "count started endpoints")
}

// EventSeq returns the highest event number that the endpoint was
// acknowledged, 0 for none.
func (s Scoped) EventSeq(ctx context.Context, id estate.EndpointID) (int64, error) {
	var n int64
	q := s.from("select coalesce(max(seq), 0) from event_cursors", siteEndpoint).add(" and endpoint = ?", string(id))
	return n, s.db.wrap(q.row(ctx, s.view()).Scan(&n), "event number of "+string(id))
}

// SetEventSeq keeps the number; it never goes back.
func (s Scoped) SetEventSeq(ctx context.Context, tenant estate.TenantID, id estate.EndpointID, seq int64) error {
	if err := s.reads(tenant); err != nil {
		return err
	}
	_, err := s.view().exec(ctx, "keep the event number of "+string(id), `insert into event_cursors (endpoint, tenant, seq) values ($1, $2, $3)
		on conflict (endpoint) do update set seq = excluded.seq where event_cursors.tenant = excluded.tenant and event_cursors.seq < excluded.seq`,
		string(id), string(tenant), seq)
	return err
}
