package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/assess"
	"github.com/fettlehq/fettle/internal/server/mirror"
	"github.com/fettlehq/fettle/internal/server/store"
)

// decisionsLast is how long approvals and groups may be answered from memory.
// A new decision clears them at once.
const decisionsLast = time.Second

// fleet answers orchestrate's questions from the index, the approvals and the
// store.
type fleet struct {
	db     *store.DB
	index  *assess.Index
	mirror *mirror.Mirror
	log    *slog.Logger
	now    func() time.Time

	mu        sync.Mutex
	decisions map[estate.TenantID]*decisions
}

// decisions are a tenant's active approvals and group memberships, or that they
// can't be read.
type decisions struct {
	at     time.Time
	away   bool
	all    map[patch.ID][]approval.Approval
	groups map[estate.EndpointID][]estate.GroupID
}

// forget drops what is remembered of approvals: somebody has decided.
func (f *fleet) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decisions = map[estate.TenantID]*decisions{}
}

// Lacks implements orchestrate.Fleet: held packages do not count as lacking,
// those that are installed only half do. What is not known of a machine, such
// as before the index has filled after a start, counts too: a task is not ended
// on a guess, and the machine itself says in its plan what there is to do.
func (f *fleet) Lacks(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) bool {
	findings, err := f.index.Findings(tenant, endpoint)
	if err != nil || !f.index.Covered(tenant, endpoint) {
		return true
	}
	for _, x := range findings {
		if x.Patch == id && (x.State == catalog.Missing || x.State == catalog.Broken) {
			return true
		}
	}
	return false
}

// Has implements orchestrate.Fleet: the last scan shows exactly the patch. A
// patch that left the catalog is on no machine as far as can be told.
func (f *fleet) Has(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) (has, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, snap, err := snapshots{f.db}.Snapshot(ctx, tenant, endpoint)
	if fault.Is(err, fault.NotFound) {
		return false, true
	}
	var p patch.Patch
	if err == nil {
		p, err = f.find(id)
	}
	if fault.Is(err, fault.NotFound) {
		return false, true
	}
	if err != nil {
		f.log.Error("what a machine has can't be read; its rollback waits", "tenant", tenant, "endpoint", endpoint, "error", err)
		return false, false
	}
	return detect.Eval(p.Present(), snap.Facts()).Value == detect.True, true
}

// find looks a patch up in every shard.
func (f *fleet) find(id patch.ID) (patch.Patch, error) {
	for _, platform := range f.mirror.Platforms() {
		if shard, ok := f.mirror.Shard(platform); ok {
			p, _, err := shard.Patch(id)
			if err == nil || !fault.Is(err, fault.NotFound) {
				return p, err
			}
		}
	}
	return patch.Patch{}, fault.New(fault.NotFound, "server: the catalog has no patch %s", id)
}

// Approval implements orchestrate.Fleet. When the store can't be asked the
// answer is "awaiting": nothing is installed on a guess.
func (f *fleet) Approval(tenant estate.TenantID, endpoint estate.EndpointID, id patch.ID) approval.State {
	d := f.decided(tenant)
	if d.away {
		return approval.Awaiting
	}
	state, _ := approval.Decide(d.all[id], id, endpoint, d.groups[endpoint], f.now())
	return state
}

func (f *fleet) decided(tenant estate.TenantID) *decisions {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if d := f.decisions[tenant]; d != nil && now.Sub(d.at).Abs() < decisionsLast {
		return d
	}
	d, err := f.readDecisions(tenant, now)
	if err != nil {
		f.log.Error("approvals can't be read; nothing new is started", "tenant", tenant, "error", err)
		d = &decisions{at: f.now(), away: true} // one look for all who ask now
	}
	f.decisions[tenant] = d
	return d
}

func (f *fleet) readDecisions(tenant estate.TenantID, now time.Time) (*decisions, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	in := f.db.In(estate.InTenant(tenant))
	active, err := in.ActiveApprovals(ctx, now)
	if err != nil {
		return nil, err
	}
	groups, err := in.Groups(ctx)
	if err != nil {
		return nil, err
	}
	d := &decisions{at: now, all: map[patch.ID][]approval.Approval{}, groups: map[estate.EndpointID][]estate.GroupID{}}
	for _, a := range active {
		d.all[a.Patch] = append(d.all[a.Patch], a)
	}
	for _, g := range groups {
		for _, member := range g.Members {
			d.groups[member] = append(d.groups[member], g.ID)
		}
	}
	return d, nil
}

// Started implements orchestrate.Fleet. Where it can't be counted, nothing
// begins.
func (f *fleet) Started(tenant estate.TenantID, since time.Time) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n, err := f.db.In(estate.InTenant(tenant)).StartedSince(ctx, since)
	if err != nil {
		f.log.Error("begun installations can't be counted; none begins", "tenant", tenant, "error", err)
		return -1
	}
	return n
}

// Endpoints implements orchestrate.Fleet.
func (f *fleet) Endpoints(tenant estate.TenantID) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n, err := f.db.In(estate.InTenant(tenant)).EndpointCount(ctx)
	if err != nil {
		f.log.Error("endpoints can't be counted", "tenant", tenant, "error", err)
	}
	return n
}

// CatalogVersion implements orchestrate.Fleet.
func (f *fleet) CatalogVersion() int64 { return f.mirror.Version() }

// snapshots reads machines back from the store for the index.
type snapshots struct{ db *store.DB }

// Snapshot implements assess.Snapshots.
func (s snapshots) Snapshot(ctx context.Context, tenant estate.TenantID, endpoint estate.EndpointID) (assess.Profile, *inventory.Snapshot, error) {
	sections, _, err := s.db.In(estate.InTenant(tenant)).Inventory(ctx, endpoint)
	if err != nil {
		return assess.Profile{}, nil, err
	}
	snap, err := inventory.Join(sections)
	if err != nil {
		return assess.Profile{}, nil, err
	}
	return assess.ProfileOf(snap.OS, sections), &snap, nil
}
