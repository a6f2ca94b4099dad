package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// maxInflated bounds a whole inventory message after decompression, in bytes:
// one section of the largest size and plenty for the others.
const maxInflated = 2*inventory.MaxSection + 1<<20

// sections takes the bodies that a check-in was asked for.
func (g *Gateway) sections(w http.ResponseWriter, r *http.Request, p peer) error {
	have, err := g.standing(r, p)
	if err != nil {
		return err
	}
	leave, err := g.intake.alone(p.endpoint)
	if err != nil {
		return err
	}
	defer leave()
	body, done, err := g.intake.body(r.Context(), r.Body)
	defer done()
	if err != nil {
		return err
	}
	var m wire.Sections
	if err := strict(body, &m); err != nil {
		return err
	}
	if !isHash(m.Root) {
		return fault.New(fault.Invalid, "the inventory's root is no hash")
	}
	if m.Root == have {
		w.WriteHeader(http.StatusNoContent) // the same again after a lost answer
		return nil
	}
	if err := g.bodies.take(p.endpoint, len(body), g.cfg.Now()); err != nil {
		return err
	}
	all, err := g.whole(r.Context(), p, m)
	if err != nil {
		return err
	}
	if err := g.accept(r.Context(), p, all, m.Scanned, g.cfg.Now()); err != nil {
		return err
	}
	g.announced.drop(p.endpoint)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// whole puts the sections of a message together with those that it leaves out
// because nobody asked for them: from the announcement of the check-in, or, as
// they were, from the store. The root proves that nothing is mixed up.
func (g *Gateway) whole(ctx context.Context, p peer, m wire.Sections) ([]inventory.Section, error) {
	if err := checkSections(m.Sections); err != nil {
		return nil, err
	}
	for _, s := range m.Sections {
		if len(s.Body) == 0 {
			continue
		}
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	base := g.announced.get(p.endpoint)
	if base == nil {
		var err error
		if base, err = g.cfg.Store.SectionHashes(ctx, p.tenant, p.endpoint); err != nil {
			return nil, err
		}
	}
	var all []inventory.Section
	for _, name := range inventory.Sections() {
		named := func(s inventory.Section) bool { return s.Name == name }
		if i := slices.IndexFunc(m.Sections, named); i >= 0 {
			all = append(all, m.Sections[i])
		} else if i := slices.IndexFunc(base, named); i >= 0 {
			all = append(all, base[i])
		}
	}
	if inventory.Root(all) != m.Root {
		return nil, fault.New(fault.Conflict, "the sections do not make up the announced inventory").
			WithHint("check in again with the hashes of all sections")
	}
	if !inventory.Complete(all) {
		return nil, fault.New(fault.Invalid, "the inventory lacks sections that every machine has")
	}
	return all, nil
}

// accept keeps a whole inventory as the peer's own.
func (g *Gateway) accept(ctx context.Context, p peer, all []inventory.Section, scanned, now time.Time) error {
	facts, err := g.facts(ctx, p, all)
	if err != nil {
		return err
	}
	if scanned.IsZero() || scanned.After(now) {
		scanned = now
	}
	if err := g.cfg.Store.PutInventory(ctx, p.tenant, p.endpoint, all, scanned, now, facts); err != nil {
		return err
	}
	g.cfg.Witness.InventoryChanged(p.tenant, p.endpoint)
	return nil
}

// facts reads what lists show of a machine out of its small sections and
// checks that every body that came is what its name says. Bodies that did not
// come are in the dictionary.
func (g *Gateway) facts(ctx context.Context, p peer, all []inventory.Section) (func(*estate.Endpoint), error) {
	blank, err := inventory.Split(inventory.Snapshot{})
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		small := s.Name == inventory.SectionOS || s.Name == inventory.SectionNetwork || s.Name == inventory.SectionState
		if len(s.Body) == 0 && small {
			if s.Body, err = g.cfg.Store.Section(ctx, p.tenant, s.Hash); err != nil {
				return nil, err
			}
		}
		if len(s.Body) > 0 {
			blank = append(slices.DeleteFunc(blank, func(b inventory.Section) bool { return b.Name == s.Name }), s)
		}
	}
	snap, err := inventory.Join(blank)
	if err != nil {
		return nil, err
	}
	if err := text("host name", snap.OS.Hostname); err != nil {
		return nil, err
	}
	return func(e *estate.Endpoint) { describe(e, snap) }, nil
}

func describe(e *estate.Endpoint, s inventory.Snapshot) {
	if s.OS.Hostname != "" {
		e.Hostname = s.OS.Hostname
	}
	if s.OS.ID != "" {
		e.Platform, e.OS = s.OS.Platform(), s.OS.Name
	}
	e.RebootDue, e.RestartsDue, e.Addresses = s.State.RebootDue, s.State.RestartsDue, nil
	for _, i := range s.Network.Interfaces {
		for _, a := range i.Addresses {
			if !strings.HasPrefix(a, "127.") && !strings.HasPrefix(a, "::1/") && !strings.HasPrefix(a, "fe80:") {
				e.Addresses = append(e.Addresses, a)
			}
		}
	}
}

// announcements remember, between a check-in and the bodies that it asked
// for, which sections the machine has. Losing one costs another check-in.
type announcements struct {
	mu  sync.Mutex
	all map[estate.EndpointID][]inventory.Section
}

// maxAnnounced bounds the memory: about 1 KB each.
const maxAnnounced = 20000

func (a *announcements) init() { a.all = map[estate.EndpointID][]inventory.Section{} }

func (a *announcements) put(id estate.EndpointID, s []inventory.Section) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) >= maxAnnounced {
		clear(a.all)
	}
	a.all[id] = s
}

func (a *announcements) get(id estate.EndpointID) []inventory.Section {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[id]
}

func (a *announcements) drop(id estate.EndpointID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, id)
}
