// Package orchestrate is the loop that advances deployments: it asks
// deploy.Advance what follows, keeps the answer in the store, wakes endpoints
// and asks for payloads. Orders are not queued anywhere: they follow from the
// states of an endpoint's tasks, so that nothing is lost and nothing comes
// twice after a crash.
package orchestrate

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// Store keeps deployments and tasks.
type Store interface {
	// OpenDeployments returns every deployment, of all tenants, that is not
	// finished.
	OpenDeployments(ctx context.Context) ([]deploy.Deployment, error)
	Deployment(ctx context.Context, tenant estate.TenantID, id deploy.ID) (deploy.Deployment, error)
	Tasks(ctx context.Context, tenant estate.TenantID, id deploy.ID) ([]deploy.Task, error)
	// EndpointTasks returns the endpoint's tasks that have not ended.
	EndpointTasks(ctx context.Context, tenant estate.TenantID, endpoint estate.EndpointID) ([]deploy.Task, error)
	// SaveProgress writes the deployment and the tasks in one transaction.
	SaveProgress(ctx context.Context, d deploy.Deployment, tasks []deploy.Task) error
}

// Scans answers from the last scan of an endpoint.
type Scans interface {
	Lacks(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) bool
	// Has reports whether exactly the patch is there; known is false when the
	// scan can't be read now.
	Has(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) (has, known bool)
}

// Fleet answers from the assessment, the approvals and the estate.
type Fleet interface {
	Scans
	Approval(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) approval.State
	// Started counts endpoints of the tenant that began to install since.
	Started(tenant estate.TenantID, since time.Time) int
	Endpoints(tenant estate.TenantID) int
	// CatalogVersion is the version whose records the orders name.
	CatalogVersion() int64
}

// Payloads brings payloads to the server.
type Payloads interface {
	Staged(payloads []patch.Payload) (all bool, problem string)
	// Stage starts bringing them in and returns at once.
	Stage(payloads []patch.Payload)
	// Offered refuses (Invalid) a plan with payloads that the signed catalog
	// does not offer to the task's endpoint; any other error means that it
	// can't tell now.
	Offered(ctx context.Context, t deploy.Task, plan *deploy.Plan) error
}

// Waker asks an endpoint to check in.
type Waker interface {
	Wake(tenant estate.TenantID, endpoint estate.EndpointID)
}

// Loop advances deployments.
type Loop struct {
	store    Store
	fleet    Fleet
	payloads Payloads
	waker    Waker
	log      *slog.Logger
	now      func() time.Time

	mu   sync.Mutex // one writer of deployments and tasks
	kick chan struct{}
}

// New returns a loop; Run starts it.
func New(s Store, f Fleet, p Payloads, w Waker, log *slog.Logger, now func() time.Time) *Loop {
	return &Loop{store: s, fleet: f, payloads: p, waker: w, log: log, now: now, kick: make(chan struct{}, 1)}
}

// Kick makes the loop look again soon: after a report, an approval, a staged
// payload, a new catalog.
func (l *Loop) Kick() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Run advances every open deployment when kicked and each interval, until the
// context ends. A deployment that can't be advanced is logged and tried again.
func (l *Loop) Run(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := l.Once(ctx); err != nil && ctx.Err() == nil {
			l.log.Error("deployments could not be advanced", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.kick:
		}
	}
}

// Once advances every open deployment one time.
func (l *Loop) Once(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	open, err := l.store.OpenDeployments(ctx)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "orchestrate: list open deployments")
	}
	for _, d := range open {
		if err := l.advance(ctx, d); err != nil {
			l.log.Error("deployment could not be advanced", "deployment", d.ID, "error", err)
		}
	}
	return nil
}

func (l *Loop) advance(ctx context.Context, d deploy.Deployment) error {
	tasks, err := l.store.Tasks(ctx, d.Tenant, d.ID)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "orchestrate: tasks of %s", d.ID)
	}
	next, changed, actions := deploy.Advance(d, tasks, world{l, d.Tenant}, l.now())
	if len(changed) > 0 || next.Status != d.Status || next.Reason != d.Reason || !next.Finished.Equal(d.Finished) {
		if err := l.store.SaveProgress(ctx, next, changed); err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "orchestrate: save %s", d.ID)
		}
	}
	for _, a := range actions {
		if len(a.Stage) > 0 {
			l.payloads.Stage(a.Stage)
		}
		if a.Wake != "" {
			l.waker.Wake(d.Tenant, a.Wake)
		}
	}
	return nil
}

// world answers Advance for one tenant.
type world struct {
	l      *Loop
	tenant estate.TenantID
}

func (w world) Approval(e estate.EndpointID, id patch.ID) approval.State {
	return w.l.fleet.Approval(w.tenant, e, id)
}

func (w world) Lacks(e estate.EndpointID, id patch.ID) bool { return w.l.fleet.Lacks(w.tenant, e, id) }

func (w world) Has(e estate.EndpointID, id patch.ID) (has, known bool) {
	return w.l.fleet.Has(w.tenant, e, id)
}

func (w world) StagedHere(p []patch.Payload) (bool, string) { return w.l.payloads.Staged(p) }

func (w world) Started(now time.Time) (started, endpoints int) {
	return w.l.fleet.Started(w.tenant, now.Add(-time.Hour)), w.l.fleet.Endpoints(w.tenant)
}

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
	touched := map[deploy.ID][]deploy.TaskID{}
	for _, e := range events {
		t, mine := byID[e.Task]
		if !mine {
			continue // ended meanwhile, or never its own: the gateway has refused and audited those
		}
		if err := l.hear(ctx, t, e); err != nil {
			return err
		}
		touched[t.Deployment] = append(touched[t.Deployment], t.ID)
	}
	for id, ids := range touched {
		if err := l.keep(ctx, tenant, id, ids, byID); err != nil {
			return err
		}
	}
	if len(touched) > 0 {
		l.Kick()
	}
	l.wakeForOrders(tenant, endpoint, before, tasks)
	return nil
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

func (l *Loop) hear(ctx context.Context, t *deploy.Task, e wire.Event) error {
	d, err := l.store.Deployment(ctx, t.Tenant, t.Deployment)
	if err != nil {
		return err
	}
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
		l.log.Warn("an endpoint's report does not follow its task", "task", t.ID, "error", err)
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

func (l *Loop) keep(ctx context.Context, tenant estate.TenantID, id deploy.ID, ids []deploy.TaskID, byID map[deploy.TaskID]*deploy.Task) error {
	d, err := l.store.Deployment(ctx, tenant, id)
	if err != nil {
		return err
	}
	seen := map[deploy.TaskID]bool{}
	var changed []deploy.Task
	for _, taskID := range ids {
		if !seen[taskID] {
			seen[taskID] = true
			changed = append(changed, *byID[taskID])
		}
	}
	return l.store.SaveProgress(ctx, d, changed)
}

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
