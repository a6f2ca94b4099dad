package cli

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/terminal"
)

// host is an endpoint as lists show it.
type host struct {
	estate.Endpoint
	Health          string `json:"health"`
	Missing         int    `json:"missing"`
	MissingSecurity int    `json:"missing_security"`
	Bulletins       int    `json:"bulletins"`
	UserOnly        int    `json:"user_only"`
	Exploited       int    `json:"exploited"`
	Online          bool   `json:"online"`
	Problem         string `json:"problem,omitempty"`
}

func hostsCmd(o *options) *cobra.Command {
	var search, group, site, state string
	cmd := &cobra.Command{
		Use: "hosts [HOST]", Short: "List machines, or show one",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if err := oneOf("a machine's state", state, "active", "revoked"); err != nil {
				return err
			}
			q := url.Values{}
			for key, value := range map[string]string{"q": search, "group": group, "site": site, "state": state} {
				set(q, key, value)
			}
			list, err := all[host](cmd.Context(), c, c.tenantPath("hosts"), q)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				h, err := pick(list, args[0])
				if err != nil {
					return err
				}
				return o.showHost(cmd, c, h)
			}
			if len(list) == 0 && len(q) > 1 && !o.json { // all adds a limit
				o.say("No machine fits.")
				return nil
			}
			return o.listHosts(list)
		},
	}
	f := cmd.Flags()
	f.StringVar(&search, "search", "", "beginning of the host name")
	f.StringVar(&group, "group", "", "machines of one group")
	f.StringVar(&site, "site", "", "machines of one site")
	f.StringVar(&state, "state", "", "active or revoked")
	cmd.AddCommand(packagesCmd(o), hostTasksCmd(o), &cobra.Command{
		Use: "scan HOST", Short: "Ask a machine for a fresh scan now", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.onHost(cmd, args[0], http.MethodPost, "scan", "asked %s for a fresh scan")
		},
	}, &cobra.Command{
		Use: "revoke HOST", Short: "Shut a machine out for good; its id never comes back", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.onHost(cmd, args[0], http.MethodDelete, "", "revoked %s; the machine has to enrol anew to come back")
		},
	})
	return cmd
}

// hostTasksCmd lists what was done on a machine.
func hostTasksCmd(o *options) *cobra.Command {
	var leftOut bool
	cmd := &cobra.Command{
		Use: "tasks HOST", Short: "List what deployments did on a machine, newest first", Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			h, err := c.host(cmd, args[0])
			if err != nil {
				return err
			}
			q := url.Values{}
			if leftOut {
				q.Set("left_out", "true")
			}
			list, err := all[task](cmd.Context(), c, c.tenantPath("hosts", string(h.ID), "tasks"), q)
			if err != nil {
				return err
			}
			if o.json {
				return o.printJSON(list)
			}
			if len(list) == 0 {
				o.say("No deployment had to do with it.")
				return nil
			}
			rows := make([][]string, 0, len(list))
			for _, t := range list {
				rows = append(rows, []string{string(t.Deployment), string(t.State), stamp(t.Since), strconv.Itoa(len(t.Patches)), t.Reason})
			}
			return terminal.Table(o.out, []string{"DEPLOYMENT", "STATE", "SINCE", "PATCHES", "WHY"}, rows)
		}),
	}
	cmd.Flags().BoolVar(&leftOut, "left-out", false, "only those in which the machine left patches out")
	return cmd
}

func (o *options) onHost(cmd *cobra.Command, name, method, verb, done string) error {
	c, err := o.connect()
	if err != nil {
		return err
	}
	h, err := c.host(cmd, name)
	if err != nil {
		return err
	}
	parts := []string{"hosts", string(h.ID)}
	if verb != "" {
		parts = append(parts, verb)
	}
	if err := c.call(cmd.Context(), method, c.tenantPath(parts...), nil, nil, nil); err != nil {
		return err
	}
	o.say(done, h.Hostname)
	return nil
}

// host finds a machine by id or by host name.
func (c *client) host(cmd *cobra.Command, name string) (host, error) {
	list, err := all[host](cmd.Context(), c, c.tenantPath("hosts"), nil)
	if err != nil {
		return host{}, err
	}
	return pick(list, name)
}

