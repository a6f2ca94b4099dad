package orchestrate

import (
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/patch"
)

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
