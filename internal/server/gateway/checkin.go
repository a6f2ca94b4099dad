package gateway

import (
	"context"
	"hash/fnv"
	"net/http"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// maxSkew is how far an agent's clock may be off before it is reported:
// certificates, windows and catalog expiry depend on it.
const maxSkew = 10 * time.Minute

// maxProblem bounds the text of an agent's problem in bytes; agents cut theirs
// at half of it.
const maxProblem = 4 << 10

// checkIn answers a contact. An unchanged machine costs one small read, one
// row in a group commit, and a reply of some 100 bytes.
func (g *Gateway) checkIn(w http.ResponseWriter, r *http.Request, p peer) error {
	var m wire.CheckIn
	if err := read(r, &m); err != nil {
		return err
	}
	if err := checkContact(m); err != nil {
		return err
	}
	have, err := g.standing(r, p)
	if err != nil {
		return err
	}
	now := g.cfg.Now()
	g.reportSkew(p, &m, now)
	copied := g.reportTwin(r.Context(), p, &m, now)
	out := wire.CheckInReply{Now: now.UTC(), Catalog: g.cfg.Repository.Version()}
	if m.Root != "" && m.Root != have {
		if err := g.changed(r.Context(), p, m, now, &out); err != nil {
			return err
		}
	}
	m.Scanned = confirmed(m, have, now)
	out.Scan = m.Root == "" || g.wantsScan(p.endpoint)
	if err := g.cfg.Store.CheckIn(r.Context(), p.tenant, p.endpoint, m, now); err != nil {
		return err
	}
	if !copied {
		if out.Orders, err = g.cfg.Orders.Orders(r.Context(), p.tenant, p.endpoint); err != nil {
			return err
		}
	}
	out.Next = g.next(p.endpoint)
	return reply(w, out)
}

// confirmed is when the machine was last scanned, if what the server has of it
// was the result; zero if not.
func confirmed(m wire.CheckIn, have string, now time.Time) time.Time {
	switch {
	case m.Root == "" || m.Root != have:
		return time.Time{}
	case m.Scanned.After(now):
		return now
	}
	return m.Scanned
}

func checkContact(m wire.CheckIn) error {
	if err := checkProtocol(m.Protocol); err != nil {
		return err
	}
	for what, s := range map[string]string{"agent version": m.AgentVersion, "boot id": m.BootID} {
		if err := text(what, s); err != nil {
			return err
		}
	}
	if len(m.Problem) > maxProblem || slices.Contains([]byte(m.Problem), 0) {
		return fault.New(fault.Invalid, "the problem's text is too long or not text")
	}
	if m.Root != "" && !isHash(m.Root) || len(m.Sections) > len(inventory.Sections()) {
		return fault.New(fault.Invalid, "the inventory's hashes are not well-formed")
	}
	return checkSections(m.Sections)
}

// checkSections wants known names, each once, in wire order, with hashes.
func checkSections(all []inventory.Section) error {
	order := inventory.Sections()
	last := -1
	for _, s := range all {
		at := slices.Index(order, s.Name)
		if at <= last || !isHash(s.Hash) {
			return fault.New(fault.Invalid, "section %.40q is unknown, out of order or has no hash", s.Name)
		}
		last = at
	}
	return nil
}

func isHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// reportSkew notes a clock that is off as the machine's problem, unless it
// names one itself.
func (g *Gateway) reportSkew(p peer, m *wire.CheckIn, now time.Time) {
	if m.Now.IsZero() {
		return
	}
	skew := m.Now.Sub(now)
	if skew.Abs() <= maxSkew {
		return
	}
	if m.Problem == "" {
		m.Problem = "the machine's clock is off by " + skew.Truncate(time.Second).String()
	}
	if g.noted.Within(string(p.endpoint)+"skew", now, time.Minute) {
		g.cfg.Log.Warn("an endpoint's clock is off", "endpoint", p.endpoint, "tenant", p.tenant, "skew", skew)
	}
}

// changed asks for what the server lacks of a new inventory, or accepts it at
// once when the tenant's dictionary has all of it.
func (g *Gateway) changed(ctx context.Context, p peer, m wire.CheckIn, now time.Time, out *wire.CheckInReply) error {
	if !inventory.Complete(m.Sections) {
		out.WantHashes = true
		return nil
	}
	if inventory.Root(m.Sections) != m.Root {
		return fault.New(fault.Invalid, "the inventory's root does not follow from its sections")
	}
	hashes := make([]string, len(m.Sections))
	for i, s := range m.Sections {
		hashes[i], m.Sections[i].Body = s.Hash, nil
	}
	lack, err := g.cfg.Store.LackingSections(ctx, p.tenant, hashes)
	if err != nil {
		return err
	}
	for _, s := range m.Sections {
		if slices.Contains(lack, s.Hash) {
			out.Want = append(out.Want, s.Name)
		}
	}
	if len(out.Want) > 0 {
		g.announced.put(p.endpoint, m.Sections)
		return nil
	}
	return g.accept(ctx, p, m.Sections, m.Scanned, now)
}

// next is when to come again: spread by identity, so that machines that were
// started together do not stay together.
func (g *Gateway) next(id estate.EndpointID) int {
	interval := g.cfg.Interval
	if !g.wakes.has(id) {
		interval = min(interval, g.cfg.Unwoken)
	}
	return int((interval*9/10 + time.Duration(float64(interval)/5*spread(id))).Seconds())
}

// spread maps an identity to [0, 1).
func spread(id estate.EndpointID) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return float64(h.Sum64()>>11) / (1 << 53)
}
