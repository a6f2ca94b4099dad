package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// eachHost calls each for every machine of the tenant in the state ("": any).
func (r *request) eachHost(state estate.EndpointState, each func(estate.Endpoint) error) error {
	for after := ""; ; {
		list, next, err := r.Endpoints(r.ctx, estate.EndpointFilter{State: state, After: after, Limit: 500})
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := each(e); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

func hostTable() table {
	return table{
		kind: "hosts", title: "Machines", tally: 2,
		columns: []column{
			{"hostname", "Machine", normal},
			{"id", "Id", hidden},
			{"health", "Health", badge},
			{"missing_security", "Security updates missing", normal},
			{"missing", "Updates missing", normal},
			{"exploited", "Exploited", normal},
			{"os", "System", wide},
			{"site", "Site", hidden},
			{"groups", "Groups", normal},
			{"state", "State", normal},
			{"last_seen", "Last seen", normal},
			{"agent", "Agent", hidden},
			{"reboot_due", "Reboot due", normal},
			{"restarts_due", "Services to restart", normal},
			{"problem", "Problem", long},
		},
		rows: func(r *request, row func([]any) error) error {
			return r.eachHost("", func(e estate.Endpoint) error {
				tally, health := catalog.Tally{}, catalog.UnknownHealth
				if findings, err := r.index.Findings(e.Tenant, e.ID); err == nil && e.State == estate.Active {
					tally, health = catalog.Count(findings)
					health = health.Where(r.index.Covered(e.Tenant, e.ID))
				}
				return row([]any{
					e.Hostname, string(e.ID), string(health), tally.Security, tally.Missing, tally.Exploited, e.OS, string(e.Site),
					plain(e.Groups), string(e.State), e.LastSeen, e.AgentVersion, e.RebootDue, e.RestartsDue, cmp.Or(e.Problem, tally.Problem()),
				})
			})
		},
	}
}

func missingTable() table {
	return table{
		kind: "missing", title: "Missing patches", tally: 6,
		columns: []column{
			{"hostname", "Machine", normal},
			{"package", "Package", normal},
			{"arch", "Arch", normal},
			{"installed", "Installed", normal},
			{"available", "Available", normal},
			{"security", "Security", normal},
			{"severity", "Severity", badge},
			{"exploited", "Exploited", normal},
			{"cves", "CVEs", wide},
			{"advisories", "Advisories", wide},
			{"state", "State", normal},
			{"approval", "Approval", badge},
			{"reason", "Why", long},
			{"patch", "Patch", wide},
			{"endpoint", "Machine id", hidden},
		},
		rows: func(r *request, row func([]any) error) error {
			active, err := r.ActiveApprovals(r.ctx, r.at)
			if err != nil {
				return err
			}
			by := map[patch.ID][]approval.Approval{}
			for _, a := range active {
				by[a.Patch] = append(by[a.Patch], a)
			}
			return r.eachHost(estate.Active, func(e estate.Endpoint) error {
				findings, err := r.index.Findings(e.Tenant, e.ID)
				if fault.Is(err, fault.NotFound) {
					return nil // not scanned yet; the report of machines shows it
				}
				if err != nil {
					return err
				}
				for _, f := range findings {
					state, _ := approval.Decide(by[f.Patch], f.Patch, e.ID, e.Groups, r.at)
					if f.Bulletin || f.State == catalog.UserOnly {
						state = "nothing to install"
					}
					if err := row([]any{
						e.Hostname, f.Name(), f.Arch, f.Installed, f.Available, f.Security, string(f.Severity), f.Exploited,
						f.CVEs, f.Advisories, string(f.State), string(state), f.Reason, string(f.Patch), string(e.ID),
					}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func approvalTable() table {
	return table{
		kind: "approvals", title: "Decisions", tally: 1,
		columns: []column{
			{"at", "When", normal},
			{"decision", "Decision", badge},
			{"patch", "Patch", wide},
			{"group", "Group", normal},
			{"by", "By", normal},
			{"reason", "Reason", long},
			{"expires", "Expires", normal},
			{"review", "Review", normal},
			{"withdrawn", "Withdrawn", normal},
			{"active", "Counts now", normal},
			{"endpoint", "Machine id", normal},
		},
		rows: func(r *request, row func([]any) error) error {
			for after := ""; ; {
				list, next, err := r.Approvals(r.ctx, "", after, 500)
				if err != nil {
					return err
				}
				for _, a := range list {
					if !r.covers(a.At) {
						continue
					}
					if err := row([]any{a.At, string(a.Decision), string(a.Patch), string(a.Group), a.By, a.Reason, a.Expires, a.Review, a.Withdrawn, a.Active(r.at), string(a.Endpoint)}); err != nil {
						return err
					}
				}
				if next == "" {
					return nil
				}
				after = next
			}
		},
	}
}

func taskTable() table {
	return table{
		kind: "tasks", title: "Patch task status", tally: 3,
		columns: []column{
			{"hostname", "Machine", normal},
			{"patch", "Patch", wide},
			{"state", "Task", badge},
			{"result", "Result", badge},
			{"reason", "Why", long},
			{"attempts", "Attempts", normal},
			{"created", "Created", normal},
			{"started", "Installation began", normal},
			{"ended", "Ended", normal},
			{"changes", "Packages changed", wide},
			{"reboot_due", "Reboot due", normal},
			{"dry_run", "Dry run", hidden},
			{"deployment", "Deployment", normal},
			{"name", "Name", normal},
			{"endpoint", "Machine id", hidden},
			{"task", "Task id", hidden},
			{"operation", "Operation", normal},
		},
		rows: taskRows,
	}
}

func taskRows(r *request, row func([]any) error) error {
	hosts, names := map[estate.EndpointID]string{}, map[deploy.ID]string{}
	for after := ""; ; {
		list, next, err := r.Tasks(r.ctx, deploy.TaskFilter{Deployment: r.of, History: true, After: after, Limit: 200})
		if err != nil {
			return err
		}
		for _, t := range list {
			if !r.covers(t.Created) {
				continue
			}
			if err := r.names(t, hosts, names); err != nil {
				return err
			}
			for _, ref := range t.Patches {
				if err := row(r.taskRow(t, ref.ID, hosts[t.Endpoint], names[t.Deployment])); err != nil {
					return err
				}
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// names looks up once what a task's machine and deployment are called.
func (r *request) names(t deploy.Task, hosts map[estate.EndpointID]string, names map[deploy.ID]string) error {
	if _, known := hosts[t.Endpoint]; !known {
		e, err := r.Endpoint(r.ctx, t.Endpoint)
		if err != nil {
			return err
		}
		hosts[t.Endpoint] = e.Hostname
	}
	if _, known := names[t.Deployment]; !known {
		d, err := r.Deployment(r.ctx, t.Deployment)
		if err != nil {
			return err
		}
		names[t.Deployment] = d.Name
	}
	return nil
}

func (r *request) taskRow(t deploy.Task, id patch.ID, host, deployment string) []any {
	result, reason, changed := r.outcome(t, id)
	started, ended := time.Time{}, time.Time{}
	for _, s := range t.History {
		if s.State == deploy.Installing && started.IsZero() {
			started = s.At
		}
	}
	if t.State.Ended() {
		ended = t.Since
	}
	return []any{
		host, string(id), string(t.State), result, reason, t.Attempt, t.Created, started, ended, changed,
		t.Result != nil && t.Result.RebootDue, t.DryRun, string(t.Deployment), deployment, string(t.Endpoint), string(t.ID), operation(t),
	}
}

// The results of one patch on one machine.
const (
	resultInstalled = "installed"   // a fresh scan proved it
	resultBack      = "rolled back" // likewise
	resultFailed    = "failed"
	resultChanged   = "changed, not proven" // the task failed at another patch
	resultLeftOut   = "left out"
	resultPlanned   = "planned"
	resultNotNeeded = "not needed"
	resultCancelled = "cancelled"
	resultExpired   = "expired"
	resultPending   = "pending"
)

// outcome says what became of one patch of a task, why, and which packages it
// changed.
func (r *request) outcome(t deploy.Task, id patch.ID) (result, reason string, changed []string) {
	own := r.owner(id)
	if t.Result != nil {
		for _, c := range t.Result.Changes {
			if own(c.Package) {
				changed = append(changed, c.Package+" "+c.From+" -> "+c.To)
			}
		}
	}
	for _, refusal := range refused(t) {
		if refusal.Patch == id {
			return resultLeftOut, refusal.Reason, changed
		}
	}
	switch t.State {
	case deploy.Verified:
		if t.Operation == deploy.Rollback {
			return resultBack, t.Reason, changed
		}
		return resultInstalled, t.Reason, changed
	case deploy.Failed:
		for _, f := range failures(t) {
			if own(f.Package) {
				return resultFailed, f.Package + ": " + f.Reason, changed
			}
		}
		if why, ok := proven(t, id); ok {
			if t.Operation == deploy.Rollback {
				return resultBack, why, changed
			}
			return resultInstalled, why, changed
		}
		if len(changed) > 0 && len(failures(t)) > 0 {
			return resultChanged, t.Reason, changed
		}
		return resultFailed, t.Reason, changed
	case deploy.Planned:
		return resultPlanned, t.Reason, changed
	case deploy.NotApplicable:
		return resultNotNeeded, t.Reason, changed
	case deploy.TaskCancelled:
		return resultCancelled, t.Reason, changed
	case deploy.Expired:
		return resultExpired, t.Reason, changed
	}
	return resultPending, t.Reason, changed
}

// proven reports that the scan after the last attempt showed the patch as the
// task wants it, although the task failed at another one.
func proven(t deploy.Task, id patch.ID) (why string, ok bool) {
	verdict := func(id patch.ID, installed bool) bool {
		return slices.ContainsFunc(t.Verdicts, func(v deploy.PatchVerdict) bool {
			if v.Patch != id || v.Installed != installed {
				return false
			}
			why = cmp.Or(why, v.Reason)
			return true
		})
	}
	if !verdict(id, t.Operation != deploy.Rollback) {
		return "", false
	}
	for _, b := range t.Restores {
		if b.For == id && !verdict(b.Patch.ID, true) {
			return "", false
		}
	}
	return cmp.Or(why, "a fresh scan shows it"), true
}

// operation names what a task does with its patches.
func operation(t deploy.Task) string {
	if t.Operation == deploy.Rollback {
		return string(deploy.Rollback)
	}
	return "install"
}

func failures(t deploy.Task) []deploy.ItemError {
	if t.Result == nil {
		return nil
	}
	return t.Result.Failures
}

func refused(t deploy.Task) []deploy.Refusal {
	var all []deploy.Refusal
	if t.Plan != nil {
		all = append(all, t.Plan.Refused...)
	}
	if t.Result != nil {
		all = append(all, t.Result.Refused...)
	}
	return all
}

// owner tells whether a package belongs to a patch: nothing does when the
// catalog does not have the patch any more. Products of Windows are told by
// their titles, which begin with what the catalog calls them.
func (r *request) owner(id patch.ID) func(name string) bool {
	p, err := r.patch(id)
	if err != nil {
		return func(string) bool { return false }
	}
	product := ""
	names := map[string]bool{}
	for _, it := range p.Items {
		names[it.Name] = true
		if it.Kind != "dpkg" && it.Kind != "rpm" && it.Kind != "apk" {
			product = strings.ToLower(p.Product)
		}
	}
	return func(name string) bool {
		return names[name] || product != "" && strings.HasPrefix(strings.ToLower(name), product)
	}
}

func plain[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
