package cli

import (
	"bufio"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

const (
	usersPath = "/api/v1/users"
	keysPath  = "/api/v1/keys"
)

func usersCmd(o *options) *cobra.Command {
	list := listing[estate.User]{
		path: func(*client, []string) string { return usersPath }, empty: "Nobody has an account yet. The server prints a link for the first administrator.",
		spare: []string{"MAIL", "LAST SIGN-IN"},
		head:  []string{"NAME", "ID", "MAIL", "LAST SIGN-IN", "ROLES"},
		row: func(u estate.User) []string {
			return []string{u.Name, string(u.ID), u.Email, stamp(u.LastSignIn), rolesText(u.Grants)}
		},
	}
	cmd := &cobra.Command{
		Use: "users", Short: "List people who may sign in; add and remove them", Args: cobra.NoArgs, RunE: list.show(o),
		Example: `  fettle users add ada --role approver
  fettle users add root --role admin@'*' --password-stdin
  fettle users reset ada`,
	}
	cmd.AddCommand(
		addUserCmd(o), resetUserCmd(o),
		&cobra.Command{
			Use: "remove NAME", Short: "Remove a person; what they did stays in the audit log", Args: cobra.ExactArgs(1),
			RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
				u, err := c.user(cmd, args[0])
				if err != nil {
					return err
				}
				if err := c.call(cmd.Context(), http.MethodDelete, usersPath+"/"+url.PathEscape(string(u.ID)), nil, nil, nil); err != nil {
					return err
				}
				o.say("removed %s", u.Name)
				return nil
			}),
		})
	return cmd
}

func addUserCmd(o *options) *cobra.Command {
	var roles []string
	var mail string
	var p password
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Give a person an account", Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			grants, err := o.grants(roles)
			if err != nil {
				return err
			}
			if err := p.get(cmd); err != nil {
				return err
			}
			var u estate.User
			body := map[string]any{"name": args[0], "email": mail, "password": p.text, "grants": grants}
			if err := c.call(cmd.Context(), http.MethodPost, usersPath, nil, body, &u); err != nil {
				return err
			}
			return p.tell(o, u, "added "+u.Name+": "+rolesText(u.Grants))
		}),
	}
	f := cmd.Flags()
	addRoleFlag(cmd, &roles)
	f.StringVar(&mail, "mail", "", "address for messages")
	p.flag(cmd)
	return cmd
}

func resetUserCmd(o *options) *cobra.Command {
	var p password
	cmd := &cobra.Command{
		Use: "reset NAME", Short: "Replace a person's password and end their sessions", Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			u, err := c.user(cmd, args[0])
			if err != nil {
				return err
			}
			if err := p.get(cmd); err != nil {
				return err
			}
			err = c.call(cmd.Context(), http.MethodPut, usersPath+"/"+url.PathEscape(string(u.ID))+"/password", nil, map[string]any{"password": p.text}, &u)
			if err != nil {
				return err
			}
			return p.tell(o, u, "replaced the password of "+u.Name)
		}),
	}
	p.flag(cmd)
	return cmd
}

// user finds a person by name or id.
func (c *client) user(cmd *cobra.Command, name string) (estate.User, error) {
	list, err := all[estate.User](cmd.Context(), c, usersPath, nil)
	if err != nil {
		return estate.User{}, err
	}
	for _, u := range list {
		if strings.EqualFold(u.Name, name) || string(u.ID) == name {
			return u, nil
		}
	}
	return estate.User{}, fault.New(fault.NotFound, "nobody is called %q", name).WithHint("'fettle users' lists names")
}

// password comes from standard input or is made here and shown once. It never
// stands on a command line, which others can read.
type password struct {
	stdin bool
	text  string
	made  bool
}

func (p *password) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&p.stdin, "password-stdin", false, "read the password from the first line of standard input instead of making one")
}

