package store

import (
	"context"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// Agents is what the gateway asks of the store: every method names the tenant
// that the peer's certificate proves and reaches no row of another.
type Agents struct{ db *DB }

// Agents returns the gateway's view.
func (db *DB) Agents() Agents { return Agents{db} }

func (a Agents) in(t estate.TenantID) Scoped { return a.db.In(estate.InTenant(t)) }

// PlausibleToken is DB.PlausibleToken.
func (a Agents) PlausibleToken(secret string) bool { return a.db.PlausibleToken(secret) }

// Enrol is DB.Enrol.
func (a Agents) Enrol(ctx context.Context, secret string, e estate.Endpoint, now time.Time) (estate.Endpoint, error) {
	return a.db.Enrol(ctx, secret, e, now)
}

// Identity returns the site and state of an endpoint and the root of the
// inventory that the server has ("" before the first).
func (a Agents) Identity(ctx context.Context, t estate.TenantID, id estate.EndpointID) (estate.SiteID, estate.EndpointState, string, error) {
	who, err := a.in(t).Identity(ctx, id)
	return who.Site, who.State, who.Root, err
}

// Revoke makes the endpoint a tombstone.
func (a Agents) Revoke(ctx context.Context, t estate.TenantID, id estate.EndpointID, at time.Time) error {
	_, err := a.in(t).Revoke(ctx, id, at)
	return err
}

// Revoked lists the tombstones of all tenants since a moment.
func (a Agents) Revoked(ctx context.Context, since time.Time, each func(estate.EndpointID, time.Time)) error {
	return a.db.In(estate.Everything()).Revoked(ctx, since, each)
}

// CheckIn keeps the contact. Its Scanned is of the inventory that is kept, or zero.
func (a Agents) CheckIn(ctx context.Context, t estate.TenantID, id estate.EndpointID, m wire.CheckIn, at time.Time) error {
	c := Contact{
		Endpoint: id, Tenant: t, Seen: at, Scanned: m.Scanned, Catalog: m.Catalog, Agent: m.AgentVersion, Boot: m.BootID, Problem: m.Problem,
	}
	if !m.Now.IsZero() {
		c.Skew = m.Now.Sub(at)
	}
	return a.in(t).CheckIn(ctx, c)
}

// LackingSections is Scoped.LackingSections.
func (a Agents) LackingSections(ctx context.Context, t estate.TenantID, hashes []string) ([]string, error) {
	return a.in(t).LackingSections(ctx, t, hashes)
}

// SectionHashes is Scoped.SectionHashes.
func (a Agents) SectionHashes(ctx context.Context, t estate.TenantID, id estate.EndpointID) ([]inventory.Section, error) {
	return a.in(t).SectionHashes(ctx, id)
}

// Section is Scoped.Section.
func (a Agents) Section(ctx context.Context, t estate.TenantID, hash string) ([]byte, error) {
	return a.in(t).Section(ctx, t, hash)
}

// PutInventory is Scoped.PutInventory.
func (a Agents) PutInventory(ctx context.Context, t estate.TenantID, id estate.EndpointID, sections []inventory.Section,
	scanned, now time.Time, facts func(*estate.Endpoint),
) error {
	return a.in(t).PutInventory(ctx, Report{Endpoint: id, Tenant: t, Sections: sections, Scanned: scanned, Now: now, Facts: facts})
}

// OwnTasks is Scoped.OwnTasks.
func (a Agents) OwnTasks(ctx context.Context, t estate.TenantID, id estate.EndpointID, tasks []deploy.TaskID) (map[deploy.TaskID]bool, error) {
	return a.in(t).OwnTasks(ctx, id, tasks)
}

// EventSeq is Scoped.EventSeq.
func (a Agents) EventSeq(ctx context.Context, t estate.TenantID, id estate.EndpointID) (int64, error) {
	return a.in(t).EventSeq(ctx, id)
}

// SetEventSeq is Scoped.SetEventSeq.
func (a Agents) SetEventSeq(ctx context.Context, t estate.TenantID, id estate.EndpointID, seq int64) error {
	return a.in(t).SetEventSeq(ctx, t, id, seq)
}

// NeedsPayload reports whether the plan of an open task of the endpoint names
// the payload, and of what size in bytes.
func (a Agents) NeedsPayload(ctx context.Context, t estate.TenantID, id estate.EndpointID, sha256 string) (size int64, needed bool, err error) {
	tasks, err := a.in(t).openTasks(ctx, id)
	if err != nil {
		return 0, false, err
	}
	for _, task := range tasks {
		if task.Plan == nil {
			continue
		}
		for _, p := range task.Plan.Payloads {
			if p.SHA256 == sha256 {
				return p.Size, true, nil
			}
		}
	}
	return 0, false, nil
}

// Deployments is what orchestrate asks of the store.
type Deployments struct{ db *DB }

// Orchestration returns orchestrate's view, which spans all tenants.
func (db *DB) Orchestration() Deployments { return Deployments{db} }

func (d Deployments) in(t estate.TenantID) Scoped { return d.db.In(estate.InTenant(t)) }

// OpenDeployments is Scoped.OpenDeployments of every tenant.
func (d Deployments) OpenDeployments(ctx context.Context) ([]deploy.Deployment, error) {
	return d.db.In(estate.Everything()).OpenDeployments(ctx)
}

// Deployment is Scoped.Deployment.
func (d Deployments) Deployment(ctx context.Context, t estate.TenantID, id deploy.ID) (deploy.Deployment, error) {
	return d.in(t).Deployment(ctx, id)
}

// Tasks is Scoped.DeploymentTasks.
func (d Deployments) Tasks(ctx context.Context, t estate.TenantID, id deploy.ID) ([]deploy.Task, error) {
	return d.in(t).DeploymentTasks(ctx, id)
}

// EndpointTasks is Scoped.EndpointTasks.
func (d Deployments) EndpointTasks(ctx context.Context, t estate.TenantID, id estate.EndpointID) ([]deploy.Task, error) {
	return d.in(t).EndpointTasks(ctx, id)
}

// SaveProgress is Scoped.SaveProgress.
func (d Deployments) SaveProgress(ctx context.Context, dep deploy.Deployment, tasks []deploy.Task) error {
	return d.in(dep.Tenant).SaveProgress(ctx, dep, slices.Clone(tasks))
}
