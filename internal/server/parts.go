package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/api"
	"github.com/fettlehq/fettle/internal/server/assess"
	"github.com/fettlehq/fettle/internal/server/audit"
	"github.com/fettlehq/fettle/internal/server/mirror"
	"github.com/fettlehq/fettle/internal/server/orchestrate"
	"github.com/fettlehq/fettle/internal/server/store"
)

// index adds the API's two summaries to assess.Index.
type index struct{ *assess.Index }

// NeededBy implements api.Index.
func (x index) NeededBy(t estate.TenantID) map[patch.ID]int {
	out := map[patch.ID]int{}
	for _, c := range x.PatchCounts(t) {
		if n := c.Missing + c.Held; n > 0 {
			out[c.Patch] = n
		}
	}
	return out
}

// Totals implements api.Index.
func (x index) Totals(t estate.TenantID) api.Totals {
	s := x.Summary(t)
	total := 0
	for _, n := range s.Missing {
		total += n
	}
	return api.Totals{Security: s.Insecure, Exploited: s.Exploited, Missing: total, Patches: s.Patches, Bulletins: s.Bulletins, UserOnly: s.UserOnly}
}

// shelf is the mirror as the API sees it.
type shelf struct {
	m    *mirror.Mirror
	now  func() time.Time
	sync func(context.Context) error
}

// Shards implements api.Catalog.
func (s shelf) Shards() []*catalog.Shard {
	var out []*catalog.Shard
	for _, p := range s.m.Platforms() {
		if shard, ok := s.m.Shard(p); ok {
			out = append(out, shard)
		}
	}
	return out
}

// Status implements api.Catalog.
func (s shelf) Status() api.CatalogStatus {
	st := s.m.Status(s.now())
	out := api.CatalogStatus{Version: st.Version, Created: st.Created, Expires: st.Expires, Source: st.Source, Signers: st.Signers, Error: st.Error, Hint: st.Hint}
	out.Version = 0 // people know catalogs by the publisher's number, not by the signatures'
	for _, p := range st.Platforms {
		out.Version = max(out.Version, p.Version)
		for _, n := range p.Notes {
			if !slices.Contains(out.Notes, n) { // every platform tells of the same sources
				out.Notes = append(out.Notes, n)
			}
		}
	}
	return out
}

// Sync implements api.Catalog.
func (s shelf) Sync(ctx context.Context) error { return s.sync(ctx) }

// work is the orchestration loop as the API sees it: whoever decides or
// changes something makes it look again with fresh approvals.
type work struct {
	*orchestrate.Loop
	fleet *fleet
}

// Kick implements api.Deployments.
func (w work) Kick() {
	w.fleet.forget()
	w.Loop.Kick()
}

// payloads brings files in, in the background.
type payloads struct {
	db       *store.DB
	mirror   *mirror.Mirror
	bring    func(ctx context.Context, hashes []string) error
	stage    func(list []patch.Payload)
	problems *problems
}

// Staged implements orchestrate.Payloads.
func (p payloads) Staged(list []patch.Payload) (all bool, problem string) {
	all, problem = p.mirror.Staged(list)
	if !all && problem == "" {
		problem = p.problems.of(list)
	}
	return all, problem
}

// Stage implements orchestrate.Payloads.
func (p payloads) Stage(list []patch.Payload) { p.stage(list) }

// run brings a list in and returns when it is here or has failed.
func (p payloads) run(ctx context.Context, list []patch.Payload) error {
	if p.bring != nil {
		var hashes []string
		for _, x := range list {
			// The repository itself has the catalog's indexes.
			if here, _ := p.mirror.Staged([]patch.Payload{x}); !here && !p.mirror.Serves(x.SHA256) {
				hashes = append(hashes, x.SHA256)
			}
		}
		if len(hashes) > 0 {
			err := p.bring(ctx, hashes)
			p.problems.keep(list, err)
			if err != nil {
				return err
			}
		}
	}
	return p.mirror.Stage(ctx, list, nil)
}

// listKey names a list of payloads. Sizes are part of it: they are an
// endpoint's word, and one that lies must not stand in the way of others.
func listKey(list []patch.Payload) string {
	h := sha256.New()
	for _, p := range list {
		fmt.Fprintf(h, "%s %d\n", p.SHA256, p.Size)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// problems say why the publisher did not give a list of payloads, for people
// who wonder why a task does not go on.
type problems struct {
	mu  sync.Mutex
	why map[string]string
}

// maxProblems bounds the memory; the next attempt tells again what is lost.
const maxProblems = 1000

func (p *problems) keep(list []patch.Payload, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil || len(p.why) >= maxProblems {
		p.why = map[string]string{}
	}
	if err == nil {
		delete(p.why, listKey(list))
		return
	}
	text := fault.Public(err)
	if hint := fault.HintOf(err); hint != "" {
		text += " (" + hint + ")"
	}
	p.why[listKey(list)] = text
}

func (p *problems) of(list []patch.Payload) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why[listKey(list)]
}

// witness writes the audit log for the gateway and feeds the index.
type witness struct {
	log     *slog.Logger
	audit   *audit.Log
	changed func(estate.TenantID, estate.EndpointID)
}

// Audit implements gateway.Witness.
func (w *witness) Audit(ctx context.Context, t estate.TenantID, actor, action, object, detail string) {
	who := estate.Actor{Kind: "system", ID: actor, Name: actor}
	if err := w.audit.Append(ctx, t, who, action, object, detail); err != nil {
		w.log.Error("the audit log can't be written", "action", action, "object", object, "error", err)
	}
}

// Guess implements gateway.Witness.
func (w *witness) Guess(action, object, address string) { w.audit.Guess(action, object, address) }

// InventoryChanged implements gateway.Witness.
func (w *witness) InventoryChanged(t estate.TenantID, id estate.EndpointID) { w.changed(t, id) }