func (p *password) get(cmd *cobra.Command) error {
	if !p.stdin {
		p.text, p.made = strings.ToLower(rand.Text()[:20]), true // 100 bits
		return nil
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	p.text = strings.TrimRight(line, "\r\n")
	if p.text == "" {
		return fault.Wrap(err, fault.Invalid, "no password came from standard input")
	}
	return nil
}

func (p *password) tell(o *options, u estate.User, done string) error {
	if o.json {
		out := struct {
			estate.User
			Password string `json:"password,omitempty"`
		}{User: u}
		if p.made {
			out.Password = p.text
		}
		return o.printJSON(out)
	}
	o.say("%s", done)
	if p.made {
		o.say("password: %s\nIt is shown this once.", p.text)
	}
	return nil
}

func personKeysCmd(o *options) *cobra.Command {
	list := listing[estate.Key]{
		path: func(*client, []string) string { return keysPath }, empty: "There is no API key.",
		spare: []string{"MADE BY", "LAST USED"},
		head:  []string{"NAME", "ID", "MADE BY", "LAST USED", "EXPIRES", "ROLES"},
		row: func(k estate.Key) []string {
			return []string{k.Name, k.ID, k.By, stamp(k.LastUsed), stamp(k.Expires), rolesText(k.Grants)}
		},
	}
	cmd := &cobra.Command{
		Use: "keys", Short: "List API keys of programs; make and end them", Args: cobra.NoArgs, RunE: list.show(o),
		Long:    "List API keys of programs; make and end them. The keys that sign the catalog are the publisher's: 'fettle publisher keys'.",
		Example: `  fettle keys add ci --role viewer --life 30d`,
	}
	cmd.AddCommand(
		addKeyCmd(o),
		removal(o, "remove ID", "End an API key at once", "fettle keys", func(_ *client, id string) string { return keysPath + "/" + url.PathEscape(id) }, "ended key %s"))
	return cmd
}

func addKeyCmd(o *options) *cobra.Command {
	var roles []string
	var life time.Duration
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Make an API key; its secret is shown this once", Args: cobra.ExactArgs(1),
		RunE: o.on(func(cmd *cobra.Command, c *client, args []string) error {
			grants, err := o.grants(roles)
			if err != nil {
				return err
			}
			body := map[string]any{"name": args[0], "grants": grants}
			if life > 0 {
				body["expires_in"] = life.String()
			}
			var made struct {
				estate.Key
				Secret string `json:"secret"`
			}
			if err := c.call(cmd.Context(), http.MethodPost, keysPath, nil, body, &made); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(made)
			}
			o.say("made key %s (%s): %s", made.ID, made.Name, rolesText(made.Grants))
			o.say("FETTLE_API_KEY=%s\nIt is shown this once.", made.Secret)
			return nil
		}),
	}
	addRoleFlag(cmd, &roles)
	lifetimeVar(cmd.Flags(), &life, "life", "how long it lives, such as 30d (default: until it is ended)")
	return cmd
}

func addRoleFlag(cmd *cobra.Command, roles *[]string) {
	cmd.Flags().StringSliceVar(roles, "role", nil, "admin, operator, approver, auditor or viewer; in another scope than --tenant with @TENANT, @TENANT/SITE or @'*' (the whole server); may be repeated")
	_ = cmd.MarkFlagRequired("role") // the flag is there
}

// grants reads ROLE[@SCOPE]; without a scope the role counts in --tenant.
func (o *options) grants(roles []string) ([]estate.Grant, error) {
	var out []estate.Grant
	for _, text := range roles {
		role, where, elsewhere := strings.Cut(text, "@")
		scope := estate.InTenant(estate.TenantID(o.tenant))
		if elsewhere {
			var err error
			if scope, err = estate.ParseScope(where); err != nil {
				return nil, err
			}
		}
		if estate.Grants(estate.Role(role)) == nil {
			return nil, fault.New(fault.Invalid, "%q is not a role", role).WithHint("use admin, operator, approver, auditor or viewer")
		}
		out = append(out, estate.Grant{Role: estate.Role(role), Scope: scope})
	}
	return out, nil
}

func rolesText(grants []estate.Grant) string {
	words := make([]string, 0, len(grants))
	for _, g := range grants {
		words = append(words, string(g.Role)+"@"+g.Scope.String())
	}
	return strings.Join(words, " ")
}

// stamp is a moment for tables, empty for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func whoamiCmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show whose key this is and what it may do", Args: cobra.NoArgs,
		RunE: o.on(func(cmd *cobra.Command, c *client, _ []string) error {
			var me struct {
				Kind    string          `json:"kind"`
				Name    string          `json:"name"`
				ID      string          `json:"id"`
				Grants  []estate.Grant  `json:"grants"`
				Tenants []estate.Tenant `json:"tenants"`
			}
			if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/me", nil, nil, &me); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(me)
			}
			o.say("%s (%s) at %s: %s", me.Name, me.Kind, c.base, rolesText(me.Grants))
			for _, t := range me.Tenants {
				o.say("  tenant %s (%s)", t.ID, t.Name)
			}
			return nil
		}),
	}
}
