package gateway

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/wire"
)

// A copied disk has its machine's identity: both speak under one name, and what
// one of them proves is believed of the other. What tells them apart is the
// system's id of its boot: a machine goes on to new ones and never comes back
// to an earlier one (but once, when it is set back to a live snapshot).
const (
	twinReturns = 3              // to an earlier boot, within twinFor
	twinFor     = 24 * time.Hour // after the last of them it counts
	twinBoots   = 128            // boots that are remembered of one endpoint
	twinText    = "more than one machine speaks as this one: its disk was copied after it was enrolled. No orders are given to either; " +
		"enrol the copies anew with: fettle-agent enroll --force"
)

// twins remembers boots of endpoints, in memory.
type twins struct {
	mu  sync.Mutex
	all map[estate.EndpointID]*boots
}

type boots struct {
	ids     []string // the last is the one that speaks now
	returns int
	at      time.Time // of the last return
}

// seen notes that the endpoint spoke in a boot, and reports whether more than
// one machine speaks as it; fresh is set when that was just learned.
func (t *twins) seen(id estate.EndpointID, boot string, now time.Time) (twin, fresh bool) {
	if boot == "" {
		return false, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[estate.EndpointID]*boots{}
	}
	b := t.all[id]
	if b == nil {
		b = &boots{}
		t.all[id] = b
	}
	if now.Sub(b.at).Abs() > twinFor {
		b.returns = 0
	}
	before := b.returns >= twinReturns
	if n := len(b.ids); n == 0 || b.ids[n-1] != boot {
		if at := slices.Index(b.ids, boot); at >= 0 {
			b.ids = slices.Delete(b.ids, at, at+1)
			b.returns++
			b.at = now
		}
		b.ids = append(b.ids, boot)
		b.ids = b.ids[max(0, len(b.ids)-twinBoots):]
	}
	twin = b.returns >= twinReturns
	return twin, twin && !before
}

// reportTwin makes it the endpoint's problem that a copy of it speaks too, and
// says whether that is so.
func (g *Gateway) reportTwin(ctx context.Context, p peer, m *wire.CheckIn, now time.Time) bool {
	twin, fresh := g.twins.seen(p.endpoint, m.BootID, now)
	if fresh {
		g.cfg.Log.Warn("more than one machine speaks as one endpoint", "endpoint", p.endpoint, "tenant", p.tenant)
		g.cfg.Witness.Audit(ctx, p.tenant, "agent:"+string(p.endpoint), "endpoint.copied", string(p.endpoint), "more than one machine speaks as this one; no orders are given")
	}
	if twin && m.Problem != "" {
		m.Problem = strings.ToValidUTF8((twinText + "; " + m.Problem)[:min(len(twinText)+2+len(m.Problem), maxProblem)], "")
	} else if twin {
		m.Problem = twinText
	}
	return twin
}
