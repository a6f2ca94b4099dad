package server

import (
	"context"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Offered implements orchestrate.Payloads: every payload of the plan must
// stand, with its size, in one of the catalog's slices for the machine, as a
// part of the task's patches or of the version of a package that the plan
// changes to. What an endpoint makes the server fetch and may read is so
// bounded by the signed catalog, not by the endpoint's word.
func (p payloads) Offered(ctx context.Context, t deploy.Task, plan *deploy.Plan) error {
	if len(plan.Payloads) == 0 {
		return nil
	}
	_, snap, err := snapshots{p.db}.Snapshot(ctx, t.Tenant, t.Endpoint)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "server: the inventory of %s can't be read", t.Endpoint)
	}
	o := offer{sizes: map[string]int64{}, seen: map[patch.ID]bool{}}
	for _, platform := range snap.Platforms() {
		if shard, ok := p.mirror.Shard(platform); ok {
			if err := o.add(shard, t, plan); err != nil {
				return err
			}
		}
	}
	for _, x := range plan.Payloads {
		size, ok := o.sizes[x.SHA256]
		if !ok && p.mirror.Serves(x.SHA256) {
			continue
		}
		if !ok || size != x.Size {
			return fault.New(fault.Invalid, "payload %s of %d bytes is not what the catalog offers for this machine and this task", x.SHA256, x.Size)
		}
	}
	return nil
}

// offer gathers the sizes of the payloads that a plan may name, by SHA-256.
type offer struct {
	sizes map[string]int64
	seen  map[patch.ID]bool
}

// add takes what one slice offers: the task's patches, what they restore, and
// the packages that the plan changes.
func (o *offer) add(s *catalog.Shard, t deploy.Task, plan *deploy.Plan) error {
	kinds := map[string]bool{}
	ids := make([]patch.ID, 0, len(t.Patches)+len(t.Restores))
	for _, ref := range t.Patches {
		ids = append(ids, ref.ID)
	}
	for _, r := range t.Restores {
		ids = append(ids, r.Patch.ID)
	}
	for _, id := range ids {
		if err := o.take(s, id, kinds); err != nil {
			return err
		}
	}
	if len(kinds) == 0 { // a foreign architecture's slice has none of the patches
		kinds["dpkg"] = true
	}
	for _, c := range plan.Changes {
		for kind := range kinds {
			for _, a := range s.Available(kind, c.Package) {
				if a.Version != c.To {
					continue
				}
				if err := o.take(s, a.Patch, nil); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// take notes the payloads of a patch that the slice has, and of which kinds
// its items are.
func (o *offer) take(s *catalog.Shard, id patch.ID, kinds map[string]bool) error {
	if o.seen[id] && kinds == nil {
		return nil
	}
	p, _, err := s.Patch(id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	o.seen[id] = true
	for _, it := range p.Items {
		if it.Payload.SHA256 != "" {
			o.sizes[it.Payload.SHA256] = it.Payload.Size
		}
		if kinds != nil {
			kinds[it.Kind] = true
		}
	}
	return nil
}
