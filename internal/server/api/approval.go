package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// book holds a tenant's decisions that count now, by patch.
type book struct {
	now time.Time
	by  map[patch.ID][]approval.Approval
}

func (a *API) decisions(ctx context.Context) (book, error) {
	b := book{now: a.Now(), by: map[patch.ID][]approval.Approval{}}
	all, err := a.Data(of(ctx).scope).ActiveApprovals(ctx, b.now)
	for _, d := range all {
		b.by[d.Patch] = append(b.by[d.Patch], d)
	}
	return b, err
}

// state folds the decisions on a patch for machines with the groups; without
// groups only decisions for the whole tenant count.
func (b book) state(id patch.ID, groups []estate.GroupID) approval.State {
	s, _ := approval.Decide(b.by[id], id, "", groups, b.now)
	return s
}

// stateOn folds the decisions on a patch for one machine.
func (b book) stateOn(id patch.ID, e estate.Endpoint) approval.State {
	s, _ := approval.Decide(b.by[id], id, e.ID, e.Groups, b.now)
	return s
}

func (b book) finding(e estate.Endpoint, f catalog.Finding) Finding {
	if f.Advisories == nil {
		f.Advisories = []string{}
	}
	if f.CVEs == nil {
		f.CVEs = []string{}
	}
	return Finding{Endpoint: e.ID, Hostname: e.Hostname, Finding: f, Standing: standingOf(f), Approval: b.stateOn(f.Patch, e)}
}

type approvalsIn struct {
	TenantPath
	Paging
	Patch string `query:"patch" maxLength:"512" doc:"Decisions on one patch alone"`
}

func (a *API) approvals(ctx context.Context, in *approvalsIn) (*listed[approval.Approval], error) {
	list, next, err := a.Data(of(ctx).scope).Approvals(ctx, patch.ID(in.Patch), in.After, in.Limit)
	return pageOf(list, next), err
}

// PatchFilter picks patches among those that machines of the tenant lack. All
// conditions must hold.
type PatchFilter struct {
	Security        bool           `json:"security,omitempty" doc:"Security updates alone"`
	SeverityAtLeast patch.Severity `json:"severity_at_least,omitempty" enum:",critical,important,moderate,low,unknown"`
	AllMissing      bool           `json:"all_missing,omitempty" doc:"Says that an otherwise empty filter means everything"`
}

func (f PatchFilter) validate() error {
	if !f.Security && f.SeverityAtLeast == "" && !f.AllMissing {
		return fault.New(fault.Invalid, "the filter picks nothing").WithHint("set security, severity_at_least or all_missing")
	}
	return nil
}

func (f PatchFilter) fits(security bool, s patch.Severity) bool {
	return (!f.Security || security) && (f.SeverityAtLeast == "" || s.Rank() >= f.SeverityAtLeast.Rank())
}

// Decided is a decision with what there is to say about it.
type Decided struct {
	approval.Approval
	Note string `json:"note,omitempty" doc:"Why nothing will come of an approval"`
}

// Decision asks to approve or decline patches.
type Decision struct {
	Decision approval.Decision `json:"decision" enum:"approve,decline"`
	Patches  []patch.ID        `json:"patches,omitempty" maxItems:"5000"`
	Filter   *PatchFilter      `json:"filter,omitempty"`
	Group    estate.GroupID    `json:"group,omitempty" maxLength:"63" doc:"For one group alone; empty: the whole tenant"`
	Reason   string            `json:"reason,omitempty" maxLength:"4096"`
	Expires  time.Time         `json:"expires,omitzero" doc:"The decision ends then"`
	Review   time.Time         `json:"review,omitzero" doc:"When a decline is to be looked at again"`
}

func (a *API) decide(ctx context.Context, in *struct {
	TenantPath
	Body Decision
},
) (*listed[Decided], error) {
	q, d := of(ctx), in.Body
	ids, err := a.chosen(ctx, d)
	if err != nil {
		return nil, err
	}
	now := a.Now().UTC()
	made := make([]approval.Approval, 0, len(ids))
	for _, id := range ids {
		one := approval.Approval{
			Tenant: in.tenant(), Group: d.Group, Patch: id, Decision: d.Decision, Reason: d.Reason,
			By: q.actor.Name, At: now, Expires: d.Expires.UTC(), Review: d.Review.UTC(),
		}
		if err := one.Validate(); err != nil {
			return nil, err
		}
		made = append(made, one)
	}
	note(ctx, string(d.Decision), decisionText(made, d)) // before: a failure in the middle leaves what was done
	data := a.Data(q.scope)
	for i := range made {
		if made[i], err = data.PutApproval(ctx, made[i]); err != nil {
			return nil, err
		}
	}
	a.Deployments.Kick()
	out := make([]Decided, 0, len(made))
	for _, one := range made {
		out = append(out, Decided{one, a.moot(one)})
	}
	return pageOf(out, ""), nil
}

