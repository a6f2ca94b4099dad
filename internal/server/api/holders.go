package api

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// WayBack says whether and how a rollback takes a patch back.
type WayBack struct {
	Possible bool   `json:"possible"`
	Reason   string `json:"reason,omitempty" doc:"Why it can't be taken back"`
	Hint     string `json:"hint,omitempty" doc:"What to do instead"`
	// Restores is absent when a rollback leaves the product uninstalled.
	Restores *PatchName `json:"restores,omitempty" doc:"What is installed in its place; absent: nothing"`
}

// PatchName is a patch as people know it.
type PatchName struct {
	ID      patch.ID `json:"id"`
	Product string   `json:"product"`
	Version string   `json:"version"`
}

// wayBack is before in words.
func (a *API) wayBack(p patch.Patch) WayBack {
	old, err := a.before(p)
	switch {
	case err != nil:
		return WayBack{Reason: fault.Public(err), Hint: fault.HintOf(err)}
	case old.patch.ID == "":
		return WayBack{Possible: true}
	}
	return WayBack{Possible: true, Restores: &PatchName{old.patch.ID, old.patch.Product, old.patch.Version}}
}

// Holder is a machine that has a patch.
type Holder struct {
	HostRef
	Online  bool `json:"online"`
	Certain bool `json:"certain" doc:"False when the inventory does not tell this version from a newer one, or not at all; a rollback passes such machines over"`
	// RequiredBy must be taken back together with it.
	RequiredBy []patch.ID `json:"required_by,omitempty" doc:"Patches there that require it and must be taken back with it"`
}

// mostLooks bounds how many inventories one request reads.
const mostLooks = 500

// holders goes through the machines as a rollback of all of them would. Those
// that the index knows to lack the patch are passed over unread.
func (a *API) holders(ctx context.Context, in *struct {
	ByID
	Paging
},
) (*listed[Holder], error) {
	f, _, err := a.find(patch.ID(in.ID))
	if err != nil {
		return nil, err
	}
	q := of(ctx)
	look := holding{a: a, of: f.patch, needers: a.needers([]patch.ID{f.patch.ID})[f.patch.ID], lack: a.Index.WhoLacks(q.scope.Tenant, f.patch.ID)}
	var out []Holder
	for after := in.After; ; {
		list, next, err := a.Data(q.scope).Endpoints(ctx, estate.EndpointFilter{State: estate.Active, After: after, Limit: max(in.Limit, 1) - len(out)})
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			h, has, err := look.at(ctx, e)
			if err != nil {
				return nil, err
			}
			if has {
				out = append(out, h)
			}
		}
		if next == "" || len(out) >= in.Limit || look.looks >= mostLooks {
			return pageOf(out, next), nil
		}
		after = next
	}
}

// holding looks for one patch.
type holding struct {
	a       *API
	of      patch.Patch
	needers []patch.ID // what requires it
	lack    []estate.EndpointID
	looks   int
}

// at reports whether the machine has the patch, or may have it for all that is known.
func (l *holding) at(ctx context.Context, e estate.Endpoint) (Holder, bool, error) {
	if _, lacks := slices.BinarySearch(l.lack, e.ID); lacks {
		return Holder{}, false, nil
	}
	l.looks++
	snap, _, err := l.a.snapshot(ctx, e.ID)
	if fault.Is(err, fault.NotFound) {
		return Holder{}, false, nil // not scanned yet
	}
	if err != nil {
		return Holder{}, false, err
	}
	has := detect.Eval(l.of.Present(), snap.Facts()).Value
	if has == detect.Undetermined { // where it does not even apply there is no doubt
		applicable, _ := l.of.Rules()
		if detect.Eval(applicable, snap.Facts()).Value == detect.False {
			has = detect.False
		}
	}
	if has == detect.False {
		return Holder{}, false, nil
	}
	h := Holder{
		HostRef: HostRef{ID: e.ID, Hostname: e.Hostname}, Online: l.a.Agents.Online(e.Tenant, e.ID, e.LastSeen),
		Certain: has == detect.True && (l.of.Listed() || len(l.of.Items) == 0), RequiredBy: l.requiring(&snap),
	}
	return h, true, nil
}

// requiring lists what the machine has that requires the patch.
func (l *holding) requiring(snap *inventory.Snapshot) []patch.ID {
	var out []patch.ID
	for _, id := range l.needers {
		f, _, err := l.a.find(id)
		if err == nil && detect.Eval(f.patch.Present(), snap.Facts()).Value == detect.True {
			out = append(out, id)
		}
	}
	return out
}
