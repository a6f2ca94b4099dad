package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// draft is a deployment under construction: which machine of which ring takes
// which patches.
type draft struct {
	operation deploy.Operation
	rings     []deploy.Ring
	wants     map[estate.EndpointID][]patch.ID
	found     map[patch.ID]found
	restores  map[patch.ID]deploy.PatchRef // what a rollback brings back for a patch
	needers   map[patch.ID][]patch.ID      // which patches require one that is taken back
	first     []patch.ID                   // the order that the caller gave
	skipped   map[string]int
}

// Words for why nothing of a machine's findings was taken.
const (
	skipDeclined = "declined"
	skipAwaiting = "awaiting approval"
	skipUnseen   = "on machines without a scan yet"
	skipUnknown  = "no longer in the catalog"
	skipBulletin = "in bulletins, which nothing can be installed from"
	skipUser     = "of single users, whose products are left to them"
	skipUnclear  = "of which it is not known whether they are missing"
	skipHeld     = "held by the machine's administrator"
	skipBroken   = "installed only half, which is tried again when its patch is named"
)

func (a *API) draft(ctx context.Context, n NewDeployment) (*draft, error) {
	rings := n.Rings
	if len(rings) == 0 {
		rings = []Ring{{Name: "all", Targets: n.Targets}}
	}
	book, err := a.decisions(ctx)
	if err != nil {
		return nil, err
	}
	d := &draft{wants: map[estate.EndpointID][]patch.ID{}, found: map[patch.ID]found{}, first: n.Patches, skipped: map[string]int{}}
	for _, id := range n.Patches {
		if _, _, err := a.find(id); err != nil {
			return nil, err
		}
	}
	choose := func(e estate.Endpoint) (bool, error) { return a.choose(d, n, book, e), nil }
	if n.rollback() {
		d.operation = deploy.Rollback
		choose = func(e estate.Endpoint) (bool, error) { return a.chooseBack(ctx, d, e) }
		if err := a.reversible(d); err != nil {
			return nil, err
		}
	}
	taken := map[estate.EndpointID]bool{}
	for i, r := range rings {
		machines, err := a.machines(ctx, r.Targets)
		if err != nil {
			return nil, err
		}
		ring := deploy.Ring{Name: cmp.Or(r.Name, fmt.Sprintf("ring %d", i+1)), Gate: deploy.Gate{SuccessPercent: r.Gate.SuccessPercent, Soak: r.Gate.Soak}}
		for _, e := range machines {
			if taken[e.ID] { // the first ring that names a machine has it
				continue
			}
			taken[e.ID] = true
			some, err := choose(e)
			if err != nil {
				return nil, err
			}
			if some {
				ring.Endpoints = append(ring.Endpoints, e.ID)
			}
		}
		if len(ring.Endpoints) > 0 {
			d.rings = append(d.rings, ring)
		}
	}
	return d, nil
}

// machines resolves targets to active machines, by id. Machines that are named
// must exist and be active; members of groups that are not any more are left
// out.
func (a *API) machines(ctx context.Context, t Targets) ([]estate.Endpoint, error) {
	data := a.Data(of(ctx).scope)
	if err := a.allActive(ctx, data, t.Endpoints); err != nil {
		return nil, err
	}
	ids := slices.Clone(t.Endpoints)
	for _, g := range t.Groups {
		group, err := a.group(ctx, g)
		if err != nil {
			return nil, err
		}
		if group == nil {
			return nil, fault.New(fault.Invalid, "a group's id is empty")
		}
		ids = append(ids, group.Members...)
	}
	slices.Sort(ids)
	want := slices.Compact(ids)
	var out []estate.Endpoint
	for after := ""; ; {
		list, next, err := data.Endpoints(ctx, estate.EndpointFilter{State: estate.Active, After: after, Limit: 1000})
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if _, named := slices.BinarySearch(want, e.ID); named || t.All {
				out = append(out, e)
			}
		}
		if next == "" {
			return out, nil
		}
		after = next
	}
}

func (a *API) allActive(ctx context.Context, data Data, ids []estate.EndpointID) error {
	active, err := data.ActiveAmong(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !active[id] {
			return fault.New(fault.NotFound, "no active machine has the id %q", id).WithHint("'fettle hosts' lists names and ids; revoked machines can't be patched")
		}
	}
	return nil
}

// choose picks the patches of one machine and reports whether there are any.
func (a *API) choose(d *draft, n NewDeployment, book book, e estate.Endpoint) bool {
	findings, err := a.Index.Findings(e.Tenant, e.ID)
	if err != nil {
		d.skipped[skipUnseen]++
		return false
	}
	var ids []patch.ID
	for _, f := range findings {
		if f.State == catalog.Pinned || slices.Contains(ids, f.Patch) || !wanted(n, f) {
			continue
		}
		if why := idle(n, f); why != "" {
			d.skipped[why]++
			continue
		}
		if why := unfit(n, book.stateOn(f.Patch, e)); why != "" {
			d.skipped[why]++
			continue
		}
		if !a.know(d, f.Patch) {
			d.skipped[skipUnknown]++
			continue
		}
		ids = append(ids, f.Patch)
	}
	if len(ids) > 0 {
		d.wants[e.ID] = ids
	}
	return len(ids) > 0
}

