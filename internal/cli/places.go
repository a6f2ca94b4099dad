package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// token is an enrolment token with the command to run.
type token struct {
	estate.Token
	Secret  string `json:"secret"`
	Command string `json:"command"`
	Windows string `json:"command_windows"`
}

func enrollTokenCmd(o *options) *cobra.Command {
	var site, note string
	var uses int
	life := 24 * time.Hour
	var groups []string
	cmd := &cobra.Command{
		Use: "enroll-token", Short: "Print the command that enrols machines", Args: cobra.NoArgs,
		RunE: o.on(func(cmd *cobra.Command, c *client, _ []string) error {
			if uses < 1 {
				return fault.New(fault.Invalid, "such a token could enrol nobody").WithHint("--uses must be 1 at least")
			}
			body := map[string]any{"site": site, "uses": uses, "expires_in": life.String(), "note": note, "groups": groups}
			var t token
			if err := c.call(cmd.Context(), http.MethodPost, c.tenantPath("tokens"), nil, body, &t); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(t)
			}
			o.say("Run this as root on %s, within %s:\n\n  %s\n", yes(uses > 1, "up to ")+count(uses, "machine"), span(life), t.Command)
			o.say("On Windows run this as administrator, beside the agent's package ('make msi'):\n\n  %s\n", t.Windows)
			o.say("The token is shown this once. The fingerprints in the commands pin the server and the catalog's keys.")
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&site, "site", string(estate.DefaultSite), "site the machines stand at")
	f.IntVar(&uses, "uses", 1, "how many machines may use it")
	lifetimeVar(f, &life, "life", "how long it lives, such as 2h or 7d")
	f.StringVar(&note, "note", "", "what it is for")
	f.StringSliceVar(&groups, "group", nil, "groups that the machines join; may be repeated")
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "List enrolment tokens", Args: cobra.NoArgs, RunE: tokenList().show(o)},
		removal(o, "revoke ID", "End an enrolment token; machines that used it stay", "fettle enroll-token list", func(c *client, id string) string { return c.tenantPath("tokens", id) }, "ended token %s"))
	return cmd
}

func tokenList() listing[estate.Token] {
	return listing[estate.Token]{
		path: func(c *client, _ []string) string { return c.tenantPath("tokens") }, empty: "There is no enrolment token.",
		spare: []string{"MADE BY", "SITE"},
		head:  []string{"ID", "SITE", "USED", "EXPIRES", "MADE BY", "STATE", "NOTE"},
		row: func(t estate.Token) []string {
			return []string{t.ID, string(t.Site), fmt.Sprintf("%d of %d", t.Used, t.Uses), stamp(t.Expires), t.By, tokenState(t, time.Now()), t.Note}
		},
	}
}

func tokenState(t estate.Token, now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "ended"
	case !t.Expires.After(now):
		return "expired"
	case t.Used >= t.Uses:
		return "used up"
	}
	return "open"
}

func groupsCmd(o *options) *cobra.Command {
	list := listing[estate.Group]{
		path: func(c *client, _ []string) string { return c.tenantPath("groups") }, empty: "There is no group yet. 'fettle groups set ID HOST...' makes one.",
		head: []string{"ID", "NAME", "MACHINES"},
		row:  func(g estate.Group) []string { return []string{string(g.ID), g.Name, strconv.Itoa(len(g.Members))} },
	}
	cmd := &cobra.Command{Use: "groups", Short: "List groups of machines; make and remove them", Args: cobra.NoArgs, RunE: list.show(o)}
	cmd.AddCommand(
		writeGroup(o, "add ID [HOST...]", "Add a group that does not exist yet", http.MethodPost, 1),
		writeGroup(o, "set ID HOST...", "Make a group of exactly these machines", http.MethodPut, 2),
		removal(o, "remove ID", "Remove a group; its machines stay", "fettle groups", func(c *client, id string) string { return c.tenantPath("groups", id) }, "removed group %s"))
	return cmd
}

// writeGroup is a command that takes at least so many arguments.
func writeGroup(o *options, use, short, method string, least int) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.MinimumNArgs(least),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			g := estate.Group{Tenant: estate.TenantID(o.tenant), ID: estate.GroupID(args[0]), Name: cmp.Or(name, args[0])}
			for _, host := range args[1:] {
				h, err := c.host(cmd, host)
				if err != nil {
					return err
				}
				g.Members = append(g.Members, h.ID)
			}
			path := c.tenantPath("groups")
			if method == http.MethodPut {
				path = c.tenantPath("groups", args[0])
			}
			if err := c.call(cmd.Context(), method, path, nil, g, &g); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(g)
			}
			o.say("group %s has %s", g.ID, count(len(g.Members), "machine"))
			return nil
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "a name for people")
	return cmd
}

func sitesCmd(o *options) *cobra.Command {
	var name, zone string
	list := listing[estate.Site]{
		path: func(c *client, _ []string) string { return c.tenantPath("sites") }, empty: "There is no site.",
		head: []string{"ID", "NAME", "TIME ZONE"},
		row:  func(s estate.Site) []string { return []string{string(s.ID), s.Name, s.Zone} },
	}
	cmd := &cobra.Command{Use: "sites", Short: "List sites of the tenant; add and change them", Args: cobra.NoArgs, RunE: list.show(o)}
	set := &cobra.Command{
		Use: "set ID", Short: "Add or change a site", Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			var s estate.Site
			body := map[string]any{"id": args[0], "name": name, "zone": zone}
			if err := c.call(cmd.Context(), http.MethodPost, c.tenantPath("sites"), nil, body, &s); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(s)
			}
			o.say("site %s (%s) %s", s.ID, s.Name, s.Zone)
			return nil
		}),
	}
	set.Flags().StringVar(&name, "name", "", "a name for people")
	set.Flags().StringVar(&zone, "zone", "", "IANA time zone, such as Europe/Berlin")
	cmd.AddCommand(set)
	return cmd
}

func tenantsCmd(o *options) *cobra.Command {
	var name string
	list := listing[estate.Tenant]{
		path: func(*client, []string) string { return "/api/v1/tenants" }, empty: "There is no tenant.",
		head: []string{"ID", "NAME", "CREATED"},
		row:  func(t estate.Tenant) []string { return []string{string(t.ID), t.Name, stamp(t.Created)} },
	}
	cmd := &cobra.Command{Use: "tenants", Short: "List tenants of the server; add one", Args: cobra.NoArgs, RunE: list.show(o)}
	add := &cobra.Command{
		Use: "add ID", Short: "Add a tenant", Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			var t estate.Tenant
			if err := c.call(cmd.Context(), http.MethodPost, "/api/v1/tenants", nil, map[string]any{"id": args[0], "name": name}, &t); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(t)
			}
			o.say("added tenant %s (%s); use it with --tenant %s", t.ID, strings.TrimSpace(t.Name), t.ID)
			return nil
		}),
	}
	add.Flags().StringVar(&name, "name", "", "a name for people")
	cmd.AddCommand(add)
	return cmd
}
