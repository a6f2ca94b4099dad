package orchestrate

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// Orders returns what the endpoint is to do now, derived from the states of
// its tasks, oldest task first. The agent works on one step at a time.
func (l *Loop) Orders(ctx context.Context, tenant estate.TenantID, endpoint estate.EndpointID) ([]wire.Order, error) {
	tasks, err := l.store.EndpointTasks(ctx, tenant, endpoint)
	if err != nil {
		return nil, fault.Wrap(err, fault.CodeOf(err), "orchestrate: tasks of endpoint %s", endpoint)
	}
	var orders []wire.Order
	for _, t := range tasks {
		d, err := l.store.Deployment(ctx, tenant, t.Deployment)
		if err != nil {
			return nil, err
		}
		if o, ok := l.order(d, t); ok {
			orders = append(orders, o)
		}
	}
	return orders, nil
}

// actions says which order follows from the state of a task.
var actions = map[deploy.State]wire.Action{
	deploy.Planning: wire.ActPlan, deploy.Downloading: wire.ActDownload, deploy.Installing: wire.ActInstall,
	deploy.Rebooting: wire.ActReboot, deploy.Verifying: wire.ActVerify,
}

func (l *Loop) order(d deploy.Deployment, t deploy.Task) (wire.Order, bool) {
	act, ok := actions[t.State]
	if !ok {
		return wire.Order{}, false
	}
	if recalled(d, t) || l.withdrawn(d, t) {
		return wire.Order{Task: t.ID, Attempt: t.Attempt, Action: wire.ActCancel, Operation: t.Operation}, true
	}
	p := d.Policy.Filled()
	o := wire.Order{
		Task: t.ID, Attempt: t.Attempt, Action: act, Operation: t.Operation, Patches: t.Patches, Catalog: l.fleet.CatalogVersion(),
		Conffile: p.Conffile, Timeout: int(p.TaskTimeout.Std().Seconds()), RestartServices: p.RestartServices,
	}
	if !l.due(d, t, act) {
		return wire.Order{}, false
	}
	if open, until := d.Schedule.Open(l.now()); act == wire.ActInstall && open && !d.Emergency {
		o.Until = until
	}
	return o, true
}

// recalled reports that somebody cancelled the deployment and nothing was heard
// of the endpoint's installation yet. It is asked not to begin; one that has
// begun says so by going on.
func recalled(d deploy.Deployment, t deploy.Task) bool {
	return d.Status == deploy.Cancelled && t.State == deploy.Installing && !t.Heard.After(t.Since)
}

// withdrawn reports the same of a task of which a patch is no longer approved.
func (l *Loop) withdrawn(d deploy.Deployment, t deploy.Task) bool {
	return d.Status == deploy.Running && t.State == deploy.Installing && !t.Heard.After(t.Since) && l.unapproved(t)
}

// unapproved reports that a patch of the task may not be installed any more.
// Taking back needs no approval of the patch.
func (l *Loop) unapproved(t deploy.Task) bool {
	return t.Operation != deploy.Rollback && slices.ContainsFunc(t.Patches, func(p deploy.PatchRef) bool {
		return l.fleet.Approval(t.Tenant, t.Endpoint, p.ID) != approval.Approved
	})
}

// due reports whether an order that changes the machine may still go out. An
// endpoint that was away when its task began must not begin when its window
// has closed or somebody has thought better of it. An endpoint that has the
// order already goes on by its own journal.
func (l *Loop) due(d deploy.Deployment, t deploy.Task, act wire.Action) bool {
	var open bool
	switch act {
	case wire.ActInstall:
		open, _ = d.Schedule.Open(l.now())
	case wire.ActReboot:
		open, _ = d.Schedule.OpenReboot(l.now())
	default:
		return true
	}
	if !open && !d.Emergency {
		return false
	}
	if t.Heard.After(t.Since) || act == wire.ActReboot { // what is installed is seen to its end
		return true
	}
	return d.Status == deploy.Running && !l.unapproved(t)
}