// hostNames maps ids to host names; nothing is asked unless it is needed.
func (c *client) hostNames(cmd *cobra.Command, needed bool) (map[estate.EndpointID]string, error) {
	if !needed {
		return nil, nil //nolint:nilnil // an empty map is as good
	}
	list, err := all[host](cmd.Context(), c, c.tenantPath("hosts"), nil)
	names := map[estate.EndpointID]string{}
	for _, h := range list {
		names[h.ID] = h.Hostname
	}
	return names, err
}

func pick(list []host, name string) (host, error) {
	var found []host
	for _, h := range list {
		if string(h.ID) == name {
			return h, nil
		}
		if strings.EqualFold(h.Hostname, name) && h.State == estate.Active {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return host{}, fault.New(fault.NotFound, "no machine is called %q", name).WithHint("'fettle hosts' lists names and ids")
	case 1:
		return found[0], nil
	}
	return host{}, fault.New(fault.Conflict, "%d machines are called %q", len(found), name).WithHint("name it by its id; 'fettle hosts' lists ids")
}

const nobodyEnrolled = "No machine is enrolled yet. 'fettle enroll-token' prints the command to run on one."

func (o *options) listHosts(list []host) error {
	if o.json {
		return o.printJSON(list)
	}
	if len(list) == 0 {
		o.say("%s", nobodyEnrolled)
		return nil
	}
	now := time.Now()
	slices.SortStableFunc(list, func(a, b host) int { return strings.Compare(a.Hostname, b.Hostname) })
	rows := make([][]string, 0, len(list))
	for _, h := range list {
		state := "online"
		switch {
		case h.State == estate.Revoked:
			state = "revoked"
		case !h.Online:
			state = "last seen " + ago(h.LastSeen, now) + " ago"
		}
		rows = append(rows, []string{
			h.Hostname, h.Health, strconv.Itoa(h.MissingSecurity), strconv.Itoa(h.Missing),
			strconv.Itoa(h.Exploited), h.OS, state, string(h.ID), strings.Join(h.notes(), "; "),
		})
	}
	return terminal.Table(o.out, []string{"HOST", "HEALTH", "SECURITY", "MISSING", "EXPLOITED", "SYSTEM", "CONTACT", "ID", "NOTES"}, rows, "ID", "EXPLOITED", "SYSTEM")
}

// notes are what stands beside a machine in lists.
func (h host) notes() []string {
	var notes []string
	if h.RebootDue {
		notes = append(notes, "reboot due")
	}
	if len(h.RestartsDue) > 0 {
		notes = append(notes, "restart due: "+shortList(h.RestartsDue, 3))
	}
	if h.Problem != "" {
		notes = append(notes, h.Problem)
	}
	if h.Bulletins > 0 {
		notes = append(notes, count(h.Bulletins, "bulletin"))
	}
	if h.UserOnly > 0 {
		notes = append(notes, count(h.UserOnly, "product")+" of single users")
	}
	return notes
}

func (o *options) showHost(cmd *cobra.Command, c *client, h host) error {
	var detail map[string]any
	if err := c.call(cmd.Context(), http.MethodGet, c.tenantPath("hosts", string(h.ID)), nil, nil, &detail); err != nil {
		return err
	}
	missing, err := all[finding](cmd.Context(), c, c.tenantPath("hosts", string(h.ID), "missing"), nil)
	if err != nil {
		return err
	}
	if o.json {
		detail["missing_items"] = missing
		return o.printJSON(detail)
	}
	o.say("%s (%s)", h.Hostname, h.ID)
	o.say("  %s, agent %s, site %s", h.OS, h.AgentVersion, h.Site)
	o.say("  %s: lacks %s, %d of them security, %d exploited in the wild", h.Health, count(h.Missing, "update"), h.MissingSecurity, h.Exploited)
	if h.Problem != "" {
		o.say("  %s", h.Problem)
	}
	if h.RebootDue {
		o.say("  a reboot is due")
	}
	if len(h.RestartsDue) > 0 {
		o.say("  services to restart: %s", strings.Join(h.RestartsDue, ", "))
	}
	o.say("")
	return o.listFindings(missing, false)
}
