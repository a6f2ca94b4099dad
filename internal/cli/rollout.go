package cli

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// rollout is what deploy and rollback have in common: on which machines, when,
// and how carefully.
type rollout struct {
	schedule
	hosts, groups []string
	everywhere    bool
	rings         []string
	name, reboot  string
	attempts      int
	retryAfter    time.Duration
	taskTimeout   time.Duration
	offlineAfter  time.Duration
	expireAfter   time.Duration
	noRestart     bool
	dryRun, watch bool
	emergency     bool
	maxFailed     int
	blast         int
}

func (r *rollout) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&r.hosts, "host", nil, "machines by name or id; may be repeated")
	f.StringSliceVar(&r.groups, "group", nil, "groups of machines; may be repeated")
	f.BoolVar(&r.everywhere, "all", false, "every machine of the tenant")
	f.StringArrayVar(&r.rings, "ring", nil, "machines that go together, ring after ring: NAME:GROUP,...[:SUCCESS%][:SOAK], such as pilot:test:90%:24h")
	f.StringVar(&r.name, "name", "", "a name for people")
	f.StringVar(&r.reboot, "reboot", "never", "when a reboot is due: never or if_due")
	f.IntVar(&r.attempts, "attempts", 0, "how often to try in all (default 3)")
	lifetimeVar(f, &r.retryAfter, "retry-after", "pause before the second attempt; it doubles (default 10m)")
	lifetimeVar(f, &r.taskTimeout, "task-timeout", "how long one installation may take (default 1h)")
	lifetimeVar(f, &r.offlineAfter, "offline-after", "silence after which a machine counts as lost (default 30m)")
	lifetimeVar(f, &r.expireAfter, "expire-after", "give up on machines that did not come back by then (default 14d)")
	f.IntVar(&r.maxFailed, "max-failed", 0, "halt above this percentage of failures (default 20)")
	f.IntVar(&r.blast, "max-per-hour", 0, "percentage of the tenant's machines that may begin within an hour (default 25)")
	f.BoolVar(&r.noRestart, "no-restart", false, "leave services that run replaced files alone")
	f.BoolVar(&r.dryRun, "dry-run", false, "show the exact transaction of each machine and change nothing")
	f.BoolVar(&r.watch, "watch", false, "stay and show what happens")
	f.BoolVar(&r.emergency, "emergency", false, "do not wait for maintenance windows")
	r.schedule.flags(cmd)
}

// body is the API's form of it.
func (r *rollout) body(cmd *cobra.Command, c *client) (map[string]any, error) {
	body := map[string]any{"name": r.name, "dry_run": r.dryRun, "emergency": r.emergency, "policy": r.policy()}
	if err := r.knobs(cmd); err != nil {
		return nil, err
	}
	when, err := r.schedule.parse()
	if err != nil {
		return nil, err
	}
	body["schedule"] = when
	if err := r.targets(cmd, c, body); err != nil {
		return nil, err
	}
	return body, nil
}

// knobs refuses values that would silently mean the default.
func (r *rollout) knobs(cmd *cobra.Command) error {
	for flag, ok := range map[string]bool{
		"attempts": r.attempts > 0, "max-failed": r.maxFailed > 0 && r.maxFailed <= 100, "max-per-hour": r.blast > 0 && r.blast <= 100,
	} {
		if !ok && cmd.Flags().Changed(flag) {
			return fault.New(fault.Invalid, "--%s %s is out of range", flag, cmd.Flag(flag).Value).WithHint("it must be more than 0, percentages at most 100; leave it out for the default")
		}
	}
	return oneOf("--reboot", r.reboot, "never", "if_due")
}

// targets names the machines in the body.
func (r *rollout) targets(cmd *cobra.Command, c *client, body map[string]any) error {
	named := r.everywhere || len(r.hosts) > 0 || len(r.groups) > 0
	if named && len(r.rings) > 0 {
		return fault.New(fault.Invalid, "machines are named twice").WithHint("use either --ring, or --host, --group and --all")
	}
	if r.everywhere && len(r.hosts)+len(r.groups) > 0 {
		return fault.New(fault.Invalid, "--all is every machine, and some are named besides").WithHint("use either --all, or --host and --group; nothing was done")
	}
	if len(r.rings) > 0 {
		rings, err := parseRings(r.rings, func(name string) (string, error) {
			h, err := c.host(cmd, name)
			return string(h.ID), err
		})
		body["rings"] = rings
		return err
	}
	if r.everywhere {
		body["all"] = true
		return nil
	}
	if !named {
		return fault.New(fault.Invalid, "no machine is named").WithHint("use --host, --group or --all, or --ring")
	}
	ids := []string{}
	for _, name := range r.hosts {
		h, err := c.host(cmd, name)
		if err != nil {
			return err
		}
		ids = append(ids, string(h.ID))
	}
	body["endpoints"], body["groups"] = ids, r.groups
	return nil
}

// policy holds the knobs that were turned.
func (r *rollout) policy() map[string]any {
	p := map[string]any{"reboot": r.reboot, "restart_services": !r.noRestart}
	for key, n := range map[string]int{"attempts": r.attempts, "max_failed_percent": r.maxFailed, "blast_percent_per_hour": r.blast} {
		if n > 0 {
			p[key] = n
		}
	}
	for key, d := range map[string]time.Duration{
		"retry_after": r.retryAfter, "task_timeout": r.taskTimeout, "offline_after": r.offlineAfter, "expire_after": r.expireAfter,
	} {
		if d > 0 {
			p[key] = d.String()
		}
	}
	return p
}

// begin makes the deployment and follows it when that is wanted. Nothing to do
// is no failure: it has an exit code of its own.
func (r *rollout) begin(cmd *cobra.Command, o *options, c *client, body map[string]any) error {
	var made deployment
	if err := c.call(cmd.Context(), http.MethodPost, c.tenantPath("deployments"), nil, body, &made); err != nil {
		return err
	}
	if text := leftOut(made.LeftOut); text != "" && !o.json {
		o.say("%s", text)
	}
	if r.watch || r.dryRun {
		return o.watch(cmd, c, made.ID)
	}
	if o.json {
		return o.printJSON(made)
	}
	o.say("%s %s began; follow it with 'fettle deployments watch %s'", operationText(made.Operation), made.ID, made.ID)
	return nil
}

// operationText names what is done with the patches.
func operationText(op deploy.Operation) string {
	if op == deploy.Rollback {
		return "rollback"
	}
	return "deployment"
}

// operation is its name in tables.
func operation(op deploy.Operation) string {
	if op == deploy.Rollback {
		return "rollback"
	}
	return "install"
}