// idle says why a deployment can do nothing about a finding, "" when it can. A
// held package is taken only when it was named: the plan then says that the
// machine refuses it. So is one that is installed only half: what failed once
// fails again until somebody has looked at it.
func idle(n NewDeployment, f catalog.Finding) string {
	switch {
	case f.State == catalog.UserOnly:
		return skipUser
	case f.Bulletin:
		return skipBulletin
	case f.State == catalog.Unsure:
		return skipUnclear
	case f.State == catalog.Held && len(n.Patches) == 0:
		return skipHeld
	case f.State == catalog.Broken && len(n.Patches) == 0:
		return skipBroken
	}
	return ""
}

func wanted(n NewDeployment, f catalog.Finding) bool {
	switch {
	case len(n.Patches) > 0:
		return slices.Contains(n.Patches, f.Patch)
	case n.Filter != nil:
		return n.Filter.fits(f.Security, f.Severity)
	}
	return true
}

// unfit says why a decision keeps a patch out, "" when it does not. Patches
// that are named may still await approval: the task waits for it.
func unfit(n NewDeployment, s approval.State) string {
	switch {
	case s == approval.Declined:
		return skipDeclined
	case n.AllApproved && s != approval.Approved:
		return skipAwaiting
	}
	return ""
}

// know looks a patch up once.
func (a *API) know(d *draft, id patch.ID) bool {
	if _, ok := d.found[id]; ok {
		return true
	}
	f, _, err := a.find(id)
	if err != nil {
		return false
	}
	d.found[id] = f
	return true
}

// fill gives the deployment its rings, its patches in the catalog's order, and
// its tasks.
func (d *draft) fill(to *deploy.Deployment) ([]deploy.Task, error) {
	if len(d.rings) == 0 {
		return nil, d.nothing()
	}
	order, err := d.order()
	if err != nil {
		return nil, err
	}
	to.Patches, to.Rings = order, d.rings
	at := make(map[patch.ID]int, len(order))
	for i, id := range order {
		at[id] = i
	}
	var tasks []deploy.Task
	for ring, r := range d.rings {
		for _, e := range r.Endpoints {
			ids := d.wants[e]
			slices.SortFunc(ids, func(a, b patch.ID) int { return at[a] - at[b] })
			t := deploy.Task{
				ID: deploy.TaskID(newID("t")), Deployment: to.ID, Tenant: to.Tenant, Endpoint: e, Ring: ring, DryRun: to.DryRun, Operation: to.Operation,
				State: deploy.Queued, Reason: "the deployment was made", Attempt: 1, Created: to.Created, Since: to.Created,
			}
			t.History = []deploy.Step{{State: t.State, At: t.Since, Reason: t.Reason}}
			for _, id := range ids {
				t.Patches = append(t.Patches, deploy.PatchRef{ID: id, Digest: d.found[id].digest})
				if back, ok := d.restores[id]; ok && !slices.Contains(ids, back.ID) { // what is taken back itself does not stay
					t.Restores = append(t.Restores, deploy.Restoration{For: id, Patch: back})
				}
			}
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// order is the order of installation: what the caller gave, else by id, as far
// as prerequisites allow. A rollback keeps it too: agents go through it from
// its end.
func (d *draft) order() ([]patch.ID, error) {
	ids := slices.Sorted(maps.Keys(d.found))
	if len(d.first) > 0 {
		slices.SortStableFunc(ids, func(a, b patch.ID) int { return slices.Index(d.first, a) - slices.Index(d.first, b) })
	}
	all := make([]patch.Patch, 0, len(ids))
	for _, id := range ids {
		all = append(all, d.found[id].patch)
	}
	return catalog.Order(all)
}

func (d *draft) nothing() error {
	var why []string
	for _, w := range slices.Sorted(maps.Keys(d.skipped)) {
		why = append(why, fmt.Sprintf("%d %s", d.skipped[w], w))
	}
	if d.operation == deploy.Rollback {
		return d.nothingBack(why)
	}
	text := "there is nothing to do: no machine lacks what was asked for"
	if len(why) > 0 {
		text = "there is nothing to do: of what machines lack, " + strings.Join(why, ", ")
	}
	f := fault.New(fault.Nothing, "%s", text)
	if d.skipped[skipAwaiting] > 0 {
		return f.WithHint("'fettle approve --security' approves every missing security patch")
	}
	if d.skipped[skipDeclined] > 0 {
		return f.WithHint("'fettle approvals' lists decisions with their reasons; 'fettle approvals withdraw ID' ends one")
	}
	if d.skipped[skipBulletin] > 0 {
		return f.WithHint("'fettle patches PATCH' says why nothing can be installed from it")
	}
	return f.WithHint("'fettle missing' shows what machines lack")
}

// newID returns a random identifier that passes estate.ValidID: 80 bits.
func newID(kind string) string { return kind + "-" + strings.ToLower(rand.Text()[:16]) }
