package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/window"
)

// Targets name machines.
type Targets struct {
	Endpoints []estate.EndpointID `json:"endpoints,omitempty" maxItems:"100000"`
	Groups    []estate.GroupID    `json:"groups,omitempty" maxItems:"1000"`
	All       bool                `json:"all,omitempty" doc:"Every active machine of the tenant"`
}

// Ring is a set of machines that go together.
type Ring struct {
	Name string `json:"name,omitempty" maxLength:"253"`
	Targets
	Gate Gate `json:"gate,omitzero"`
}

// Gate must hold before the next ring starts.
type Gate struct {
	SuccessPercent int             `json:"success_percent,omitempty" minimum:"0" maximum:"100"`
	Soak           window.Duration `json:"soak,omitzero" doc:"Such as 24h"`
}

// Policy holds the knobs of a deployment; what is left out gets its default.
type Policy struct {
	Reboot              deploy.RebootPolicy `json:"reboot,omitempty" enum:",never,if_due"`
	Conffile            deploy.Conffile     `json:"conffile,omitempty" enum:",keep,replace"`
	Attempts            int                 `json:"attempts,omitempty" minimum:"0" maximum:"20"`
	RetryAfter          window.Duration     `json:"retry_after,omitzero"`
	TaskTimeout         window.Duration     `json:"task_timeout,omitzero"`
	OfflineAfter        window.Duration     `json:"offline_after,omitzero"`
	ExpireAfter         window.Duration     `json:"expire_after,omitzero"`
	MaxFailedPercent    int                 `json:"max_failed_percent,omitempty" minimum:"0" maximum:"100"`
	BlastPercentPerHour int                 `json:"blast_percent_per_hour,omitempty" minimum:"0" maximum:"100"`
	RestartServices     *bool               `json:"restart_services,omitempty" doc:"Default: true"`
}

func (p Policy) filled() (deploy.Policy, error) {
	for _, d := range []window.Duration{p.RetryAfter, p.TaskTimeout, p.OfflineAfter, p.ExpireAfter} {
		if d < 0 || d.Std() > 366*24*time.Hour {
			return deploy.Policy{}, fault.New(fault.Invalid, "%s is no duration for a policy", d).WithHint("use 0 to 366 days")
		}
	}
	return deploy.Policy{
		Reboot: p.Reboot, Conffile: p.Conffile, Attempts: p.Attempts, RetryAfter: p.RetryAfter, TaskTimeout: p.TaskTimeout,
		OfflineAfter: p.OfflineAfter, ExpireAfter: p.ExpireAfter, MaxFailedPercent: p.MaxFailedPercent,
		BlastPercentPerHour: p.BlastPercentPerHour, RestartServices: p.RestartServices == nil || *p.RestartServices,
	}.Filled(), nil
}

// NewDeployment asks for a deployment. It names patches by exactly one of
// patches, filter and all_approved, and machines by targets or by rings. A
// rollback names patches one by one and says why.
type NewDeployment struct {
	Name        string       `json:"name,omitempty" maxLength:"253"`
	Operation   string       `json:"operation,omitempty" enum:",install,rollback" doc:"What to do with the patches; default: install"`
	Patches     []patch.ID   `json:"patches,omitempty" maxItems:"5000"`
	Filter      *PatchFilter `json:"filter,omitempty"`
	AllApproved bool         `json:"all_approved,omitempty"`
	Targets
	Rings     []Ring          `json:"rings,omitempty" maxItems:"50"`
	Schedule  window.Schedule `json:"schedule,omitzero"`
	Policy    Policy          `json:"policy,omitzero"`
	DryRun    bool            `json:"dry_run,omitempty" doc:"Plan on every machine and install nothing"`
	Emergency bool            `json:"emergency,omitempty" doc:"Do not wait for windows"`
	Reason    string          `json:"reason,omitempty" maxLength:"4096" doc:"Why; a rollback needs it"`
	// KeepApproval leaves the decisions on patches that are rolled back alone.
	KeepApproval bool `json:"keep_approval,omitempty" doc:"Of a rollback: do not decline the patches for these machines"`
}

func (n NewDeployment) rollback() bool { return n.Operation == string(deploy.Rollback) }

func (n NewDeployment) validate() error {
	ways := 0
	for _, set := range []bool{len(n.Patches) > 0, n.Filter != nil, n.AllApproved} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return fault.New(fault.Invalid, "a deployment needs exactly one of patches, filter and all_approved")
	}
	if err := n.validateRollback(); err != nil {
		return err
	}
	if n.Filter != nil {
		if err := n.Filter.validate(); err != nil {
			return err
		}
	}
	if (len(n.Rings) > 0) == !n.empty() {
		return fault.New(fault.Invalid, "a deployment needs either machines (endpoints, groups or all) or rings")
	}
	return n.Schedule.Validate()
}

func (t Targets) empty() bool { return len(t.Endpoints) == 0 && len(t.Groups) == 0 && !t.All }

func (a *API) deploy(ctx context.Context, in *struct {
	TenantPath
	Body NewDeployment
},
) (*answered[Deployment], error) {
	q, n := of(ctx), in.Body
	if err := n.validate(); err != nil {
		return nil, err
	}
	policy, err := n.Policy.filled()
	if err != nil {
		return nil, err
	}
	now := a.Now().UTC()
	d := deploy.Deployment{
		ID: deploy.ID(newID("d")), Tenant: in.tenant(), Name: n.Name, Created: now, CreatedBy: q.actor.Name,
		Schedule: n.Schedule.InZone("UTC"), Policy: policy, DryRun: n.DryRun, Emergency: n.Emergency, Status: deploy.Running,
	}
	if n.rollback() {
		d.Operation, d.Cause = deploy.Rollback, strings.TrimSpace(n.Reason)
	}
	draft, err := a.draft(ctx, n)
	if err != nil {
		return nil, err
	}
	tasks, err := draft.fill(&d)
	if err != nil {
		return nil, err
	}
	note(ctx, string(d.ID), madeText(d, len(tasks)))
	if err := a.keepOff(ctx, n, d); err != nil {
		return nil, err
	}
	if err := a.Data(q.scope).CreateDeployment(ctx, d, tasks); err != nil {
		return nil, err
	}
	a.Deployments.Kick()
	return &answered[Deployment]{Body: Deployment{Deployment: d, Counts: map[deploy.State]int{deploy.Queued: len(tasks)}, LeftOut: draft.skipped}}, nil
}

// madeText is what the audit log says of a new deployment.
func madeText(d deploy.Deployment, machines int) string {
	text := fmt.Sprintf("%d patches on %d machines", len(d.Patches), machines)
	if d.Operation == deploy.Rollback {
		text = "rollback of " + nameList(d.Patches, " ") + fmt.Sprintf(" on %d machines", machines)
	}
	if d.DryRun {
		text += ", dry run"
	}
	if d.Cause != "" {
		text += " (" + d.Cause + ")"
	}
	return text
}
