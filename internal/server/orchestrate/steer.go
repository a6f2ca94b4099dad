package orchestrate

import (
	"context"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Update changes a deployment under the loop's lock: halting, resuming,
// cancelling by a person. The function returns the changed deployment.
func (l *Loop) Update(ctx context.Context, tenant estate.TenantID, id deploy.ID, change func(deploy.Deployment) (deploy.Deployment, error)) (deploy.Deployment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, err := l.store.Deployment(ctx, tenant, id)
	if err != nil {
		return d, err
	}
	next, err := change(d)
	if err != nil {
		return d, err
	}
	if err := l.store.SaveProgress(ctx, next, nil); err != nil {
		return d, err
	}
	if next.Status != d.Status {
		l.recall(ctx, next)
	}
	l.Kick()
	return next, nil
}

// recall wakes the endpoints that are to hear of a cancellation.
func (l *Loop) recall(ctx context.Context, d deploy.Deployment) {
	tasks, err := l.store.Tasks(ctx, d.Tenant, d.ID)
	if err != nil {
		l.log.Error("endpoints are not told of a cancellation before they check in", "deployment", d.ID, "error", err)
		return
	}
	for _, t := range tasks {
		if recalled(d, t) {
			l.waker.Wake(d.Tenant, t.Endpoint)
		}
	}
}

// Abandon ends the open tasks of an endpoint that was shut out for good:
// nothing waits for its word any more.
func (l *Loop) Abandon(ctx context.Context, tenant estate.TenantID, endpoint estate.EndpointID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	tasks, err := l.store.EndpointTasks(ctx, tenant, endpoint)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "orchestrate: tasks of endpoint %s", endpoint)
	}
	for _, t := range tasks {
		d, err := l.store.Deployment(ctx, tenant, t.Deployment)
		if err == nil {
			err = l.store.SaveProgress(ctx, d, []deploy.Task{deploy.Abandon(t, l.now())})
		}
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "orchestrate: end task %s", t.ID)
		}
	}
	l.Kick()
	return nil
}
