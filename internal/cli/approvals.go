package cli

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/terminal"
)

func approvalsCmd(o *options) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: "approvals", Short: "List decisions on patches, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			q := url.Values{}
			set(q, "patch", id)
			list, err := all[approval.Approval](cmd.Context(), c, c.tenantPath("approvals"), q)
			if err != nil {
				return err
			}
			if len(list) == 0 && id != "" && !o.json {
				o.say("Nothing was decided on it.")
				return nil
			}
			return o.listApprovals(cmd, c, list)
		},
	}
	cmd.Flags().StringVar(&id, "patch", "", "decisions on one patch alone")
	cmd.AddCommand(&cobra.Command{
		Use: "withdraw ID", Short: "End a decision as if it had not been made; it stays in the list and in the audit log", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodDelete, c.tenantPath("approvals", args[0]), nil, nil, nil); err != nil {
				return listed(err, args[0], "fettle approvals")
			}
			o.say("withdrawn %s", args[0])
			return nil
		},
	})
	return cmd
}

func (o *options) listApprovals(cmd *cobra.Command, c *client, list []approval.Approval) error {
	if o.json {
		return o.printJSON(list)
	}
	if len(list) == 0 {
		o.say("Nothing was decided yet.")
		return nil
	}
	names, err := c.hostNames(cmd, slices.ContainsFunc(list, func(a approval.Approval) bool { return a.Endpoint != "" }))
	if err != nil {
		return err
	}
	now := time.Now()
	rows := make([][]string, 0, len(list))
	for _, a := range list {
		whom := string(a.Group)
		switch {
		case a.Endpoint != "":
			whom = "host " + cmp.Or(names[a.Endpoint], string(a.Endpoint))
		case whom == "":
			whom = "(all)"
		}
		rows = append(rows, []string{a.ID, string(a.Decision), whom, a.By, a.At.Local().Format(time.DateTime), standing(a, now), a.Reason, string(a.Patch)})
	}
	return terminal.Table(o.out, []string{"ID", "DECISION", "FOR", "BY", "AT", "COUNTS", "WHY", "PATCH"}, rows, "AT", "BY")
}

// standing says whether and how long a decision counts.
func standing(a approval.Approval, now time.Time) string {
	switch {
	case !a.Withdrawn.IsZero():
		return "withdrawn"
	case !a.Active(now):
		return "expired"
	case !a.Expires.IsZero():
		return "until " + a.Expires.Local().Format(time.DateTime)
	}
	return "yes"
}
