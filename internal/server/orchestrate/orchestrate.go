// Package orchestrate is the loop that advances deployments: it asks
// deploy.Advance what follows, keeps the answer in the store, wakes endpoints
// and asks for payloads. Orders are not queued anywhere: they follow from the
// states of an endpoint's tasks, so that nothing is lost and nothing comes
// twice after a crash.
package orchestrate

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
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
	// Lacks is true also where it can't be told now.
	Lacks(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) bool
	// Has reports whether exactly the patch is there; known is false when the
	// scan can't be read now.
	Has(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) (has, known bool)
}

// Fleet answers from the assessment, the approvals and the estate.
type Fleet interface {
	Scans
	Approval(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) approval.State
	// Started counts endpoints of the tenant that began to install since; it
	// is below 0 when that can't be told.
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
