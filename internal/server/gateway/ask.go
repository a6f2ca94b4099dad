package gateway

import (
	"time"

	"github.com/fettlehq/fettle/internal/estate"
)

// Scan asks an endpoint for a fresh scan with its next check-in, and wakes it
// for that. The wish is kept in memory: a person who asked looks again.
func (g *Gateway) Scan(t estate.TenantID, id estate.EndpointID) {
	g.scans.Store(id, true)
	g.Wake(t, id)
}

// wantsScan takes the wish for a fresh scan, if there is one.
func (g *Gateway) wantsScan(id estate.EndpointID) bool {
	_, asked := g.scans.LoadAndDelete(id)
	return asked
}

// Online reports whether the endpoint holds a wake channel here, or checked in
// within the time that an agent without one may stay silent.
func (g *Gateway) Online(_ estate.TenantID, id estate.EndpointID, seen time.Time) bool {
	return g.wakes.has(id) || g.cfg.Now().Sub(seen) < g.cfg.Unwoken+g.cfg.Unwoken/2
}

// OnlineCount counts the tenant's endpoints that hold a wake channel here.
func (g *Gateway) OnlineCount(t estate.TenantID) int {
	g.wakes.mu.RLock()
	defer g.wakes.mu.RUnlock()
	n := 0
	for _, c := range g.wakes.open {
		if c.tenant == t {
			n++
		}
	}
	return n
}