// moot says why nothing will be installed on an approval; "" when it will.
func (a *API) moot(one approval.Approval) string {
	if one.Decision != approval.Approve {
		return ""
	}
	f, _, err := a.find(one.Patch)
	if err != nil || !f.patch.Bulletin() {
		return ""
	}
	return "nothing will be installed: " + cmp.Or(strings.Join(f.patch.Evidence.Checks, "; "), "it is a bulletin")
}

// decisionText names what was decided; a long list keeps its first names and
// its number.
func decisionText(made []approval.Approval, d Decision) string {
	text := strconv.Itoa(len(made)) + " patches"
	if d.Group != "" {
		text += " for group " + string(d.Group)
	}
	if d.Reason != "" {
		text += " (" + d.Reason + ")"
	}
	for i, m := range made {
		if i == 100 {
			return text + " ..."
		}
		text += " " + string(m.Patch)
	}
	return text
}

// chosen resolves which patches a decision is about.
func (a *API) chosen(ctx context.Context, d Decision) ([]patch.ID, error) {
	if (len(d.Patches) > 0) == (d.Filter != nil) {
		return nil, fault.New(fault.Invalid, "a decision needs either patches or a filter")
	}
	group, err := a.group(ctx, d.Group)
	if err != nil {
		return nil, err
	}
	if d.Filter == nil {
		ids := slices.Compact(slices.Sorted(slices.Values(d.Patches)))
		for _, id := range ids {
			if _, _, err := a.find(id); err != nil {
				return nil, err
			}
		}
		return ids, nil
	}
	if err := d.Filter.validate(); err != nil {
		return nil, err
	}
	book, err := a.decisions(ctx)
	if err != nil {
		return nil, err
	}
	groups := []estate.GroupID{}
	if d.Group != "" {
		groups = append(groups, d.Group)
	}
	var ids []patch.ID
	for id := range a.neededBy(of(ctx).scope.Tenant, group) {
		row, known := a.rows.row(a.Catalog.Shards(), id)
		if !known || !d.Filter.fits(row.Security(), row.Severity) || book.settled(id, groups, d.Decision) {
			continue
		}
		if row.Bulletin && d.Decision == approval.Approve { // there is nothing to approve
			continue
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// settled reports that another decision by a filter would change nothing: it
// was decided so already, or a decline stands, which a filter never overrules.
func (b book) settled(id patch.ID, groups []estate.GroupID, d approval.Decision) bool {
	switch b.state(id, groups) {
	case approval.Declined:
		return true
	case approval.Approved:
		return d == approval.Approve
	}
	return false
}

// group returns a group of the tenant; nil for "".
func (a *API) group(ctx context.Context, id estate.GroupID) (*estate.Group, error) {
	if id == "" {
		return nil, nil //nolint:nilnil // no group is asked for
	}
	all, err := a.Data(of(ctx).scope).Groups(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].ID == id {
			return &all[i], nil
		}
	}
	return nil, fault.New(fault.NotFound, "no group has the id %q", id).WithHint("'fettle groups' lists them")
}

// neededBy counts who lacks each patch: the tenant from the index, a group by
// its members' findings.
func (a *API) neededBy(t estate.TenantID, group *estate.Group) map[patch.ID]int {
	if group == nil {
		return a.Index.NeededBy(t)
	}
	out := map[patch.ID]int{}
	for _, m := range group.Members {
		findings, err := a.Index.Findings(t, m)
		if err != nil {
			continue // not scanned yet
		}
		seen := map[patch.ID]bool{}
		for _, f := range findings {
			if f.Lacks() && !seen[f.Patch] {
				seen[f.Patch] = true
				out[f.Patch]++
			}
		}
	}
	return out
}

func (a *API) withdraw(ctx context.Context, in *ByID) (*none, error) {
	data := a.Data(of(ctx).scope)
	one, err := data.Approval(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	note(ctx, in.ID, string(one.Decision)+" "+string(one.Patch))
	if !one.Withdrawn.IsZero() {
		return nil, fault.New(fault.Conflict, "the decision was withdrawn already")
	}
	one.Withdrawn = a.Now().UTC()
	_, err = data.PutApproval(ctx, one)
	a.Deployments.Kick()
	return nil, err
}
