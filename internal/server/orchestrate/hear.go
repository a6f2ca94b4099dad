package orchestrate

import (
	"context"
	"maps"
	"slices"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// Hear folds an endpoint's events into its open tasks. An event about a task
// that has ended, or that is another endpoint's, changes nothing.
func (l *Loop) Hear(ctx context.Context, tenant estate.TenantID, endpoint estate.EndpointID, events []wire.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	tasks, err := l.store.EndpointTasks(ctx, tenant, endpoint)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "orchestrate: tasks of endpoint %s", endpoint)
	}
	byID, before := map[deploy.TaskID]*deploy.Task{}, map[deploy.TaskID]deploy.State{}
	for i := range tasks {
		byID[tasks[i].ID], before[tasks[i].ID] = &tasks[i], tasks[i].State
	}
	touched, err := l.fold(ctx, tenant, byID, events)
	if err != nil {
		return err
	}
	for _, h := range touched {
		if err := l.keep(ctx, h); err != nil {
			return err
		}
	}
	if len(touched) > 0 {
		l.Kick()
	}
	l.wakeForOrders(tenant, endpoint, before, tasks)
	return nil
}

// fold applies the events to the endpoint's open tasks. Each deployment is read
// once, however much is said about it.
func (l *Loop) fold(ctx context.Context, tenant estate.TenantID, byID map[deploy.TaskID]*deploy.Task, events []wire.Event) (map[deploy.ID]*heard, error) {
	touched := map[deploy.ID]*heard{}
	for _, e := range events {
		t, mine := byID[e.Task]
		if !mine {
			continue // ended meanwhile, or never its own: the gateway has refused and audited those
		}
		h := touched[t.Deployment]
		if h == nil {
			d, err := l.store.Deployment(ctx, tenant, t.Deployment)
			if err != nil {
				return nil, err
			}
			h = &heard{deployment: d, tasks: map[deploy.TaskID]*deploy.Task{}}
			touched[t.Deployment] = h
		}
		h.tasks[t.ID] = t
		if err := l.hear(ctx, h, t, e); err != nil {
			return nil, err
		}
	}
	return touched, nil
}

// wakeForOrders wakes the endpoint when what it said brought a task into a
// state from which an order follows, such as the scan after an installation:
// Advance sees no change there and would leave it to the next check-in.
func (l *Loop) wakeForOrders(tenant estate.TenantID, endpoint estate.EndpointID, before map[deploy.TaskID]deploy.State, tasks []deploy.Task) {
	for _, t := range tasks {
		if _, ordered := actions[t.State]; ordered && before[t.ID] != t.State {
			l.waker.Wake(tenant, endpoint)
			return
		}
	}
}

// heard is what one message of an endpoint says about one deployment.
type heard struct {
	deployment deploy.Deployment
	tasks      map[deploy.TaskID]*deploy.Task
	odd        bool // a report did not follow its task, which is logged once
}

func (l *Loop) hear(ctx context.Context, h *heard, t *deploy.Task, e wire.Event) error {
	d := h.deployment
	unoffered, err := l.unoffered(ctx, *t, e.Plan)
	if err != nil {
		return err
	}
	next, err := deploy.Hear(*t, d.Policy, deploy.Report{
		Attempt: e.Attempt, At: l.now(), State: e.State, Reason: e.Reason, Plan: e.Plan,
		Result: e.Result, Progress: e.Progress, Refused: e.Refused, Verdicts: e.Verdicts,
		Unoffered: unoffered, Cancelled: d.Status == deploy.Cancelled, Withdrawn: l.withdrawn(d, *t),
	})
	if err != nil {
		if !h.odd {
			l.log.Warn("an endpoint's report does not follow its task", "task", t.ID, "error", err)
		}
		h.odd = true
		return nil
	}
	*t = next
	return nil
}

// unoffered says what of a plan the catalog does not offer to its endpoint.
func (l *Loop) unoffered(ctx context.Context, t deploy.Task, plan *deploy.Plan) (string, error) {
	if plan == nil || t.State != deploy.Planning {
		return "", nil // it is not taken in any case
	}
	err := plan.Check()
	if err == nil {
		err = l.payloads.Offered(ctx, t, plan)
	}
	switch {
	case fault.Is(err, fault.Invalid):
		l.log.Warn("an endpoint's plan is refused", "endpoint", t.Endpoint, "task", t.ID, "error", err)
		return fault.Public(err), nil
	case err != nil:
		return "", fault.Wrap(err, fault.CodeOf(err), "orchestrate: the plan of task %s can't be checked", t.ID)
	}
	return "", nil
}

func (l *Loop) keep(ctx context.Context, h *heard) error {
	changed := make([]deploy.Task, 0, len(h.tasks))
	for _, id := range slices.Sorted(maps.Keys(h.tasks)) {
		changed = append(changed, *h.tasks[id])
	}
	return l.store.SaveProgress(ctx, h.deployment, changed)
}
