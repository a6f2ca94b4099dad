package api

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Deployment is a deployment with how many of its tasks are in which state.
type Deployment struct {
	deploy.Deployment
	Counts map[deploy.State]int `json:"counts,omitempty"`
	// Reversible are those of its patches that a rollback can take back; one
	// deployment alone tells it, and of no more than maxReversible.
	Reversible []patch.ID `json:"reversible,omitempty"`
	// OneWay are the others of those that were looked up.
	OneWay []OneWay `json:"one_way,omitempty" doc:"Its patches that a rollback can't take back, told with reversible"`
	// LeftOut is told once, when the deployment is made.
	LeftOut map[string]int `json:"left_out,omitempty" doc:"How many findings of the machines were left out, by the reason"`
}

// OneWay is a patch without a way back.
type OneWay struct {
	Patch  patch.ID `json:"patch"`
	Reason string   `json:"reason" doc:"Why it can't be taken back"`
}

// maxReversible bounds how many patches of a deployment are looked up.
const maxReversible = 200

// Task is a task with its machine's name.
type Task struct {
	deploy.Task
	Hostname string `json:"hostname"`
}

type deploymentsIn struct {
	TenantPath
	Paging
	Patch string `query:"patch" maxLength:"512" doc:"Only those of this patch"`
}

func (a *API) deployments(ctx context.Context, in *deploymentsIn) (*listed[Deployment], error) {
	data := a.Data(of(ctx).scope)
	kept, err := sift(ctx, in.After, func(after string) ([]deploy.Deployment, string, error) {
		return data.Deployments(ctx, after, in.Limit)
	}, func(d deploy.Deployment) deploy.Deployment { return d }, func(d deploy.Deployment) bool {
		return in.Patch == "" || slices.Contains(d.Patches, patch.ID(in.Patch))
	})
	if err != nil {
		return nil, err
	}
	list, next := kept.Body.Items, kept.Body.Next
	ids := make([]deploy.ID, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	counts, err := data.TaskCounts(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]Deployment, len(list))
	for i, d := range list {
		out[i] = Deployment{Deployment: d, Counts: counts[d.ID]}
	}
	return pageOf(out, next), nil
}

// withCounts reads one deployment of the request's scope.
func (a *API) withCounts(ctx context.Context, id deploy.ID) (Deployment, error) {
	data := a.Data(of(ctx).scope)
	d, err := data.Deployment(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return Deployment{}, fault.New(fault.NotFound, "no deployment has the id %q", id).WithHint("'fettle deployments' lists them")
	}
	if err != nil {
		return Deployment{}, err
	}
	counts, err := data.TaskCounts(ctx, []deploy.ID{id})
	return Deployment{Deployment: d, Counts: counts[id]}, err
}

func (a *API) deployment(ctx context.Context, in *ByID) (*answered[Deployment], error) {
	d, err := a.withCounts(ctx, deploy.ID(in.ID))
	if err == nil && d.Operation == deploy.Install && !d.DryRun {
		d.Reversible, d.OneWay = a.reversibleOf(d.Patches)
	}
	return &answered[Deployment]{Body: d}, err
}

// reversibleOf parts the patches that can be taken back as things stand from
// those that can't.
func (a *API) reversibleOf(ids []patch.ID) (can []patch.ID, not []OneWay) {
	for _, id := range ids[:min(len(ids), maxReversible)] {
		f, _, err := a.find(id)
		if err == nil {
			_, err = a.before(f.patch)
		}
		if err != nil {
			not = append(not, OneWay{id, fault.Public(err)})
			continue
		}
		can = append(can, id)
	}
	return can, not
}

type tasksIn struct {
	ByID
	Paging
	State   []deploy.State `query:"state" maxItems:"30" doc:"Tasks in these states alone"`
	LeftOut bool           `query:"left_out" doc:"Only tasks whose machine left patches out"`
	Patch   string         `query:"patch" maxLength:"512" doc:"With left_out: only those that left this one out"`
}

