package cli

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/terminal"
)

// deployment is a deployment with its counts.
type deployment struct {
	deploy.Deployment
	Counts  map[deploy.State]int `json:"counts,omitempty"`
	LeftOut map[string]int       `json:"left_out,omitempty"`
}

// leftOut says in one line what a deployment does not touch; "" for nothing.
func leftOut(reasons map[string]int) string {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, strconv.Itoa(reasons[why])+" "+why)
	}
	if len(parts) == 0 {
		return ""
	}
	return "Left out: " + strings.Join(parts, "; ") + "."
}

// task is a task with its machine's name.
type task struct {
	deploy.Task
	Hostname string `json:"hostname"`
}

func deployCmd(o *options) *cobra.Command {
	var r rollout
	var ch choice
	var conffile string
	cmd := &cobra.Command{
		Use: "deploy [PATCH...]", Short: "Install approved patches on machines",
		Long: `Makes a deployment. Without patches it takes every approved one that the
machines lack. Each machine computes the exact transaction first, the server
brings the files, the machine installs in order and proves it by a fresh scan.`,
		Example: `  fettle deploy --all --dry-run
  fettle deploy --all --watch
  fettle deploy --host web1 --reboot if_due
  fettle deploy --ring pilot:test:90%:24h --ring rest:all --window 'sat,sun 22:00 4h'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			body, err := r.body(cmd, c)
			if err == nil {
				err = r.take(body, &ch, conffile, args)
			}
			if err != nil {
				return err
			}
			return r.begin(cmd, o, c, body)
		},
	}
	ch.flags(cmd)
	r.flags(cmd)
	cmd.Flags().StringVar(&conffile, "conffile", "keep", "a changed configuration file: keep the machine's or replace it with the vendor's")
	return cmd
}

// take says in the body which patches are meant.
func (r *rollout) take(body map[string]any, ch *choice, conffile string, args []string) error {
	if err := oneOf("--conffile", conffile, "keep", "replace"); err != nil {
		return err
	}
	policy := r.policy()
	policy["conffile"] = conffile
	body["policy"] = policy
	switch {
	case len(args) > 0:
		body["patches"] = args
	case ch.security || ch.atLeast != "" || ch.missing:
		chosen, err := ch.body(nil)
		if err != nil {
			return err
		}
		body["filter"] = chosen["filter"]
	case r.dryRun:
		body["filter"] = map[string]any{"all_missing": true}
	default:
		body["all_approved"] = true
	}
	return nil
}

func deploymentsCmd(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "deployments [ID]", Short: "List deployments, or show one with its tasks", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return o.showDeployment(cmd, c, args[0])
			}
			list, err := all[deployment](cmd.Context(), c, c.tenantPath("deployments"), nil)
			if err != nil {
				return err
			}
			if o.json {
				return o.printJSON(list)
			}
			if len(list) == 0 {
				o.say("There is no deployment yet. 'fettle deploy --all --dry-run' shows what one would do.")
				return nil
			}
			rows := [][]string{}
			for _, d := range list {
				rows = append(rows, []string{string(d.ID), d.Name, string(d.Status), operation(d.Operation), d.Created.Local().Format(time.DateTime), d.CreatedBy, countsText(d.Counts), d.Reason})
			}
			return terminal.Table(o.out, []string{"ID", "NAME", "STATUS", "DOES", "CREATED", "BY", "TASKS", "WHY"}, rows, "CREATED", "BY")
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use: "watch ID", Short: "Follow a deployment to its end", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			return o.watch(cmd, c, deploy.ID(args[0]))
		},
	})
	for verb, text := range map[string]string{"halt": "Stop a deployment from starting anything more", "resume": "Let a halted deployment go on", "cancel": "End a deployment; what is being installed is seen to its end"} {
		cmd.AddCommand(verbCmd(o, verb, text))
	}
	return cmd
}

func verbCmd(o *options, verb, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			var d deployment
			if err := c.call(cmd.Context(), http.MethodPost, c.tenantPath("deployments", args[0], verb), nil, map[string]any{"reason": reason}, &d); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(d)
			}
			o.say("deployment %s is %s", d.ID, d.Status)
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return cmd
}

func countsText(counts map[deploy.State]int) string {
	var parts []string
	for s, n := range counts {
		parts = append(parts, strconv.Itoa(n)+" "+string(s))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func (o *options) showDeployment(cmd *cobra.Command, c *client, id string) error {
	var d deployment
	if err := c.call(cmd.Context(), http.MethodGet, c.tenantPath("deployments", id), nil, nil, &d); err != nil {
		return err
	}
	tasks, err := all[task](cmd.Context(), c, c.tenantPath("deployments", id, "tasks"), nil)
	if err != nil {
		return err
	}
	if o.json {
		return o.printJSON(map[string]any{"deployment": d, "tasks": tasks})
	}
	o.say("%s", headline(d))
	return o.listTasks(tasks)
}

// headline says where a deployment stands, in one line.
func headline(d deployment) string {
	text := operationText(d.Operation) + " " + string(d.ID)
	if d.Name != "" {
		text += " (" + d.Name + ")"
	}
	text += " is " + string(d.Status)
	if d.Reason != "" {
		text += ": " + d.Reason
	}
	if d.Cause != "" {
		text += "; asked for because: " + d.Cause
	}
	return text
}

func (o *options) listTasks(tasks []task) error {
	slices.SortStableFunc(tasks, func(a, b task) int { return strings.Compare(a.Hostname, b.Hostname) })
	rows := [][]string{}
	for _, t := range tasks {
		rows = append(rows, []string{t.Hostname, string(t.State), strconv.Itoa(t.Attempt), t.Since.Local().Format(time.TimeOnly), strconv.Itoa(len(t.Patches)), t.Reason})
	}
	if err := terminal.Table(o.out, []string{"HOST", "STATE", "ATTEMPT", "SINCE", "PATCHES", "WHY"}, rows); err != nil {
		return err
	}
	for _, t := range tasks {
		if t.DryRun && t.Plan != nil {
			o.showPlan(t)
		}
	}
	return nil
}

// withArch names a package with its architecture where one name stands for
// several.
func withArch(name, arch string, times int) string {
	if times < 2 || arch == "" {
		return name
	}
	return name + ":" + arch
}

// showPlan prints the exact transaction of one machine.
func (o *options) showPlan(t task) {
	o.say("\n%s would change %s, download %s, need %s more disk:", t.Hostname, count(len(t.Plan.Changes), "package"), bytesText(t.Plan.DownloadBytes), bytesText(t.Plan.DiskBytes))
	seen := map[string]int{}
	for _, ch := range t.Plan.Changes {
		seen[ch.Package]++
	}
	for _, ch := range t.Plan.Changes {
		from, why := ch.From, ch.Why
		if from == "" {
			from = "(new)"
		}
		if why == "approved" { // goes without saying, and a dry run does not ask for it
			why = ""
		}
		o.say("%s", strings.TrimRight(fmt.Sprintf("  %-30s %s -> %s  %s", withArch(ch.Package, ch.Arch, seen[ch.Package]), from, ch.To, why), " "))
	}
	for _, r := range t.Plan.Refused {
		o.say("  left out %s: %s", r.Patch, r.Reason)
	}
}
