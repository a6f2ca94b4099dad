package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Words for why a machine has no part in a rollback.
const (
	skipAbsent = "not there in this version"
	skipUnsure = "as the inventory does not tell whether it is there"
)

// skip counts a machine that has no part in the rollback of a patch, under the
// patch's name.
func (d *draft) skip(id patch.ID, why string) { d.skipped["of "+string(id)+", "+why]++ }

// validateRollback refuses a rollback without a reason, or of patches that
// nobody named.
func (n NewDeployment) validateRollback() error {
	switch {
	case n.KeepApproval && !n.rollback():
		return fault.New(fault.Invalid, "keep_approval belongs to a rollback")
	case !n.rollback():
		return nil
	case len(n.Patches) == 0:
		return fault.New(fault.Invalid, "a rollback names its patches").WithHint("'fettle deployments ID' names what was installed")
	case strings.TrimSpace(n.Reason) == "" && !n.DryRun:
		return fault.New(fault.Invalid, "a rollback needs a reason").WithHint("say why with --reason; auditors and the next administrator will ask")
	}
	return nil
}

// reversible refuses what can't be taken back, each patch by name, before any
// machine is asked, and looks up what comes in its place.
func (a *API) reversible(d *draft) error {
	d.restores, d.needers = map[patch.ID]deploy.PatchRef{}, a.needers(d.first)
	var all []patch.Patch
	var refused []error
	for _, id := range d.first {
		f, _, err := a.find(id)
		if err != nil {
			return err
		}
		old, err := a.before(f.patch)
		if fault.Is(err, fault.Unsupported) {
			refused = append(refused, err)
			continue
		}
		if err != nil {
			return err
		}
		all = append(all, f.patch)
		if old.patch.ID != "" {
			d.restores[id] = deploy.PatchRef{ID: old.patch.ID, Digest: old.digest}
		}
	}
	if len(refused) > 0 {
		return allRefused(refused, all)
	}
	return deploy.OneVersion(all)
}

// allRefused tells of every patch why it can't be taken back, and which of
// those that were named can.
func allRefused(refused []error, others []patch.Patch) error {
	if len(refused) == 1 && len(others) == 0 {
		return refused[0]
	}
	var why []string
	for _, err := range refused {
		why = append(why, fault.Public(err))
	}
	hint := fault.HintOf(refused[0])
	if len(others) > 0 {
		var ids []patch.ID
		for _, p := range others {
			ids = append(ids, p.ID)
		}
		hint = "nothing was begun; the others can be: 'fettle rollback " + nameList(ids, " ") + " ...'"
	}
	return fault.New(fault.Unsupported, "%s", strings.Join(why, "; ")).WithHint("%s", hint)
}

// before finds what a rollback of the patch brings back, nothing where it only
// uninstalls. It refuses a patch that can't be taken back.
func (a *API) before(p patch.Patch) (found, error) {
	if err := deploy.Reversible(p); err != nil {
		return found{}, err
	}
	id := p.Install.Restores
	if id == "" {
		return found{}, nil
	}
	old, _, err := a.find(id)
	if err != nil {
		return found{}, fault.Wrap(err, fault.Unsupported, "%s can't be rolled back: the catalog has no %s any more, which came before it", p.ID, id).
			WithHint("the publisher keeps a version as long as a newer one restores it; 'fettle sync' takes in its newest catalog")
	}
	return old, nil
}

// needers lists for each patch those that require it and that are not taken
// back with it.
func (a *API) needers(ids []patch.ID) map[patch.ID][]patch.ID {
	out := map[patch.ID][]patch.ID{}
	shards := a.Catalog.Shards()
	for _, s := range shards {
		for _, row := range a.rows.of(shards, s).rows {
			for _, id := range row.requires {
				if slices.Contains(ids, id) && !slices.Contains(ids, row.ID) && !slices.Contains(out[id], row.ID) {
					out[id] = append(out[id], row.ID)
				}
			}
		}
	}
	return out
}

// needed refuses (Conflict) to take back what another patch that the machine
// has requires.
func (a *API) needed(d *draft, e estate.Endpoint, snap *inventory.Snapshot) error {
	for _, id := range d.wants[e.ID] {
		for _, other := range d.needers[id] {
			f, _, err := a.find(other)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if detect.Eval(f.patch.Present(), snap.Facts()).Value == detect.True {
				return fault.New(fault.Conflict, "%s can't be rolled back on %s: %s is installed there and requires it", id, e.Hostname, other).
					WithHint("roll both back in one request: 'fettle rollback %s %s ...'", id, other)
			}
		}
	}
	return nil
}

// chooseBack picks the patches that a machine has and reports whether there
// are any.
func (a *API) chooseBack(ctx context.Context, d *draft, e estate.Endpoint) (bool, error) {
	snap, _, err := a.snapshot(ctx, e.ID)
	if fault.Is(err, fault.NotFound) {
		d.skipped[skipUnseen]++
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, id := range d.first {
		if slices.Contains(d.wants[e.ID], id) {
			continue
		}
		switch a.present(d, id, &snap) {
		case detect.True:
			d.wants[e.ID] = append(d.wants[e.ID], id)
		case detect.Undetermined:
			d.skip(id, skipUnsure)
		case detect.False:
			d.skip(id, skipAbsent)
		}
	}
	return len(d.wants[e.ID]) > 0, a.needed(d, e, &snap)
}

// present tells whether a machine has the very patch.
func (a *API) present(d *draft, id patch.ID, snap *inventory.Snapshot) detect.Value {
	if !a.know(d, id) {
		return detect.False
	}
	return detect.Eval(d.found[id].patch.Present(), snap.Facts()).Value
}

func (d *draft) nothingBack(why []string) error {
	text := "there is nothing to roll back"
	if len(why) > 0 {
		text += ": " + strings.Join(why, ", ")
	}
	return fault.New(fault.Nothing, "%s", text).WithHint("a machine must have the very version; 'fettle hosts packages HOST' shows what it has")
}

// keepOff keeps the patches of a rollback from coming back at once: it
// declines them for just the machines that the rollback was asked for. It is
// part of the rollback and takes no right of its own.
func (a *API) keepOff(ctx context.Context, n NewDeployment, d deploy.Deployment) error {
	if !n.rollback() || n.DryRun || n.KeepApproval {
		return nil
	}
	targets := []Targets{n.Targets}
	for _, r := range n.Rings {
		targets = append(targets, r.Targets)
	}
	data := a.Data(of(ctx).scope)
	for _, one := range declines(targets) {
		for _, id := range d.Patches {
			one.Tenant, one.Patch, one.Decision, one.At, one.By = d.Tenant, id, approval.Decline, d.Created, d.CreatedBy
			one.Reason = "rolled back by " + d.CreatedBy + ": " + d.Cause
			if _, err := data.PutApproval(ctx, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// declines says for whom: the whole tenant, or each group and machine named.
func declines(targets []Targets) []approval.Approval {
	var out []approval.Approval
	for _, t := range targets {
		if t.All {
			return []approval.Approval{{}}
		}
		for _, g := range t.Groups {
			out = append(out, approval.Approval{Group: g})
		}
		for _, e := range t.Endpoints {
			out = append(out, approval.Approval{Endpoint: e})
		}
	}
	return out
}

// nameList lists ids in a text, the first few of many.
func nameList[T ~string](ids []T, between string) string {
	const most = 20
	var names []string
	for _, id := range ids[:min(len(ids), most)] {
		names = append(names, string(id))
	}
	text := strings.Join(names, between)
	if len(ids) > most {
		text += fmt.Sprintf(" and %d more", len(ids)-most)
	}
	return text
}