// fits reports whether the task is one of those that are asked for.
func (in *tasksIn) fits(t deploy.Task) bool {
	return !in.LeftOut || leftOut(t, patch.ID(in.Patch))
}

// leftOut reports whether the machine left the patch out of the task; "" is any.
func leftOut(t deploy.Task, id patch.ID) bool {
	fits := func(r deploy.Refusal) bool { return id == "" || r.Patch == id }
	return t.Plan != nil && slices.ContainsFunc(t.Plan.Refused, fits) || t.Result != nil && slices.ContainsFunc(t.Result.Refused, fits)
}

func (a *API) tasks(ctx context.Context, in *tasksIn) (*listed[Task], error) {
	if _, err := a.withCounts(ctx, deploy.ID(in.ID)); err != nil {
		return nil, err
	}
	page, err := sift(ctx, in.After, func(after string) ([]deploy.Task, string, error) {
		return a.Data(of(ctx).scope).Tasks(ctx, deploy.TaskFilter{
			Deployment: deploy.ID(in.ID), States: in.State, History: true, After: after, Limit: in.Limit,
		})
	}, func(t deploy.Task) deploy.Task { return t }, in.fits)
	if err != nil {
		return nil, err
	}
	out, err := a.named(ctx, page.Body.Items, map[estate.EndpointID]string{})
	return pageOf(out, page.Body.Next), err
}

// named adds host names to tasks; known keeps them from one call to the next.
func (a *API) named(ctx context.Context, list []deploy.Task, known map[estate.EndpointID]string) ([]Task, error) {
	out := make([]Task, 0, len(list))
	data := a.Data(of(ctx).scope)
	for _, t := range list {
		name, ok := known[t.Endpoint]
		if !ok {
			e, err := data.Endpoint(ctx, t.Endpoint)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
			name = e.Hostname
			known[t.Endpoint] = name
		}
		out = append(out, Task{Task: t, Hostname: name})
	}
	return out, nil
}

// Verb is a person's word on a deployment.
type Verb struct {
	Reason string `json:"reason,omitempty" maxLength:"4096"`
}

type verbIn struct {
	ByID
	Body *Verb // may be left out
}

func (in *verbIn) reason() string {
	if in.Body == nil {
		return ""
	}
	return in.Body.Reason
}

func (a *API) halt(ctx context.Context, in *verbIn) (*answered[Deployment], error) {
	return a.steer(ctx, in, deploy.Halted, deploy.Running)
}

func (a *API) resume(ctx context.Context, in *verbIn) (*answered[Deployment], error) {
	return a.steer(ctx, in, deploy.Running, deploy.Halted)
}

func (a *API) cancel(ctx context.Context, in *verbIn) (*answered[Deployment], error) {
	return a.steer(ctx, in, deploy.Cancelled, deploy.Running, deploy.Halted)
}

// steer moves a deployment to a status from one of those that may precede it.
func (a *API) steer(ctx context.Context, in *verbIn, to deploy.Status, from ...deploy.Status) (*answered[Deployment], error) {
	q, id := of(ctx), deploy.ID(in.ID)
	if _, err := a.withCounts(ctx, id); err != nil { // before the loop, which knows all tenants, is asked
		return nil, err
	}
	note(ctx, in.ID, in.reason())
	_, err := a.Deployments.Update(ctx, q.scope.Tenant, id, func(d deploy.Deployment) (deploy.Deployment, error) {
		for _, s := range from {
			if d.Status != s {
				continue
			}
			d.Status, d.Reason = to, ""
			if to == deploy.Running {
				d.Resumed = a.Now().UTC()
			} else {
				d.Reason = "by " + q.actor.Name
				if in.reason() != "" {
					d.Reason += ": " + in.reason()
				}
			}
			return d, nil
		}
		return d, fault.New(fault.Conflict, "deployment %s is %s and can't become %s", id, d.Status, to)
	})
	if err != nil {
		return nil, err
	}
	out, err := a.withCounts(ctx, id)
	return &answered[Deployment]{Body: out}, err
}
